# shellcheck shell=bash disable=SC2016 # scripts in quotes are for the machine's shell
# Nobody asks, and nobody is there. Sourced by test.

part_idle() {
	if [ -n "$SHORT" ]; then idle_timeout 2s; fi
	check "GET /servers is answered" api GET /servers
	check "then a barback process is there" m pgrep -x barback
	check "it is gone when nobody asked for the idle timeout (${SHORT:+made }${SHORT:-60} s${SHORT:+hort})" eventually 75 none
	check "no unit of barback is running then, and none is failed" sh_m '[ -z "$(systemctl list-units --plain --no-legend --state=active,failed "barback*.service")" ]'
	check "the next request is answered" api GET /servers
	if [ -n "$SHORT" ]; then idle_timeout 60s; fi
}

# idle_timeout changes it in the configuration, for the processes to come.
idle_timeout() {
	sh_m 'sed -i "s/^idle_timeout = .*/idle_timeout = \"$1\"/" /etc/barback/barback.toml; systemctl stop barback.service' "$1"
}

none() {
	sh_m '! pgrep -x barback >/dev/null'
}
