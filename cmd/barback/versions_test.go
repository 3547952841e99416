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
	t.Parallel()
	for _, suite := range []string{"trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
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

// secretive are servers with passwords in all the ways that there are but one: if a password stands in
// apostrophes, what plain "barman diagnose" prints is no JSON any more.
const secretive = `[s-key]
conninfo = host=127.0.0.1 port=1 user=u password=topsecret dbname=d
streaming_conninfo = host=127.0.0.1 port=1 user=u password = topsecret
backup_method = postgres
archiver = on
post_backup_script = curl https://u:topsecret@example.com/x
[s-uri]
conninfo = postgresql://u:topsecret@127.0.0.1:1/d
streaming_conninfo = postgresql://127.0.0.1:1/d?user=u&password=topsecret
backup_method = postgres
archiver = on
pre_backup_script = PGPASSWORD=topsecret /bin/true
primary_conninfo = host=a sslpassword=topsecret
`

const quoted = `[s-quoted]
conninfo = host=127.0.0.1 port=1 user=u password='to psecret' dbname=d
backup_method = postgres
archiver = on
pre_backup_script = echo 'x'
`

// TestDiagnoseIsBarmans: GET /diagnose is the object of "barman diagnose", key by key, apart from what changes
// from one moment to the next, as two runs of Barman show it, and from passwords, of which Barman overlooks
// some.
func TestDiagnoseIsBarmans(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, suite)
			if err := os.WriteFile(l.dir+"/barman.d/secretive.conf", []byte(secretive), 0o644); err != nil { // #nosec G306 -- user barman reads it
				t.Fatal(err)
			}
			url, _ := l.serve()
			c := client{t, url}
			c.mustEnd(c.post("/servers/pg-one/operations", `{"type":"backup","wait":true}`), "succeeded")
			if suite != "bookworm" { // older ones have no models
				c.mustEnd(c.post("/operations", `{"type":"config_update","changes":[{"scope":"model","model_name":"pg-two:new","cluster":"pg-two","model":"true","bandwidth_limit":"7"}]}`), "succeeded")
				if _, err := os.Stat(l.env["LAB_BARMAN_HOME"] + "/.barman.auto.conf"); err != nil {
					t.Fatalf("the new model is not where only Barman's command line looks: %v", err)
				}
			}
			before, res, after := l.diagnose(t), c.do("GET", "/diagnose", ""), l.diagnose(t)
			if res.StatusCode != 200 || strings.Contains(string(res.body), "psecret") {
				t.Errorf("GET /diagnose = %d %s, want no password in it", res.StatusCode, res.body)
			}
			ours := leaves(t, res.body)
			if len(ours) < 300 || suite != "bookworm" && ours["/models/pg-two:new/config/bandwidth_limit"] != `"7"` {
				t.Errorf("GET /diagnose has %d values, and of the model of .barman.auto.conf %s", len(ours), ours["/models/pg-two:new/config/bandwidth_limit"])
			}
			masked := 0
			for path, value := range before {
				got, there := ours[path]
				switch {
				case !there:
					t.Errorf("%s is missing", path)
				case strings.Contains(value, "psecret") && strings.Contains(got, "*REDACTED*"):
					masked++
				case got != value && after[path] == value:
					t.Errorf("%s = %s, Barman says %s", path, got, value)
				case got != value:
					t.Logf("%s changes: %s, %s, %s", path, value, got, after[path])
				}
			}
			for path := range ours {
				if _, there := before[path]; !there {
					t.Errorf("%s is not Barman's", path)
				}
			}
			if masked < 2 {
				t.Errorf("%d values were masked: Barman's own masks have become better, or ours were not asked", masked)
			}
			if err := os.WriteFile(l.dir+"/barman.d/quoted.conf", []byte(quoted), 0o644); err != nil { // #nosec G306 -- user barman reads it
				t.Fatal(err)
			}
			res = c.do("GET", "/diagnose", "")
			conninfo := leaves(t, res.body)["/servers/s-quoted/config/conninfo"]
			if res.StatusCode != 200 || strings.Contains(string(res.body), "psecret") || conninfo != `"host=127.0.0.1 port=1 user=u password=*REDACTED* dbname=d"` {
				t.Errorf("GET /diagnose with a password in apostrophes = %d, conninfo %s\n%s", res.StatusCode, conninfo, res.body)
			}
		})
	}
}

// diagnose is what the command says, by path.
func (l *lab) diagnose(t *testing.T) map[string]string {
	t.Helper()
	out, err := l.command(l.env["LAB_BARMAN"], "-c", l.env["LAB_BARMAN_CONF"], "diagnose").Output()
	if err != nil {
		t.Fatalf("barman diagnose: %v", err)
	}
	return leaves(t, out)
}

// leaves lists the values of a document as they are written there, by path. What is empty is a value.
func leaves(t *testing.T, doc []byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	var walk func(path string, raw json.RawMessage)
	walk = func(path string, raw json.RawMessage) {
		var object map[string]json.RawMessage
		var list []json.RawMessage
		switch {
		case json.Unmarshal(raw, &object) == nil && len(object) > 0:
			for name, value := range object {
				walk(path+"/"+name, value)
			}
		case json.Unmarshal(raw, &list) == nil && len(list) > 0:
			for i, value := range list {
				walk(fmt.Sprintf("%s/%d", path, i), value)
			}
		default:
			var text string
			if json.Unmarshal(raw, &text) == nil && raw[0] == '"' {
				raw = fmt.Appendf(nil, "%q", text)
			}
			all[path] = string(raw)
		}
	}
	walk("", doc)
	return all
}
