# shellcheck shell=bash disable=SC2016 # scripts in quotes are for the machine's shell
# One activation after the other. Sourced by test.

part_many() {
	local times=1000
	if [ -n "$SHORT" ]; then times=100; fi
	idle_timeout 1ms
	check "each of $times requests, one after the other, starts a barback and is answered" activations "$times"
	check "and so is the next one; no unit is failed" sh_m '[ "$(curl -sS http://127.0.0.1:7480/status)" = "\"OK\"" ]
		systemctl is-active barback.socket; [ -z "$(systemctl list-units --failed --plain --no-legend)" ]'
	idle_timeout 60s
}

# activations waits after each answer until that barback has gone. systemd's own count tells that each was a new one.
activations() {
	sh_m 'cursor=$(journalctl -q -n 1 -o export | sed -n "s/^__CURSOR=//p")
		for _ in $(seq "$1"); do
			[ "$(curl -sS -m 10 http://127.0.0.1:7480/status)" = "\"OK\"" ] || { journalctl -u barback.service -n 12 --no-pager -o short-precise; exit 1; }
			while systemctl is-active --quiet barback.service; do sleep 0.005; done
		done
		journalctl --sync
		n=$(journalctl -q --after-cursor="$cursor" -u barback.service -o cat _PID=1 | grep -c "^Started barback.service")
		echo "$n were started"; [ "$n" -ge "$1" ]' "$1"
}
