# shellcheck shell=bash disable=SC2016 # scripts in quotes are for the machine's shell
# Uninstalling. Sourced by test.

part_purge() {
	m a2ensite -q barback-proxy-fcgi >/dev/null
	m systemctl reload apache2
	begin '{"type": "backup", "bwlimit": 4000}'
	eventually 30 copying || true
	check "apt-get remove with a backup at work ends well" m apt-get -q remove -y barback
	check "the backup goes on to its end, which is recorded" eventually 60 sh_m 'grep -rqs "succeeded" "/var/lib/barback/operations/$1/"' "$ID"
	check "what listened is gone, and Apache still starts" sh_m '! curl -s http://127.0.0.1:7480/status && [ ! -e /run/barback ] && systemctl restart apache2'
	check "configuration, state and logs are kept" sh_m '[ -s /etc/barback/barback.toml ] && [ -s /var/lib/barback/users.toml ] && [ -s /var/log/barback/audit.log ]'
	check "installed again, it knows its users and its operations" again
	check "apt-get purge ends well" m apt-get -q purge -y barback
	check "no file, link, unit, socket, user or group of it is left" sh_m '
		find / -xdev \( -path /proc -o -path /sys -o -path /root -o -path /tmp -o -path "/var/log/journal" \) -prune -o -iname "*barback*" -print >/tmp/left
		systemctl list-units --all --plain --no-legend "barback*" >>/tmp/left
		systemctl list-unit-files --no-legend "barback*" >>/tmp/left || true
		getent group barback >>/tmp/left || true
		grep -l barback /etc/passwd /etc/group /etc/gshadow /proc/net/unix >>/tmp/left || true
		cat /tmp/left; [ ! -s /tmp/left ]'
	check "and nothing else that was not there before, but Barman and what an administrator made" nothing_new
	check "Apache still starts" m systemctl restart apache2
}

again() {
	sh_m 'apt-get -q install -y --no-install-recommends /root/barback_*.deb' || return 1
	api GET "$OPERATIONS/$ID" | jq -e '.state == "succeeded"'
}

nothing_new() {
	find_files >"$RUN/after"
	# Barman, with its Python, and what the parts of this test made.
	m sh -c 'cat /var/lib/dpkg/info/*.list' | sed 's,^/lib/,/usr/lib/,' | sort -u >"$RUN/owned"
	comm -13 "$RUN/before" "$RUN/after" | comm -23 - "$RUN/owned" |
		grep -Ev 'barman|python|rsync|__pycache__|/var/lib/dpkg/|/etc/apache2/mods-enabled/|/var/lib/apache2/|/var/log/|/run/|/etc/ssl/|postgresql|systemd-private' >"$RUN/new" || true
	cat "$RUN/new"
	[ ! -s "$RUN/new" ]
}
