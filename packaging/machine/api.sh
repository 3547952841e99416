# shellcheck shell=bash
# PostgreSQL, Barman and barback in the machine, as the parts of the test use them. Sourced, never run.

URL=http://127.0.0.1:7480
OPERATIONS=/servers/pg-one/operations
TOKEN=
# The last operation.
ID=

# make_servers sets PostgreSQL and Barman up as their manuals say, and makes an administrator of the API.
make_servers() {
	say "setting up PostgreSQL and Barman"
	sh_m '
		usermod -aG barman postgres
		cat >/etc/postgresql/15/main/conf.d/barman.conf <<-END
			archive_mode = on
			archive_command = '\''install -m 640 %p /var/lib/barman/pg-one/incoming/%f.tmp && mv /var/lib/barman/pg-one/incoming/%f.tmp /var/lib/barman/pg-one/incoming/%f'\''
		END
		cat >/etc/barman.d/pg-one.conf <<-END
			[pg-one]
			description = PostgreSQL on this machine
			conninfo = user=barman dbname=postgres
			streaming_conninfo = user=barman
			backup_method = postgres
			archiver = on
		END
		echo "immediate_checkpoint = true" >>/etc/barman.d/pg-one.conf
		systemctl restart postgresql@15-main
		runuser -u postgres -- createuser --superuser --replication barman
		runuser -u barman -- barman check pg-one >/dev/null || true
		chgrp -R barman /var/lib/barman; chmod 750 /var/lib/barman; chmod 2770 /var/lib/barman/pg-one/incoming
		runuser -u postgres -- psql -qX -c "CREATE TABLE items AS SELECT n AS id, repeat(md5(n::text), 20) AS word FROM generate_series(1, 20000) n"
		runuser -u postgres -- psql -qXAt -c "SELECT pg_switch_wal()" >/dev/null' >"$RUN/setup" 2>&1 || { cat "$RUN/setup" >&2; die "no PostgreSQL and Barman"; }
	check "Barman's own check passes" eventually 30 m runuser -u barman -- sh -c 'barman archive-wal pg-one >/dev/null; barman check pg-one >/tmp/check || { grep FAILED /tmp/check; false; }'
	check "barback user add makes an administrator" m barback user add admin --role admin --generate
	TOKEN=$(m barback token create admin --name test | grep -o 'bb_[A-Za-z0-9_-]*' | head -n 1)
	check "barback config check finds nothing wrong" m barback config check
}

# api METHOD PATH [BODY] [CURL OPTION …] prints the answer; an error of the API is a failure.
api() {
	local args=(-X "$1" "$URL$2")
	if [ -n "${3:-}" ]; then args+=(-H 'Content-Type: application/json' -d "$3"); fi
	m curl -sS -k -m 60 --fail-with-body -H "Authorization: Bearer $TOKEN" "${args[@]}" "${@:4}"
}

# begin BODY starts an operation, the last one from then on.
begin() {
	local answer
	answer=$(api POST "$OPERATIONS" "$1") || { echo "POST $1: $answer"; return 1; }
	ID=$(jq -r .operation_id <<<"$answer")
}

field() {
	api GET "$OPERATIONS/$ID" | jq -r "$1"
}

# ended waits for the end of the operation, and wants it to be like this.
ended() {
	local want=$1 answer state end=$((SECONDS + 120))
	while :; do
		answer=$(api GET "$OPERATIONS/$ID" "" -H 'Prefer: wait=5') || { echo "a poll of $ID: $answer"; return 1; }
		state=$(jq -r .state <<<"$answer")
		case $state in queued | running | canceling) ;; *) break ;; esac
		[ $SECONDS -lt $end ] || { echo "$ID is still $state: $answer"; return 1; }
	done
	[ "$state" = "$want" ] || { echo "$ID is $state, not $want: $answer"; api GET "$OPERATIONS/$ID/output" | tail -n 5; return 1; }
}

# backed_up makes a backup through URL, restored restores it into DIR of the machine and looks whether it is there.
backed_up() {
	begin '{"type": "backup"}' && ended succeeded
}

restored() {
	begin "{\"type\": \"recovery\", \"backup_id\": \"latest\", \"destination_directory\": \"$1\", \"local\": true}" &&
		ended succeeded && m test -s "$1/PG_VERSION" -a -s "$1/backup_label"
}

# copying: the backup of the last operation is really under way.
copying() {
	[ "$(field .state)" = running ] && m pgrep -u barman -x pg_basebackup >/dev/null
}

# nothing_left: no process of the operation, no unit of a runner, nothing failed.
nothing_left() {
	eventually 20 sh_m '! pgrep -u barman -x pg_basebackup && ! pgrep -f "^/usr/bin/python3 /usr/bin/barman" &&
		[ -z "$(systemctl list-units --all --plain --no-legend "barback-runner@*.service")" ]' &&
		sh_m 'failed=$(systemctl list-units --failed --plain --no-legend); echo "$failed"; [ -z "$failed" ]'
}
