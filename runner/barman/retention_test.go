package barman

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// policies are values of retention_policy that people write, and some that Barman does not take.
var policies = []string{
	"REDUNDANCY 1", "REDUNDANCY 3", "redundancy  2 ", "REDUNDANCY 0", "RECOVERY WINDOW OF 2 DAYS", "recovery window of 5 days", "RECOVERY WINDOW OF 1 WEEK",
	"RECOVERY WINDOW OF 1 MONTH", "RECOVERY WINDOW OF 0 DAYS", "RECOVERY  WINDOW OF 1 weeks", "", "None", "nonsense", "REDUNDANCY x", "RECOVERY WINDOW OF 3 YEARS",
}

// retained is a catalog of the last n days in which many things come together.
func (g generator) retained(t testing.TB, version string, n int) (files map[string]string, ids []string) {
	files = map[string]string{"barman.conf": realConfig(t) + "retention_policy = " + g.of(policies...) + "\n", "home/s1/wals/.keep": "",
		"conf.d/1.conf": "[s1]\nconninfo = host=127.0.0.1 port=1 user=x dbname=y\nssh_command = ssh x@y\nbackup_method = rsync\narchiver = on\nminimum_redundancy = " + g.of("0", "0", "1", "2", "5", "-1") + "\n"}
	if g.IntN(3) > 0 {
		files["conf.d/1.conf"] += "retention_policy = " + g.of(policies...) + "\n"
	}
	now := time.Now()
	type made struct{ id, text string }
	var fulls, all []*made
	for i := range n {
		at := now.AddDate(0, 0, i-n).Add(-12 * time.Hour).UTC() // no edge of a window lies near
		status := g.of("DONE", "DONE", "DONE", "DONE", "FAILED", "WAITING_FOR_WALS")
		b := &made{at.Format("20060102T150405"), realInfo(version, status, "None", "postgres", "None", 1)}
		b.text = regexp.MustCompile(`(?m)^(begin|end)_time=.*$`).ReplaceAllString(b.text, "${1}_time="+at.Format("2006-01-02 15:04:05.000000-07:00"))
		if !older(version, "3.12") && len(fulls) > 0 && g.IntN(2) == 0 { // it is built on one that there is
			parent := fulls[g.IntN(len(fulls))]
			b.text = strings.Replace(b.text, "parent_backup_id=None", "parent_backup_id="+parent.id, 1)
			parent.text = strings.Replace(strings.Replace(parent.text, "children_backup_ids=", "children_backup_ids="+b.id+",", 1), ",None\n", "\n", 1)
		} else if g.IntN(4) == 0 && status == "DONE" {
			keep := "home/s1/meta/" + b.id + "-keep"
			if older(version, "3.12") {
				keep = "home/s1/base/" + b.id + "/annotations/keep"
			}
			files[keep] = g.of("full", "standalone")
		}
		fulls, all, ids = append(fulls, b), append(all, b), append(ids, b.id)
	}
	for _, b := range all {
		path := "home/s1/meta/" + b.id + "-backup.info"
		if older(version, "3.12") {
			path = "home/s1/base/" + b.id + "/backup.info"
		}
		files[path], files["home/s1/base/"+b.id+"/data/PG_VERSION"] = b.text, "15\n"
	}
	return files, ids
}

// What the retention policy says of each backup is what the real Barman says.
func TestRetentionIsBarmans(t *testing.T) {
	for _, program := range realBarmans(t) {
		version, err := askVersion(program)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(version, func(t *testing.T) {
			compared := map[string]int{}
			for range 15 {
				seed := rand.Uint64()
				g := generator{rand.New(rand.NewPCG(seed, 0))}
				files, ids := g.retained(t, version, 4+g.IntN(8))
				b := newBox(t, files)
				list, err := b.client.Catalog("s1")
				if err != nil || len(list) != len(ids) {
					t.Fatalf("seed %d: Catalog = %v, %v, want %d backups", seed, list, err, len(ids))
				}
				got := map[string]string{}
				for _, e := range list {
					got[e.ID] = e.Retention
				}
				var told []struct {
					ID        string `json:"backup_id"`
					Retention string `json:"retention_status"`
				}
				if err := json.Unmarshal(ask(t, b, program, "list-backups", "s1")["s1"], &told); err != nil {
					t.Fatal(err)
				}
				for _, backup := range told {
					want := strings.TrimPrefix(backup.Retention, "-")
					if is := strings.TrimPrefix(got[backup.ID], valid); is != want { // a list does not tell who is valid
						t.Errorf("seed %d: list-backups says of %s %q, the catalog %q\n%s", seed, backup.ID, backup.Retention, got[backup.ID], describe(b, files))
					}
				}
				id := ids[g.IntN(len(ids))]
				var shown struct {
					Catalog struct {
						Retention string `json:"retention_policy"`
					} `json:"catalog_information"`
				}
				if err := json.Unmarshal(ask(t, b, program, "show-backup", "s1", id)["s1"], &shown); err != nil {
					t.Fatal(err)
				}
				want := strings.TrimPrefix(strings.TrimPrefix(shown.Catalog.Retention, "not enforced"), "-")
				if got[id] != want {
					t.Errorf("seed %d: show-backup says of %s %q, the catalog %q\n%s", seed, id, shown.Catalog.Retention, got[id], describe(b, files))
				}
				for _, verdict := range got {
					compared[verdict]++
				}
			}
			t.Logf("the fields compared with Barman %s: list-backups retention_status, show-backup catalog_information.retention_policy; the verdicts were %v", version, compared)
			if len(compared) < 4 {
				t.Errorf("the verdicts were %v, want four kinds at least", compared)
			}
		})
	}
}

// describe tells what of a catalog counts.
func describe(b *box, files map[string]string) string {
	var s strings.Builder
	for path, text := range files {
		for line := range strings.Lines(text) {
			if regexp.MustCompile(`^(status|parent_backup_id|children_backup_ids|retention_policy|minimum_redundancy|full|standalone)`).MatchString(line) {
				fmt.Fprintf(&s, "%s: %s\n", filepath.Base(path), strings.TrimSpace(line))
			}
		}
	}
	return s.String()
}
