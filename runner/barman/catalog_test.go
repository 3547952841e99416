package barman

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestLiterals(t *testing.T) {
	for _, tc := range []struct {
		text string
		want any
	}{
		{"None", nil}, {"True", true}, {"False", false}, {"7", int64(7)}, {"-7", int64(-7)}, {"1.5", 1.5}, {"1e-05", 1e-05}, {" 'x' ", "x"},
		{`'it\'s "x" \\ \n \x41 \u00e9 é'`, "it's \"x\" \\ \n A é é"}, {`"it's \" x"`, `it's " x`},
		{"[]", []any{}}, {"()", []any{}}, {"(1,)", []any{int64(1)}}, {"[1, ('a', None), {}]", []any{int64(1), []any{"a", nil}, map[string]any{}}},
		{"{'a': 1, 'b': {'c': [True]}}", map[string]any{"a": int64(1), "b": map[string]any{"c": []any{true}}}},
	} {
		if got, err := literal(tc.text); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("literal(%s) = %#v, %v, want %#v", tc.text, got, err, tc.want)
		}
	}
	for _, text := range []string{"", "x", "[", "]", "[1", "[1 2]", "[1,, 2]", "(1", "{'a'}", "{'a': }", "{1: 2}", "'x", `'\`, `'\q'`, "1 2", "nan", "inf", "None]", "print()", strings.Repeat("[", 10000)} {
		if got, err := literal(text); err == nil {
			t.Errorf("literal(%.20q) = %#v, want an error", text, got)
		}
	}
}

func TestWhatTheCatalogSaysOfABackup(t *testing.T) {
	info := func(begin, end string, more ...string) string {
		return backupInfo("DONE", append([]string{"begin_wal=" + begin, "end_wal=" + end}, more...)...)
	}
	wal := func(n int) string { return fmt.Sprintf("0000000100000000000000%02X", n) }
	b := newBox(t, map[string]string{
		"conf.d/1.conf": "[s1]\n",
		"home/s1/base/20250101T000000/backup.info":      info(wal(1), wal(2)),
		"home/s1/base/20250101T000000/annotations/keep": "full",
		"home/s1/meta/20260101T000000-backup.info":      info(wal(5), wal(6), "children_backup_ids=20260102T000000,20260103T000000"),
		"home/s1/meta/20260101T000000-keep":             "standalone",
		"home/s1/meta/20260102T000000-backup.info":      info(wal(8), wal(8), "parent_backup_id=20260101T000000"),
		"home/s1/meta/20260103T000000-backup.info":      info(wal(10), wal(10), "parent_backup_id=20260102T000000"),
		"home/s1/meta/20260104T000000-backup.info":      backupInfo("FAILED"),
		"home/s1/wals/xlog.db":                          "", // of an older Barman: the newer one's counts
	})
	var list strings.Builder
	for n := 1; n <= 12; n++ {
		fmt.Fprintf(&list, "%s\t%d\t1.5\tNone\tNone\n", wal(n), 1<<n)
	}
	b.write(t, "home/s1/wals/s1-xlog.db", "00000002.history\t9\t1\tNone\n"+list.String()+"00000001000000000000000C.partial\t9\t1\tNone\n000000020000000000000001\t9\t1\tNone\nbroken\n")
	got, err := b.client.Catalog("s1")
	if err != nil || len(got) != 5 {
		t.Fatalf("Catalog = %+v, %v, want five", got, err)
	}
	for i, want := range []Entry{
		{Keep: "full", Next: "20260101T000000", Needed: WALs{2, 2 + 4}, Later: WALs{4, 8 + 16 + 32 + 64}, LastWAL: wal(6)},
		{Keep: "standalone", Previous: "20250101T000000", Next: "20260102T000000", Needed: WALs{2, 32 + 64}, Later: WALs{2, 128 + 256}, LastWAL: wal(8)},
		{Previous: "20260101T000000", Next: "20260103T000000", Chain: []string{"20260101T000000"}, Needed: WALs{1, 256}, Later: WALs{2, 512 + 1024}, LastWAL: wal(10)},
		{Previous: "20260102T000000", Chain: []string{"20260102T000000", "20260101T000000"}, Needed: WALs{1, 1024}, Later: WALs{2, 2048 + 4096}, LastWAL: wal(12)},
		{},
	} {
		want.Backup = got[i].Backup
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("of %s the catalog says %+v, want %+v", got[i].ID, got[i], want)
		}
	}
	if c := got[1].Children; !slices.Equal(c, []string{"20260102T000000", "20260103T000000"}) {
		t.Errorf("the children are %q, want two", c)
	}
}

// Parents that are each other's, as no Barman makes them, end in a list all the same.
func TestAChainThatIsARing(t *testing.T) {
	b := newBox(t, map[string]string{"conf.d/1.conf": "[s1]\n", "home/s1/meta/20260101T000000-backup.info": backupInfo("DONE", "parent_backup_id=20260102T000000"),
		"home/s1/meta/20260102T000000-backup.info": backupInfo("DONE", "parent_backup_id=20260101T000000")})
	if got, err := b.client.Catalog("s1"); err != nil || len(got) != 2 || len(got[0].Chain) != 2 {
		t.Errorf("Catalog = %+v, %v, want two with an end", got, err)
	}
}

func TestWhereTheListOfWALFilesLies(t *testing.T) {
	line := strings.Repeat("0", 23) + "1\t7\t1\tNone\n"
	for name, files := range map[string]map[string]string{
		"Barman before 3.13":    {"home/s1/wals/xlog.db": line},
		"later ones":            {"home/s1/wals/s1-xlog.db": line},
		"another folder":        {"conf.d/1.conf": "[s1]\nwals_directory = DIR/w\n", "w/s1-xlog.db": line},
		"another one for it":    {"conf.d/1.conf": "[s1]\nwals_directory = DIR/w\nxlogdb_directory = DIR/x\n", "x/s1-xlog.db": line},
		"another for the whole": {"conf.d/1.conf": "[s1]\nbackup_directory = DIR/b\n", "b/wals/xlog.db": line},
	} {
		b := newBox(t, map[string]string{"conf.d/1.conf": "[s1]\n"})
		for file, text := range files {
			b.write(t, file, text)
		}
		if got, err := b.load(t).archive("s1"); err != nil || len(got) != 1 || got[0].bytes != 7 {
			t.Errorf("%s: archive = %v, %v, want one file of 7 bytes", name, got, err)
		}
	}
}

func TestALockIsLookedUp(t *testing.T) {
	b := newBox(t, map[string]string{"lock": "1\n"})
	path := filepath.Join(b.dir, "lock")
	want := func(want bool) {
		t.Helper()
		if got, err := locked(path); err != nil || got != want {
			t.Errorf("locked = %v, %v, want %v", got, err, want)
		}
	}
	want(false)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	want(true)
	_ = f.Close()
	want(false)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want(false)
}

// hundred is a catalog of many backups.
func hundred(t testing.TB, version string) *box { return many(t, version, 100) }

func many(t testing.TB, version string, count int) *box {
	files := map[string]string{"barman.conf": realConfig(t), "conf.d/1.conf": "[s1]\nconninfo = host=127.0.0.1 port=1 user=x dbname=y\nstreaming_archiver = on\nslot_name = x\nbackup_method = postgres\n", "home/s1/wals/.keep": ""}
	for n := range count {
		id := fmt.Sprintf("2026%02d%02dT100000", n/28+1, n%28+1)
		path := "home/s1/meta/" + id + "-backup.info"
		if older(version, "3.12") {
			path = "home/s1/base/" + id + "/backup.info"
		}
		files[path] = realInfo(version, "DONE", "None", "postgres", "None", n%28+1)
		files["home/s1/base/"+id+"/data/PG_VERSION"] = "15\n"
	}
	return newBox(t, files)
}

// Of hundreds of backups each is told of as the real Barman does.
func TestHundredsOfBackupsAreBarmans(t *testing.T) {
	for _, program := range realBarmans(t) {
		version, err := askVersion(program)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(version, func(t *testing.T) {
			b := many(t, version, 300)
			b.write(t, "conf.d/2.conf", "[s1]\nretention_policy = REDUNDANCY 150\nminimum_redundancy = 160\n")
			name, more := "s1-xlog.db", "\n"
			if older(version, "3.12") {
				name = "xlog.db"
			} else if !older(version, "3.14") {
				more = "\tNone\n" // of its encryption
			}
			b.write(t, "home/s1/wals/"+name, "000000010000000000000016\t16777216\t1.5\tNone"+more+"000000010000000000000017\t4711\t2.5\tgzip"+more)
			list, err := b.client.Catalog("s1")
			if err != nil {
				t.Fatal(err)
			}
			var ours, theirs []string
			for _, e := range slices.Backward(list) {
				ours = append(ours, fmt.Sprintln(e.ID, e.Status, e.EndTime.Local().Format(time.ANSIC), e.Size+e.Needed.Bytes, e.Later.Bytes, strings.Replace("-"+e.Retention, "-"+obsolete, obsolete, 1)))
			}
			var told []struct {
				ID        string `json:"backup_id"`
				Status    string
				End       string `json:"end_time"`
				Size      int64  `json:"size_bytes"`
				WALs      int64  `json:"wal_size_bytes"`
				Retention string `json:"retention_status"`
			}
			if err := json.Unmarshal(ask(t, b, program, "list-backups", "s1")["s1"], &told); err != nil {
				t.Fatal(err)
			}
			for _, e := range told {
				retention := e.Retention
				if retention == "-" {
					retention = "-" + valid
				}
				theirs = append(theirs, fmt.Sprintln(e.ID, e.Status, e.End, e.Size, e.WALs, retention))
			}
			if !slices.Equal(ours, theirs) || len(ours) != 300 {
				t.Errorf("the catalog has %d backups, %s says of %d:\n%s\n%s", len(ours), program, len(theirs), strings.Join(ours, ""), strings.Join(theirs, ""))
			}
			t.Logf("of %d backups these fields were compared with Barman %s: backup_id end_time retention_status size_bytes status wal_size_bytes", len(ours), version)
		})
	}
}

func BenchmarkCatalog(b *testing.B) {
	box := hundred(b, "3.20")
	for b.Loop() {
		if list, err := box.client.Catalog("s1"); err != nil || len(list) != 100 {
			b.Fatalf("Catalog = %d, %v, want 100", len(list), err)
		}
	}
}

func BenchmarkBarmanListBackups(b *testing.B) {
	for _, program := range realBarmans(b) {
		version, err := askVersion(program)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(version, func(b *testing.B) {
			box := hundred(b, version)
			for b.Loop() {
				ask(b, box, program, "list-backups", "s1")
			}
		})
	}
}
