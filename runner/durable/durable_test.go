package durable

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func mustRead(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustWrite(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantNames fails unless dir holds exactly these names.
func wantNames(t testing.TB, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
}

func TestWriteFileReplaces(t *testing.T) {
	for _, tc := range []struct {
		name, old, data string
		perm            fs.FileMode
	}{
		{"a file that was not there", "", "new\n", 0o640},
		{"a shorter file by a longer one", "o", strings.Repeat("new", 10000), 0o600},
		{"a longer file by a shorter one", strings.Repeat("old", 10000), "n", 0o600},
		{"a file by nothing", "old", "", 0o644},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if tc.old != "" {
				mustWrite(t, path, tc.old)
			}
			if err := WriteFile(path, []byte(tc.data), tc.perm); err != nil {
				t.Fatalf("WriteFile = %v, want no error", err)
			}
			if got := mustRead(t, path); got != tc.data {
				t.Errorf("the file holds %d bytes, want the %d that were written", len(got), len(tc.data))
			}
			st, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if st.Mode() != tc.perm {
				t.Errorf("the file's mode = %v, want %v", st.Mode(), tc.perm)
			}
			wantNames(t, dir, "file")
		})
	}
}

// The umask must not take the group's right away, nor a loose one give it.
func TestWriteFileIgnoresTheUmask(t *testing.T) {
	for _, mask := range []int{0, 0o077, 0o777} {
		path := filepath.Join(t.TempDir(), "file")
		old := unix.Umask(mask)
		err := WriteFile(path, []byte("x"), 0o640)
		unix.Umask(old)
		if err != nil {
			t.Fatalf("WriteFile with umask %#o = %v, want no error", mask, err)
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode() != 0o640 {
			t.Errorf("the mode with umask %#o = %v, want -rw-r-----", mask, st.Mode())
		}
	}
}

// limitFileSize runs the test again in a process of its own, in which every write beyond n bytes
// fails as on a full disk (the test's own process must be able to write its log). It reports whether
// this is that process.
func limitFileSize(t testing.TB, n uint64) bool {
	t.Helper()
	const child = "BARBACK_TEST_LIMITED"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), child+"=1", "GORACE=atexit_sleep_ms=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("with files of at most %d bytes: %v\n%s", n, err, out)
		}
		return false
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: unix.RLIM_INFINITY}); err != nil {
		t.Skip("the limit cannot be set: ", err)
	}
	return true
}

func TestWriteFileLeavesTheOldContentWhenTheDataDoesNotFit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	mustWrite(t, path, "old")
	if !limitFileSize(t, 1000) {
		return
	}
	if err := WriteFile(path, make([]byte, 100_000), 0o640); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("WriteFile of too much = %v, want %v", err, syscall.EFBIG)
	}
	if got := mustRead(t, path); got != "old" {
		t.Errorf("the file holds %d bytes, want the old content", len(got))
	}
	wantNames(t, dir, "file")
}

func TestWriteFileLeavesTheOldContentWhenItFails(t *testing.T) {
	t.Run("a folder stands in the way", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "file")
		if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(path, []byte("new"), 0o640); err == nil {
			t.Error("WriteFile over a folder = nil, want an error")
		}
		wantNames(t, dir, "file")
		wantNames(t, path, "full")
	})
	t.Run("the folder is missing", func(t *testing.T) {
		dir := t.TempDir()
		if err := WriteFile(filepath.Join(dir, "none", "file"), []byte("new"), 0o640); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("WriteFile into a missing folder = %v, want %v", err, fs.ErrNotExist)
		}
		wantNames(t, dir)
	})
	t.Run("the folder is a file", func(t *testing.T) {
		dir := t.TempDir()
		mustWrite(t, filepath.Join(dir, "none"), "file")
		if err := WriteFile(filepath.Join(dir, "none", "file"), []byte("new"), 0o640); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("WriteFile below a file = %v, want %v", err, syscall.ENOTDIR)
		}
		wantNames(t, dir, "none")
	})
}

func TestWriteFileTakesAPlainName(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := WriteFile("file", []byte("new"), 0o640); err != nil {
		t.Fatalf("WriteFile of a plain name = %v, want no error", err)
	}
	if got := mustRead(t, "file"); got != "new" {
		t.Errorf("the file holds %q, want %q", got, "new")
	}
	wantNames(t, ".", "file")
}

// A reader at any moment sees one content whole, and no writer leaves anything behind.
func TestReadersNeverSeeAMixture(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	contents := map[string]bool{}
	for _, c := range "abc" {
		contents[strings.Repeat(string(c), 5000+int(c))] = true
	}
	for c := range contents {
		if err := WriteFile(path, []byte(c), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for c := range contents {
		writers.Go(func() {
			for range 20 {
				if err := WriteFile(path, []byte(c), 0o640); err != nil {
					t.Errorf("WriteFile = %v, want no error", err)
				}
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for {
				b, err := os.ReadFile(path)
				if err != nil || !contents[string(b)] {
					t.Errorf("a reader sees %d bytes (%v), want one of the contents whole", len(b), err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	wantNames(t, dir, "file")
}

func TestWriteFileReplacesALinkAndNotItsTarget(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(t.TempDir(), "target")
	mustWrite(t, target, "of somebody else")
	if err := os.Symlink(target, filepath.Join(dir, "file")); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "file"), []byte("new"), 0o640); err != nil {
		t.Fatalf("WriteFile over a link = %v, want no error", err)
	}
	if got := mustRead(t, target); got != "of somebody else" {
		t.Errorf("the link's target holds %q, want it untouched", got)
	}
}

func TestRootGivesItsFilesToTheOwnerOfTheFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 4321, 4322); err != nil {
		t.Skip("this root cannot give files away: ", err)
	}
	path := filepath.Join(dir, "file")
	if err := WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatalf("WriteFile = %v, want no error", err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if owner := st.Sys().(*syscall.Stat_t); owner.Uid != 4321 || owner.Gid != 4322 {
		t.Errorf("the file belongs to %d:%d, want 4321:4322, the owner of its folder", owner.Uid, owner.Gid)
	}
}

func TestSyncDir(t *testing.T) {
	dir := t.TempDir()
	if err := SyncDir(dir); err != nil {
		t.Errorf("SyncDir of a folder = %v, want no error", err)
	}
	if err := SyncDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir of nothing = %v, want %v", err, fs.ErrNotExist)
	}
}

func TestReserve(t *testing.T) {
	dir := t.TempDir()
	path, reserved := filepath.Join(dir, "file"), filepath.Join(dir, "reserve")
	mustWrite(t, path, "old")
	if err := WriteReserved(path, reserved, []byte("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("WriteReserved without a reserve = %v, want %v", err, fs.ErrNotExist)
	}
	if err := Reserve(reserved, 100_000, 0o640); err != nil {
		t.Fatalf("Reserve = %v, want no error", err)
	}
	st, err := os.Stat(reserved)
	if err != nil {
		t.Fatal(err)
	}
	if blocks := st.Sys().(*syscall.Stat_t).Blocks; st.Size() != 100_000 || blocks*512 < 100_000 {
		t.Errorf("the reserve has %d bytes in %d blocks, want 100000 that are set aside", st.Size(), blocks)
	}
	if err := Reserve(reserved, 1, 0o640); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Reserve where there is one = %v, want %v", err, fs.ErrExist)
	}
	if got := mustRead(t, path); got != "old" {
		t.Errorf("the file holds %q before it is written, want the old content", got)
	}
	if err := WriteReserved(path, reserved, []byte("new\n")); err != nil {
		t.Fatalf("WriteReserved = %v, want no error", err)
	}
	if got := mustRead(t, path); got != "new\n" {
		t.Errorf("the file holds %d bytes, want the new content and nothing of the reserve", len(got))
	}
	wantNames(t, dir, "file")
}

// A crash in the middle of WriteReserved leaves a reserve with a piece of content: it serves again.
func TestAReserveThatWasBegunServesAgain(t *testing.T) {
	dir := t.TempDir()
	path, reserved := filepath.Join(dir, "file"), filepath.Join(dir, "reserve")
	mustWrite(t, path, "old")
	mustWrite(t, reserved, "a piece of a much longer content that was never finished")
	if err := WriteReserved(path, reserved, []byte("new")); err != nil {
		t.Fatalf("WriteReserved = %v, want no error", err)
	}
	if got := mustRead(t, path); got != "new" {
		t.Errorf("the file holds %q, want %q", got, "new")
	}
}

func TestCreateMakesANewFileAlone(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "record")
	if err := Create(path, []byte("first"), 0o640); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("Create(%s, 0640) made %v, %v", path, st.Mode(), err)
	}
	if err := Create(path, []byte("second"), 0o640); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create of a file that is there: %v, want %v", err, fs.ErrExist)
	}
	if got := mustRead(t, path); got != "first" {
		t.Errorf("the file holds %q, want what the first call wrote", got)
	}
	wantNames(t, filepath.Dir(path), "record")
}

func TestCreateSaysThatTheDataDoesNotFit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	if !limitFileSize(t, 1000) {
		return
	}
	if err := Create(path, make([]byte, 100_000), 0o640); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("Create of too much = %v, want %v", err, syscall.EFBIG)
	}
}
