package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner/operation"
)

// answerTime is how long a socket may take for GET /status, the start of barback included.
const answerTime = 10 * time.Second

// unit is what systemd knows of a socket of ours.
type unit struct {
	load, active, enabled string
	listen                []string
}

// socketUnits asks systemd; nil if it is not there, or does not run this host.
func socketUnits() map[string]unit {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemctl", "show", "-p", "Id", "-p", "LoadState", "-p", "ActiveState", "-p", "UnitFileState", "-p", "Listen",
		"barback.socket", "barback-fcgi.socket", "barback-runner.socket")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	units := map[string]unit{}
	for block := range strings.SplitSeq(string(out), "\n\n") {
		id, u := "", unit{}
		for line := range strings.Lines(block) {
			switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
			case "Id":
				id = value
			case "LoadState":
				u.load = value
			case "ActiveState":
				u.active = value
			case "UnitFileState":
				u.enabled = value
			case "Listen":
				u.listen = append(u.listen, strings.TrimSuffix(value, " (Stream)"))
			}
		}
		units[id] = u
	}
	return units
}

func (x *exam) socket(name string) string {
	return filepath.Join(filepath.Dir(x.cfg.Runner.Socket), name)
}

func (x *exam) httpSocket() string { return x.socket("http.sock") }

// lookSockets asks each door of systemd's for GET /status.
func (x *exam) lookSockets() []finding {
	list, open := []finding{}, 0
	for _, s := range []struct {
		name   string
		listen []string
	}{
		{"barback.socket", []string{"127.0.0.1:7480", "[::1]:7480", x.httpSocket()}},
		{"barback-fcgi.socket", []string{x.socket("fcgi.sock")}},
	} {
		u := x.units[s.name]
		if len(u.listen) > 0 {
			s.listen = u.listen
		}
		list = append(list, x.lookUnit(s.name, u)...)
		for _, address := range s.listen {
			f, used := x.lookAddress(s.name, u, address)
			if used {
				open++
			}
			list = append(list, f)
			if network(address) == "tcp" && used && !loopback(address) {
				list = append(list, x.warn("sockets", "systemctl revert "+s.name+" && systemctl restart "+s.name, "%s is open to other hosts without TLS: passwords and tokens pass in the clear. Listen on 127.0.0.1, and let others come through Apache", address)...)
			}
		}
	}
	if u := x.units["barback.socket"]; u.active != "active" {
		for _, address := range served(7480) {
			list = append(list, x.warn("sockets", "barback serve --listen 127.0.0.1:7480", "%s is open to other hosts without TLS: passwords and tokens pass in the clear. Let it listen on 127.0.0.1 (in a container: let a proxy with TLS be the only one who reaches it)", address)...)
		}
	}
	if open > 0 || len(x.apache.uses) > 0 {
		return list
	}
	if u := x.units["barback.socket"]; u.load == "loaded" {
		return append(list, x.bad("sockets", "systemctl enable --now barback.socket barback-runner.socket", "barback listens nowhere")...)
	}
	return append(list, x.warn("sockets", x.us("serve"), "barback listens nowhere, and there is no systemd with its units: start it in a container's way, or through Apache")...)
}

// served lists the addresses beyond this host on which somebody listens on a port, as the kernel tells (proc(5), /proc/net/tcp).
func served(port int) (list []string) {
	for file, beyond := range map[string]func(string) bool{
		"/proc/net/tcp":  func(hex string) bool { return !strings.HasSuffix(hex, "7F") },
		"/proc/net/tcp6": func(hex string) bool { return hex != "00000000000000000000000001000000" },
	} {
		data, _ := os.ReadFile(file) // #nosec G304 -- the two above
		for line := range strings.Lines(string(data)) {
			f := strings.Fields(line)
			if len(f) < 4 || f[3] != "0A" { // TCP_LISTEN
				continue
			}
			if host, p, _ := strings.Cut(f[1], ":"); p == fmt.Sprintf("%04X", port) && beyond(host) {
				list = append(list, fmt.Sprintf("port %d (%s)", port, filepath.Base(file)))
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// lookUnit says what systemd says of a unit that is not well.
func (x *exam) lookUnit(name string, u unit) []finding {
	switch {
	case u.active == "failed":
		return x.bad("sockets", fmt.Sprintf("systemctl reset-failed %s && systemctl restart %s", name, name), "%s has failed (systemctl status %s)", name, name)
	case u.active == "active" && u.enabled == "disabled":
		return x.warn("sockets", "systemctl enable "+name, "%s is active, but will not be after a restart of this host", name)
	}
	return nil
}

func network(address string) string {
	if strings.HasPrefix(address, "/") {
		return "unix"
	}
	return "tcp"
}

func loopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// lookAddress connects to one address and asks; used says that there is something to connect to.
func (x *exam) lookAddress(name string, u unit, address string) (f finding, used bool) {
	say := func(status, remedy, format string, args ...any) (finding, bool) {
		return finding{"sockets", status, address + ": " + fmt.Sprintf(format, args...), remedy}, true
	}
	absent := func(format string, args ...any) (finding, bool) {
		f, _ := say(skipped, "", format, args...)
		return f, false
	}
	restart := "systemctl restart " + name
	if x.units == nil {
		restart = "rm " + quote(address)
	}
	who := ""
	if network(address) == "unix" {
		st, err := os.Stat(address)
		switch {
		case errors.Is(err, fs.ErrNotExist) && u.active == "active":
			return say(failed, restart, "systemd listens, but its socket is gone")
		case errors.Is(err, fs.ErrNotExist):
			return absent("not in use (systemctl enable --now %s)", name)
		case err != nil:
			return say(skipped, "", "it cannot be looked at: %v", err)
		case strings.HasPrefix(name, "barback-fcgi") && st.Mode()&0o006 != 0:
			return say(failed, "chmod o-rwx "+quote(address), "everybody on this host may connect and say who he is; Apache alone must")
		case strings.HasPrefix(name, "barback-fcgi") && x.apache.has("proxy-fcgi") && userName(st) != x.apache.user() && st.Mode()&0o060 != 0o060:
			return say(failed, "mkdir -p /etc/systemd/system/"+name+".d && printf '[Socket]\\nSocketUser="+x.apache.user()+"\\n' >/etc/systemd/system/"+name+".d/user.conf && systemctl daemon-reload && "+restart,
				"%s may connect, but Apache runs as %s", userName(st), x.apache.user())
		case st.Mode()&0o006 != 0:
			return say(warning, "chmod o-rwx "+quote(address), "everybody on this host may connect (mode %04o)", st.Mode().Perm())
		}
		who = fmt.Sprintf("; %s may connect (mode %04o, group %s)", userName(st), st.Mode().Perm(), groupName(st))
	}
	err := x.askStatus(name, address)
	foreign := foreignError("")
	switch {
	case err == nil:
		return say(fine, "", "barback answers%s", who)
	case errors.Is(err, fs.ErrPermission):
		return say(skipped, "", "user %s may not connect%s: run this as root", caller(), who)
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.ENETUNREACH):
		return absent("this host has no such address")
	case errors.Is(err, unix.ECONNREFUSED) && network(address) == "tcp" && u.active != "active":
		return absent("nobody listens (systemctl enable --now %s)", name)
	case errors.Is(err, unix.ECONNREFUSED):
		return say(failed, restart, "nobody listens behind it any more")
	case errors.As(err, &foreign):
		return say(failed, "systemctl disable --now pg-backup-api && systemctl restart "+name, "another program answers (ss -ltnp): %v", err)
	}
	return say(failed, "journalctl -n 20 -u barback.service", "no barback answers: %v", err)
}

// foreignError says what is no answer of barback's.
type foreignError string

func (e foreignError) Error() string { return string(e) }

// askStatus is GET /status, by HTTP or FastCGI.
func (x *exam) askStatus(name, address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network(address), address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(answerTime))
	if strings.HasPrefix(name, "barback-fcgi") {
		return askFastCGI(conn, x.cfg.BasePath+"/status")
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+x.cfg.BasePath+"/status", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 500))
	switch {
	case res.Header.Get("X-Request-Id") == "":
		return foreignError(fmt.Sprintf("GET /status is %s %q", res.Status, body))
	case string(body) != `"OK"`:
		return fmt.Errorf("GET /status is %s %s", res.Status, body)
	}
	return nil
}

// askFastCGI sends a GET as a web server would, in records of the FastCGI specification 1.0: BEGIN_REQUEST (1), PARAMS (4),
// STDIN (5); the answer comes in STDOUT (6).
func askFastCGI(conn net.Conn, path string) error {
	var out, params []byte
	record := func(kind byte, content []byte) {
		out = append(out, 1, kind, 0, 1, byte(len(content)>>8), byte(len(content)), 0, 0) // #nosec G115 -- far below 64 KiB
		out = append(out, content...)
	}
	for _, p := range [][2]string{{"REQUEST_METHOD", "GET"}, {"SERVER_PROTOCOL", "HTTP/1.1"}, {"HTTP_HOST", "localhost"}, {"REQUEST_URI", path}} {
		params = append(append(append(params, byte(len(p[0])), byte(len(p[1]))), p[0]...), p[1]...) // #nosec G115 -- far below 128
	}
	record(1, []byte{0, 1, 0, 0, 0, 0, 0, 0}) // role: responder
	record(4, params)
	record(4, nil)
	record(5, nil)
	if _, err := conn.Write(out); err != nil {
		return err
	}
	var body strings.Builder
	for head := make([]byte, 8); ; {
		if _, err := io.ReadFull(conn, head); err != nil {
			return err
		}
		content := make([]byte, int(binary.BigEndian.Uint16(head[4:]))+int(head[6]))
		if _, err := io.ReadFull(conn, content); err != nil {
			return err
		}
		if head[1] == 6 && body.Len() < 4096 {
			body.Write(content[:len(content)-int(head[6])])
		}
		if head[1] == 3 { // END_REQUEST
			break
		}
	}
	if !strings.HasSuffix(body.String(), `"OK"`) {
		return fmt.Errorf("GET /status is %q", body.String())
	}
	return nil
}

// lookRunnerSocket is the shared look at the runner's socket: without connecting.
func (x *exam) lookRunnerSocket() []finding {
	const check = "runner socket"
	path, u := x.cfg.Runner.Socket, x.units["barback-runner.socket"]
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && u.active == "active":
		return x.bad(check, "systemctl restart barback-runner.socket", "systemd listens, but its socket %s is gone", path)
	case u.active == "failed":
		return x.bad(check, "systemctl reset-failed barback-runner.socket && systemctl restart barback-runner.socket", "barback-runner.socket has failed")
	case errors.Is(err, fs.ErrNotExist) && u.load == "loaded":
		return x.warn(check, "systemctl enable --now barback-runner.socket", "%s is not there: runners are started as detached processes, which an Apache restart ends", path)
	case errors.Is(err, fs.ErrNotExist):
		return x.ok(check, "not there: runners are started as detached processes, which an Apache restart ends")
	case err != nil:
		return x.denied(check, x.openUp(path), err)
	case u.active == "active" && u.enabled == "disabled":
		return x.warn(check, "systemctl enable barback-runner.socket", "it is active, but will not be after a restart of this host")
	}
	return x.ok(check, "%s", path)
}

// lookRunner starts a runner, as for an operation, and hears what it says of itself.
func (x *exam) lookRunner() []finding {
	const check = "runner"
	st, err := os.Stat(x.cfg.StateDir)
	if err != nil {
		return x.skip(check, "not tried, as there is no state directory")
	}
	if !x.isOwner() {
		return x.skip(check, "only %s and root can try it", userName(st))
	}
	launcher := x.cfg.launcher(operation.At(x.cfg.StateDir))
	way, remedy := "as a detached process", x.us("config check")
	if _, err := os.Stat(launcher.Socket); err == nil {
		way, remedy = "through "+launcher.Socket, "journalctl -n 20 -t barback-runner"
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	proof, err := launcher.Try(ctx)
	switch {
	case errors.Is(err, unix.ECONNREFUSED) && x.units == nil:
		return x.bad(check, "rm "+quote(launcher.Socket), "nobody listens behind %s any more, and without systemd nobody will", launcher.Socket)
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrPermission):
		return x.bad(check, "systemctl restart barback-runner.socket", "started %s: %v", way, err)
	case err != nil:
		return x.bad(check, remedy, "started %s: %v", way, err)
	case proof.StateDir != x.cfg.StateDir:
		return x.bad(check, "systemctl edit barback-runner@.service", "it works in %s, and barback in %s: it has another configuration", proof.StateDir, x.cfg.StateDir)
	case proof.UID != os.Geteuid():
		return x.bad(check, "systemctl edit barback-runner@.service", "it runs as uid %d, and barback as %d", proof.UID, os.Geteuid())
	case proof.Version != version():
		return x.warn(check, "systemctl restart barback.socket barback-runner.socket", "it is of version %s, and this program of %s", proof.Version, version())
	}
	return x.ok(check, "one was started %s, and answered", way)
}
