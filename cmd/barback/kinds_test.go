package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryKind has each type of operation done by the newest Barman and by the oldest, and looks at what came of it. Their clocks
// show another zone than PostgreSQL's.
func TestEveryKind(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "sid"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			l := newLab(t, suite)
			k := &kindsLab{lab: l, client: client{t, l.serveIn("TZ=Asia/Kolkata")}}
			backup := k.fill()
			for _, s := range []struct {
				name string
				do   func(*kindsLab)
			}{
				{"points in time", func(k *kindsLab) { k.pointsInTime(backup) }},
				{"a restore over ssh", func(k *kindsLab) { k.overSSH(backup) }},
				{"refusals", func(k *kindsLab) { k.refusals(backup) }},
				{"a backup by rsync", (*kindsLab).byRsync},
				{"keep and delete", func(k *kindsLab) { k.keepAndDelete(backup) }},
				{"the archive", (*kindsLab).archive},
				{"a passive node", (*kindsLab).passive},
			} {
				t.Run(s.name, func(t *testing.T) {
					of := *l
					of.t = t
					k := *k
					k.lab, k.client.t = &of, t
					s.do(&k)
				})
			}
		})
	}
}

// kindsLab is a lab whose cluster has a table in a tablespace, with rows that were written one after the other.
type kindsLab struct {
	*lab
	client
	moment, lsn, xid string // between the second and the third row
}

// serveIn is serve with more environment.
func (l *lab) serveIn(env ...string) string {
	l.t.Helper()
	inner := l.bin
	wrapper := filepath.Join(l.dir, "served")
	if err := os.WriteFile(wrapper, []byte("#!/bin/sh\nexec env "+strings.Join(env, " ")+" "+inner+" \"$@\"\n"), 0o755); err != nil { // #nosec G306 -- user barman runs it
		l.t.Fatal(err)
	}
	of := *l
	of.bin = wrapper
	url, _ := of.serve()
	return url
}

// done starts an operation and wants it to succeed.
func (k *kindsLab) done(server, body string) map[string]any {
	k.client.t.Helper()
	path := "/operations"
	if server != "" {
		path = "/servers/" + server + path
	}
	return k.mustEnd(k.post(path, body), "succeeded")
}

// sql asks the lab's cluster.
func (k *kindsLab) sql(query string) string { return k.psql(k.env["LAB_PG_SOCKET"], query) }

// fill makes the table and a backup, and then rows: WALs lie between them.
func (k *kindsLab) fill() (backup string) {
	k.must(k.command("mkdir", k.dir+"/ts"))
	k.sql("CREATE TABLESPACE ts LOCATION '" + k.dir + "/ts'")
	k.sql("CREATE TABLE rows (row text) TABLESPACE ts")
	if res := k.do("POST", "/servers/pg-one/operations?dry_run=1", `{"type":"backup","name":"kinds"}`); (res.StatusCode == 501) != (k.env["LAB_BARMAN_SUITE"] == "bookworm") {
		k.client.t.Errorf("a name for a backup by Barman %s = %d %s, want 501 of one that forgets it", k.env["LAB_BARMAN_VERSION"], res.StatusCode, res.body)
	}
	made := k.done("pg-one", `{"type":"backup","wait":true,"immediate_checkpoint":true}`)
	k.sql("INSERT INTO rows VALUES ('a')")
	k.done("pg-one", `{"type":"switch_wal","force":true,"archive":true,"archive_timeout":30}`)
	k.xid = k.sql("INSERT INTO rows VALUES ('b') RETURNING pg_current_xact_id()")
	k.xid, _, _ = strings.Cut(k.xid, "\n")
	k.sql("SELECT pg_create_restore_point('between')")
	k.lsn = k.sql("SELECT pg_current_wal_insert_lsn()")
	k.moment = k.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'America/New_York', 'YYYY-MM-DD HH24:MI:SS.US')")
	k.sql("INSERT INTO rows VALUES ('c')")
	k.done("pg-one", `{"type":"switch_wal","force":true,"archive":true}`)
	k.sql("INSERT INTO rows VALUES ('d')")
	k.done("pg-one", `{"type":"switch_wal","force":true}`)
	return made["result"].(map[string]any)["backup_id"].(string)
}

// restored restores, starts PostgreSQL there and returns the rows of the table.
func (k *kindsLab) restored(name, members string) string {
	k.client.t.Helper()
	dest := k.dir + "/kinds-" + name
	k.done("pg-one", fmt.Sprintf(`{"destination_directory":%q,"tablespaces":{"ts":%q},%s}`, dest, dest+".ts", members))
	k.must(exec.Command(root(k.client.t)+"/packaging/lab/start-restored", dest, dest+".run")) // #nosec G204
	rows := k.psql(dest+".run", "SELECT string_agg(row, '' ORDER BY row) FROM rows")
	if got := k.psql(dest+".run", "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'ts'"); got != dest+".ts" {
		k.client.t.Errorf("the tablespace of the restored cluster is in %s, want %s", got, dest+".ts")
	}
	k.must(exec.Command(root(k.client.t)+"/packaging/lab/stop-restored", dest)) // #nosec G204
	return rows
}

func (k *kindsLab) pointsInTime(backup string) {
	for _, tc := range []struct{ name, members, want string }{
		{"latest", `"backup_id":"latest","local":true`, "abcd"},
		{"time", fmt.Sprintf(`"backup_id":"auto","local":true,"target_time":%q,"time_zone":"America/New_York","target_action":"promote"`, k.moment), "ab"},
		{"lsn", fmt.Sprintf(`"backup_id":%q,"local":true,"target_lsn":%q,"target_action":"promote"`, backup, k.lsn), "ab"},
		{"name", fmt.Sprintf(`"backup_id":%q,"local":true,"target_name":"between"`, backup), "ab"},
		{"xid", fmt.Sprintf(`"backup_id":"oldest","local":true,"target_xid":%s,"exclusive":true,"target_action":"promote"`, k.xid), "a"},
	} {
		if got := k.restored(tc.name, tc.members); got != tc.want {
			k.client.t.Errorf("a recovery with %s has the rows %q, want %q", tc.members, got, tc.want)
		}
	}
}

func (k *kindsLab) overSSH(backup string) {
	got := k.restored("ssh", fmt.Sprintf(`"backup_id":%q,"remote_ssh_command":%q,"target_immediate":true,"target_action":"promote"`, backup, k.env["LAB_SSH_COMMAND"]))
	if got != "" {
		k.client.t.Errorf("a recovery to the end of the backup has the rows %q, want none", got)
	}
}

// refusals are what would have failed after minutes.
func (k *kindsLab) refusals(backup string) {
	body := func(more string) string {
		return fmt.Sprintf(`{"backup_id":%q,"destination_directory":%q,"local":true,"tablespaces":{"ts":%q},%s}`, backup, k.dir+"/never", k.dir+"/never.ts", more)
	}
	for _, tc := range []struct{ more, pointer string }{
		{`"target_time":"2026-01-01T00:00:00Z"`, "/target_time"}, {`"target_time":"2099-01-01T00:00:00Z"`, "/target_time"},
		{`"target_lsn":"0/1"`, "/target_lsn"}, {`"target_lsn":"FFFF/0"`, "/target_lsn"}, {`"target_tli":7`, "/target_tli"},
	} {
		res := k.do("POST", "/servers/pg-one/operations", body(tc.more))
		if res.StatusCode != 422 || !strings.Contains(string(res.body), `"pointer":"`+tc.pointer+`"`) {
			k.client.t.Errorf("POST with %s = %d %s, want 422 for %s", tc.more, res.StatusCode, res.body, tc.pointer)
		}
	}
	dry := k.do("POST", "/servers/pg-one/operations?dry_run=1", body(`"target_lsn":"FFFF/0"`)).json(k.client.t)
	if dry["ok"] != false || !strings.Contains(fmt.Sprint(dry["command"]), "--target-lsn=FFFF/0") {
		k.client.t.Errorf("the dry run says %v", dry)
	}
	newer := k.do("POST", "/servers/pg-one/operations", body(`"delta_restore":true,"overwrite":true`))
	if k.env["LAB_BARMAN_SUITE"] == "bookworm" && (newer.StatusCode != 501 || !strings.Contains(string(newer.body), "3.16")) {
		k.client.t.Errorf("delta_restore with Barman %s = %d %s, want 501", k.env["LAB_BARMAN_VERSION"], newer.StatusCode, newer.body)
	} else if newer.StatusCode == 202 {
		k.mustEnd("/servers/pg-one/operations/"+newer.json(k.client.t)["operation_id"].(string), "succeeded")
	}
}

// byRsync has a full backup and one that shares files with it, and their manifests.
func (k *kindsLab) byRsync() {
	k.done("pg-two", `{"type":"backup","wait":true}`)
	second := k.done("pg-two", `{"type":"backup","wait":true,"reuse_backup":"link","no_retry":true}`)["result"].(map[string]any)["backup_id"].(string)
	links := k.must(k.command("find", k.env["LAB_BARMAN_HOME"]+"/pg-two/base/"+second+"/data", "-name", "PG_VERSION", "-links", "+1"))
	if links == "" {
		k.client.t.Error("the second backup by rsync shares no file with the first")
	}
	id := fmt.Sprintf(`"backup_id":%q}`, second)
	k.done("pg-two", `{"type":"check_backup",`+id)
	if res := k.do("POST", "/servers/pg-two/operations", `{"type":"verify_backup",`+id); res.StatusCode != 422 {
		k.client.t.Errorf("verify_backup without a manifest = %d %s, want 422", res.StatusCode, res.body)
	}
	k.done("pg-two", `{"type":"generate_manifest",`+id)
	k.done("pg-two", `{"type":"verify_backup",`+id)
	if err := os.WriteFile(k.env["LAB_BARMAN_HOME"]+"/pg-two/base/"+second+"/data/PG_VERSION", []byte("9\n"), 0o600); err != nil {
		k.client.t.Fatal(err)
	}
	k.mustEnd(k.post("/servers/pg-two/operations", `{"type":"verify_backup",`+id), "failed")
}

func (k *kindsLab) keepAndDelete(backup string) {
	id := fmt.Sprintf(`"backup_id":%q`, backup)
	k.done("pg-one", `{"type":"verify_backup",`+id+`}`)
	k.done("pg-one", `{"type":"keep","target":"full",`+id+`}`)
	if res := k.do("POST", "/servers/pg-one/operations", `{"type":"delete",`+id+`}`); res.StatusCode != 422 || !strings.Contains(string(res.body), "is kept (full)") {
		k.client.t.Errorf("a deletion of a kept backup = %d %s, want 422", res.StatusCode, res.body)
	}
	k.done("pg-one", `{"type":"keep","target":"release",`+id+`}`)
	op := k.done("pg-one", `{"type":"delete","backup_id":"oldest"}`)
	if got := op["result"].(map[string]any)["backup_id"]; got != backup {
		k.client.t.Errorf("the deletion names the backup %v, want %s", got, backup)
	}
	if res := k.do("POST", "/servers/pg-one/operations", `{"type":"delete",`+id+`}`); res.StatusCode != 404 {
		k.client.t.Errorf("a second deletion = %d %s, want 404: it is gone", res.StatusCode, res.body)
	}
}

func (k *kindsLab) archive() {
	k.sql("SELECT pg_switch_wal()")
	k.done("pg-one", `{"type":"archive_wal"}`)
	k.done("pg-one", `{"type":"rebuild_xlogdb"}`)
	if got := k.done("", `{"type":"cron"}`); got["server"] != nil {
		k.client.t.Errorf("cron = %v, want an operation of the instance", got)
	}
}

// passive makes a second Barman with copies of what the first has.
func (k *kindsLab) passive() {
	t := k.client.t
	k.must(k.command("mkdir", k.dir+"/second", k.dir+"/second.state", k.dir+"/bin"))
	// The second Barman calls "barman" over ssh: a key of its own leads to the first.
	k.must(k.command("ln", "-s", k.env["LAB_BARMAN"], k.dir+"/bin/barman"))
	k.must(k.command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", k.dir+"/ssh/second"))
	public, err := os.ReadFile(k.dir + "/ssh/second.pub")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(k.dir+"/ssh/authorized", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "command=\"export PATH=%s/bin:$PATH BARMAN_CONFIG_FILE=%s; eval \\\"$SSH_ORIGINAL_COMMAND\\\"\" %s", k.dir, k.env["LAB_BARMAN_CONF"], public)
	if err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	ssh := strings.Replace(k.env["LAB_SSH_COMMAND"], "ssh/key", "ssh/second", 1)
	for name, text := range map[string]string{
		"second.conf": fmt.Sprintf("[barman]\nbarman_user = barman\nbarman_home = %s/second\nlog_file = %s/second.log\n[pg-two]\nprimary_ssh_command = %s\nconninfo = host=x\nbackup_method = rsync\nssh_command = false\narchiver = on\n", k.dir, k.dir, ssh),
		"second.toml": fmt.Sprintf("state_dir = %q\n[barman]\ncommand = %q\nconfig = %q\n[runner]\nsocket = %q\n[audit]\nfile = %q\n", k.dir+"/second.state", k.env["LAB_BARMAN"], k.dir+"/second.conf", k.dir+"/run/none", k.dir+"/second.audit"),
	} {
		if err := os.WriteFile(filepath.Join(k.dir, name), []byte(text), 0o644); err != nil { // #nosec G306 -- user barman reads it
			t.Fatal(err)
		}
	}
	second := *k.lab
	second.config = k.dir + "/second.toml"
	second.must(second.command(second.bin, "user", "allow", "--config", second.config, "anonymous", "*"))
	url, _ := second.serve()
	first := k.do("GET", "/servers", "").json(t)
	var id string
	for _, s := range first["servers"].([]any) {
		if s := s.(map[string]any); s["name"] == "pg-two" {
			id = s["last_backup"].(map[string]any)["backup_id"].(string)
		}
	}
	p := kindsLab{lab: &second, client: client{t, url}}
	p.must(p.command(k.env["LAB_BARMAN"], "-c", k.dir+"/second.conf", "cron")) // makes the folders, and asks the first what it has
	p.done("pg-two", `{"type":"sync_backup","backup_id":"`+id+`"}`)
	p.done("pg-two", `{"type":"sync_wals"}`)
	p.do("GET", "/servers", "")
	if _, err := os.Stat(k.dir + "/second/pg-two/base/" + id + "/data/PG_VERSION"); err != nil {
		t.Errorf("the passive node has no copy of the backup: %v", err)
	}
}
