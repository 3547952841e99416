package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestThreeBarmans does the main job, and what only newer ones can, with Debian 13's
// Barman and the newest; TestDoors has Debian 12's.
func TestThreeBarmans(t *testing.T) {
	for _, suite := range []string{"trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			l := newLab(t, suite)
			url, _ := l.serve()
			c := client{t, url}
			version := c.do("GET", "/version", "").json(t)
			if version["barman"] != l.env["LAB_BARMAN_VERSION"] {
				t.Errorf("GET /version says Barman %v, want %s", version["barman"], l.env["LAB_BARMAN_VERSION"])
			}
			mainJob(t, l, client{t, url})
			t.Run("latest is resolved when it is asked for", func(t *testing.T) { latest(t, l, client{t, url}) })
			t.Run("a local recovery", func(t *testing.T) { localRecovery(t, l, client{t, url}) })
			t.Run("config_switch", func(t *testing.T) { configSwitch(t, client{t, url}) })
			t.Run("config_update", func(t *testing.T) { configUpdate(t, l, client{t, url}) })
			t.Run("the servers and the catalog are Barman's own", func(t *testing.T) { sameAsBarman(t, l, client{t, url}) })
		})
	}
}

func latest(t *testing.T, l *lab, c client) {
	c.t = t
	body := fmt.Sprintf(`{"type":"recovery","backup_id":"latest","destination_directory":%q,"remote_ssh_command":%q}`, l.dir+"/restored-latest", l.env["LAB_SSH_COMMAND"])
	op := c.mustEnd(c.post("/servers/pg-one/operations", body), "succeeded")
	id := op["result"].(map[string]any)["backup_id"].(string)
	if id == "latest" || !strings.Contains(fmt.Sprint(op["command"]), id) {
		t.Errorf("latest became %q in %v, want the ID of the backup, in the command too", id, op["command"])
	}
}

func localRecovery(t *testing.T, l *lab, c client) {
	dest := l.dir + "/restored-local"
	body := fmt.Sprintf(`{"backup_id":"latest","destination_directory":%q,"local":true`, dest)
	c.mustEnd(c.post("/servers/pg-one/operations", body+`}`), "succeeded")
	precious := dest + "/precious.txt"
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if op := c.wait(c.post("/servers/pg-one/operations", body+`}`)); op["state"] != "failed" || !strings.Contains(fmt.Sprint(op["error"]), "not empty") {
		t.Errorf("a restore over a folder with files = %v %v, want failed: not empty", op["state"], op["error"])
	}
	if _, err := os.Stat(precious); err != nil {
		t.Fatalf("what was in the destination is lost: %v", err)
	}
	path := c.post("/servers/pg-one/operations", body+`,"overwrite":true}`)
	op := c.wait(path)
	output := string(c.do("GET", path+"/output", "").body)
	_, err := os.Stat(precious)
	switch {
	case op["state"] == "succeeded" && err != nil: // Barman emptied the folder, as the client said it may
	case op["state"] == "failed" && err == nil && strings.Contains(output, "not empty"): // newer Barmans never do
	default:
		t.Errorf("a restore with overwrite = %v, stat of what was there: %v\n%s", op["state"], err, output)
	}
}

func configSwitch(t *testing.T, c client) {
	c.mustEnd(c.post("/servers/pg-one/operations", `{"type":"config_switch","model_name":"pg-one:plain"}`), "succeeded")
	for _, s := range c.do("GET", "/servers", "").json(t)["servers"].([]any) {
		if s := s.(map[string]any); s["name"] == "pg-one" && s["active_model"] != "pg-one:plain" {
			t.Errorf("active_model = %v, want pg-one:plain", s["active_model"])
		}
	}
	if op := c.wait(c.post("/servers/pg-one/operations", `{"type":"config_switch","model_name":"nope"}`)); op["status"] != "FAILED" || op["exit_code"] != 1.0 {
		t.Errorf("an unknown model = %v with exit code %v, want FAILED with 1", op["status"], op["exit_code"])
	}
	c.mustEnd(c.post("/servers/pg-one/operations", `{"type":"config_switch","reset":true}`), "succeeded")
}

func configUpdate(t *testing.T, l *lab, c client) {
	c.mustEnd(c.post("/operations", `{"type":"config_update","changes":[{"scope":"server","server_name":"pg-one","description":"by the API"}]}`), "succeeded")
	if got := string(c.do("GET", "/servers", "").body); !strings.Contains(got, "by the API") {
		t.Errorf("GET /servers does not show the new description: %s", got)
	}
	if got := string(c.do("GET", "/operations", "").body); !strings.Contains(got, `"type":"config_update"`) || strings.Contains(got, `"backup"`) {
		t.Errorf("GET /operations = %s, want the config_update alone", got)
	}
	if got := string(c.do("GET", "/operations?scope=all", "").body); !strings.Contains(got, `"backup"`) {
		t.Errorf("GET /operations?scope=all = %s, want the servers' operations, too", got)
	}
}

// sameAsBarman compares what is read natively with what the command says.
func sameAsBarman(t *testing.T, l *lab, c client) {
	ask := func(args ...string) map[string]any {
		t.Helper()
		out, err := l.command(l.env["LAB_BARMAN"], append([]string{"-c", l.env["LAB_BARMAN_CONF"], "-f", "json"}, args...)...).Output()
		if err != nil {
			t.Fatalf("barman %v: %v", args, err)
		}
		var v map[string]any
		if err := json.Unmarshal(out, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	servers := ask("list-servers")
	ours := c.do("GET", "/servers", "").json(t)["servers"].([]any)
	if len(ours) != len(servers) {
		t.Errorf("%d servers, Barman has %d", len(ours), len(servers))
	}
	for _, s := range ours {
		s := s.(map[string]any)
		name := s["name"].(string)
		if servers[name] == nil {
			t.Errorf("Barman has no server %q", name)
		}
		if name != "pg-one" {
			continue
		}
		newest := ask("list-backups", name)[name].([]any)[0].(map[string]any)
		if last := s["last_backup"].(map[string]any); last["backup_id"] != newest["backup_id"] || last["status"] != newest["status"] {
			t.Errorf("last_backup = %v, Barman says %v", last, newest)
		}
	}
}
