package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTrouble: an installation that cannot work says why, over HTTP and on the command line in
// the same words, starts nothing and leaves nothing half written.
func TestTrouble(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	cases := []struct {
		name   string
		config func() string // the text of barback.toml
		before func()
		status int
		says   string
	}{
		{"no Barman", func() string { return l.text(l.state, "/nonexistent/barman", l.env["LAB_BARMAN_CONF"]) }, nil, 503, "Barman is not installed"},
		{"a Barman that hangs", func() string { return l.text(l.state, l.dir+"/hang", l.env["LAB_BARMAN_CONF"]) },
			func() { l.program("hang", "#!/bin/sh\nsleep 300\n") }, 503, "did not end within"},
		{"a Barman that fails", func() string { return l.text(l.state, l.dir+"/fail", l.env["LAB_BARMAN_CONF"]) },
			func() { l.program("fail", "#!/bin/sh\necho broken python >&2\nexit 1\n") }, 503, "broken python"},
		{"no configuration of Barman", func() string { return l.text(l.state, l.env["LAB_BARMAN"], "/nonexistent/barman.conf") }, nil, 503, "/nonexistent/barman.conf: no such file"},
		{"the state directory is missing", func() string { return l.text("/nonexistent/state", l.env["LAB_BARMAN"], l.env["LAB_BARMAN_CONF"]) }, nil, 503, "state directory /nonexistent/state: no such file"},
		{"the state directory is not writable", func() string { return l.text(l.dir+"/readonly", l.env["LAB_BARMAN"], l.env["LAB_BARMAN_CONF"]) },
			func() { l.must(l.command("mkdir", "-m", "555", l.dir+"/readonly")) }, 503, "permission denied"},
		{"an unknown key", func() string { return l.text(l.state, l.env["LAB_BARMAN"], l.env["LAB_BARMAN_CONF"]) + "colour = 1\n" }, nil, 503, "line 6: unknown key barman.colour"},
		{"a configuration that is not TOML", func() string { return "state_dir = \n" }, nil, 503, "line 1"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			l := *l
			l.t, l.config = t, filepath.Join(l.dir, fmt.Sprintf("trouble-%d.toml", time.Now().UnixNano()))
			if err := os.WriteFile(l.config, []byte(tc.config()), 0o644); err != nil { // #nosec G306 -- user barman reads it
				t.Fatal(err)
			}
			if tc.before != nil {
				tc.before()
			}
			records := l.records()
			url, _ := l.serve()
			res := client{t, url}.do("POST", "/servers/pg-one/operations", `{"type":"config_switch","reset":true}`)
			if res.StatusCode != tc.status || !strings.Contains(string(res.body), tc.says) {
				t.Errorf("POST = %d %s\nwant %d with %q", res.StatusCode, res.body, tc.status, tc.says)
			}
			wellFormed(t, res)
			out, err := l.command(l.bin, "config", "check", "--config", l.config).CombinedOutput()
			if err == nil || !strings.Contains(string(out), tc.says) {
				t.Errorf("barback config check: %v\n%s\nwant a failure with %q", err, out, tc.says)
			}
			if now := l.records(); strings.Join(now, " ") != strings.Join(records, " ") {
				t.Errorf("records before %v, after %v", records, now)
			}
		})
	}
}

// program puts a script into the lab.
func (l *lab) program(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o755); err != nil { // #nosec G306 -- a program
		l.t.Fatal(err)
	}
}

func (l *lab) text(state, barman, conf string) string {
	return fmt.Sprintf("state_dir = %q\naudit.file = %q\n[barman]\ncommand = %q\nconfig = %q\n", state, l.dir+"/audit.log", barman, conf)
}

// records lists what lies in the store, drafts too.
func (l *lab) records() []string {
	paths, _ := filepath.Glob(l.state + "/operations/*")
	drafts, _ := filepath.Glob(l.state + "/operations/.*")
	active, _ := filepath.Glob(l.state + "/active/*")
	return append(append(paths, drafts...), active...)
}

// TestHostileInput: nothing that a client sends reaches Barman as an option, a shell or another
// path, and what is refused leaves no record.
func TestHostileInput(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	url, _ := l.serve()
	c := client{t, url}
	c.mustEnd(c.post("/servers/pg-one/operations", `{"type":"backup","wait":true}`), "succeeded")
	if err := os.WriteFile(l.dir+"/barman.d/passive.conf", []byte("[pg-passive]\nprimary_ssh_command = ssh barman@primary\n"), 0o644); err != nil { // #nosec G306 -- user barman reads it
		t.Fatal(err)
	}
	l.must(l.command("ln", "-s", l.env["LAB_BARMAN_HOME"], l.dir+"/link"))
	records := l.records()
	recovery := func(id, dest, ssh string) string {
		return fmt.Sprintf(`{"backup_id":%q,"destination_directory":%q,"remote_ssh_command":%q}`, id, dest, ssh)
	}
	ok := "ssh barman@127.0.0.1"
	cases := []struct {
		name, path, body string
		status           int
	}{
		{"backup ID as option", "/servers/pg-one/operations", recovery("--help", "/tmp/x", ok), 400},
		{"backup ID as path", "/servers/pg-one/operations", recovery("../../x", "/tmp/x", ok), 404},
		{"destination as option", "/servers/pg-one/operations", recovery("latest", "--help", ok), 400},
		{"destination as option with path", "/servers/pg-one/operations", recovery("latest", "-x/y", ok), 400},
		{"destination not absolute", "/servers/pg-one/operations", recovery("latest", "x/y", ok), 400},
		{"destination with dots", "/servers/pg-one/operations", recovery("latest", "/tmp/../etc", ok), 400},
		{"destination with a shell's words", "/servers/pg-one/operations", recovery("latest", "/tmp/$(id)", ok), 400},
		{"destination /", "/servers/pg-one/operations", recovery("latest", "/", ok), 400},
		{"destination in Barman's home", "/servers/pg-one/operations", recovery("latest", l.env["LAB_BARMAN_HOME"]+"/pg-one", ok), 422},
		{"destination above Barman's home", "/servers/pg-one/operations", recovery("latest", l.dir, ok), 422},
		{"ssh is a shell", "/servers/pg-one/operations", recovery("latest", "/tmp/x", "sh -c id>/tmp/barback-proof"), 422},
		{"ssh with a second command", "/servers/pg-one/operations", recovery("latest", "/tmp/x", "ssh a@b; id"), 422},
		{"ssh with ProxyCommand", "/servers/pg-one/operations", recovery("latest", "/tmp/x", "ssh -oProxyCommand=id a@b"), 422},
		{"ssh host as option", "/servers/pg-one/operations", recovery("latest", "/tmp/x", "ssh -oX=y"), 422},
		{"ssh with a newline", "/servers/pg-one/operations", recovery("latest", "/tmp/x", "ssh\nid>/tmp/barback-proof"), 400},
		{"ssh with a newline before a program", "/servers/pg-one/operations", recovery("latest", "/tmp/x", "ssh -i\n/tmp/evil h"), 400},
		{"ssh with a tab", "/servers/pg-one/operations", recovery("latest", "/tmp/x", "ssh\ta@b"), 400},
		{"destination in barback's state", "/servers/pg-one/operations", recovery("latest", l.state+"/operations/x", ok), 422},
		{"destination in Barman's home by a link", "/servers/pg-one/operations", recovery("latest", l.dir+"/link/x", ok), 422},
		{"a tablespace that the backup has not", "/servers/pg-one/operations", `{"backup_id":"latest","destination_directory":"/tmp/x","local":true,"tablespaces":{"x":"/tmp/y"}}`, 400},
		{"tablespaces of the wrong type", "/servers/pg-one/operations", `{"backup_id":"latest","destination_directory":"/tmp/x","local":true,"tablespaces":[1]}`, 400},
		{"a passive server", "/servers/pg-passive/operations", `{"type":"backup"}`, 409},
		{"ssh empty", "/servers/pg-one/operations", recovery("latest", "/tmp/x", ""), 422},
		{"model as option", "/servers/pg-one/operations", `{"type":"config_switch","model_name":"--reset"}`, 400},
		{"name as option", "/servers/pg-one/operations", `{"type":"backup","name":"-x"}`, 400},
		{"name with a newline", "/servers/pg-one/operations", `{"type":"backup","name":"a\nb"}`, 400},
		{"bwlimit below zero", "/servers/pg-one/operations", `{"type":"backup","bwlimit":-1}`, 400},
		{"reuse_backup unknown", "/servers/pg-one/operations", `{"type":"backup","reuse_backup":"copy;id"}`, 400},
		{"server as path", "/servers/..%2fpg-one/operations", `{"type":"backup"}`, 400},
		{"server as option", "/servers/--help/operations", `{"type":"backup"}`, 404},
		{"server all", "/servers/all/operations", `{"type":"backup"}`, 404},
		{"changes with an object inside", "/operations", `{"type":"config_update","changes":[{"scope":{"a":1}}]}`, 400},
		{"changes with a number", "/operations", `{"type":"config_update","changes":[{"scope":"server","server_name":"pg-one","description":5}]}`, 400},
		{"changes with null", "/operations", `{"type":"config_update","changes":[{"scope":"server","server_name":"pg-one","description":null}]}`, 400},
		{"changes with a scope that Barman ignores", "/operations", `{"type":"config_update","changes":[{"scope":"sever","server_name":"pg-one"}]}`, 400},
		{"changes of a server that is not there", "/operations", `{"type":"config_update","changes":[{"scope":"server","server_name":"nope","description":"x"}]}`, 400},
		{"changes of no server", "/operations", `{"type":"config_update","changes":[{"scope":"server","description":"x"}]}`, 400},
		{"changes a string", "/operations", `{"type":"config_update","changes":"--help"}`, 400},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			res := client{t, url}.do("POST", tc.path, tc.body)
			if res.StatusCode != tc.status {
				t.Errorf("POST %s %s = %d %s\nwant %d", tc.path, tc.body, res.StatusCode, res.body, tc.status)
			}
			wellFormed(t, res)
		})
	}
	if now := l.records(); len(now) != len(records) {
		t.Errorf("refused requests left records: before %v, after %v", records, now)
	}
	if _, err := os.Stat("/tmp/barback-proof"); err == nil {
		t.Error("a command of the client was run")
	}
}

// TestAccess: nobody may anything but GET /status until an administrator says so, and a
// refusal starts nothing.
func TestAccess(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	l.must(l.command(l.bin, "user", "remove", "--config", l.config, "anonymous"))
	url, _ := l.serve()
	c := client{t, url}
	get := func(method, path, body string, want int) {
		t.Helper()
		res := c.do(method, path, body)
		if res.StatusCode != want {
			t.Errorf("%s %s = %d %s, want %d", method, path, res.StatusCode, res.body, want)
		}
		if want == http.StatusUnauthorized && res.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s: 401 without WWW-Authenticate", method, path)
		}
	}
	get("GET", "/status", "", 200)
	for _, path := range []string{"/status?deep=1", "/version", "/servers", "/operations", "/servers/pg-one/operations", "/servers/nope/operations", "/servers/pg-one/operations/20260101T000000-000000"} {
		get("GET", path, "", 401)
	}
	get("POST", "/servers/pg-one/operations", `{"type":"backup"}`, 401)
	get("POST", "/servers/nope/operations", `{"type":"backup"}`, 401)
	if len(l.records()) != 0 {
		t.Errorf("a refused POST left %v", l.records())
	}
	l.must(l.command(l.bin, "user", "allow", "--config", l.config, "anonymous", "servers/pg-one/operations/backup", "GET servers/pg-*"))
	path := c.post("/servers/pg-one/operations", `{"type":"backup"}`)
	get("GET", path, "", 200)
	get("POST", "/servers/pg-one/operations", `{"type":"recovery","backup_id":"latest","destination_directory":"/tmp/x","local":true}`, 401)
	get("POST", "/servers/pg-two/operations", `{"type":"backup"}`, 401)
	get("GET", "/servers/pg-two/operations", "", 200)
	l.must(l.command(l.bin, "user", "deny", "--config", l.config, "anonymous", "servers/pg-one"))
	get("GET", path, "", 401)
	l.must(l.command(l.bin, "user", "allow", "--config", l.config, "anonymous", "GET operations"))
	if body := string(c.do("GET", "/operations?scope=all", "").body); strings.Contains(body, `"backup"`) {
		t.Errorf("an operation that is denied by name is listed under scope=all: %s", body)
	}
	c.t = t
	l.must(l.command(l.bin, "user", "remove", "--config", l.config, "anonymous"))
	eventually(t, 60*time.Second, func() string { return "the backup goes on" }, func() bool {
		return len(processes(t, "BARBACK_OPERATION="+filepath.Base(path))) == 0
	})
}

// TestMounted: base_path is taken off requests and put on links.
func TestMounted(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	l.configure(`base_path = "/backup/api"`)
	url, _ := l.serve()
	c := client{t, url + "/backup/api"}
	if res := c.do("GET", "/status", ""); string(res.body) != `"OK"` {
		t.Errorf("GET /backup/api/status = %d %s", res.StatusCode, res.body)
	}
	for _, path := range []string{"/status", "/backup/apistatus", "/backup/apix/status"} {
		if res := (client{t, url}).do("GET", path, ""); res.StatusCode != 404 {
			t.Errorf("GET %s = %d, want 404: it is not below the mount point", path, res.StatusCode)
		}
	}
	res := c.do("POST", "/servers/pg-one/operations", `{"type":"backup"}`)
	location := res.Header.Get("Location")
	if !strings.HasPrefix(location, "/backup/api/servers/pg-one/operations/") {
		t.Fatalf("Location = %q, want it below the mount point", location)
	}
	client{t, url}.mustEnd(location, "succeeded")
}

// TestIdleSocket: a socket-activated process goes away when nobody asks.
func TestIdleSocket(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	l.configure(`idle_timeout = "2s"`)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	l.activate(address, "http")
	if res := (client{t, "http://" + address}).do("GET", "/status", ""); res.StatusCode != 200 {
		t.Fatalf("GET /status = %d", res.StatusCode)
	}
	if len(l.programs(false)) == 0 {
		t.Fatal("no barback process answered")
	}
	eventually(t, 20*time.Second, func() string { return "the process is still there" }, func() bool {
		return len(l.programs(false)) == 0
	})
}
