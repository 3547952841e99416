package barman

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
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

// retained adds a server to files, with a catalog of the last n days in which many things come together.
func (g generator) retained(files map[string]string, version, server string, n int) (ids []string) {
	conf := "[" + server + "]\nconninfo = host=127.0.0.1 port=1 user=x dbname=y\nssh_command = ssh x@y\narchiver = on\nminimum_redundancy = " + g.of("0", "0", "1", "2", "5", "-1") + "\n"
	if g.IntN(3) > 0 {
		conf += "retention_policy = " + g.of(policies...) + "\n"
	}
	files["conf.d/"+server+".conf"], files["home/"+server+"/wals/.keep"] = conf, ""
	now := time.Now()
	type made struct{ id, text string }
	var all []*made
	for i := range n {
		at := now.AddDate(0, 0, i-n).Add(-12 * time.Hour).UTC() // no edge of a window lies near
		status := g.of("DONE", "DONE", "DONE", "DONE", "FAILED", "WAITING_FOR_WALS")
		b := &made{at.Format("20060102T150405"), strings.Replace(realInfo(version, status, "None", "postgres", "None", 1), "server_name=s1", "server_name="+server, 1)}
		b.text = regexp.MustCompile(`(?m)^(begin|end)_time=.*$`).ReplaceAllString(b.text, "${1}_time="+at.Format("2006-01-02 15:04:05.000000-07:00"))
		if !older(version, "3.12") && len(all) > 0 && g.IntN(2) == 0 { // it is built on one that there is
			parent := all[g.IntN(len(all))]
			b.text = strings.Replace(b.text, "parent_backup_id=None", "parent_backup_id="+parent.id, 1)
			parent.text = strings.Replace(strings.Replace(parent.text, "children_backup_ids=", "children_backup_ids="+b.id+",", 1), ",None\n", "\n", 1)
		} else if g.IntN(4) == 0 && status == "DONE" {
			files["home/"+server+map[bool]string{true: "/base/" + b.id + "/annotations/keep", false: "/meta/" + b.id + "-keep"}[older(version, "3.12")]] = g.of("full", "standalone")
		}
		all, ids = append(all, b), append(ids, b.id)
	}
	for _, b := range all {
		path := map[bool]string{true: "/base/" + b.id + "/backup.info", false: "/meta/" + b.id + "-backup.info"}[older(version, "3.12")]
		files["home/"+server+path], files["home/"+server+"/base/"+b.id+"/data/PG_VERSION"] = b.text, "15\n"
	}
	return ids
}

// What the retention policy says of each backup is what the real Barman says.
func TestRetentionIsBarmans(t *testing.T) {
	for _, program := range realBarmans(t) {
		version, err := askVersion(program)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(version, func(t *testing.T) {
			seed := rand.Uint64()
			g := generator{rand.New(rand.NewPCG(seed, 0))}
			files := map[string]string{"barman.conf": realConfig(t) + "retention_policy = " + g.of(policies[:10]...) + "\n"}
			servers := map[string][]string{}
			for i := range 60 {
				server := fmt.Sprintf("s%02d", i)
				servers[server] = g.retained(files, version, server, 4+g.IntN(8))
			}
			b := newBox(t, files)
			told, compared := ask(t, b, program, "list-backups", "all"), map[string]int{}
			for server, ids := range servers {
				got := map[string]string{}
				list, err := b.client.Catalog(server)
				if err != nil || len(list) != len(ids) {
					t.Fatalf("seed %d: Catalog = %v, %v, want %d backups", seed, list, err, len(ids))
				}
				for _, e := range list {
					got[e.ID] = e.Retention
					compared[e.Retention]++
				}
				var theirs []struct {
					ID        string `json:"backup_id"`
					Retention string `json:"retention_status"`
				}
				if err := json.Unmarshal(told[server], &theirs); err != nil || len(theirs) != len(ids) {
					t.Fatalf("%s says of %s %s (%v), want %d backups", program, server, told[server], err, len(ids))
				}
				for _, backup := range theirs {
					want := strings.TrimPrefix(backup.Retention, "-")
					if is := strings.TrimPrefix(got[backup.ID], valid); is != want { // a list does not tell who is valid
						t.Errorf("seed %d: list-backups says of %s %q, the catalog %q\n%s", seed, backup.ID, backup.Retention, got[backup.ID], describe(server, files))
					}
				}
				if server > "s04" {
					continue
				}
				id := ids[g.IntN(len(ids))]
				var shown struct {
					Catalog struct {
						Retention string `json:"retention_policy"`
					} `json:"catalog_information"`
				}
				if err := json.Unmarshal(ask(t, b, program, "show-backup", server, id)[server], &shown); err != nil {
					t.Fatal(err)
				}
				if want := strings.TrimPrefix(strings.TrimPrefix(shown.Catalog.Retention, "not enforced"), "-"); got[id] != want {
					t.Errorf("seed %d: show-backup says of %s %q, the catalog %q\n%s", seed, id, shown.Catalog.Retention, got[id], describe(server, files))
				}
			}
			t.Logf("the fields compared with Barman %s: list-backups retention_status, show-backup catalog_information.retention_policy; the verdicts were %v", version, compared)
			if len(compared) < 5 {
				t.Errorf("the verdicts were %v, want five kinds at least", compared)
			}
		})
	}
}

var counts = regexp.MustCompile(`^(status|parent_backup_id|children_backup_ids|retention_policy|minimum_redundancy|full|standalone)`)

// describe tells what of a catalog counts.
func describe(server string, files map[string]string) string {
	var s strings.Builder
	for path, text := range files {
		for line := range strings.Lines(text) {
			if (strings.Contains(path, server) || path == "barman.conf") && counts.MatchString(line) {
				fmt.Fprintf(&s, "%s: %s\n", path, strings.TrimSpace(line))
			}
		}
	}
	return s.String()
}
