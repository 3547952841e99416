package rewrite

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t *testing.T, path, text string) *File {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func wantText(t *testing.T, path, want string) {
	t.Helper()
	if data, err := os.ReadFile(path); err != nil || string(data) != want {
		t.Errorf("%s holds %q, %v, want %q", path, data, err, want)
	}
}

// What somebody else wrote in between stays, and what was replaced before it came up is put back.
func TestReplaceWritesAllOrNone(t *testing.T) {
	dir := t.TempDir()
	a, b := write(t, dir+"/a", "a"), write(t, dir+"/b", "b")
	a.New, b.New = "new a", "new b"
	if err := os.WriteFile(dir+"/b", []byte("an editor's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Replace([]*File{a, b}, dir+"/saved", time.Now()); !errors.Is(err, ErrMeanwhile) {
		t.Errorf("Replace = %v, want %v", err, ErrMeanwhile)
	}
	wantText(t, dir+"/a", "a")
	wantText(t, dir+"/b", "an editor's")
	if left, _ := filepath.Glob(dir + "/.[ab].*"); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}

	a, b = write(t, dir+"/a", "a"), write(t, dir+"/b", "b")
	a.New, b.New = "new a", "new b"
	if err := Replace([]*File{a, b}, dir+"/saved", time.Now()); err != nil {
		t.Errorf("Replace = %v, want no error", err)
	}
	wantText(t, dir+"/a", "new a")
	wantText(t, dir+"/b", "new b")
}

// A file that is to stay as it is may be anybody's.
func TestReplaceLeavesTheOthersAlone(t *testing.T) {
	dir := t.TempDir()
	a, b := write(t, dir+"/a", "a"), write(t, dir+"/b", "b")
	if err := os.Chmod(dir+"/b", 0o400); err != nil {
		t.Fatal(err)
	}
	a.New = "new a"
	if err := Replace([]*File{a, b}, dir+"/saved", time.Now()); err != nil {
		t.Errorf("Replace = %v, want no error", err)
	}
	wantText(t, dir+"/a", "new a")
	if saved, _ := filepath.Glob(dir + "/saved" + dir + "/*/*"); len(saved) != 1 {
		t.Errorf("saved are %v, want one version of a", saved)
	}
}

// A lock file that is removed by Barman's cron while somebody waits for it is no lock.
func TestTheLockIsTheOneAtThePath(t *testing.T) {
	path := t.TempDir() + "/.config-update.lock"
	unlock, err := Lock(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path, 0); !errors.As(err, new(*BusyError)) {
		t.Errorf("Lock of a lock that is held = %v, want a BusyError", err)
	}
	opened, err := os.Open(path) // #nosec G304
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = opened.Close() }()
	if !at(opened, path) {
		t.Error("the file is not taken for the one at its path")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if at(opened, path) {
		t.Error("a file that was removed is taken for the one at its path")
	}
	unlock()
	again, err := Lock(path, time.Second)
	if err != nil {
		t.Fatalf("Lock after the file was removed = %v, want no error", err)
	}
	again()
}
