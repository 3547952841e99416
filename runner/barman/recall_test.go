package barman

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What is kept of a backup.info is not believed when the file was written, replaced, cut or made unreadable since, however its times
// and its size look.
func TestBackupIsTheOneInTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backup.info")
	info := func(name string) []byte {
		return []byte("backup_name=" + name + "\nstatus=DONE\nversion=150018\n")
	}
	write := func(name string) {
		if err := os.WriteFile(path, info(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	is := func(want string) {
		t.Helper()
		if b, err := recallBackup(unix.AT_FDCWD, path, path, "20260101T000000"); err != nil || b.Name != want {
			t.Errorf("the backup is %q, %v, want %q", b.Name, err, want)
		}
	}
	write("one")
	for range 2 {
		is("one")
	}
	// It is trusted only when it is old; a moment that passes makes it so.
	eventually(t, func() string { return "a file that stays as it is, is not kept" }, func() bool {
		is("one")
		b, ok := keptBackups.Recall(path)
		return ok && b.Name == "one"
	})
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write("two")
	if err := os.Chtimes(path, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
	is("two")
	if err := os.WriteFile(path+".new", info("six"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	is("six")
	if err := os.Truncate(path, 5); err != nil {
		t.Fatal(err)
	}
	if _, err := recallBackup(unix.AT_FDCWD, path, path, "20260101T000000"); err == nil {
		t.Error("a file that was cut is taken for a backup")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := recallBackup(unix.AT_FDCWD, path, path, "20260101T000000"); !os.IsNotExist(err) {
		t.Errorf("a file that is gone: %v, want that it does not exist", err)
	}
}
