# shellcheck shell=bash disable=SC2016 # scripts in quotes are for the machine's shell
# What happens to an operation when this or that happens in its middle. Sourced by test.

part_mid() {
	URL=http://127.0.0.1:7481
	check "Apache runs barback with mod_fcgid" recipe_on fcgid
	check "a backup that mod_fcgid started goes on when Apache is restarted, and never was in its cgroup" \
		mid succeeded own_cgroup and m systemctl restart apache2
	[ -n "$SHORT" ] || check "a backup that mod_fcgid started goes on when Apache is reloaded" mid succeeded m systemctl reload apache2
	recipe_off fcgid
	URL=http://127.0.0.1:7480
	check "a backup goes on when the package is upgraded, and the new version answers" mid succeeded upgraded
	if [ -z "$SHORT" ]; then
		check "a backup goes on when barback.service is stopped, also while somebody follows its output" mid succeeded follower and m systemctl stop barback.service
		check "a backup goes on when barback.socket is restarted, which then answers" mid succeeded m systemctl restart barback.socket
		check "a backup goes on when all sockets are restarted" mid succeeded m systemctl restart barback-runner.socket barback.socket barback-fcgi.socket
		check "a backup goes on when systemd starts itself anew" mid succeeded m systemctl daemon-reexec
		check "a runner that the kernel kills for want of memory: the operation is interrupted and says so" mid interrupted out_of_memory
	fi
	check "the runner's unit killed with SIGKILL: the operation is interrupted and says so" mid interrupted kill_unit
	check "its backup is not shown as one that is being made" no_backup_going_on
	check "the next backup succeeds" backed_up
	check "the machine reboots: the operation is interrupted and says so" mid interrupted reboot
	if [ -z "$SHORT" ]; then
		check "the machine loses its power: the operation is interrupted and says so" mid interrupted power_cut
	fi
	check "the next backup succeeds, and is restored" next
}

next() {
	backed_up && restored "/tmp/restored-next"
}

# mid WANT [CHECK and] ACTION … starts a slow backup, acts in its middle, and wants it to end so, with nothing left over.
mid() {
	local want=$1
	shift
	begin '{"type": "backup", "bwlimit": 4000}' && eventually 30 copying || return 1
	if [ "${2:-}" = and ]; then
		"$1" || return 1
		shift 2
	fi
	"$@" || return 1
	eventually 30 api GET /servers >/dev/null || { echo "the API does not answer"; return 1; }
	ended "$want" || return 1
	if [ "$want" = interrupted ]; then
		field .error.detail >"$RUN/detail"
		grep -Eq 'runner|restarted|told to stop' "$RUN/detail" || { echo "it does not say why: $(<"$RUN/detail")"; return 1; }
	fi
	nothing_left
}

# runner_unit prints the unit of the runner at work.
runner_unit() {
	m systemctl list-units --plain --no-legend 'barback-runner@*.service' | awk '{ print $1; exit }'
}

own_cgroup() {
	sh_m 'pid=$(systemctl show -P MainPID "$1"); cat "/proc/$pid/cgroup"; grep -q "barback-runner.slice" "/proc/$pid/cgroup" &&
		! grep -q apache2 "/proc/$pid/cgroup"' "$(runner_unit)"
}

# follower leaves a client that follows the output; who stops barback.service must not have to wait for it.
follower() {
	m curl -sS -N -o /dev/null -H "Authorization: Bearer $TOKEN" "$URL$OPERATIONS/$ID/output?follow=1" &
	eventually 10 sh_m 'pgrep -x curl >/dev/null'
}

upgraded() {
	local old new
	old=$(m dpkg-query -W -f '${Version}' barback)
	new=${old%-1}+1-1
	rm -rf "$RUN/next"
	dpkg-deb -R "$(deb_of barback)" "$RUN/next"
	sed -i "s/^Version: .*/Version: $new/" "$RUN/next/DEBIAN/control"
	dpkg-deb --root-owner-group -Znone -b "$RUN/next" "/proc/$INIT/root/root/next.deb" >/dev/null
	rm -rf "$RUN/next"
	m apt-get -q install -y --no-install-recommends /root/next.deb || return 1
	[ "$(m dpkg-query -W -f '${Version}' barback)" = "$new" ]
}

kill_unit() {
	m systemctl kill -s KILL "$(runner_unit)"
}

no_backup_going_on() {
	api GET /servers/pg-one/backups >"$RUN/backups" && cat "$RUN/backups" &&
		jq -e '[.. | objects | select(.status? == "STARTED") | .abandoned] | all' "$RUN/backups"
}

# out_of_memory puts the runner into a memory cgroup of this host which gives it nothing more.
out_of_memory() {
	local pid group=/sys/fs/cgroup/memory/barback-oom.$$ limit=memory.limit_in_bytes
	[ -d /sys/fs/cgroup/memory ] || { group=/sys/fs/cgroup/barback-oom.$$ limit=memory.max; }
	pid=$(host_pid "$(m systemctl show -P MainPID "$(runner_unit)")")
	[ -n "$pid" ] && mkdir "$group" || return 1
	echo "$pid" >"$group/cgroup.procs" && echo 4096 >"$group/$limit" || return 1
	eventually 30 test ! -e "/proc/$pid" || return 1
	grep -h oom_kill "$group/memory.oom_control" "$group/memory.events" 2>/dev/null
	eventually 10 rmdir "$group"
}

# host_pid finds the process of the machine that has this number there.
host_pid() {
	local status
	for status in /proc/[0-9]*/status; do
		if [ "$(readlink "${status%status}ns/pid" 2>/dev/null)" = "$(readlink "/proc/$INIT/ns/pid")" ] &&
			grep -qs "^NSpid:.*[[:space:]]$1\$" "$status"; then
			status=${status%/status}
			echo "${status##*/}"
			return
		fi
	done
}

reboot() {
	m systemctl reboot || true
	await_init "$INIT"
}

power_cut() {
	kill -KILL "$INIT"
	wait "$NSPAWN" || true
	boot
}
