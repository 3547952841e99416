package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestSeveralHosts has one barback in front of three Barman hosts: one behind ssh with the lab's servers, this machine with two of
// its own, of which one has a name that the first has, too, and one that is gone.
func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	l := newLab(t, "sid")
	server := func(name string) string {
		return fmt.Sprintf("[%s]\ndescription = of the second\nconninfo = host=%s user=barman dbname=postgres\nstreaming_conninfo = host=%[2]s user=streaming_barman\nbackup_method = postgres\narchiver = on\n",
			name, l.env["LAB_PG_SOCKET"])
	}
	conf := fmt.Sprintf("[barman]\nbarman_user = barman\nbarman_home = %s/second\nlog_file = %[1]s/second.log\npath_prefix = %s\n%s%s", l.dir, l.env["LAB_PG_BIN"], server("pg-one"), server("pg-own"))
	if err := os.WriteFile(l.dir+"/second.conf", []byte(conf), 0o644); err != nil { // #nosec G306 -- user barman reads it
		t.Fatal(err)
	}
	l.must(l.command("mkdir", l.dir+"/second"))
	hosts := l.withBarman("hosts", fmt.Sprintf("command = %q\n[[barman.host]]\nname = \"far\"\nssh = %q\nconfig = %q\n[[barman.host]]\nname = \"here\"\nconfig = %q\n[[barman.host]]\nname = \"gone\"\nssh = %q\n",
		l.env["LAB_BARMAN"], l.env["LAB_SSH_COMMAND"], l.env["LAB_BARMAN_CONF"], l.dir+"/second.conf",
		strings.Replace(l.env["LAB_SSH_COMMAND"], l.env["LAB_SSH_PORT"], fmt.Sprint(freePort(t)), 1)))
	url, _ := hosts.serve()
	c := client{t, url}

	t.Run("the servers with their hosts", func(t *testing.T) {
		got := c.do("GET", "/servers", "").json(t)
		var names []string
		for _, s := range got["servers"].([]any) {
			s := s.(map[string]any)
			names = append(names, fmt.Sprintf("%v on %v at %v", s["name"], s["host"], s["links"].(map[string]any)["self"]))
		}
		want := []string{"far:pg-off on far at /servers/far:pg-off", "far:pg-one on far at /servers/far:pg-one", "far:pg-two on far at /servers/far:pg-two",
			"here:pg-one on here at /servers/here:pg-one", "here:pg-own on here at /servers/here:pg-own"}
		if !slices.Equal(names, want) {
			t.Errorf("GET /servers has %q, want %q", names, want)
		}
		if s := fmt.Sprint(got["hosts"]); !strings.Contains(s, "name:gone") || strings.Count(s, "<nil>") != 2 || !strings.Contains(s, "Connection refused") {
			t.Errorf("of its hosts it says %v, want what is wrong with the one that is gone", s)
		}
	})
	t.Run("versions and diagnoses", func(t *testing.T) {
		if s := fmt.Sprint(c.do("GET", "/version", "").json(t)["hosts"]); strings.Count(s, "barman:"+l.env["LAB_BARMAN_VERSION"]) != 2 || !strings.Contains(s, "Connection refused") {
			t.Errorf("GET /version: hosts = %s", s)
		}
		if got := c.do("GET", "/version?host=here", "").json(t); got["barman"] != l.env["LAB_BARMAN_VERSION"] || got["operations"] == nil {
			t.Errorf("GET /version?host=here = %v", got)
		}
		for path, status := range map[string]int{"/diagnose": 400, "/diagnose?host=nowhere": 400, "/diagnose?host=gone": 502, "/diagnose?host=here": 200, "/diagnose?host=far": 200} {
			if res := c.do("GET", path, ""); res.StatusCode != status || status == 400 && !strings.Contains(string(res.body), "far, here, gone") {
				t.Errorf("GET %s = %d %.300s, want %d", path, res.StatusCode, res.body, status)
			}
		}
		if res := c.do("GET", "/status?deep=1", ""); res.StatusCode != 503 || !strings.Contains(string(res.body), `on gone: `) || !strings.Contains(string(res.body), `on far: version `) {
			t.Errorf("GET /status?deep=1 = %d %s, want 503 and what is with each host", res.StatusCode, res.body)
		}
	})
	t.Run("names", func(t *testing.T) {
		for path, want := range map[string]struct {
			status int
			says   string
		}{
			"/servers/pg-one":                     {409, "far:pg-one, here:pg-one"},
			"/servers/pg-one/backups":             {409, "far:pg-one, here:pg-one"},
			"/servers/pg-one/operations":          {409, "far:pg-one, here:pg-one"},
			"/servers/here:pg-one":                {200, `"of the second"`},
			"/servers/far:pg-one":                 {200, "Lab one"},
			"/servers/here:pg-two":                {404, "here:pg-two"},
			"/servers/elsewhere:pg-one":           {502, "HOST:elsewhere:pg-one"},
			"/servers/gone:pg-one":                {502, "Connection refused"},
			"/servers/gone:pg-one/operations":     {200, "[]"},
			"/servers/pg-own":                     {502, "write HOST:pg-own"}, // the host that is gone may have one, too
			"/servers/here:pg-own/backups/latest": {404, "latest"},
		} {
			if res := c.do("GET", path, ""); res.StatusCode != want.status || !strings.Contains(string(res.body), want.says) {
				t.Errorf("GET %s = %d %s, want %d with %q", path, res.StatusCode, res.body, want.status, want.says)
			}
		}
	})
	t.Run("operations", func(t *testing.T) {
		op := c.mustEnd(c.post("/servers/far:pg-one/operations", `{"type":"backup","wait":true}`), "succeeded")
		if id, status := madeBackup(op); status != "DONE" || id == "" || op["server"] != "far:pg-one" || op["host"] != "far" {
			t.Errorf("the backup = %v, want DONE on far", op)
		}
		op = c.mustEnd(c.post("/servers/here:pg-own/operations", `{"type":"rebuild_xlogdb"}`), "succeeded")
		if command := fmt.Sprint(op["command"]); op["host"] != "here" || !strings.Contains(command, l.dir+"/second.conf rebuild-xlogdb pg-own") {
			t.Errorf("the operation = %v, want one on here", op)
		}
		for body, status := range map[string]int{`{"type":"cron"}`: 400, `{"type":"cron","host":"nowhere"}`: 400, `{"type":"cron","host":"gone"}`: 202, `{"type":"cron","host":"far"}`: 202} {
			res := c.do("POST", "/operations", body)
			if res.StatusCode != status || status == 400 && !strings.Contains(string(res.body), "far, here, gone") {
				t.Errorf("POST %s = %d %s, want %d", body, res.StatusCode, res.body, status)
			}
			if res.StatusCode == 202 {
				c.mustEnd("/operations/"+res.json(t)["operation_id"].(string), map[bool]string{true: "succeeded", false: "failed"}[strings.Contains(body, "far")])
			}
		}
		out := l.must(l.command(l.bin, "op", "start", "--config", hosts.config, "--server", "here:pg-one", "--wait", "rebuild_xlogdb"))
		if !strings.Contains(out, "succeeded") {
			t.Errorf("op start of here:pg-one prints %q", out)
		}
		if out, err := l.command(l.bin, "op", "start", "--config", hosts.config, "--server", "pg-one", "rebuild_xlogdb").CombinedOutput(); err == nil || !strings.Contains(string(out), "far:pg-one, here:pg-one") {
			t.Errorf("op start of pg-one = %v %s, want the choices", err, out)
		}
	})
	t.Run("permissions", func(t *testing.T) {
		allow := func(patterns ...string) {
			t.Helper()
			l.must(l.command(l.bin, "user", "remove", "--config", hosts.config, "anonymous"))
			l.must(l.command(l.bin, append([]string{"user", "allow", "--config", hosts.config, "anonymous"}, patterns...)...))
		}
		status := func(path string) int { return c.do("GET", path, "").StatusCode }
		allow("servers/here:pg-one")
		for path, want := range map[string]int{"/servers/here:pg-one": 200, "/servers/pg-one": 200, "/servers/far:pg-one": 401, "/servers/pg-two": 401, "/servers/pg-none": 401} {
			if got := status(path); got != want {
				t.Errorf("who may see here:pg-one alone gets %d for %s, want %d", got, path, want)
			}
		}
		if got := c.do("GET", "/servers/pg-one", "").json(t)["name"]; got != "here:pg-one" {
			t.Errorf("who may see here:pg-one alone gets %v for pg-one", got)
		}
		allow("servers/pg-one", "servers/pg-one/backups", "servers/pg-two")
		for _, path := range []string{"/servers/far:pg-one", "/servers/here:pg-one", "/servers/pg-one/backups", "/servers/pg-two"} {
			if got := status(path); got != 401 && got != 404 {
				t.Errorf("who may see names without a host gets %d for %s, want 401 or 404", got, path)
			}
		}
	})
}
