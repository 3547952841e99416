# shellcheck shell=sh disable=SC2015,SC2086
# What barback runs on a Barman host that ssh reaches (runner/barman/host.go), where signals do not get to.
# Arguments: what to do, the operation, how many seconds Barman gets to clean up, after how many
# without a word from barback the connection is dead (0: never), and the command.
#
#   run   runs the command once "go" was read from standard input, which from then on is the sign of life: when it ends, for
#         whatever reason, the command is ended. On standard error "barback-host: ready", and
#         "barback-host: exit N" when nothing of the command runs any more.
#   ask   the same at once, for what only reads, with the command's standard error apart.
#   look  prints how many processes of the operation run, and "keeper" if a "run" of it is at work.
act=$1 id=$2 grace=$3 silence=$4
shift 4

# stat reads state, parent and session of a process.
stat() {
	{ read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
	set -- ${line##*) }
	state=$1 parent=$2 session=$4
}
stat $$
own=$session

# members prints the processes of the operation: those that carry its mark and have not made a session of their own, as
# daemons do that Barman leaves behind on purpose. ssh with a key hides its environment.
members() {
	marked=" $(grep -lzx "BARBACK_OPERATION=$id" /proc/[0-9]*/environ 2>/dev/null | tr '\n' ' ')"
	for d in /proc/[0-9]*; do
		stat "${d#/proc/}" && [ "$state" != Z ] || continue
		case $marked in
			*" $d/environ "*) grep -qzx "BARBACK_SESSION=$session" "$d/environ" 2>/dev/null ;;
			*) [ "$act" != look ] && [ "$session" = "$own" ] && [ ! -r "$d/environ" ] ;;
		esac && echo "${d#/proc/}"
	done
}

# gone waits so many seconds for the end of all members.
gone() {
	tries=$(($1 * 5))
	while [ -n "$(members)" ]; do
		[ $tries -gt 0 ] || return 1
		tries=$((tries - 1))
		sleep 0.2
	done
}

signal() {
	for p in $(members); do kill -s "$1" "$p" 2>/dev/null; done
}

# watch ends the command with the connection. Barman alone is told first: a second signal to what it started
# would break its clean-up off.
watch() {
	command -v timeout >/dev/null || timeout() { shift; "$@"; }
	while timeout "$silence" sh -c 'read -r word'; do :; done
	while [ -z "$(members)" ]; do
		kill -0 $$ 2>/dev/null || return
		sleep 0.1
	done
	for p in $(members); do
		stat "$p" && [ "$parent" = $$ ] && kill -s INT "$p"
	done
	gone "$grace" || signal KILL
}

case $act in
	look)
		members | wc -l
		grep -lz '^barback-host$' /proc/[0-9]*/cmdline 2>/dev/null | while read -r f; do
			tr '\0' '\n' <"$f" 2>/dev/null | grep -A2 -x barback-host | tr '\n' ' ' | grep -qx "barback-host run $id " && echo keeper
		done | head -n 1
		exit 0
		;;
	run)
		echo "barback-host: ready" >&2
		read -r word && [ "$word" = go ] || exit 1
		exec 4>&2 2>&1
		;;
	*) exec 4>&2 ;;
esac
exec 3<&0
watch <&3 >/dev/null 2>&1 4>&- &
watcher=$!
env BARBACK_OPERATION="$id" BARBACK_SESSION="$own" PYTHONUNBUFFERED=1 "$@" </dev/null 3<&- 4>&-
code=$?
kill $watcher 2>/dev/null
if [ -n "$(members)" ]; then
	signal INT
	gone "$grace" || signal KILL
	gone 2
fi
echo "barback-host: exit $code" >&4
exit 0
