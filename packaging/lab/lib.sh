# shellcheck shell=bash disable=SC2034 # what is unused here is used by the scripts
# What the scripts of the lab share. Sourced, never run.

LAB_USER=barman
LAB_MARKER=.barback-lab
LAB_CACHE=${BARBACK_LAB_CACHE:-/var/cache/barback-lab}
LAB_SUITES="bookworm trixie sid"

# With --quiet only errors are printed.
LAB_QUIET=${LAB_QUIET:-}

say() {
	if [ -z "$LAB_QUIET" ]; then printf 'lab: %s\n' "$*"; fi
}

warn() {
	printf 'lab: warning: %s\n' "$*" >&2
}

die() {
	printf 'lab: %s\n' "$*" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" -eq 0 ] || die "this must be run as root: sudo $0 …"
}

# become_root WHY ARGUMENT … starts the calling script again through sudo. sudo
# drops the environment: what apt and the scripts need of it goes along by name.
become_root() {
	local why=$1 name keep=()
	shift
	[ "$(id -u)" -ne 0 ] || return 0
	command -v sudo >/dev/null ||
		die "$why, and you are neither root nor have sudo: run $0 as root"
	for name in BARBACK_LAB_CACHE BARBACK_LAB_MIRROR http_proxy https_proxy no_proxy SSL_CERT_FILE \
		KEEP LAB_BARMAN NO_COLOR; do
		if [ -n "${!name:-}" ]; then keep+=("$name=${!name}"); fi
	done
	exec sudo -- env "${keep[@]}" "$(readlink -f "$0")" "$@"
}

# usage prints the comment at the top of the calling script.
usage() {
	sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
}

# --- running things as barman

# as_barman runs a command as the user barman with a clean environment: what
# the lab starts must not depend on who made it. setpriv rather than runuser,
# which stays as a parent and hands on the signals of our terminal.
AS_BARMAN=(setpriv --reuid "$LAB_USER" --regid "$LAB_USER" --init-groups --inh-caps=-all env -i
	HOME="$(getent passwd "$LAB_USER" | cut -d: -f6 || true)"
	USER="$LAB_USER" LOGNAME="$LAB_USER" SHELL=/bin/bash LANG=C.UTF-8
	PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)

as_barman() {
	"${AS_BARMAN[@]}" "$@"
}

# close_extra_fds keeps the lab's daemons from holding the locks, sockets and
# pipes that make or a test handed to us by accident.
close_extra_fds() {
	local fd
	for fd in /proc/self/fd/*; do
		fd=${fd##*/}
		# 255 is bash's own, and close-on-exec.
		if [ "$fd" -gt 2 ] && [ "$fd" -ne 255 ]; then
			eval "exec $fd>&-"
		fi
	done
}

# pg_bin [MAJOR] prints the folder of the newest PostgreSQL server installed, or of the one of that version, which may
# lie below LAB_CACHE.
pg_bin() {
	local dir newest=""
	for dir in ${1:+"$LAB_CACHE/postgresql/$1/bin"} $(printf '%s\n' /usr/lib/postgresql/"${1:-*}"/bin | sort -V); do
		if [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ]; then newest=$dir; fi
	done
	printf '%s' "$newest"
}

# --- folders

is_lab() {
	[ -f "$1/$LAB_MARKER" ]
}

# lab_of prints the lab that a path lies in; the path need not exist yet.
lab_of() {
	local dir
	dir=$(realpath -m -- "$1")
	while dir=$(dirname "$dir"); do
		if is_lab "$dir"; then
			printf '%s' "$dir"
			return 0
		fi
		[ "$dir" != / ] || return 1
	done
}

# --- the processes of a lab

# ancestors prints our own process and those above it: never to be killed.
ancestors() {
	local pid=$$
	while [ "${pid:-0}" -gt 1 ]; do
		printf '%s\n' "$pid"
		pid=$(sed -n 's/^PPid:\t//p' "/proc/$pid/status" 2>/dev/null || true)
	done
}

# belongs_to tells whether process $1 works in or for folder $2: its command
# line, environment, working folder or an open file names it. PostgreSQL and
# sshd overwrite their command lines, hence the folder and the files.
belongs_to() {
	local pid=$1 dir=$2 pattern
	pattern="(^|[^A-Za-z0-9._/-])${dir//./\\.}(/|[^A-Za-z0-9._-]|\$)"
	grep -azqE "$pattern" "/proc/$pid/cmdline" "/proc/$pid/environ" 2>/dev/null && return 0
	[ -n "$(find "/proc/$pid/cwd" "/proc/$pid/fd" -maxdepth 1 \
		\( -lname "$dir" -o -lname "$dir/*" \) -print -quit 2>/dev/null)" ]
}

# lab_pids prints the processes of user barman that belong to the lab, and what
# these have started.
lab_pids() {
	local dir=$1 ours pid found="" more
	ours=" $(ancestors | tr '\n' ' ')"
	for pid in $(pgrep -U "$LAB_USER" || true); do
		case $ours in *" $pid "*) continue ;; esac
		if belongs_to "$pid" "$dir"; then found="$found $pid"; fi
	done
	more=$found
	while [ -n "$more" ]; do
		more=$(pgrep -U "$LAB_USER" -P "$(printf '%s' "${more# }" | tr ' ' ',')" | tr '\n' ' ' || true)
		more=${more% }
		found="$found $more"
	done
	printf '%s\n' "$found" | tr -s ' ' '\n' | sed '/^$/d' | sort -nu
}

is_postmaster() {
	[ "$(head -n 1 "/proc/$1/cwd/postmaster.pid" 2>/dev/null)" = "$1" ]
}

# gently asks a process to end. PostgreSQL's immediate shutdown takes its
# children and its shared memory along, which SIGKILL does not.
gently() {
	if is_postmaster "$1"; then
		kill -QUIT "$1" 2>/dev/null || true
	else
		kill -TERM "$1" 2>/dev/null || true
	fi
}

# stop_lab ends every process of the lab: asked first, killed after 3 s.
stop_lab() {
	local dir=$1 pids pid round
	for round in $(seq 1 80); do
		pids=$(lab_pids "$dir")
		[ -n "$pids" ] || break
		for pid in $pids; do
			if [ "$round" -ge 30 ]; then
				kill -KILL "$pid" 2>/dev/null || true
			elif [ "$round" -eq 1 ] || [ "$round" -eq 10 ]; then
				gently "$pid"
			fi
		done
		sleep 0.1
	done
	pids=$(lab_pids "$dir")
	[ -z "$pids" ] || die "these processes of $dir do not end, not even by SIGKILL: $(printf '%s' "$pids" | tr '\n' ' ')"
	free_shared_memory "$dir"
}

# free_shared_memory removes the System V segment that a killed PostgreSQL
# leaves: line 7 of its postmaster.pid names key and id.
free_shared_memory() {
	local file key id
	find "$1" -xdev -name postmaster.pid -type f 2>/dev/null | while read -r file; do
		read -r key id < <(sed -n 7p "$file") || continue
		[ -n "${id:-}" ] || continue
		key=$(printf '0x%08x' "$key")
		if ipcs -m | awk -v k="$key" -v i="$id" -v u="$LAB_USER" \
			'$1 == k && $2 == i && $3 == u && $6 == 0 { found = 1 } END { exit !found }'; then
			ipcrm -m "$id" || true
		fi
	done
}

# --- Debian

os_release() {
	# shellcheck source=/dev/null
	(. /etc/os-release && eval "printf '%s' \"\${$1:-}\"")
}

# debian_mirror prints the Debian mirror that this machine already uses, as apt
# itself understands its configuration (both forms of it, mirror lists too).
debian_mirror() {
	local uri
	if [ -n "${BARBACK_LAB_MIRROR:-}" ]; then
		printf '%s' "$BARBACK_LAB_MIRROR"
		return
	fi
	[ "$(os_release ID)" = debian ] ||
		die "this is not Debian: say where a Debian mirror is, BARBACK_LAB_MIRROR=http://…/debian"
	# Without its lists apt does not know what is whose.
	[ -n "$(repositories)" ] || apt-get -q update >/dev/null 2>&1 || true
	uri=$(repositories | awk -F'|' '$2 !~ /-(security|updates|backports)/ { print $1; exit }')
	[ -n "$uri" ] ||
		die "no Debian mirror found in apt's configuration: run 'apt-get update', or set BARBACK_LAB_MIRROR=http://…/debian"
	printf '%s' "$uri"
}

# repositories prints URI|SUITE of each Debian archive that apt knows.
repositories() {
	# shellcheck disable=SC2016 # the $(…) are apt's
	apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)' 'Created-By: Packages' |
		awk -F'|' '$3 == "main" && $4 == "Debian" { print $1 "|" $2 }' | sort -u
}
