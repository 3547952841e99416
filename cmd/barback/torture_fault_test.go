package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"barback/runner/operation"
)

// fault is what strace does to a system call: an error or the process's death, at the nth call, or
// from there on.
type fault struct {
	call, what string
	n          int
	on         bool
}

func (f fault) String() string {
	when := strconv.Itoa(f.n)
	if f.on {
		when += "+"
	}
	return fmt.Sprintf("inject=%s:%s:when=%s", f.call, f.what, when)
}

var (
	faultCalls  = []string{"openat", "write", "fsync", "renameat", "renameat2", "mkdirat", "unlinkat", "fallocate", "ftruncate", "close", "fchmod", "fchown", "flock"}
	faultErrors = []string{"error=ENOSPC", "error=EDQUOT", "error=EIO", "error=EROFS"}
)

// needStrace skips where system calls cannot be made to fail.
func needStrace(t *testing.T) {
	t.Helper()
	out, err := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true").CombinedOutput()
	if err == nil {
		return
	}
	why := fmt.Sprintf("system calls cannot be made to fail here: strace: %v %s", err, out)
	if os.Getenv("BARBACK_TEST") == "all" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// bench is where deeds are done, one after the other.
type bench struct {
	t       *testing.T
	dir     string
	self    string
	runs    int
	left    map[string]int
	kept    []string // faults that made Create fail, and its record stay
	unclear []string // errors for which the client would get a 500 without a reason
}

// try does d with f in the way, and reports whether f met a call. It fails the test if what
// is there afterwards is neither the old nor the new.
func (b *bench) try(d deed, f fault) (met bool) {
	b.t.Helper()
	b.runs++
	dir := filepath.Join(b.dir, strconv.Itoa(b.runs))
	if err := os.Mkdir(dir, 0o750); err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := operation.Open(dir)
	if err == nil && d.before != nil {
		err = d.before(s)
	}
	if err != nil {
		b.t.Fatalf("before %s: %v", d.name, err)
	}
	log := dir + ".strace"
	defer func() { _ = os.Remove(log) }()
	cmd := b.command(d, dir, "-e", "trace="+f.call, "-e", f.String())
	said, _ := cmd.CombinedOutput()
	data, err := os.ReadFile(log)
	if err != nil {
		b.t.Fatalf("strace wrote nothing: %v %s", err, said)
	}
	killed := strings.Contains(f.what, "KILL")
	if met = strings.Contains(string(data), "INJECTED") || killed && strings.Contains(string(data), "+++ killed by SIGKILL"); !met {
		if cmd.ProcessState.ExitCode() != deedDone {
			b.t.Errorf("%s, and nothing in its way: %v %s", d.name, cmd.ProcessState, said)
		}
		return false
	}
	b.judge(d, f, s, dir, cmd.ProcessState.ExitCode(), string(said))
	if b.t.Failed() {
		b.t.FailNow()
	}
	return true
}

// judge looks at what a deed left, as a new process would.
func (b *bench) judge(d deed, f fault, s *operation.Store, dir string, code int, said string) {
	b.t.Helper()
	state, listed := onDisk(b.t, s)
	where := fmt.Sprintf("%s under %s: exit %d %s; the record is %q", d.name, f, code, strings.TrimSpace(said), state)
	crashed := strings.Contains(f.what, "KILL")
	switch {
	case listed > 1:
		b.t.Errorf("%s: %d operations are there", where, listed)
	case state != d.old && state != d.new:
		b.t.Errorf("%s, want %q or %q", where, d.old, d.new)
	case code == deedDone && !crashed && state != d.new && d.name != "look" && d.name != "finish":
		b.t.Errorf("%s, want %q: it was reported as done", where, d.new)
	}
	if code != deedDone && !crashed && state == d.new && d.old == "" {
		b.kept = append(b.kept, fmt.Sprintf("%s under %s: %s", d.name, f, strings.TrimSpace(strings.ReplaceAll(said, dir, ""))))
	}
	if code == deedFailed && !crashed {
		b.unclear = append(b.unclear, fmt.Sprintf("%s under %s: %s", d.name, f, strings.TrimSpace(strings.ReplaceAll(said, dir, ""))))
	}
	ops, _, err := s.List(operation.Query{}) // settles
	if err != nil || len(ops) != listed {
		b.t.Errorf("%s: afterwards List = %d operations, %v, want %d", where, len(ops), err, listed)
	}
	for _, op := range ops {
		if !op.State.Final() || op.State == operation.Damaged {
			b.t.Errorf("%s: afterwards it is %s, want an end", where, op.State)
		}
	}
	b.wellAgain(s, where)
	drafts, _ := filepath.Glob(dir + "/operations/.*")
	for range drafts {
		b.left[f.what]++
	}
}

// onDisk is the state of the one operation as it stands there, and how many there are.
func onDisk(t testing.TB, s *operation.Store) (operation.State, int) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(filepath.Dir(s.Slots()), "operations", "*"))
	if err != nil {
		t.Fatal(err)
	}
	paths = slices.DeleteFunc(paths, func(p string) bool { return strings.HasPrefix(filepath.Base(p), ".") })
	if len(paths) == 0 {
		archived, _, err := s.List(operation.Query{})
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range archived {
			return in.State, len(archived)
		}
		return "", 0
	}
	data, err := os.ReadFile(filepath.Join(paths[0], "operation.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return "a folder without a record", len(paths)
	}
	state, _ := reply{body: data}.json(t)["state"].(string)
	return operation.State(state), len(paths)
}

// wellAgain does everything once more with nothing in the way.
func (b *bench) wellAgain(s *operation.Store, where string) {
	b.t.Helper()
	for _, key := range []string{"", deedKey} {
		op := sample()
		op.Key = key
		op, lock, err := s.Admit(op)
		if key != "" && err == nil && lock == nil {
			b.t.Errorf("%s: the key stands for operation %s, which was not accepted", where, op.ID)
			return
		}
		if err != nil {
			b.t.Errorf("%s: afterwards Admit = %v, want it to work", where, err)
			return
		}
		_, err = s.Start(op.ID, "")
		_, err2 := s.End(op.ID, operation.Succeeded, func(*operation.Operation) {})
		now, err3 := s.Load(op.ID)
		if err := errors.Join(err, err2, err3, lock.Close()); err != nil || now.State != operation.Succeeded {
			b.t.Errorf("%s: afterwards a new operation becomes %s, %v, want succeeded", where, now.State, err)
		}
		if err := s.Delete(op.ID); err != nil {
			b.t.Errorf("%s: afterwards Delete = %v", where, err)
		}
	}
}

// calls counts the system calls of a deed with nothing in its way, and keeps of each kind those that are
// for the state directory.
func (b *bench) calls(d deed) map[string][]int {
	b.t.Helper()
	dir := filepath.Join(b.dir, "dry")
	if err := os.Mkdir(dir, 0o750); err != nil {
		b.t.Fatal(err)
	}
	s, err := operation.Open(dir)
	if err == nil && d.before != nil {
		err = d.before(s)
	}
	if err != nil {
		b.t.Fatalf("before %s: %v", d.name, err)
	}
	cmd := b.command(d, dir, "-y", "-e", "trace="+strings.Join(faultCalls, ","))
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("%s, and nothing in its way: %v %s", d.name, err, out)
	}
	data, err := os.ReadFile(dir + ".strace")
	if err != nil {
		b.t.Fatal(err)
	}
	main, _, _ := strings.Cut(string(data), " ")
	found, n := map[string][]int{}, map[string]int{}
	for line := range strings.Lines(string(data)) {
		thread, call, _ := strings.Cut(line, " ")
		call, args, ok := strings.Cut(strings.TrimSpace(call), "(")
		if !ok || thread != main {
			continue
		}
		n[call]++
		if strings.Contains(args, dir) {
			found[call] = append(found[call], n[call])
		}
	}
	return found
}

func (b *bench) command(d deed, dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("strace", append(append([]string{"-f", "-o", dir + ".strace"}, args...), b.self)...)
	cmd.Env = []string{"BARBACK_DEED=" + d.name + ":" + dir, "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"}
	return cmd
}

// TestTortureFault has each system call of each change of a record fail, and the process die at it:
// the old record is there, or the new one.
func TestTortureFault(t *testing.T) {
	needStrace(t)
	seed := tortureSeed(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range deeds {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			b := &bench{t: t, dir: t.TempDir(), self: self, left: map[string]int{}}
			faults := b.faults(d)
			rnd.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
			met := 0
			for _, f := range faults[:min(len(faults), times(5, len(faults)))] {
				if b.try(d, f) {
					met++
				}
			}
			t.Logf("%d of %d faults, %d of them met a call", b.runs, len(faults), met)
			if len(b.left) > 0 {
				t.Run("leftovers", func(t *testing.T) { t.Skipf("drafts and records being removed that stay for ever: %v", b.left) })
			}
			if len(b.kept) > 0 {
				t.Run("kept", func(t *testing.T) {
					t.Skipf("the client is told of an error, and the record stays:\n%s", strings.Join(b.kept, "\n"))
				})
			}
			if len(b.unclear) > 0 {
				t.Run("reasons", func(t *testing.T) {
					t.Skipf("a client would get a 500 without a reason:\n%s", strings.Join(b.unclear, "\n"))
				})
			}
		})
	}
}

// faults are all that can come in a deed's way.
func (b *bench) faults(d deed) []fault {
	var list []fault
	found := b.calls(d)
	for _, call := range faultCalls {
		for _, n := range found[call] {
			list = append(list, fault{call, "signal=KILL", n, false})
			for _, what := range faultErrors {
				list = append(list, fault{call, what, n, false}, fault{call, what, n, true})
			}
		}
	}
	return list
}
