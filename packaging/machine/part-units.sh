# shellcheck shell=bash disable=SC2016 # scripts in quotes are for the machine's shell
# The other units, and what else the package brings. Sourced by test.

part_units() {
	check "systemd has nothing to say against the units" sh_m 'out=$(systemd-analyze verify --man=no /usr/lib/systemd/system/barback* 2>&1); echo "$out"; [ -z "$out" ]'
	for unit in barback.service barback@1.service barback-prune.service barback-backup@pg-one.service; do
		check "systemd-analyze security rates $unit with 2.0 or less" sh_m 'systemd-analyze security --no-pager --threshold=20 "$1" | tail -n 3' "$unit"
	done
	check "barback doctor finds nothing wrong, as root and as barman" sh_m 'barback doctor && runuser -u barman -- barback doctor'
	check "barback doctor names a stopped socket, and its remedy starts it" healed
	check "barback-prune.service does its work" m systemctl start barback-prune.service
	check "barback-backup@pg-one.service makes a backup, as an operation like others" scheduled
	check "barback-backup@nowhere.service, of no server, fails and says why" no_such_server
	check "barback-backup@pg-one.timer is enabled with one command, and has a time" sh_m '
		systemctl enable -q --now barback-backup@pg-one.timer
		systemctl list-timers --all | grep -q "[0-9].*barback-backup@pg-one.timer"
		systemctl disable -q --now barback-backup@pg-one.timer'
	check "a process for each connection: Accept=yes in a drop-in, and each request has a barback of its own" per_connection
	check "bash completes barback's verbs" sh_m '. /usr/share/bash-completion/bash_completion; . /usr/share/bash-completion/completions/barback
		COMP_WORDS=(barback op st); COMP_CWORD=2; _barback; [ "${COMPREPLY[*]}" = start ]'
	check "the package barback-pg-backup-api puts barback in the place of pg-backup-api" compat
	check "a port that is taken does not break an installation, which says so" taken
}

healed() {
	sh_m 'systemctl stop barback-runner.socket
		! barback doctor --strict --json >/root/found || exit 1
		remedy=$(jq -r ".findings[] | select(.status != \"ok\" and .check == \"runner socket\") | .remedy" /root/found)
		echo "remedy: $remedy"
		sh -c "$remedy"
		systemctl is-active barback-runner.socket && barback doctor >/dev/null'
}

scheduled() {
	local before
	before=$(api GET "$OPERATIONS" | jq '.operations | length')
	m systemctl start barback-backup@pg-one.service || return 1
	api GET "$OPERATIONS" | jq -e --argjson before "$before" \
		'(.operations | length) == $before + 1 and (.operations[0] | .type == "backup" and .status == "DONE")'
}

no_such_server() {
	sh_m '! systemctl start barback-backup@nowhere.service
		systemctl stop barback-backup@nowhere.service; systemctl reset-failed "barback-backup@*" 2>/dev/null || true
		journalctl -u barback-backup@nowhere.service -o cat | grep nowhere'
}

per_connection() {
	sh_m 'mkdir -p /etc/systemd/system/barback.socket.d
		printf "[Socket]\nAccept=yes\n" >/etc/systemd/system/barback.socket.d/accept.conf
		systemctl daemon-reload; systemctl stop barback.service; systemctl restart barback.socket
		[ "$(curl -sS http://127.0.0.1:7480/status)" = "\"OK\"" ]
		[ "$(curl -sS --unix-socket /run/barback/http.sock http://localhost/status)" = "\"OK\"" ]
		systemctl is-active barback.service && exit 1
		rm -r /etc/systemd/system/barback.socket.d; systemctl daemon-reload; systemctl restart barback.socket
		[ "$(curl -sS http://127.0.0.1:7480/status)" = "\"OK\"" ]'
}

compat() {
	sh_m 'apt-get -q install -y /root/barback-pg-backup-api_*.deb
		[ "$(pg-backup-api status)" = OK ]
		systemctl is-active pg-backup-api; systemctl is-enabled pg-backup-api
		systemctl restart pg-backup-api; [ "$(pg-backup-api status)" = OK ]
		systemctl stop pg-backup-api; ! pg-backup-api status
		systemctl start pg-backup-api; [ "$(pg-backup-api status)" = OK ]
		apt-get -q purge -y barback-pg-backup-api
		[ ! -e /usr/bin/pg-backup-api ]; ! systemctl cat pg-backup-api.service 2>/dev/null; barback status'
}

# taken has another program listen on 7480 while the package is installed again.
taken() {
	sh_m 'systemctl stop barback.service barback.socket
		systemd-run -q --unit=squatter /usr/bin/python3 -m http.server -b 127.0.0.1 7480
		for _ in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:7480/ && break; sleep 0.1; done
		dpkg -i /root/next.deb 2>&1 || dpkg -i /root/barback_*.deb 2>&1' >"$RUN/taken" || return 1
	grep 'does not start' "$RUN/taken" || { cat "$RUN/taken"; return 1; }
	sh_m 'systemctl stop squatter; systemctl reset-failed; systemctl start barback.socket; barback status'
}
