package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestIncrements has PostgreSQL 17 make increments of blocks, in a chain, through the Barmans that know them: they are in the catalog
// as Barman says, a restore puts them together, and none loses what it is built on unless that is said.
func TestIncrements(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, suite, "--postgresql", "17")
			url, _ := l.serve()
			k := &kindsLab{lab: l, client: client{t, url}}
			k.sql("CREATE TABLE rows (row text)")
			ids := []string{k.backup(`"name":"sunday"`)}
			for _, row := range []string{"a", "b"} {
				k.sql("INSERT INTO rows VALUES ('" + row + "')")
				ids = append(ids, k.backup(`"incremental":"latest"`))
			}
			k.increasing(ids)
			d := &differential{t, l, k.client, map[string]int{}}
			d.backups("pg-one")
			k.combined(ids)
			k.builtOn(ids)
		})
	}
}

// backup makes one of pg-one with more members, and returns its ID. Barman 3.13 with "wait" waits for the WAL behind the last one, if
// the backup ends with a WAL's last byte: it gets that one by a switch, and another look.
func (k *kindsLab) backup(members string) string {
	k.client.t.Helper()
	id := k.done("pg-one", `{"type":"backup",`+members+`}`)["result"].(map[string]any)["backup_id"].(string)
	k.done("pg-one", `{"type":"switch_wal","force":true,"archive":true}`)
	k.done("pg-one", fmt.Sprintf(`{"type":"check_backup","backup_id":%q}`, id))
	if got := k.do("GET", "/servers/pg-one/backups/"+id, "").json(k.client.t)["status"]; got != "DONE" {
		k.client.t.Fatalf("the backup is %v after its last WAL has come, want DONE", got)
	}
	return id
}

// increasing wants each backup to be built on those before it.
func (k *kindsLab) increasing(ids []string) {
	t := k.client.t
	for i, id := range ids {
		b := k.do("GET", "/servers/pg-one/backups/"+id, "").json(t)
		var parent any
		if i > 0 {
			parent = ids[i-1]
		}
		if b["parent_backup_id"] != parent || i > 0 && b["backup_type"] != "incremental" {
			t.Errorf("backup %d of the chain has the parent %v and the type %v, want %v", i, b["parent_backup_id"], b["backup_type"], parent)
		}
	}
	if got := k.do("GET", "/servers/pg-one/backups/latest-full", "").json(t)["backup_id"]; got != ids[0] {
		t.Errorf("latest-full = %v, want %s", got, ids[0])
	}
}

// combined restores the end of the chain, which Barman needs a place for.
func (k *kindsLab) combined(ids []string) {
	t := k.client.t
	body := fmt.Sprintf(`"backup_id":%q,"local":true,"local_staging_path":%q`, ids[2], k.dir+"/staging")
	k.must(k.command("mkdir", k.dir+"/staging"))
	dest := k.dir + "/combined"
	warnings := fmt.Sprint(k.done("pg-one", fmt.Sprintf(`{"destination_directory":%q,%s}`, dest, body))["result"].(map[string]any)["warnings"])
	// Barman 3.13 combines a cluster without tablespaces to one without this folder, which does not start.
	remedy := "mkdir -p -m 700 " + dest + "/pg_tblspc"
	if lacks := k.env["LAB_BARMAN_SUITE"] == "trixie"; lacks != strings.Contains(warnings, remedy) {
		t.Errorf("the recovery succeeded with the warnings %s, want %q among them: %v", warnings, remedy, lacks)
	} else if lacks {
		k.must(k.command("sh", "-c", remedy))
	}
	k.must(exec.Command(root(t)+"/packaging/lab/start-restored", dest, dest+".run")) // #nosec G204
	if rows := k.psql(dest+".run", "SELECT string_agg(row, '' ORDER BY row) FROM rows"); rows != "ab" {
		t.Errorf("the chain restores the rows %q, want ab", rows)
	}
	k.must(exec.Command(root(t)+"/packaging/lab/stop-restored", dest)) // #nosec G204
	if left := k.must(k.command("ls", k.dir+"/staging")); left != "" {
		t.Errorf("the restore left %s where it worked", left)
	}
	k.done("pg-one", fmt.Sprintf(`{"type":"verify_backup","backup_id":%q}`, ids[1]))
}

// builtOn tries what would break the chain.
func (k *kindsLab) builtOn(ids []string) {
	t := k.client.t
	for _, tc := range []struct{ server, body, says string }{
		{"pg-one", fmt.Sprintf(`{"type":"delete","backup_id":%q}`, ids[1]), ids[2] + `; say \"incrementals\": true if that is meant`},
		{"pg-one", fmt.Sprintf(`{"type":"keep","target":"full","backup_id":%q}`, ids[2]), "incremental"},
	} {
		if res := k.do("POST", "/servers/"+tc.server+"/operations", tc.body); res.StatusCode != 422 || !strings.Contains(string(res.body), tc.says) {
			t.Errorf("POST %s = %d %s, want 422 with %q", tc.body, res.StatusCode, res.body, tc.says)
		}
	}
	k.done("pg-two", `{"type":"backup","wait":true}`)
	if res := k.do("POST", "/servers/pg-two/operations", `{"type":"backup","incremental":"latest"}`); res.StatusCode != 422 || !strings.Contains(string(res.body), "rsync") {
		t.Errorf("an increment of a backup by rsync = %d %s, want 422", res.StatusCode, res.body)
	}
	k.done("pg-one", fmt.Sprintf(`{"type":"delete","incrementals":true,"backup_id":%q}`, ids[1]))
	for i, id := range ids {
		want := 404
		if i == 0 {
			want = 200
		}
		if res := k.do("GET", "/servers/pg-one/backups/"+id, ""); res.StatusCode != want {
			t.Errorf("backup %d after a deletion of the second = %d, want %d", i, res.StatusCode, want)
		}
	}
}
