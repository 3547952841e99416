package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReportsAreBarmans: what the API says of a server at this moment is what three Barmans say, in types; a check that fails is an
// answer, and what takes too long an operation with the same answer.
func TestReportsAreBarmans(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			l := newLab(t, suite)
			l.program("slow", fmt.Sprintf("#!/bin/sh\nwhile test -e %s/hold; do sleep 0.02; done\nexec %s \"$@\"\n", l.dir, l.env["LAB_BARMAN"]))
			if err := os.WriteFile(l.config, []byte(strings.Replace(l.text(l.state, l.dir+"/slow", l.env["LAB_BARMAN_CONF"]), "[barman]\n", "[barman]\ndeadline = \"20s\"\n", 1)+
				"[runner]\nsocket = \""+l.dir+"/none\"\n"), 0o644); err != nil { // #nosec G306 -- user barman reads it
				t.Fatal(err)
			}
			l.must(l.barman("backup", "--wait", "pg-one"))
			// pg-two's PostgreSQL is gone
			l.must(l.command("sh", "-c", "printf '[pg-two]\\nconninfo = host=%s/nowhere user=barman dbname=postgres\\n' $0 >$0/barman.d/zz.conf", l.dir))
			url, _ := l.serve()
			r := &reports{lab: l, client: client{t, url}, compared: map[string]bool{}}
			for _, server := range []string{"pg-one", "pg-two", "pg-off"} {
				r.check(server)
			}
			r.status()
			r.replication()
			r.wals()
			r.slow()
			t.Logf("compared with Barman %s: %s", l.env["LAB_BARMAN_VERSION"], strings.Join(slices.Sorted(maps.Keys(r.compared)), " "))
		})
	}
}

// reports compares.
type reports struct {
	*lab
	client
	compared map[string]bool
}

// barmans is what Barman itself says of the server.
func (r *reports) barmans(command, server string) (told map[string]json.RawMessage, code int) {
	t := r.client.t
	t.Helper()
	out, err := r.barman("-f", "json", command, server).Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatalf("barman %s %s printed %s", command, server, out)
	}
	if doc[server] != nil {
		if err := json.Unmarshal(doc[server], &told); err != nil {
			t.Fatal(err)
		}
	}
	return told, code
}

// ours is the answer of the API.
func (r *reports) ours(path string) map[string]any {
	t := r.client.t
	t.Helper()
	res := r.do("GET", path, "")
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s = %d %s", path, res.StatusCode, res.body)
	}
	return res.json(t)
}

func (r *reports) same(what string, got, want any) {
	r.client.t.Helper()
	r.compared[what] = true
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.client.t.Errorf("%s is %v, Barman says %v", what, got, want)
	}
}

func (r *reports) check(server string) {
	told, code := r.barmans("check", server)
	ours := r.ours("/servers/" + server + "/check")
	failed := []any{}
	for _, c := range ours["checks"].([]any) {
		c := c.(map[string]any)
		var theirs struct{ Status, Hint string }
		if err := json.Unmarshal(told[c["name"].(string)], &theirs); err != nil {
			r.client.t.Errorf("%s has a check %v, Barman has not", server, c["name"])
			continue
		}
		r.same("check "+c["name"].(string), c["ok"], theirs.Status == "OK")
		if c["ok"] == false {
			failed = append(failed, c["name"])
			hint, _ := c["hint"].(string)
			r.same("the hint of "+c["name"].(string), hint, theirs.Hint)
		}
	}
	r.same("the number of checks", len(ours["checks"].([]any)), len(told))
	r.same("failed", ours["failed"], failed)
	r.same("ok of "+server, ours["ok"], len(failed) == 0)
	if ours["active"] != false { // Barman does not complain of what is inactive
		r.same("exit code", map[any]int{true: 0, false: 1}[ours["ok"]], code)
	}
}

func (r *reports) status() {
	t := r.client.t
	told, _ := r.barmans("status", "pg-one")
	text := func(key string) string {
		var line struct{ Message string }
		if err := json.Unmarshal(told[key], &line); err != nil {
			t.Fatalf("Barman's status has no %s: %v", key, told)
		}
		return line.Message
	}
	ours := r.ours("/servers/pg-one/status")
	for member, key := range map[string]string{"description": "description", "postgresql_version": "pg_version", "data_directory": "data_directory", "current_wal": "current_xlog",
		"archive_command": "archive_command", "first_backup": "first_backup", "last_backup": "last_backup", "backups": "backups_number"} {
		r.same("status "+member, ours[member], text(key))
	}
	for member, key := range map[string]string{"active": "active", "disabled": "disabled", "passive": "passive_node"} {
		r.same("status "+member, ours[member], text(key) == "True")
	}
	r.same("status in_recovery", ours["in_recovery"], text("is_in_recovery") != "in production")
	r.same("status minimum_redundancy", fmt.Sprintf("satisfied (%v/%v)", ours["redundancy"], ours["minimum_redundancy"]), text("minimum_redundancy"))
	r.same("status retention_policy", fmt.Sprintf("enforced (mode: auto, retention: %v, WAL retention: MAIN)", ours["retention_policy"]), text("retention_policies"))
	r.same("status current_size_bytes", fmt.Sprintf("%.1f MiB", ours["current_size_bytes"].(float64)/(1<<20)), text("current_size"))
	r.same("status archive_failures", ours["archive_failures"], strings.Fields(text("failed_count"))[0])
	r.same("status last_archived_wal", ours["last_archived_wal"], strings.Split(text("last_archived_wal"), ",")[0])
	_, knows := told["active_model"]
	_, has := ours["active_model"]
	r.same("status active_model is there", has, knows)
	if others := ours["others"]; others != nil {
		t.Errorf("the status has words that nobody reads: %v", others)
	}
	if off := r.ours("/servers/pg-off/status"); off["active"] != false {
		t.Errorf("the status of an inactive server is %v", off)
	}
	if gone := r.ours("/servers/pg-two/status"); len(gone["problems"].([]any)) == 0 || gone["postgresql_version"] != nil {
		t.Errorf("the status of a server whose PostgreSQL is gone is %v, want a problem", gone)
	}
}

func (r *reports) replication() {
	t := r.client.t
	r.must(r.command("mkdir", r.dir+"/received"))
	r.start(r.command(r.env["LAB_PG_BIN"]+"/pg_receivewal", "-h", r.env["LAB_PG_SOCKET"], "-U", "streaming_barman", "-D", r.dir+"/received"), "received.log")
	var clients []any
	eventually(t, 30*time.Second, func() string { return fmt.Sprint(clients) }, func() bool {
		clients = r.ours("/servers/pg-one/replication-status?max_age=0")["clients"].([]any)
		return len(clients) == 1
	})
	told, _ := r.barmans("replication-status", "pg-one")
	var theirs []map[string]any
	if err := json.Unmarshal(told["streaming_clients"], &theirs); err != nil || len(theirs) != 1 {
		t.Fatalf("Barman says %s, want one client", told)
	}
	ours := clients[0].(map[string]any)
	for name, value := range theirs[0] {
		switch {
		case theirs[0][name+"_bytes"] != nil:
			continue // in words
		case name == "started_at":
			at, err := time.Parse("2006-01-02 15:04:05.999999-07:00", value.(string))
			got, bad := time.Parse(time.RFC3339, ours[name].(string))
			r.same("client started_at", got.UTC(), at.UTC())
			if err != nil || bad != nil {
				t.Errorf("started_at is %v, Barman says %v", ours[name], value)
			}
		case strings.HasSuffix(name, "_lsn"), strings.HasSuffix(name, "_bytes"), name == "sync_stage", name == "current_state": // they move on
			if fmt.Sprintf("%T", ours[name]) != fmt.Sprintf("%T", value) {
				t.Errorf("%s is %v, Barman says %v", name, ours[name], value)
			}
		default:
			r.same("client "+name, ours[name], value)
		}
	}
	if res := r.do("GET", "/servers/pg-off/replication-status", ""); res.StatusCode != http.StatusConflict {
		t.Errorf("the replication of an inactive server = %d %s, want 409", res.StatusCode, res.body)
	}
	if res := r.do("GET", "/servers/pg-two/replication-status", ""); res.StatusCode != http.StatusBadGateway || !strings.Contains(string(res.body), "Unable to connect to server pg-two") {
		t.Errorf("the replication of a server that is gone = %d %s, want 502 with Barman's words", res.StatusCode, res.body)
	}
}

// wals compares with the list of files that a recovery of the backup could need.
func (r *reports) wals() {
	for range 3 {
		r.psql(r.env["LAB_PG_SOCKET"], "CREATE TABLE IF NOT EXISTS x (); SELECT pg_switch_wal()")
	}
	r.must(r.barman("switch-wal", "--force", "--archive", "pg-one"))
	r.must(r.barman("archive-wal", "pg-one"))
	theirs := strings.Fields(r.must(r.barman("list-files", "--target", "wal", "pg-one", "latest")))
	ours := r.ours("/servers/pg-one/wals")
	backup := ours["backups"].([]any)[0].(map[string]any)
	r.same("WALs of the backup", backup["files"], len(theirs))
	r.same("its last WAL", backup["last"], theirs[len(theirs)-1][strings.LastIndex(theirs[len(theirs)-1], "/")+1:])
	r.same("complete", backup["complete"], true)
	var size int64
	for _, path := range theirs {
		st, err := os.Stat(path)
		if err != nil {
			r.client.t.Fatal(err)
		}
		size += st.Size()
	}
	r.same("bytes of its WALs", int64(backup["bytes"].(float64)), size)
	r.same("gaps", len(ours["timelines"].([]any)[0].(map[string]any)["gaps"].([]any)), 0)
}

// slow: Barman takes longer than the client waits.
func (r *reports) slow() {
	t := r.client.t
	r.hold()
	path := ""
	for _, prefer := range []string{"wait=1", "respond-async", "wait=0"} {
		res := r.do("GET", "/servers/pg-two/check", "", "Prefer", prefer)
		if res.StatusCode != http.StatusAccepted || res.Header.Get("Preference-Applied") != prefer {
			t.Fatalf("GET of a check with %s that hangs = %d %s, want 202", prefer, res.StatusCode, res.body)
		}
		if at := res.Header.Get("Location"); path != "" && at != path {
			t.Errorf("another request gets the operation %s, want %s, which is at work", at, path)
		} else {
			path = at
		}
	}
	r.release()
	op := r.mustEnd(path, "succeeded")
	report, _ := op["result"].(map[string]any)["report"].(map[string]any)
	if report["ok"] != false || op["exit_code"] != 1.0 || op["error"] != nil {
		t.Errorf("the operation is %v, want the report of a check that failed, and no error", op)
	}
	if now := r.ours("/servers/pg-two/check"); fmt.Sprint(now) != fmt.Sprint(report) {
		t.Errorf("the operation's report is %v, want %v as another request gets", report, now)
	}
	for _, kind := range []string{"status", "replication_status"} {
		op := r.mustEnd(r.post("/servers/pg-one/operations", `{"type":"`+kind+`"}`), "succeeded")
		if report, _ := op["result"].(map[string]any)["report"].(map[string]any); report["server"] != "pg-one" {
			t.Errorf("a %s gives %v, want the report", kind, op["result"])
		}
	}
	broken := r.mustEnd(r.post("/servers/pg-two/operations", `{"type":"replication_status"}`), "failed")
	if broken["error"] == nil {
		t.Errorf("an operation whose Barman failed is %v, want its error", broken)
	}
}
