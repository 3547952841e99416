# shellcheck shell=bash
# A newer PostgreSQL beside Debian 12's 15: increments of blocks need 17. Sourced by install, whose functions it uses.

NEWER_POSTGRESQL=17
NEWER_SUITE=trixie

missing_postgresql() {
	if [ -z "$(pg_bin "$NEWER_POSTGRESQL")" ]; then printf '%s' "$NEWER_POSTGRESQL"; fi
}

# install_postgresql unpacks it with the libraries that it needs, libc included, and has its programs use those: nothing
# is installed, and no other program ever sees those libraries. PostgreSQL finds its own files relative to the program.
install_postgresql() {
	local place=$LAB_CACHE/postgresql/$NEWER_POSTGRESQL new=$LAB_CACHE/postgresql/.new deb program wanted
	[ -n "$(missing_postgresql)" ] || return 0
	say "fetching PostgreSQL $NEWER_POSTGRESQL"
	rm -rf "$new"
	install -d -m 755 "$new" "$new/root"
	sources "$new/apt" "$NEWER_SUITE"
	# Of what it depends on, the libraries; JIT's would be half of all bytes.
	wanted=$(private_apt_prints "$new/apt" install -s --no-install-recommends "postgresql-$NEWER_POSTGRESQL" |
		sed -n 's/^Inst \([^ ]*\) .*/\1/p' | grep -E "^(lib.*|zlib1g|postgresql(-client)?-$NEWER_POSTGRESQL)\$" | grep -vE 'llvm|z3|perl')
	# shellcheck disable=SC2086 # a list
	(cd "$new/apt" && private_apt "$new/apt" download $wanted)
	for deb in "$new"/apt/*.deb; do dpkg -x "$deb" "$new/root"; done
	rm -rf "$new/apt"
	libraries=$(dirname "$(find "$new/root/usr/lib" -mindepth 2 -name 'libc.so.6' -print -quit)")
	libraries=$place/${libraries#"$new/"}
	for program in "$new/root/usr/lib/postgresql/$NEWER_POSTGRESQL"/bin/*; do
		case $(file -b "$program") in ELF*) ;; *) continue ;; esac
		patchelf --set-interpreter "$libraries/$(basename "$(patchelf --print-interpreter "$program")")" \
			--force-rpath --set-rpath "$libraries" "$program"
	done
	ln -s "root/usr/lib/postgresql/$NEWER_POSTGRESQL/bin" "$new/bin"
	rm -rf "$place"
	mv "$new" "$place"
	"$place/bin/postgres" --version >/dev/null || die "PostgreSQL $NEWER_POSTGRESQL does not run here"
}
