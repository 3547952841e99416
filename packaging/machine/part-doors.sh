# shellcheck shell=bash disable=SC2016 # scripts in quotes are for the machine's shell
# A backup and a restore through each door. Sourced by test.

part_doors() {
	local recipe
	URL=http://127.0.0.1:7480
	check "a backup through 127.0.0.1:7480 succeeds" backed_up
	check "it is restored through 127.0.0.1:7480, into the machine's /tmp" restored /tmp/restored-direct
	check "PostgreSQL starts on what was restored, and has the table" starts /tmp/restored-direct
	for recipe in proxy-fcgi proxy-http fcgid cgi; do
		URL=http://127.0.0.1:7481
		check "a2ensite barback-$recipe is all that Apache needs" recipe_on "$recipe"
		check "a backup through barback-$recipe succeeds" backed_up
		check "it is restored through barback-$recipe, into the machine's /tmp and not into Apache's own" restored "/tmp/restored-$recipe"
		check "an error of Apache's is a problem in JSON with barback-$recipe" json_error
		case $recipe in fcgid | cgi) check "barback-$recipe runs barback as barman" suexec_log ;; esac
		recipe_off "$recipe"
	done
	check "with TLS, switched on by two lines, barback-proxy-fcgi answers over https" over_tls
	recipe_off proxy-fcgi
	URL=http://127.0.0.1:7480
}

starts() {
	sh_m 'echo local all all trust >"$1/pg_hba.conf"
		echo >"$1/postgresql.conf"
		chown barman: "$1/pg_hba.conf" "$1/postgresql.conf"
		runuser -u barman -- sh -euc "
		cd $1
		PATH=/usr/lib/postgresql/15/bin:\$PATH
		pg_ctl -w -t 60 -s -D . -l log -o \"-c listen_addresses= -c port=5499 -c unix_socket_directories=$1\" start
		psql -qXAt -h $1 -p 5499 -d postgres -c \"SELECT count(*) FROM items\" >count
		pg_ctl -w -s -D . -m fast stop"; [ "$(cat "$1/count")" = 20000 ]' "$1"
}

recipe_on() {
	local how=reload
	if [ "$1" = cgi ]; then how=restart; fi # mod_cgid starts its helper with Apache alone
	m a2ensite -q "barback-$1" && m systemctl "$how" apache2 && eventually 15 m curl -sf -o /dev/null "$URL/status" && return
	m journalctl -u apache2 -n 10 --no-pager
	m tail -n 10 /var/log/apache2/error.log
	return 1
}

recipe_off() {
	m a2dissite -q "barback-$1" >/dev/null && m systemctl reload apache2
}

json_error() {
	sh_m 'curl -sS -D - "$1/servers/a%2Fb" | tr -d "\r" >/tmp/answer; cat /tmp/answer
		grep -q "404" /tmp/answer && grep -qi "^content-type: application/problem+json" /tmp/answer' "$URL"
}

suexec_log() {
	sh_m 'tail -n 5 /var/log/apache2/suexec.log; tail -n 1 /var/log/apache2/suexec.log | grep -q "uid: (.*/barman)"'
}

over_tls() {
	sh_m 'openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=machine -keyout /etc/ssl/private/machine.key -out /etc/ssl/certs/machine.pem 2>/dev/null
		cat >>/etc/apache2/conf-available/barback.conf <<-END
			Define BARBACK_TLS_CERTIFICATE /etc/ssl/certs/machine.pem
			Define BARBACK_TLS_KEY /etc/ssl/private/machine.key
		END
		a2enmod -q ssl; a2enconf -q barback; a2ensite -q barback-proxy-fcgi; systemctl reload apache2'
	URL=https://127.0.0.1:7481
	eventually 15 api GET /servers
	sh_m 'a2disconf -q barback; a2dismod -q ssl' >/dev/null
}
