# shellcheck shell=bash disable=SC2034 # what is unused here is used by the scripts
# A Debian 12 with systemd as its first process, in a container of systemd-nspawn: made once below the lab's cache, booted
# from a throw-away layer, without this machine's network. Sourced, never run.

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
. "$HERE/../lab/lib.sh"
STORE=$LAB_CACHE/machine
# shellcheck source-path=SCRIPTDIR source=../lab/pristine.sh
. "$HERE/../lab/pristine.sh"

# What is there before barback: PostgreSQL and Apache as an administrator would have them. Barman comes by barback's own
# dependency; apt finds it among the packages that were fetched when the base was made.
INSTALLED="postgresql apache2 libapache2-mod-fcgid apache2-suexec-custom curl jq procps openssl bash-completion"
FETCHED="barman"

# Where systemd looks for cgroups: version 2 alone, or its part in a mixture with version 1.
CGROUPS="/sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd"

# The nspawn process (or the shell that starts it again after a reboot), and systemd in the container.
NSPAWN=
INIT=

# able says why a machine cannot be booted here, or nothing.
able() {
	if [ "$(id -u)" -ne 0 ]; then echo "this is not root"; return; fi
	need_nspawn || { echo "systemd-nspawn is not installed (apt-get install systemd-container)"; return; }
	unshare --mount --pid --fork true 2>/dev/null || { echo "root may not make namespaces here"; return; }
}

# need_nspawn installs it where Debian's packages can be had.
need_nspawn() {
	command -v systemd-nspawn >/dev/null && return
	DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 install -y --no-install-recommends systemd-container \
		</dev/null >/dev/null 2>&1 && command -v systemd-nspawn >/dev/null
}

# finish_base installs into the new system.
finish_base() {
	carry_network "$1"
	say "installing PostgreSQL and Apache into it, once"
	# shellcheck disable=SC2016 # for that shell
	logged systemd-nspawn -q -D "$1" --register=no --keep-unit --console=pipe --setenv=DEBIAN_FRONTEND=noninteractive \
		/bin/sh -c 'apt-get -q update && apt-get -q install -y --no-install-recommends $1 &&
			apt-get -q install -y --no-install-recommends --download-only $2' sh "$INSTALLED" "$FETCHED"
	rm -f "$1/etc/resolv.conf"
	echo machine >"$1/etc/hostname"
	printf '127.0.0.1 localhost machine\n::1 localhost\n' >"$1/etc/hosts"
}

# boot starts the machine and returns when systemd has started everything.
boot() {
	: >"$RUN/console"
	"$0" --machine "$RUN" </dev/null >>"$RUN/console" 2>&1 7>&- &
	NSPAWN=$!
	await_init ""
}

# machine is the life of that process: nspawn ends with 133 when the machine reboots.
machine() {
	local rc root
	# Of its own, as two machines in one cgroup would be one to each other's systemd.
	for root in $CGROUPS; do
		if mkdir "$root/${1##*/}" 2>/dev/null; then echo $$ >"$root/${1##*/}/cgroup.procs" || true; fi
	done
	[ ! -d "$1/work" ] || layer "$1"
	[ -d "$1/work" ] || mount --bind "$1/changes" "$1/root"
	while :; do
		rc=0
		setpriv --pdeathsig KILL systemd-nspawn -q -D "$1/root" --boot --register=no --keep-unit --console=pipe --private-network --hostname=machine || rc=$?
		[ "$rc" -eq 133 ] || exit "$rc"
	done
}

# await_init waits for the first process of the machine, other than OLD, and for the end of its start.
await_init() {
	local old=$1 end=$((SECONDS + 90)) nspawn state=
	while :; do
		[ $SECONDS -lt $end ] || { tail -n 20 "$RUN/console" >&2; die "the machine did not get ready within 90 s (${state:-no systemd})"; }
		kill -0 "$NSPAWN" 2>/dev/null || { tail -n 20 "$RUN/console" >&2; die "the machine does not boot"; }
		sleep 0.2
		nspawn=$(pgrep -P "$NSPAWN" -x systemd-nspawn | head -n 1) || continue
		INIT=$(pgrep -P "$nspawn" -x systemd | head -n 1) || continue
		[ "$INIT" != "$old" ] || continue
		state=$(m systemctl is-system-running 2>/dev/null) || true
		case $state in running | degraded) return ;; esac
	done
}

# m runs a command in the machine, as root unless the command says otherwise.
m() {
	nsenter -t "$INIT" -m -u -i -p -n -- /usr/bin/env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# sh_m runs a script in the machine; what follows it are its arguments.
sh_m() {
	m /bin/bash -euc "$1" sh "${@:2}"
}

# halt ends the machine, by force if it does not end by itself.
# shellcheck disable=SC2317 # a trap calls it
halt() {
	local _ root
	[ -n "$NSPAWN" ] || return 0
	if [ -n "$INIT" ]; then kill -s RTMIN+4 "$INIT" 2>/dev/null || true; fi
	for _ in $(seq 1 100); do
		kill -0 "$NSPAWN" 2>/dev/null || break
		sleep 0.1
	done
	if [ -n "$INIT" ]; then kill -KILL "$INIT" 2>/dev/null || true; fi # and all in there with it
	pkill -KILL -P "$NSPAWN" 2>/dev/null || true
	kill -KILL "$NSPAWN" 2>/dev/null || true
	wait "$NSPAWN" 2>/dev/null || true
	NSPAWN=
	for root in $CGROUPS; do
		if [ -d "$root/${RUN##*/}" ]; then find "$root/${RUN##*/}" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
	done
}
