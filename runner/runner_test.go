package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"barback/runner/barman"
	"barback/runner/operation"
)

// ended is a shell's end as the runner gets it.
func ended(t testing.TB, script string) *os.ProcessState {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	_ = cmd.Run() // how it ended is in ProcessState
	if cmd.ProcessState == nil {
		t.Fatalf("%s did not start", script)
	}
	return cmd.ProcessState
}

func TestJudgeEnd(t *testing.T) {
	stop := fmt.Errorf("%w (SIGTERM)", errStopped)
	for _, tc := range []struct {
		name, script string
		cause        error
		state        operation.State
		exit         int // -1: none
		title, says  string
	}{
		{"Barman did it", "exit 0", nil, operation.Succeeded, 0, "", ""},
		{"Barman did it, and the stop came too late", "exit 0", stop, operation.Succeeded, 0, "", ""},
		{"Barman failed", "exit 1", nil, operation.Failed, 1, "Barman failed", "exit code 1"},
		{"Barman was called wrongly", "exit 2", nil, operation.Failed, 2, "Barman failed", "exit code 2"},
		{"Barman failed as it was told to stop", "exit 1", stop, operation.Interrupted, 1, "Interrupted", "SIGTERM"},
		{"Barman was killed", "kill -KILL $$", nil, operation.Failed, -1, "Barman was killed", "SIGKILL"},
		{"Barman was ended by hand", "kill -TERM $$", nil, operation.Failed, -1, "Barman was killed", "SIGTERM"},
		{"Barman failed as it was canceled", "exit 1", errCanceled, operation.Interrupted, 1, "Canceled", "the operation was canceled"},
		{"Barman was killed with its runner", "kill -KILL $$", stop, operation.Interrupted, -1, "Interrupted", "told to stop"},
		{"a wrapper tells of a signal by its exit code", "exit 137", nil, operation.Failed, 137, "Barman failed", "137"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := judgeEnd((&here{}).end(t.Context(), operation.Operation{}, ended(t, tc.script)), tc.cause)
			exit := -1
			if got.exit != nil {
				exit = *got.exit
			}
			if got.state != tc.state || exit != tc.exit {
				t.Errorf("judgeEnd = %s with exit code %d, want %s with %d", got.state, exit, tc.state, tc.exit)
			}
			switch {
			case tc.title == "":
				if got.failure != nil {
					t.Errorf("the failure of a success is %+v, want none", *got.failure)
				}
			case got.failure == nil || got.failure.Title != tc.title || !strings.Contains(got.failure.Detail, tc.says):
				t.Errorf("the failure is %+v, want %q with %q", got.failure, tc.title, tc.says)
			}
		})
	}
}

func TestOutcomeKeepsTheBackupOfThePlan(t *testing.T) {
	code := 1
	for _, tc := range []struct {
		name, planned string
		made, want    operation.Result
	}{
		{"a recovery", "20260101T000000", operation.Result{}, operation.Result{BackupID: "20260101T000000"}},
		{"a backup that was made", "", operation.Result{BackupID: "20260102T000000", BackupStatus: "DONE"}, operation.Result{BackupID: "20260102T000000", BackupStatus: "DONE"}},
		{"neither", "", operation.Result{}, operation.Result{}},
		{"a recovery with a warning", "20260101T000000", operation.Result{Warnings: []string{"x"}}, operation.Result{BackupID: "20260101T000000", Warnings: []string{"x"}}},
	} {
		op := operation.Operation{Result: operation.Result{BackupID: tc.planned}}
		outcome{exit: &code, result: tc.made}.apply(&op)
		if !reflect.DeepEqual(op.Result, tc.want) || op.ExitCode != &code {
			t.Errorf("%s: the record has %+v, want %+v", tc.name, op.Result, tc.want)
		}
	}
}

// look runs the look at a destination on an operation's target.
func look(t testing.TB, target *operation.Target) error {
	t.Helper()
	return inspect(t.Context(), barman.Host{}, operation.Operation{ID: "20260102T030405-0az9kx", Target: target})
}

func TestLookAtALocalDestination(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	for _, d := range []string{full, filepath.Join(dir, "empty"), filepath.Join(dir, "hidden")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{filepath.Join(full, "precious.txt"), filepath.Join(dir, "hidden", ".keep"), filepath.Join(dir, "file")} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(full, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		target *operation.Target
		says   string
	}{
		{"an operation without one", nil, ""},
		{"a folder that is not there", &operation.Target{Directory: filepath.Join(dir, "none")}, ""},
		{"an empty folder", &operation.Target{Directory: filepath.Join(dir, "empty")}, ""},
		{"a folder with a file", &operation.Target{Directory: full}, `it holds "precious.txt"`},
		{"a folder with a hidden file", &operation.Target{Directory: filepath.Join(dir, "hidden")}, `it holds ".keep"`},
		{"a link to a folder with a file", &operation.Target{Directory: filepath.Join(dir, "link")}, `it holds "precious.txt"`},
		{"below a file", &operation.Target{Directory: filepath.Join(dir, "file", "x")}, "could not be looked at"},
		{"a folder that the client gave up", &operation.Target{Directory: full, Overwrite: true}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := look(t, tc.target)
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("look = %v, want %q", err, tc.says)
			}
		})
	}
}

// What cannot be listed is not empty.
func TestLookAtAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := look(t, &operation.Target{Directory: file}); err == nil {
		t.Error("look at a file = nil, want it refused")
	}
}

// fakeSSH is a program that runs the command of its last argument here, as ssh does there.
func fakeSSH(t testing.TB, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLookOverSSH(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "full", ".first"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run := `while [ $# -gt 1 ]; do shift; done; exec /bin/sh -c "$1"`
	for _, tc := range []struct{ name, script, path, says string }{
		{"nothing there", run, "none", ""},
		{"a folder with something", run, "full", `it holds ".first"`},
		{"an empty folder", run, "full/.first", ""},
		{"a file", run, "file", "it holds"},
		{"the host does not answer", "echo no route to host >&2; exit 255", "none", "no route to host"},
		{"ssh is killed", "kill -KILL $$", "none", "could not be looked at"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := look(t, &operation.Target{Directory: filepath.Join(dir, tc.path), SSH: fakeSSH(t, tc.script) + " -q postgres@db"})
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("look = %v, want %q", err, tc.says)
			}
		})
	}
	t.Run("it carries the marker of the operation and ends with the context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		seen := filepath.Join(dir, "seen")
		if err := unix.Mkfifo(seen, 0o600); err != nil {
			t.Fatal(err)
		}
		op := operation.Operation{ID: "20260102T030405-0az9kx", Target: &operation.Target{Directory: dir, SSH: fakeSSH(t, "echo $"+operation.Marker+" > "+seen+"; exec sleep 300") + " x"}}
		done := make(chan error, 1)
		go func() { done <- inspect(ctx, barman.Host{}, op) }()
		got, err := os.ReadFile(seen)
		if err != nil || string(got) != string(op.ID)+"\n" {
			t.Errorf("the marker is %q, %v, want %s", got, err, op.ID)
		}
		cancel()
		if err := <-done; err == nil {
			t.Error("look that was stopped = nil, want an error")
		}
	})
}

// slotsDir is a folder for locks. Who gave up waiting for one may open it once more at any time,
// for which t.TempDir has no patience.
func slotsDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "slots.") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestSlots(t *testing.T) {
	dir := slotsDir(t)
	var releases []func()
	for i := range 3 {
		release, err := slot(t.Context(), dir, 3)
		if err != nil {
			t.Fatalf("slot %d of 3 = %v, want it free", i, err)
		}
		releases = append(releases, release)
	}
	got := make(chan func(), 1)
	go func() {
		release, err := slot(t.Context(), dir, 3)
		if err != nil {
			t.Errorf("the fourth = %v, want a slot in its turn", err)
		}
		got <- release
	}()
	waitLocked(t, filepath.Join(dir, "queue"))
	select {
	case <-got:
		t.Fatal("the fourth has a slot while three are taken, want it to wait")
	default:
	}
	releases[1]()
	(<-got)()
	releases[0]()
	releases[2]()
}

// waitLocked waits until somebody holds the lock at path.
func waitLocked(t testing.TB, path string) {
	t.Helper()
	for t.Context().Err() == nil {
		l := flock.New(path)
		got, err := l.TryLock()
		if err != nil {
			t.Fatal(err)
		}
		if !got {
			return
		}
		_ = l.Unlock()
	}
}

func TestNeverMoreThanTheSlots(t *testing.T) {
	dir := slotsDir(t)
	var now, most atomic.Int32
	done := make(chan error)
	for range 12 {
		go func() {
			release, err := slot(t.Context(), dir, 2)
			if err == nil {
				most.Store(max(most.Load(), now.Add(1)))
				if now.Load() > 2 {
					err = errors.New("more than two have a slot")
				}
				now.Add(-1)
				release()
			}
			done <- err
		}()
	}
	for range 12 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestSlotEndsWithItsContext(t *testing.T) {
	dir := slotsDir(t)
	release, err := slot(t.Context(), dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	boom := errors.New("boom")
	first, stopFirst := context.WithCancelCause(t.Context())
	second, stopSecond := context.WithCancelCause(t.Context())
	ends := make(chan error, 1)
	go func() { _, err := slot(first, dir, 1); ends <- err }()
	waitLocked(t, filepath.Join(dir, "queue"))
	behind := make(chan error, 1)
	go func() { _, err := slot(second, dir, 1); behind <- err }()
	stopSecond(boom)
	if err := <-behind; !errors.Is(err, boom) {
		t.Errorf("slot of one in the queue whose context ends = %v, want %v", err, boom)
	}
	stopFirst(boom)
	if err := <-ends; !errors.Is(err, boom) {
		t.Errorf("slot of the first in the queue whose context ends = %v, want %v", err, boom)
	}
}

func TestAlone(t *testing.T) {
	dir := slotsDir(t)
	for range 2 { // what needs nothing for itself waits for nobody
		if _, err := alone(t.Context(), dir, ""); err != nil {
			t.Errorf("alone with nothing = %v, want no error", err)
		}
	}
	release, err := alone(t.Context(), dir, "backup ../../x/größe")
	if err != nil {
		t.Fatalf("alone = %v, want no error", err)
	}
	if _, err := alone(t.Context(), dir, "backup y"); err != nil {
		t.Errorf("alone with something else = %v, want no error", err)
	}
	got := make(chan error, 1)
	go func() { _, err := alone(t.Context(), dir, "backup ../../x/größe"); got <- err }()
	select {
	case <-got:
		t.Fatal("two have the same for themselves, want the second to wait")
	default:
	}
	release()
	if err := <-got; err != nil {
		t.Errorf("alone in its turn = %v, want no error", err)
	}
}

func TestSlotsThatCannotBeTaken(t *testing.T) {
	if _, err := slot(t.Context(), filepath.Join(t.TempDir(), "none"), 1); err == nil {
		t.Errorf("slot in a folder that is not there = %v, want an error that says so", err)
	}
	dir := slotsDir(t)
	if err := os.Symlink(filepath.Join(dir, "none", "x"), filepath.Join(dir, "0")); err != nil {
		t.Fatal(err)
	}
	if _, err := slot(t.Context(), dir, 1); err == nil || !strings.Contains(err.Error(), "take a slot") {
		t.Errorf("slot with a broken file = %v, want an error that says so", err)
	}
}

// fullDisk fails from its second write on.
type fullDisk struct{ writes int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.writes++; d.writes > 1 {
		return 0, unix.ENOSPC
	}
	return len(p), nil
}

func TestAFullDiskDoesNotStopBarman(t *testing.T) {
	d := &fullDisk{}
	w := &tolerant{w: d}
	for i := range 5 {
		if n, err := w.Write([]byte("abc")); n != 3 || err != nil {
			t.Errorf("write %d = %d, %v, want 3 and no error", i, n, err)
		}
	}
	if d.writes != 2 {
		t.Errorf("the disk was written to %d times, want no further try after the failure", d.writes)
	}
}

// fakeCatalog is what a server has.
type fakeCatalog []string

func (c fakeCatalog) Where(operation.Operation) (barman.Host, error) { return barman.Host{}, nil }
func (c fakeCatalog) Read(barman.Kind, string, []byte) (json.RawMessage, error) {
	return nil, errors.New("nothing was told")
}

func (c fakeCatalog) Backups(string) ([]barman.Backup, error) {
	var list []barman.Backup
	for _, id := range c {
		list = append(list, barman.Backup{ID: id, Status: "DONE"})
	}
	if list == nil {
		return nil, errors.New("no catalog")
	}
	return list, nil
}

func TestMadeBackup(t *testing.T) {
	for _, tc := range []struct {
		name, kind    string
		before, after fakeCatalog
		output, want  string
	}{
		{"the one that is new", "backup", fakeCatalog{"20260101T000000"}, fakeCatalog{"20260101T000000", "20260102T000000"}, "Backup start at LSN …\n…/20260102T000000", "20260102T000000"},
		{"two are new, one is named", "backup", fakeCatalog{"a"}, fakeCatalog{"a", "20260102T000000", "20260102T000001"}, "id 20260102T000001", "20260102T000001"},
		{"a new one that is not named", "backup", fakeCatalog{"a"}, fakeCatalog{"a", "20260102T000000"}, "nothing", ""},
		{"an old one that is named", "backup", fakeCatalog{"20260101T000000"}, fakeCatalog{"20260101T000000"}, "reusing 20260101T000000", ""},
		{"the first of all", "backup", nil, fakeCatalog{"20260101T000000"}, "20260101T000000", "20260101T000000"},
		{"a recovery", "recovery", fakeCatalog{"a"}, fakeCatalog{"a", "20260102T000000"}, "20260102T000000", ""},
		{"a catalog that cannot be read in the end", "backup", fakeCatalog{"a"}, nil, "20260102T000000", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			store, err := operation.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			op, lock, err := store.Create(operation.Operation{Type: tc.kind, Server: "pg-one", Request: []byte("{}"), Command: []string{"barman"}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = lock.Close() }()
			w, err := store.OutputWriter(op.ID)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write([]byte(tc.output))
			_ = w.Close()
			want := operation.Result{BackupID: tc.want}
			if tc.want != "" {
				want.BackupStatus = "DONE"
			}
			before := (&Config{Store: store, Barman: tc.before}).backups(op)
			if got := (&Config{Store: store, Barman: tc.after}).madeBackup(op, before); !reflect.DeepEqual(got, want) {
				t.Errorf("madeBackup = %+v, want %+v", got, want)
			}
		})
	}
}

func TestTail(t *testing.T) {
	for _, tc := range []struct{ name, log, want string }{
		{"nothing", "", ""},
		{"blanks", " \n\n", ""},
		{"a line", "boom\n", ": boom"},
		{"the end of much", strings.Repeat("x", 5000) + "boom", ": " + strings.Repeat("x", 1020) + "boom"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "log"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			if _, err := f.WriteString(tc.log); err != nil {
				t.Fatal(err)
			}
			if got := tail(f); got != tc.want {
				t.Errorf("tail of %d bytes = %q, want %q", len(tc.log), got, tc.want)
			}
		})
	}
}
