package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestPromises holds what was once broken and is easily broken again: each is a sentence
// that the README or an answer says.
func TestPromises(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	url, _ := l.serve()

	t.Run("a refused answer started nothing", func(t *testing.T) {
		c := client{t, url}
		if res := c.do("POST", backups, `{"type":"backup"}`, "Accept", "text/html"); res.StatusCode != 406 || len(l.records()) != 0 {
			t.Errorf("POST with Accept: text/html = %d, records %v; want 406 and none", res.StatusCode, l.records())
		}
	})
	t.Run("a wait that runs out tells how it stands now", func(t *testing.T) {
		c := client{t, url}
		res := c.do("POST", backups, `{"type":"backup","bwlimit":2000}`, "Prefer", "wait=5")
		if state := res.json(t)["state"]; state != "running" {
			t.Errorf("after wait=5 a longer backup is %v, want running", state)
		}
		c.wait(res.Header.Get("Location"))
	})
	t.Run("one unreadable backup hides no other server", func(t *testing.T) {
		c := client{t, url}
		list := c.do("GET", "/servers", "").json(t)["servers"].([]any)
		id := fmt.Sprint(list[1].(map[string]any)["last_backup"].(map[string]any)["backup_id"])
		info := l.env["LAB_BARMAN_HOME"] + "/pg-one/base/" + id + "/backup.info"
		if err := os.Chmod(info, 0); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Chmod(info, 0o644) }() // #nosec G302 -- as Barman made it
		res := c.do("GET", "/servers", "")
		if res.StatusCode != 200 || !strings.Contains(string(res.body), `"pg-two"`) || !strings.Contains(string(res.body), `"catalog_error"`) {
			t.Errorf("GET /servers = %d %s, want all servers, and catalog_error", res.StatusCode, res.body)
		}
	})
	t.Run("a users file that cannot be read lets nobody in, and hides no status", func(t *testing.T) {
		c := client{t, url}
		users := l.state + "/users.toml"
		good, err := os.ReadFile(users)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.WriteFile(users, good, 0o600) }()
		if err := os.WriteFile(users, []byte("[users.anonymous\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if res := c.do("GET", "/status", ""); string(res.body) != `"OK"` {
			t.Errorf("GET /status = %d %s, want OK", res.StatusCode, res.body)
		}
		for _, path := range []string{"/servers", "/operations", "/version"} {
			if res := c.do("GET", path, ""); res.StatusCode != 503 || !strings.Contains(string(res.body), "users.toml") {
				t.Errorf("GET %s = %d %s, want 503 that names users.toml", path, res.StatusCode, res.body)
			}
		}
	})
	t.Run("what root looks at stays barman's", func(t *testing.T) {
		state := l.dir + "/fresh-state"
		l.must(l.command("mkdir", "-m", "750", state))
		path := l.dir + "/fresh.toml"
		if err := os.WriteFile(path, []byte(l.text(state, l.env["LAB_BARMAN"], l.env["LAB_BARMAN_CONF"])), 0o644); err != nil { // #nosec G306
			t.Fatal(err)
		}
		check := l.command(l.bin, "config", "check", "--config", path)
		check.SysProcAttr = nil // as root
		l.must(check)
		l.must(l.command(l.bin, "config", "check", "--config", path))
		l.must(l.command(l.bin, "op", "start", "--config", path, "--server", "pg-two", "--wait", "backup"))
	})
	t.Run("a state directory that comes later is taken into use", func(t *testing.T) {
		l := *l
		l.t, l.config = t, l.dir+"/later.toml"
		if err := os.WriteFile(l.config, []byte(l.text(l.dir+"/later", l.env["LAB_BARMAN"], l.env["LAB_BARMAN_CONF"])), 0o644); err != nil { // #nosec G306
			t.Fatal(err)
		}
		url, _ := l.serve()
		c := client{t, url}
		if res := c.do("GET", "/status", ""); res.StatusCode != 503 {
			t.Errorf("GET /status without a state directory = %d %s, want 503", res.StatusCode, res.body)
		}
		l.must(l.command("mkdir", "-m", "750", l.dir+"/later"))
		if res := c.do("GET", "/status", ""); string(res.body) != `"OK"` {
			t.Errorf("GET /status when it is there = %d %s, want OK", res.StatusCode, res.body)
		}
	})
	t.Run("a folder is one folder however ssh is spelled", func(t *testing.T) {
		c := client{t, url}
		c.mustEnd(c.post(backups, `{"type":"backup","wait":true}`), "succeeded")
		body := func(ssh string) string {
			return fmt.Sprintf(`{"backup_id":"latest","destination_directory":%q,"remote_ssh_command":%q,"bwlimit":4000}`, l.dir+"/restored", ssh)
		}
		path := c.post(backups, body(l.env["LAB_SSH_COMMAND"]))
		conflict(t, c.do("POST", backups, body(strings.Replace(l.env["LAB_SSH_COMMAND"], "ssh ", "ssh -q ", 1))), path)
		c.mustEnd(path, "succeeded")
	})
}

// TestTablespaces: Barman restores a tablespace over the place it came from; barback does not,
// unless it is moved, or the client gives up what is there.
func TestTablespaces(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"pg-one", "pg-two"} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "sid")
			url, _ := l.serve()
			c := client{t, url}
			at := "/servers/" + server + "/operations"
			l.must(l.command("mkdir", "-m", "700", l.dir+"/live"))
			l.psql(l.env["LAB_PG_SOCKET"], "CREATE TABLESPACE fast LOCATION '"+l.dir+"/live'")
			l.psql(l.env["LAB_PG_SOCKET"], "CREATE TABLE precious TABLESPACE fast AS SELECT generate_series(1, 1000) AS n")
			c.mustEnd(c.post(at, `{"type":"backup","wait":true}`), "succeeded")
			body := func(more string) string {
				return fmt.Sprintf(`{"backup_id":"latest","destination_directory":%q,"local":true%s}`, l.dir+"/restored", more)
			}
			if res := c.do("POST", at, body("")); res.StatusCode != 422 || !strings.Contains(string(res.body), l.dir+"/live") {
				t.Errorf("a recovery over a live tablespace = %d %s, want 422 that names its folder", res.StatusCode, res.body)
			}
			if res := c.do("POST", at, body(`,"tablespaces":{"fast":"/"}`)); res.StatusCode != 400 {
				t.Errorf("a tablespace moved to / = %d %s, want 400", res.StatusCode, res.body)
			}
			l.must(l.command("sh", "-c", "mkdir "+l.dir+"/full && touch "+l.dir+"/full/x"))
			if op := c.wait(c.post(at, body(fmt.Sprintf(`,"tablespaces":{"fast":%q}`, l.dir+"/full")))); !strings.Contains(fmt.Sprint(op["error"]), "not empty") {
				t.Errorf("a tablespace moved to a folder with files = %v %v, want failed: not empty", op["state"], op["error"])
			}
			c.mustEnd(c.post(at, body(fmt.Sprintf(`,"tablespaces":{"fast":%q}`, l.dir+"/moved"))), "succeeded")
			if got := l.psql(l.env["LAB_PG_SOCKET"], "SELECT count(*) FROM precious"); got != "1000" {
				t.Errorf("the live table has %s rows after the restore, want 1000", got)
			}
			if files, _ := os.ReadDir(l.dir + "/moved"); len(files) == 0 {
				t.Error("nothing was restored to the tablespace's new folder")
			}
		})
	}
}

// TestInterruptedRsync: Barman's catalog says FAILED after an rsync backup was canceled or its runner
// killed in mid-copy, on each version.
func TestInterruptedRsync(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, suite)
			url, _ := l.serve()
			c := client{t, url}
			const at = "/servers/pg-two/operations"
			c.mustEnd(c.post(at, `{"type":"backup","wait":true}`), "succeeded")
			for _, how := range []string{"cancel", "kill"} {
				path := c.post(at, `{"type":"backup","bwlimit":1500,"reuse_backup":"off"}`)
				eventually(t, 30*time.Second, func() string { return "no rsync copies yet" }, func() bool {
					for _, line := range processes(t, "BARBACK_OPERATION="+path[strings.LastIndex(path, "/")+1:]) {
						if strings.Contains(line, "rsync") && strings.Contains(line, "--bwlimit=1500") && !strings.Contains(line, "python") {
							return true
						}
					}
					return false
				})
				state := "canceled"
				if how == "cancel" {
					c.do("POST", path+"/cancel", "")
				} else {
					kill(t, l.programs(true)...)
					state = "interrupted"
				}
				c.mustEnd(path, state)
				mustBeGone(t, path)
				list := l.must(l.command(l.env["LAB_BARMAN"], "-c", l.env["LAB_BARMAN_CONF"], "list-backups", "pg-two"))
				if strings.Contains(list, "STARTED") {
					t.Errorf("after %s Barman's catalog says STARTED:\n%s", how, list)
				}
			}
			c.mustEnd(c.post(at, `{"type":"backup"}`), "succeeded")
		})
	}
}
