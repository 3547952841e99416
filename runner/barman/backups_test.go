package barman

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBackups(t *testing.T) {
	end := time.Date(2026, 11, 21, 20, 51, 53, 35_402_000, time.UTC)
	done := func(more ...string) string {
		return backupInfo("DONE", append([]string{"end_time=2026-11-21 20:51:53.035402+00:00"}, more...)...)
	}
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  []Backup
	}{
		{"a server without a folder", nil, []Backup{}},
		{"the layout of 3.4", map[string]string{"home/s1/base/20261121T205150/backup.info": done("backup_name=nightly")},
			[]Backup{{ID: "20261121T205150", Name: "nightly", Status: "DONE", Mode: "postgres", EndTime: end}}},
		{"the layout of 3.13", map[string]string{"home/s1/meta/20261121T205150-backup.info": done("parent_backup_id=20261120T000000")},
			[]Backup{{ID: "20261121T205150", Status: "DONE", Mode: "postgres", Parent: "20261120T000000", EndTime: end}}},
		{"a catalog that was upgraded, oldest first", map[string]string{
			"home/s1/base/20250102T000000/backup.info": backupInfo("DONE"), "home/s1/base/20250101T000000/backup.info": backupInfo("FAILED"),
			"home/s1/meta/20260101T000000-backup.info": backupInfo("STARTED"),
		}, []Backup{
			{ID: "20250101T000000", Status: "FAILED", Mode: "postgres"}, {ID: "20250102T000000", Status: "DONE", Mode: "postgres"},
			{ID: "20260101T000000", Status: "STARTED", Mode: "postgres"},
		}},
		{"in both layouts the newer one counts", map[string]string{"home/s1/base/20250101T000000/backup.info": backupInfo("STARTED"), "home/s1/meta/20250101T000000-backup.info": backupInfo("DONE")},
			[]Backup{{ID: "20250101T000000", Status: "DONE", Mode: "postgres"}}},
		{"what is no backup is passed over", map[string]string{
			"home/s1/base/tmp/backup.info": done(), "home/s1/base/20260101T00000/backup.info": done(), "home/s1/base/20260101T000000.old/backup.info": done(),
			"home/s1/meta/x-backup.info": done(), "home/s1/meta/-backup.info": done(), "home/s1/meta/20260101T000000-backup.info.bak": done(), "home/s1/base/20260101T000001/data/backup.info": done(),
		}, []Backup{}},
		{"a folder without its backup.info", map[string]string{"home/s1/base/20260101T000000/data/x": ""}, []Backup{}},
		{"a zone", map[string]string{"home/s1/meta/20260101T000000-backup.info": "status=DONE\nend_time=2026-11-22 02:21:53+05:30\nversion=1\n"},
			[]Backup{{ID: "20260101T000000", Status: "DONE", EndTime: time.Date(2026, 11, 21, 20, 51, 53, 0, time.UTC)}}},
		{"no zone", map[string]string{"home/s1/meta/20260101T000000-backup.info": "status=DONE\nend_time=2026-11-22 02:21:53.5\nversion=1\n"},
			[]Backup{{ID: "20260101T000000", Status: "DONE", EndTime: time.Date(2026, 11, 22, 2, 21, 53, 500_000_000, time.Local)}}},
		{"what a newer Barman may add", map[string]string{"home/s1/meta/20260101T000000-backup.info": "# comment\n\nfuture=[x\nstatus = DONE\nversion=1\n"}, []Backup{{ID: "20260101T000000", Status: "DONE"}}},
		{"another backup_directory", map[string]string{"conf.d/1.conf": "[s1]\nbackup_directory = DIR/else\n", "else/meta/20260101T000000-backup.info": backupInfo("DONE"), "home/s1/meta/20260102T000000-backup.info": done()},
			[]Backup{{ID: "20260101T000000", Status: "DONE", Mode: "postgres"}}},
		{"another basebackups_directory", map[string]string{"conf.d/1.conf": "[s1]\nbasebackups_directory = DIR/bb\n", "bb/20260101T000000/backup.info": backupInfo("DONE")},
			[]Backup{{ID: "20260101T000000", Status: "DONE", Mode: "postgres"}}},
		{"a name that holds =", map[string]string{"home/s1/meta/20260101T000000-backup.info": "backup_name=a=b\nstatus=DONE\nversion=1\n"}, []Backup{{ID: "20260101T000000", Name: "a=b", Status: "DONE"}}},
		{"long values", map[string]string{"home/s1/meta/20260101T000000-backup.info": "copy_stats={'x': '" + strings.Repeat("x", 9_000_000) + "'}\nstatus=DONE\nversion=1\n"}, []Backup{{ID: "20260101T000000", Status: "DONE"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := map[string]string{"conf.d/1.conf": "[s1]\n"}
			for name, text := range tc.files {
				files[name] = text
			}
			got, err := newBox(t, files).client.Backups("s1")
			if err != nil {
				t.Fatalf("Backups = %v, want no error", err)
			}
			same := func(a, b Backup) bool {
				equal := a.EndTime.Equal(b.EndTime)
				a.EndTime, b.EndTime = time.Time{}, time.Time{}
				a.Size, a.Data, a.Info, a.path = b.Size, b.Data, b.Info, b.path // see TestWhereABackupsDataLies
				return equal && reflect.DeepEqual(a, b)
			}
			if !slices.EqualFunc(got, tc.want, same) {
				t.Errorf("Backups = %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestWhereABackupsDataLies(t *testing.T) {
	for _, tc := range []struct {
		name, config, info string
		size               int64
		data               string // below the box
	}{
		{"the layout of 3.4", "[s1]\n", "home/s1/base/20260101T000000/backup.info", 1, "home/s1/base/20260101T000000/data"},
		{"the layout of 3.13", "[s1]\n", "home/s1/meta/20260101T000000-backup.info", 1, "home/s1/base/20260101T000000/data"},
		{"another backup_directory", "[s1]\nbackup_directory = DIR/else\n", "else/meta/20260101T000000-backup.info", 1, "else/base/20260101T000000/data"},
		{"another basebackups_directory", "[s1]\nbasebackups_directory = DIR/bb\n", "home/s1/meta/20260101T000000-backup.info", 1, "bb/20260101T000000/data"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBox(t, map[string]string{"conf.d/1.conf": tc.config, tc.info: backupInfo("DONE")})
			got, err := b.client.Backup("s1", "latest")
			if want := filepath.Join(b.dir, tc.data); err != nil || got.Size != tc.size || got.Data != want {
				t.Errorf("the backup has %d bytes in %q (%v), want %d in %q", got.Size, got.Data, err, tc.size, want)
			}
		})
	}
}

// One backup.info that cannot be read must not hide all the others.
func TestABackupThatCannotBeReadHarmsNoOther(t *testing.T) {
	whole := backupInfo("DONE", "xlog_segment_size=16777216")
	for _, tc := range []struct{ name, text, says string }{
		{"empty", "", "its end is missing"},
		{"half a line", "mode=postgres\nstat", "ends within"},
		{"half a value", strings.TrimSuffix(whole, "6\n"), "ends within"},
		{"without its end", whole[:strings.Index(whole, "tablespaces=")], "its end is missing"},
		{"zeros, as after a power failure", strings.Repeat("\x00", 500), "ends within"},
		{"not UTF-8", "\xff" + whole, "UTF-8"},
		{"a time that is none", backupInfo("DONE", "end_time=soon"), "its end_time cannot be read"},
		{"a size that is none", backupInfo("DONE", "size=big"), "its size cannot be read"},
		{"statistics that are none", backupInfo("DONE", "copy_stats={'x'"), "its copy_stats cannot be read"},
		{"tablespaces that are none", backupInfo("DONE", "tablespaces=[1]"), "its tablespaces cannot be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBox(t, map[string]string{"conf.d/1.conf": "[s1]\n", "home/s1/meta/20260101T000000-backup.info": whole, "home/s1/base/20260102T000000/backup.info": tc.text})
			got, err := b.client.Backups("s1")
			if err != nil || len(got) != 2 || got[0].Status != "DONE" || got[0].Err != nil {
				t.Fatalf("Backups = %+v, %v, want two, and the first whole", got, err)
			}
			if got[1].Status != "DAMAGED" || got[1].Err == nil || !strings.Contains(got[1].Err.Error(), tc.says) || !strings.Contains(got[1].Err.Error(), "20260102T000000/backup.info") {
				t.Errorf("the second is %q (%v), want it DAMAGED: the file, and %q", got[1].Status, got[1].Err, tc.says)
			}
			if latest, err := b.client.Backup("s1", "latest"); err != nil || latest.ID != "20260101T000000" {
				t.Errorf("latest = %v, %v, want the one that can be restored", latest.ID, err)
			}
		})
	}
	b := newBox(t, map[string]string{"conf.d/1.conf": "[s1]\n", "home/s1/meta/20260101T000000-backup.info": whole, "home/s1/meta/20260103T000000-backup.info/x": ""})
	if got, err := b.client.Backups("s1"); err != nil || len(got) != 2 || got[0].Status != "DONE" || got[1].Status != "DAMAGED" {
		t.Errorf("Backups with a folder for a file = %+v, %v, want the other one whole", got, err)
	}
}

func TestPick(t *testing.T) {
	list := []Backup{
		{ID: "20260101T000000", Status: "FAILED"},
		{ID: "20260102T000000", Status: "DONE", Name: "nightly"},
		{ID: "20260103T000000", Status: "DONE", Name: "twice"},
		{ID: "20260104T000000", Status: "WAITING_FOR_WALS", Parent: "20260103T000000", Name: "twice"},
		{ID: "20260105T000000", Status: "FAILED", Name: "last-failed"},
		{ID: "20260106T000000", Status: "STARTED", Name: "20260102T000000"},
		{ID: "20260107T000000", Status: "EMPTY", Name: "started"},
		{ID: "20260108T000000", Status: "SYNCING"},
	}
	for _, tc := range []struct{ id, want string }{
		{"latest", "20260104T000000"}, {"last", "20260104T000000"},
		{"oldest", "20260102T000000"}, {"first", "20260102T000000"},
		{"last-failed", "20260105T000000"},
		{"latest-full", "20260103T000000"}, {"last-full", "20260103T000000"},
		{"20260101T000000", "20260101T000000"}, {"20260106T000000", "20260106T000000"},
		{"nightly", "20260102T000000"},
		{"20260102T000000", "20260102T000000"}, // an ID comes before a name
		{"twice", ""}, {"", ""}, {"LATEST", ""}, {"first-failed", ""}, {"failed", ""}, {"2026", ""}, {"20260109T000000", ""}, {"*", ""}, {"night", ""}, {"Nightly", ""},
	} {
		if got, ok := pick(list, tc.id); got.ID != tc.want || ok != (tc.want != "") {
			t.Errorf("pick(%q) = %q, %v, want %q", tc.id, got.ID, ok, tc.want)
		}
	}
	for word := range words {
		if got, ok := pick(nil, word); ok {
			t.Errorf("pick(%q) of no backups = %+v, want none", word, got)
		}
	}
	for _, word := range []string{"latest", "oldest", "latest-full"} {
		if got, ok := pick([]Backup{{ID: "20260101T000000", Status: "STARTED"}}, word); ok {
			t.Errorf("pick(%q) of a backup that is not done = %+v, want none", word, got)
		}
	}
	if !slices.IsSortedFunc(list, func(a, b Backup) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("pick changed the order of the list that it was given")
	}
}

// Barman looks for a name among the backups that can be restored: a failed one of the same
// name does not count (seen with 3.4.0, 3.13.3 and 3.20.1).
func TestANameIsThatOfABackupThatCanBeRestored(t *testing.T) {
	for _, tc := range []struct {
		name   string
		states []string // of backups with the name x, oldest first
		want   string
	}{
		{"one that is done", []string{"DONE"}, "20260101T000000"},
		{"one that waits for its WAL", []string{"WAITING_FOR_WALS"}, "20260101T000000"},
		{"one that failed", []string{"FAILED"}, ""},
		{"one that runs", []string{"STARTED"}, ""},
		{"one that is empty", []string{"EMPTY"}, ""},
		{"failed, then made again", []string{"FAILED", "DONE"}, "20260102T000000"},
		{"done, then failed", []string{"DONE", "FAILED"}, "20260101T000000"},
		{"done, and one that runs", []string{"DONE", "STARTED"}, "20260101T000000"},
		{"two that are done", []string{"DONE", "DONE"}, ""},
		{"one done and one that waits", []string{"DONE", "WAITING_FOR_WALS"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var list []Backup
			for i, s := range tc.states {
				list = append(list, Backup{ID: fmt.Sprintf("202601%02dT000000", i+1), Name: "x", Status: s})
			}
			if got, ok := pick(list, "x"); got.ID != tc.want || ok != (tc.want != "") {
				t.Errorf("pick(x) = %q, %v, want %q", got.ID, ok, tc.want)
			}
		})
	}
}

func TestBackupThatIsNotThere(t *testing.T) {
	b := newBox(t, map[string]string{"conf.d/1.conf": "[s1]\n"})
	_, err := b.client.Backup("s1", "latest")
	if e, ok := errors.AsType[*UnknownError](err); !ok || e.What != "backup" || e.Error() != "Backup 'latest' does not exist" {
		t.Errorf("Backup = %v, want an UnknownError of the backup", err)
	}
	if _, err := b.client.Backup("nope", "latest"); err == nil || err.Error() != "Server 'nope' does not exist" {
		t.Errorf("Backup of an unknown server = %v, want an UnknownError of the server", err)
	}
}

// Whatever stands in a backup.info, it gives a backup with its ID and a status, or an error.
func FuzzReadBackup(f *testing.F) {
	for _, s := range []string{backupInfo("DONE", "end_time=2026-11-21 20:51:53.035402+00:00", "backup_name=x", "parent_backup_id=y"), "", "status=None\n", "status", "=\n=", "end_time=9999-99-99\n", "status=DONE\r\nversion=1\r\n", "\x00", "tablespaces=[('a', 1, \"/a\")]\ncopy_stats={'copy_time': 1e3, 'x': [None, (True,)]}\nversion=1\n"} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "backup.info")
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = os.Remove(path) // to truncate it makes ext4 write it out
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		b, _, err := readBackup(path, "20260101T000000")
		if err != nil {
			return
		}
		if b.ID != "20260101T000000" {
			t.Errorf("readBackup gave the ID %q, want the one of the file's name", b.ID)
		}
		for _, value := range []string{b.Status, b.Name, b.Mode, b.Parent} {
			if value == "None" || strings.ContainsAny(value, "\n") {
				t.Errorf("readBackup gave the value %q, want no null and one line", value)
			}
		}
		if got, ok := pick([]Backup{b}, "latest"); ok && got.Status != "DONE" && got.Status != "WAITING_FOR_WALS" {
			t.Errorf("a backup that is %q is the latest, want one that can be restored", got.Status)
		}
	})
}
