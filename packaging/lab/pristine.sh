# shellcheck shell=bash disable=SC2034 # what is unused here is used by the scripts
# A pristine Debian 12 below $STORE, made once, and throw-away copies of it. Sourced after lib.sh, never run; the script
# has set STORE.

# What reaching the network may need of the environment.
CERTIFICATES=(SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE GIT_SSL_CAINFO)

BASE=$STORE/bookworm
# Of one run: its folder, and what the copy has that the pristine system has not.
RUN=
COPY=

# --- the pristine system

# make_base INCLUDE [FINISH] leaves the store locked, for make_copy. FINISH is called with
# the folder of the new system, before that is in its place.
make_base() {
	local mirror
	install -d -m 755 "$STORE"
	exec 8>"$STORE/lock"
	flock 8
	remove_leftovers
	[ ! -e "$BASE" ] || return 0
	need_debootstrap
	mirror=$(http_mirror)
	say "making a minimal Debian 12, once"
	rm -rf --one-file-system "$STORE/.new"
	logged debootstrap --variant=minbase --include="$1" bookworm "$STORE/.new" "$mirror"
	rm -f "$STORE/.new/var/cache/apt/archives/"*.deb
	if [ $# -gt 1 ]; then "$2" "$STORE/.new"; fi
	mv "$STORE/.new" "$BASE"
}

need_debootstrap() {
	command -v debootstrap >/dev/null && return
	say "installing debootstrap"
	DEBIAN_FRONTEND=noninteractive logged apt-get -q -o DPkg::Lock::Timeout=600 \
		install -y --no-install-recommends debootstrap
}

logged() {
	local log=$STORE/$1.log
	if ! "$@" </dev/null >"$log" 2>&1 8>&-; then
		tail -n 15 "$log" >&2
		die "$1 failed; all it said is in $log"
	fi
}

# http_mirror makes one mirror of a list of mirrors, which debootstrap does not
# understand.
http_mirror() {
	local mirror list
	mirror=$(debian_mirror)
	case $mirror in
		mirror+file:*)
			list=$(printf '%s' "${mirror#mirror+file:}" | sed 's,^//*,/,; s,/$,,')
			mirror=$(awk '/^https?:/ { print $1; exit }' "$list")
			;;
	esac
	printf '%s' "$mirror"
}

# --- the copy

# make_copy takes a lock that says "in use" and goes with this process. The copy
# is a layer over the pristine system; where that cannot be, a real one.
make_copy() {
	RUN=$(mktemp -d "$STORE/run.XXXXXX")
	exec 7>"$RUN.lock"
	flock 7
	exec 8>&-
	COPY=$RUN/changes
	chmod 755 "$RUN"
	mkdir "$COPY" "$RUN/work" "$RUN/root"
	if ! unshare --mount --propagation private "$0" --layer "$RUN" 2>/dev/null; then
		rmdir "$RUN/work"
		cp -a --reflink=auto "$BASE/." "$COPY"
	fi
}

layer() {
	mount -t overlay -o "lowerdir=$BASE,upperdir=$1/changes,workdir=$1/work" overlay "$1/root"
}

remove_leftovers() {
	local run
	for run in "$STORE"/run.??????; do
		[ -d "$run" ] || continue
		if [ ! -e "$run.lock" ] || flock -n "$run.lock" true; then
			rm -rf --one-file-system "$run" "$run.lock"
		fi
	done
}

# remove_copy: the mounts were in a namespace of their own and are gone with its
# last process, so nothing of this machine can be reached through the copy.
remove_copy() {
	[ -n "$RUN" ] || return 0
	# What was killed a moment ago may still write.
	rm -rf --one-file-system "$RUN" 2>/dev/null || { sleep 1; rm -rf --one-file-system "$RUN"; }
	rm -f "$RUN.lock"
}

# carry_network ROOT gives a system this machine's way to the network.
carry_network() {
	local root=$1 mirror uri suite list=$1/etc/apt/sources.list name file
	mirror=$(http_mirror)
	mkdir -p "$root/etc/apt/apt.conf.d" "$root/etc/ssl/certs" "$root/usr/local/share/ca-certificates"
	cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
	printf 'deb %s bookworm main\n' "$mirror" >"$list"
	repositories | while IFS='|' read -r uri suite; do
		case $uri:$suite in
			http*:bookworm-updates | http*:bookworm-security) printf 'deb %s %s main\n' "$uri" "$suite" ;;
		esac
	done >>"$list"
	apt-config dump | grep -E '^Acquire::(https?|Check-|Retries|ForceIPv)' >"$root/etc/apt/apt.conf.d/90host" || true
	# The bundle as it is here, for what runs before ca-certificates is installed,
	# and what an administrator added to it, for when it is made anew.
	cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" 2>/dev/null || true
	cp -rL /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
	for name in "${CERTIFICATES[@]}"; do
		file=${!name:-}
		if [ -f "$file" ] && [ ! -e "$root$file" ]; then
			mkdir -p "$root$(dirname "$file")"
			cp -L "$file" "$root$file"
		fi
	done
}
