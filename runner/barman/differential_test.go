package barman

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// realBarmans are the Barmans of this machine: the installed one, and those that
// packaging/lab keeps beside it.
func realBarmans(t testing.TB) []string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(cmp.Or(os.Getenv("BARBACK_LAB_CACHE"), "/var/cache/barback-lab"), "barman", "*", "barman"))
	if path, err := exec.LookPath("barman"); err == nil && len(found) == 0 {
		found = []string{path}
	}
	for _, path := range found {
		if _, err := askVersion(path); err != nil {
			t.Skipf("the Barman of this machine does not start: %v", err)
		}
	}
	if len(found) == 0 {
		t.Skip("there is no Barman on this machine: packaging/lab/install")
	}
	return found
}

// ask runs a command of the real Barman with JSON output.
func ask(t testing.TB, b *box, program string, args ...string) map[string]json.RawMessage {
	t.Helper()
	cmd := exec.Command(program, append([]string{"-c", b.client.Config, "-f", "json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, &stderr)
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return doc
}

// realConfig is plainConfig with what the real Barman needs beside.
func realConfig(t testing.TB) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return plainConfig + "barman_user = " + u.Username + "\nlog_file = DIR/log\n"
}

var shownState = regexp.MustCompile(`( \((inactive|Passive|WARNING: [^)]*)\))+$`)

// generator writes configurations of the kind that people write.
type generator struct{ *rand.Rand }

func (g generator) of(words ...string) string { return words[g.IntN(len(words))] }

// value is a description in one of many spellings.
func (g generator) value() string {
	v := g.of("x", "Our server", "a = b", "a: b", "x ; no comment", "x # no comment", "Größe", "a \"b\" c", "it's", "[x]", "a\\", "None of them", "-", "=", "two  blanks", "tab\there", "`x", "\"\"\"x\"\"\"", "[s8]", "\n  next line", "x\n\tnext\n\n   # comment\n  last", "%(ssh_command)s", "%(SSH_command)s!")
	return g.of("", "\"", "'") + v + g.of("", "", "\"", "'")
}

func (g generator) line() string {
	key, value := "", ""
	switch g.IntN(4) {
	case 0:
		key, value = "active", g.of("true", "false", "on", "off", "Yes", "NO", "1", "0", "t", "F", "\"off\"", "'on'")
	case 1:
		key, value = "conninfo", g.of("host=a dbname=b", "\"host=a\"", "postgresql://u@h:5432/d")
	default:
		key, value = "description", g.value()
	}
	if g.IntN(4) == 0 {
		key = strings.ToUpper(key)
	}
	return key + g.of(" = ", "=", ": ", " :", "  =  ") + value + g.of("", "", " ") + "\n"
}

func (g generator) file(names []string) string {
	var b strings.Builder
	for range 1 + g.IntN(4) {
		fmt.Fprintf(&b, "%s[%s]%s\nssh_command = ssh a\npath_prefix = /x\n", g.of("", "", "", " "), g.of(names...), g.of("", "", " ", " ; x"))
		for range g.IntN(4) {
			b.WriteString(g.of("", "", "# comment\n", "; comment\n", "\n", "  # comment\n", "\t\n"))
			b.WriteString(g.of("", "", "", " ", "  ", "\t") + g.line())
		}
	}
	text := b.String()
	if g.IntN(6) == 0 {
		text = strings.TrimRight(text, "\n")
	}
	if g.IntN(6) == 0 {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	return text
}

// Servers reads names, descriptions and whether they are active as the real Barman does.
func TestServersAreThoseOfBarman(t *testing.T) {
	barmans := realBarmans(t)
	for i := range 12 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("configuration %d, seed %d", i, seed), func(t *testing.T) {
			g := generator{rand.New(rand.NewPCG(seed, 0))}
			names := []string{"pg-one", "PG-ONE", "pg.two", "s 7", "s8", "größe", "a:b"}
			files := map[string]string{"barman.conf": realConfig(t), "home/.keep": ""}
			for _, name := range []string{"10.conf", "20.conf", "5.conf", "B.conf", "a.CONF", ".h.conf", "x.conf.bak"} {
				if g.IntN(2) == 0 {
					files["conf.d/"+name] = g.file(names)
				}
			}
			if g.IntN(3) == 0 {
				files["barman.conf"] += g.file(names)
			}
			b := newBox(t, files)
			got := map[string]string{}
			list, err := b.client.Servers()
			if err != nil {
				t.Fatalf("Servers = %v, want no error\n%v", err, files)
			}
			for _, s := range list {
				got[s.Name] = strings.TrimSpace(s.Description)
			}
			for _, program := range barmans {
				want, inactive := map[string]string{}, map[string]bool{}
				for name, raw := range ask(t, b, program, "list-servers") {
					if strings.HasPrefix(name, "_") {
						continue
					}
					var s struct{ Description string }
					if err := json.Unmarshal(raw, &s); err != nil {
						t.Fatal(err)
					}
					want[name] = strings.TrimSpace(shownState.ReplaceAllString(s.Description, ""))
					inactive[name] = strings.Contains(s.Description, " (inactive)")
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("Servers = %q, %s says %q\n%q", got, program, want, files)
				}
				for _, s := range list {
					if s.Active == inactive[s.Name] {
						t.Errorf("%s is active: %v, %s says the contrary\n%q", s.Name, s.Active, program, files)
					}
				}
			}
		})
	}
}

// realInfo is a whole backup.info, as far as Barman insists on it.
func realInfo(version, status, name, mode, parent string, n int) string {
	info := fmt.Sprintf(`backup_label=None
backup_name=%s
begin_offset=40
begin_time=2026-01-%02[2]d 10:00:00.359746+00:00
begin_wal=000000010000000000000016
begin_xlog=0/16000028
children_backup_ids=None
cluster_size=187857968
compression=None
config_file=/srv/pgdata/postgresql.conf
copy_stats={'copy_time': 2.665461, 'total_time': 2.665461}
data_checksums=off
deduplicated_size=187715623
encryption=None
end_offset=0
end_time=2026-01-%02[2]d 10:00:03.035402+00:00
end_wal=000000010000000000000016
end_xlog=0/17000000
error=None
hba_file=/srv/pgdata/pg_hba.conf
ident_file=/srv/pgdata/pg_ident.conf
included_files=None
mode=%[3]s
parent_backup_id=%[4]s
pgdata=/srv/pgdata
server_name=s1
size=187715623
status=%[5]s
summarize_wal=None
systemid=7710729705533760124
tablespaces=None
timeline=1
version=150018
xlog_segment_size=16777216
`, name, n, mode, parent, status)
	var since string // keys that a Barman does not know are errors to it
	switch {
	case older(version, "3.12"):
		since = "children_backup_ids|parent_backup_id|cluster_size|data_checksums|summarize_wal|encryption"
	case older(version, "3.14"):
		since = "encryption"
	default:
		since = "none"
	}
	info = regexp.MustCompile(`(?m)^(`+since+`)=.*\n`).ReplaceAllString(info, "")
	return info
}

// Backups reads IDs and states as the real Barman does, and the words mean the same.
func TestBackupsAreThoseOfBarman(t *testing.T) {
	for _, program := range realBarmans(t) {
		t.Run(program, func(t *testing.T) {
			version, err := askVersion(program)
			if err != nil {
				t.Fatal(err)
			}
			seed := rand.Uint64()
			g := generator{rand.New(rand.NewPCG(seed, 0))}
			files := map[string]string{"barman.conf": realConfig(t), "home/s1/wals/.keep": "",
				"conf.d/1.conf": "[s1]\nconninfo = host=127.0.0.1 port=1 user=x dbname=y\nssh_command = ssh x@y\nbackup_method = rsync\narchiver = on\n"}
			want := []string{}
			for n := range 8 {
				id, status, mode, parent := fmt.Sprintf("202601%02dT100000", n+1), g.of("DONE", "DONE", "FAILED", "STARTED", "WAITING_FOR_WALS"), g.of("postgres", "rsync-concurrent"), "None"
				text := realInfo(version, status, g.of("None", "nightly", "n"+fmt.Sprint(n)), mode, parent, n+1)
				path := "home/s1/meta/" + id + "-backup.info"
				if older(version, "3.12") || mode == "rsync-concurrent" {
					path = "home/s1/base/" + id + "/backup.info"
				}
				files[path] = text
				files["home/s1/base/"+id+"/data/PG_VERSION"] = "15\n"
				want = append(want, id)
			}
			b := newBox(t, files)
			list, err := b.client.Backups("s1")
			if err != nil {
				t.Fatalf("Backups = %v, want no error", err)
			}
			var got, states []string
			for _, backup := range list {
				got, states = append(got, backup.ID), append(states, backup.ID+" "+backup.Status)
			}
			if !slices.Equal(got, want) {
				t.Errorf("Backups = %v, want %v", got, want)
			}
			var theirs []string
			var answer []struct {
				ID     string `json:"backup_id"`
				Status string
			}
			if err := json.Unmarshal(ask(t, b, program, "list-backups", "s1")["s1"], &answer); err != nil {
				t.Fatal(err)
			}
			for _, a := range answer {
				theirs = append(theirs, a.ID+" "+a.Status)
			}
			slices.Sort(theirs)
			if !slices.Equal(states, theirs) {
				t.Errorf("seed %d: the catalog is %q, %s says %q", seed, states, program, theirs)
			}
			for _, word := range []string{"latest", "last", "oldest", "first", "last-failed", "latest-full", "last-full", want[3], "nope"} {
				if strings.HasSuffix(word, "-full") && older(version, "3.11") {
					continue
				}
				ours, ok := pick(list, word)
				cmd := exec.Command(program, "-c", b.client.Config, "-f", "json", "show-backup", "s1", word)
				out, _ := cmd.Output()
				var doc struct {
					S1 struct {
						ID string `json:"backup_id"`
					}
					Error []string `json:"_ERROR"`
				}
				if err := json.Unmarshal(out, &doc); err != nil {
					t.Fatalf("%s: %v\n%s", cmd, err, out)
				}
				if ours.ID != doc.S1.ID || ok != (doc.Error == nil) {
					t.Errorf("seed %d: %q is %q (%v), %s says %q %q; the catalog is %q", seed, word, ours.ID, ok, program, doc.S1.ID, doc.Error, states)
				}
			}
		})
	}
}
