package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestCatalogIsBarmans: what the API says of backups is what "barman -f json" says, field by field: on catalogs that Barman itself made
// (full, compressed, rsync, failed, kept, named, none at all), and on one with more of what only other PostgreSQLs can give.
func TestCatalogIsBarmans(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, suite)
			l.makeBackups()
			l.imitateBackups()
			l.must(l.command("sh", "-c", "printf '[pg-two]\\nretention_policy = REDUNDANCY 2\\n[pg-off]\\nminimum_redundancy = 1\\n' >$0/barman.d/zz.conf", l.dir))
			url, _ := l.serve()
			d := &differential{t: t, l: l, c: client{t, url}, compared: map[string]int{}}
			d.servers()
			for _, server := range []string{"pg-one", "pg-two", "pg-off"} {
				d.backups(server)
			}
			d.t.Logf("%d fields were compared with Barman %s: %s", len(d.compared), l.env["LAB_BARMAN_VERSION"], strings.Join(slices.Sorted(maps.Keys(d.compared)), " "))
			if len(d.compared) < 35 {
				t.Errorf("%d fields were compared, want 35 at least", len(d.compared))
			}
			d.wordsAndNames()
			d.moments()
			d.damage()
		})
	}
}

// barman runs a command of the lab's Barman.
func (l *lab) barman(args ...string) *exec.Cmd {
	return l.command(l.env["LAB_BARMAN"], append([]string{"-c", l.env["LAB_BARMAN_CONF"]}, args...)...)
}

// makeBackups has Barman make backups of all kinds that it can make here.
func (l *lab) makeBackups() {
	l.t.Helper()
	conf := l.dir + "/barman.d/zz.conf"
	set := func(options string) {
		l.t.Helper()
		if err := os.WriteFile(conf, []byte("[pg-one]\n"+options), 0o644); err != nil { // #nosec G306 -- user barman reads it
			l.t.Fatal(err)
		}
	}
	l.must(l.barman("backup", "--wait", "--name", "nightly", "pg-one")) // Barman 3.4 forgets the name while it waits
	l.must(l.barman("keep", "--target", "standalone", "pg-one", "latest"))
	set("backup_compression = gzip\n")
	l.must(l.barman("backup", "--wait", "pg-one"))
	l.must(l.barman("backup", "--wait", "pg-two"))
	l.must(l.command("mkdir", l.dir+"/bin"))
	l.program("bin/pg_basebackup", "#!/bin/sh\ncase $* in *--version*) exec "+l.env["LAB_PG_BIN"]+"/pg_basebackup \"$@\" ;; esac\necho no luck >&2\nexit 1\n")
	set("path_prefix = " + l.dir + "/bin\n")
	if out, err := l.barman("backup", "pg-one").CombinedOutput(); err == nil {
		l.t.Fatalf("a backup that cannot be made was made:\n%s", out)
	}
	if err := os.Remove(conf); err != nil {
		l.t.Fatal(err)
	}
}

// imitateBackups adds to pg-two what PostgreSQL 15 and this lab have not: incremental backups, tablespaces, one that was broken off.
func (l *lab) imitateBackups() {
	l.t.Helper()
	home := l.env["LAB_BARMAN_HOME"] + "/pg-two"
	found, _ := filepath.Glob(home + "/meta/*-backup.info")
	newer := len(found) > 0
	if !newer {
		found, _ = filepath.Glob(home + "/base/*/backup.info")
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		l.t.Fatal(err)
	}
	imitate := func(id string, facts map[string]string) {
		l.t.Helper()
		info := string(text)
		for key, value := range facts {
			line := regexp.MustCompile(`(?m)^` + key + `=.*\n`)
			if !line.MatchString(info) && key != "backup_name" {
				continue // this Barman does not know it
			}
			info = line.ReplaceAllString(info, "") + key + "=" + value + "\n"
		}
		path := home + "/base/" + id + "/backup.info"
		if newer {
			path = home + "/meta/" + id + "-backup.info"
		}
		l.must(l.command("mkdir", "-p", home+"/base/"+id+"/data"))
		write := l.command("sh", "-c", `cat > "$0"`, path)
		write.Stdin = strings.NewReader(info)
		l.must(write)
	}
	imitate("20260101T000000", map[string]string{"mode": "postgres", "children_backup_ids": "20260102T000000,20260103T000000", "tablespaces": `[('fast', 16387, '/fast'), ("it's", 16388, '/a\\b')]`})
	imitate("20260102T000000", map[string]string{"mode": "postgres", "parent_backup_id": "20260101T000000", "children_backup_ids": "20260103T000000", "summarize_wal": "on", "status": "WAITING_FOR_WALS"})
	imitate("20260103T000000", map[string]string{"mode": "postgres", "parent_backup_id": "20260102T000000", "backup_name": "weekly", "end_time": "2026-01-03 00:10:00+05:30"})
	imitate("20260104T000000", map[string]string{"status": "STARTED", "end_time": "None", "size": "None"})
}

// differential compares.
type differential struct {
	t        *testing.T
	l        *lab
	c        client
	compared map[string]int
}

func (d *differential) ask(args ...string) []byte {
	d.t.Helper()
	out, err := d.l.barman(append([]string{"-f", "json"}, args...)...).Output()
	if err != nil {
		d.t.Fatalf("barman %v: %v\n%s", args, err, out)
	}
	return out
}

func (d *differential) get(path string) []byte {
	d.t.Helper()
	res := d.c.do("GET", path, "")
	if res.StatusCode != 200 {
		d.t.Fatalf("GET %s = %d %s", path, res.StatusCode, res.body)
	}
	return res.body
}

// Names of Barman 3.4 for what later ones call otherwise.
var olderNames = map[string]string{
	"/base_backup_information/incremental_size_bytes": "/base_backup_information/backup_size_bytes",
}

// inWords are what Barman says in words, in another field in numbers; and what it makes of numbers that are compared.
var inWords = regexp.MustCompile(`(^|/)(size|wal_size|backup_size|backup_size_with_wals|cluster_size|disk_usage|disk_usage_with_wals|incremental_size|incremental_size_ratio|copy_time|` +
	`analysis_time|analysis_time_seconds|throughput|throughput_bytes|compression_ratio|wal_compression_ratio|wal_rate|wal_rate_per_second|resources_saved|resources_saved_bytes|resources_saved_percentage|timelines|_WARNING)(/\d+)?$`)

// Barman 3.4 lists the tablespaces, too: here they are told of each backup.
var withoutTablespaces = regexp.MustCompile(`, "tablespaces": \[[^\]]*\]`)

// same compares one object of Barman's with ours.
func (d *differential) same(what string, theirs, ours []byte) {
	d.t.Helper()
	got := leaves(d.t, ours)
	for path, value := range leaves(d.t, theirs) {
		if inWords.MatchString(path) {
			continue
		}
		name := path
		if to, ok := olderNames[path]; ok {
			name = to
		}
		if path == "/base_backup_information/disk_usage_bytes" || path == "/base_backup_information/disk_usage_with_wals_bytes" || path == "/tablespaces" && value == "[]" {
			continue // Barman 3.4: the size of all files, which later ones do not tell
		}
		unquoted := strings.Trim(value, `"`)
		stamp := false
		if name, stamp = strings.CutSuffix(name, "_timestamp"); stamp {
			name = regexp.MustCompile(`^/base_backup_information/(begin|end)_time$`).ReplaceAllString(name, "/${1}_time")
		}
		if name == "/base_backup_information/begin_time" || name == "/base_backup_information/end_time" {
			name = strings.TrimPrefix(name, "/base_backup_information")
		}
		switch name {
		case "/retention_status":
			if value == `"-"` && got[name] == `"VALID"` { // a list does not tell who is
				value = `"VALID"`
			}
			value = strings.Replace(value, `"-"`, "null", 1)
		case "/catalog_information/retention_policy":
			name = "/retention_status"
			if value == `"not enforced"` || value == `"-"` {
				value = "null"
			}
		case "/catalog_information/parent_backup_id":
			name = "/parent_backup_id"
		case "/catalog_information/children_backup_ids":
			name, value = "/children_backup_ids", strings.Replace(value, "null", "[]", 1)
		}
		if strings.HasPrefix(name, "/catalog_information/children_backup_ids/") {
			name = strings.TrimPrefix(name, "/catalog_information")
		}
		if strings.HasPrefix(value, `"- (`) {
			value = "null"
		}
		is, there := got[name]
		ok := is == value
		if at, err := time.Parse(time.RFC3339Nano, strings.Trim(is, `"`)); err == nil {
			for _, layout := range []string{time.ANSIC, "2006-01-02 15:04:05.999999-07:00"} {
				if t, err := time.ParseInLocation(layout, unquoted, at.Location()); err == nil {
					ok = t.Equal(at) || layout == time.ANSIC && t.Equal(at.Truncate(time.Second))
				}
			}
			if stamp {
				ok = unquoted == strconv.FormatInt(at.Unix(), 10)
			}
		}
		if !there || !ok {
			d.t.Errorf("%s: %s = %s, Barman says %s = %s", what, name, is, path, value)
		}
		d.compared[path]++
	}
}

func (d *differential) servers() {
	var theirs map[string]struct{ Description string }
	if err := json.Unmarshal(d.ask("list-servers"), &theirs); err != nil {
		d.t.Fatal(err)
	}
	ours := d.c.do("GET", "/servers", "").json(d.t)["servers"].([]any)
	if len(ours) != len(theirs) {
		d.t.Errorf("%d servers, Barman has %d", len(ours), len(theirs))
	}
	for _, s := range ours {
		s := s.(map[string]any)
		shown := s["description"]
		if s["active"] == false {
			shown = fmt.Sprint(shown, " (inactive)")
		}
		if got := theirs[s["name"].(string)].Description; got != shown {
			d.t.Errorf("%v is %q, Barman says %q", s["name"], shown, got)
		}
	}
	d.compared["/name"], d.compared["/description"], d.compared["/active"] = len(ours), len(ours), len(ours)
}

// backups compares the list, and each of the backups.
func (d *differential) backups(server string) {
	var theirs map[string][]json.RawMessage
	if err := json.Unmarshal(d.ask("list-backups", server), &theirs); err != nil && server != "pg-off" {
		d.t.Fatal(err)
	}
	var ours struct{ Backups []json.RawMessage }
	if err := json.Unmarshal(d.get("/servers/"+server+"/backups"), &ours); err != nil {
		d.t.Fatal(err)
	}
	if len(ours.Backups) != len(theirs[server]) {
		d.t.Fatalf("%s has %d backups: %s\nBarman has %d: %s", server, len(ours.Backups), ours.Backups, len(theirs[server]), theirs[server])
	}
	for i, raw := range theirs[server] {
		id := strings.Trim(leaves(d.t, raw)["/backup_id"], `"`)
		d.same(server+" in the list", withoutTablespaces.ReplaceAll(raw, nil), ours.Backups[i])
		var detail map[string]json.RawMessage
		if err := json.Unmarshal(d.ask("show-backup", server, id), &detail); err != nil {
			d.t.Fatal(err)
		}
		d.same(server+" "+id, detail[server], d.get("/servers/"+server+"/backups/"+id))
	}
}

// wordsAndNames: what a word means, and whether a backup is kept, is told by Barman one by one.
func (d *differential) wordsAndNames() {
	for _, path := range []string{"pg-one/latest", "pg-one/oldest", "pg-one/last-failed", "pg-two/weekly"} {
		server, word, _ := strings.Cut(path, "/")
		theirs := leaves(d.t, d.ask("show-backup", server, word))["/"+server+"/backup_id"]
		if ours := leaves(d.t, d.get("/servers/"+server+"/backups/"+word))["/backup_id"]; ours != theirs {
			d.t.Errorf("%s of %s is %s, Barman says %s", word, server, ours, theirs)
		}
	}
	for _, word := range []string{"latest", "oldest"} {
		ours := leaves(d.t, d.get("/servers/pg-one/backups/"+word))
		theirs := leaves(d.t, d.ask("keep", "--status", "pg-one", strings.Trim(ours["/backup_id"], `"`)))["/pg-one/keep_status/message"]
		if ours["/keep"] != theirs && (ours["/keep"] != "null" || !strings.Contains(theirs, "nokeep")) {
			d.t.Errorf("keep of %s is %s, Barman says %s", word, ours["/keep"], theirs)
		}
	}
	broken := leaves(d.t, d.get("/servers/pg-two/backups/20260104T000000"))
	if broken["/abandoned"] != "true" {
		d.t.Errorf("a STARTED backup that nobody makes is %v, want it abandoned", broken)
	}
}

// damage: a file that is cut off, and one that cannot be read, hide no other, whatever Barman does then.
func (d *differential) damage() {
	list := func() string { return string(d.get("/servers/pg-two/backups")) }
	before := strings.Count(list(), `"backup_id"`)
	home := d.l.env["LAB_BARMAN_HOME"] + "/pg-two"
	for _, id := range []string{"20260102T000000", "20260103T000000"} {
		found, _ := filepath.Glob(home + "/meta/" + id + "-backup.info")
		if len(found) == 0 {
			found = []string{home + "/base/" + id + "/backup.info"}
		}
		if id == "20260102T000000" {
			d.l.must(d.l.command("truncate", "--size=300", found[0]))
		} else {
			d.l.must(d.l.command("chmod", "0", found[0]))
		}
		if got := leaves(d.t, d.get("/servers/pg-two/backups/"+id)); got["/status"] != `"DAMAGED"` || got["/damaged"] != "true" {
			d.t.Errorf("%s is %s, want it DAMAGED", id, got["/status"])
		}
	}
	if after := strings.Count(list(), `"backup_id"`); after != before || strings.Count(list(), `"damaged":true`) != 2 {
		d.t.Errorf("of %d backups %d are there: %s, want all, and two DAMAGED", before, after, list())
	}
}
