package operation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newStore is a Store in a directory of its own.
func newStore(t testing.TB) *Store {
	t.Helper()
	return openStore(t, t.TempDir())
}

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func backupOf(server string) Operation {
	return Operation{Type: "backup", Server: server, Request: json.RawMessage(`{"type":"backup"}`), Command: []string{"barman", "backup", server}}
}

// create records an operation; the lock is released when the test ends, if not before.
func create(t testing.TB, s *Store, op Operation) (Operation, *os.File) {
	t.Helper()
	op, lock, err := s.Create(op)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	return op, lock
}

// dead records an operation whose lock nobody holds.
func createDead(t testing.TB, s *Store, op Operation) Operation {
	t.Helper()
	op, lock := create(t, s, op)
	closeFile(t, lock)
	return op
}

func closeFile(t testing.TB, f *os.File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// stored is the record's file as it stands.
func stored(t testing.TB, s *Store, id ID) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir(id), "operation.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func store(t testing.TB, s *Store, id ID, data string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir(id), "operation.json"), []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantState fails unless a reader sees the operation in that state.
func wantState(t testing.TB, s *Store, id ID, want State) Operation {
	t.Helper()
	op, err := s.Load(id)
	if err != nil || op.State != want {
		t.Fatalf("Load(%s) = %q, %v, want %q", id, op.State, err, want)
	}
	return op
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func idsOf(ops []Operation) []ID {
	list := []ID{}
	for _, op := range ops {
		list = append(list, op.ID)
	}
	return list
}

func TestOpen(t *testing.T) {
	t.Run("makes what is missing below the directory", func(t *testing.T) {
		dir := t.TempDir()
		doc, err := os.ReadFile("doc.go")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time all is there
			openStore(t, dir)
			for _, sub := range names(t, dir) {
				if !strings.Contains(string(doc), "//\t  "+sub+"/") && !strings.Contains(string(doc), "//\t  "+sub+" ") {
					t.Errorf("the state directory holds %q, which doc.go does not tell of", sub)
				}
			}
		}
		for _, sub := range names(t, dir) {
			if st, err := os.Stat(filepath.Join(dir, sub)); err != nil || st.Mode().Perm()&0o027 != 0 {
				t.Errorf("%s has mode %v (%v), want it closed to others", sub, st.Mode(), err)
			}
		}
	})
	t.Run("refuses a directory that is missing", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "none")
		_, err := Open(dir)
		e, ok := errors.AsType[*UnusableError](err)
		if !ok || e.Dir != dir || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open = %v, want an UnusableError of %s that is ErrNotExist", err, dir)
		}
		if strings.Count(fmt.Sprint(err), dir) != 1 {
			t.Errorf("Open says %q, want the directory named once", err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Error("Open made the directory, want that left to the administrator")
		}
	})
	t.Run("refuses a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path+": not a directory") {
			t.Errorf("Open of a file = %v, want: not a directory", err)
		}
	})
	t.Run("says so when a file stands in the way", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "operations"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir)
		if err == nil {
			_, err = s.All()
		}
		if _, ok := errors.AsType[*UnusableError](err); !ok {
			t.Errorf("the list of a store with a file for operations = %v, want an UnusableError", err)
		}
	})
	t.Run("refuses a directory that cannot be written", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root can write everywhere")
		}
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o500); err != nil { //nolint:gosec // a directory needs x
			t.Fatal(err)
		}
		_, err := Open(dir)
		if _, ok := errors.AsType[*UnusableError](err); !ok || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("Open of a directory without w = %v, want an UnusableError that is ErrPermission", err)
		}
	})
}

func TestCreate(t *testing.T) {
	s := newStore(t)
	before := time.Now().UTC()
	op, lock := create(t, s, Operation{Type: "recovery", Server: "pg-one", State: Succeeded, ID: "of the caller's own", Request: json.RawMessage(`{"a":1}`),
		Command: []string{"barman"}, RequestedBy: "ann", RequestID: "r"})
	if _, err := ParseID(string(op.ID)); err != nil || op.State != Queued || op.CreatedAt.Before(before) || op.CreatedAt.Location() != time.UTC {
		t.Errorf("Create = %+v, want an ID of the store's, queued, created now in UTC", op)
	}
	if got := names(t, filepath.Join(s.root, "operations")); !slices.Equal(got, []string{string(op.ID)}) {
		t.Errorf("operations/ holds %q, want %s alone", got, op.ID)
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t, s.dir(op.ID)) {
		if !strings.Contains(string(doc), "operations/ID/"+name+" ") {
			t.Errorf("the record holds %q, which doc.go does not tell of", name)
		}
	}
	if got := names(t, filepath.Join(s.root, "active")); !slices.Equal(got, []string{string(op.ID)}) {
		t.Errorf("active/ holds %q, want %s", got, op.ID)
	}
	got := wantState(t, openStore(t, s.root), op.ID, Queued)
	if got.Type != op.Type || got.Server != op.Server || !got.CreatedAt.Equal(op.CreatedAt) || got.RequestedBy != "ann" || got.RequestID != "r" {
		t.Errorf("another process reads %+v, want %+v", got, op)
	}
	if err := s.CheckAlive(op.ID, lock); err != nil {
		t.Errorf("CheckAlive of the lock that Create gave = %v, want no error", err)
	}
}

func TestCreatedOperationsHaveDifferentIDs(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	seen := map[ID]bool{}
	var all sync.WaitGroup
	for range 8 {
		s := openStore(t, dir)
		all.Go(func() {
			for range 10 {
				op, lock, err := s.Create(backupOf("pg-one"))
				if err != nil {
					t.Errorf("Create = %v, want no error", err)
					return
				}
				defer func() { _ = lock.Close() }()
				mu.Lock()
				if seen[op.ID] {
					t.Errorf("Create gave %s twice", op.ID)
				}
				seen[op.ID] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	ops, err := openStore(t, dir).All()
	if err != nil || len(ops) != 80 {
		t.Errorf("All = %d operations, %v, want all 80", len(ops), err)
	}
}

// An ID that is taken is drawn again; who has it keeps all that is his.
func TestAnIDIsNotTakenTwice(t *testing.T) {
	s := newStore(t)
	op, _ := create(t, s, backupOf("pg-one"))
	before := stored(t, s, op.ID)
	second := op
	second.Server = "pg-two"
	if _, err := s.create(second, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second record of the same ID = %v, want %v", err, fs.ErrExist)
	}
	if got := stored(t, s, op.ID); got != before {
		t.Errorf("the first record is now %s, want it unchanged", got)
	}
	if got := names(t, filepath.Join(s.root, "operations")); !slices.Equal(got, []string{string(op.ID)}) {
		t.Errorf("operations/ holds %q, want the first record alone", got)
	}
	if ops, err := s.Active(); err != nil || len(ops) != 1 {
		t.Errorf("Active = %v, %v, want the first operation", idsOf(ops), err)
	}
}

func TestCreateLeavesNothingWhenItFails(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, s *Store)
	}{
		{"active is a file", func(t *testing.T, s *Store) {
			dir := filepath.Join(s.root, "active")
			if err := errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}},
		{"active is missing", func(t *testing.T, s *Store) {
			if err := os.Remove(filepath.Join(s.root, "active")); err != nil {
				t.Fatal(err)
			}
		}},
		{"operations is missing", func(t *testing.T, s *Store) {
			if err := os.Remove(filepath.Join(s.root, "operations")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStore(t)
			tc.spoil(t, s)
			_, lock, err := s.Create(backupOf("pg-one"))
			if _, ok := errors.AsType[*UnusableError](err); !ok || lock != nil {
				t.Errorf("Create = %v, %v, want an UnusableError and no lock", lock, err)
			}
			for _, sub := range []string{"operations", "active"} {
				if entries, _ := os.ReadDir(filepath.Join(s.root, sub)); len(entries) != 0 {
					t.Errorf("%s/ holds %v, want nothing", sub, entries)
				}
			}
		})
	}
	t.Run("the request is not JSON", func(t *testing.T) {
		s := newStore(t)
		op := backupOf("pg-one")
		op.Request = json.RawMessage(`{"a"`)
		if _, _, err := s.Create(op); err == nil {
			t.Error("Create with half a request = nil, want an error")
		}
		if got := append(names(t, s.root+"/operations"), names(t, s.root+"/active")...); len(got) != 0 {
			t.Errorf("the store holds %q, want nothing", got)
		}
	})
}

func TestCreateLeavesNothingWhenTheRecordDoesNotFit(t *testing.T) {
	s := newStore(t)
	if !limitFileSize(t, 100) {
		return
	}
	_, lock, err := s.Create(backupOf("pg-one"))
	if _, ok := errors.AsType[*UnusableError](err); !ok || lock != nil || !errors.Is(err, syscall.EFBIG) {
		t.Errorf("Create = %v, %v, want an UnusableError that is %v, and no lock", lock, err, syscall.EFBIG)
	}
	if got := append(names(t, s.root+"/operations"), names(t, s.root+"/active")...); len(got) != 0 {
		t.Errorf("the store holds %q, want nothing", got)
	}
}

func TestLoadOfNothing(t *testing.T) {
	s := newStore(t)
	id := newID(time.Now())
	if op, err := s.Load(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("Load of an unknown ID = %+v, %v, want %v", op, err, ErrNotFound)
	}
	if _, err := s.Update(id, func(*Operation) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("Update of an unknown ID = %v, want %v", err, ErrNotFound)
	}
	if _, err := s.Output(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("Output of an unknown ID = %v, want %v", err, ErrNotFound)
	}
	if got := s.OutputBytes(id); got != 0 {
		t.Errorf("OutputBytes of an unknown ID = %d, want 0", got)
	}
	for name, f := range map[string]func(ID) error{"Claim": s.Claim, "Withdraw": s.Withdraw} {
		if err := f(id); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s of an unknown ID = %v, want %v", name, err, ErrNotFound)
		}
	}
	if got := names(t, filepath.Join(s.root, "operations")); len(got) != 0 {
		t.Errorf("looking for an unknown ID made %q, want nothing", got)
	}
}

func TestUpdate(t *testing.T) {
	t.Run("a change is kept", func(t *testing.T) {
		s := newStore(t)
		op, _ := create(t, s, backupOf("pg-one"))
		got, err := s.Start(op.ID, "unit")
		if err != nil || got.State != Running || got.Runner == nil || got.Runner.PID != os.Getpid() || got.Invocation != "unit" || got.StartedAt.IsZero() {
			t.Fatalf("Start = %+v, %v, want it running in this process", got, err)
		}
		if again := wantState(t, openStore(t, s.root), op.ID, Running); *again.Runner != *got.Runner {
			t.Errorf("another process reads the runner %+v, want %+v", again.Runner, got.Runner)
		}
	})
	t.Run("a change that fails changes nothing", func(t *testing.T) {
		s := newStore(t)
		op, _ := create(t, s, backupOf("pg-one"))
		before, boom := stored(t, s, op.ID), errors.New("boom")
		if _, err := s.Update(op.ID, func(op *Operation) error { op.Server = "x"; return boom }); !errors.Is(err, boom) {
			t.Errorf("Update = %v, want %v", err, boom)
		}
		if _, err := s.End(op.ID, Canceling, func(*Operation) {}); err == nil {
			t.Error("End of a queued operation as canceling = nil, want it refused")
		}
		if got := stored(t, s, op.ID); got != before {
			t.Errorf("the record is now %s, want it unchanged", got)
		}
	})
	t.Run("a final record never changes, and change is not asked", func(t *testing.T) {
		for _, state := range everyState[3:] {
			s := newStore(t)
			op, _ := create(t, s, backupOf("pg-one"))
			if _, err := s.Start(op.ID, ""); err != nil {
				t.Fatal(err)
			}
			if state == Canceled {
				if _, err := s.Update(op.ID, func(op *Operation) error { return op.AskCancel("ann", time.Now()) }); err != nil {
					t.Fatal(err)
				}
			}
			ended, err := s.End(op.ID, state, func(op *Operation) { op.Result.BackupID = "b" })
			if err != nil || ended.State != state || ended.EndedAt.IsZero() || ended.Result.BackupID != "b" {
				t.Fatalf("End = %+v, %v, want it %s", ended, err, state)
			}
			before := stored(t, s, op.ID)
			for _, to := range everyState {
				got, err := s.End(op.ID, to, func(op *Operation) { t.Errorf("change is called on a record that is %s", op.State) })
				if err != nil || got.State != state {
					t.Errorf("End(%s) of a record that is %s = %q, %v, want it as it was", to, state, got.State, err)
				}
			}
			if got := stored(t, s, op.ID); got != before {
				t.Errorf("the record is now\n%s\nwant it unchanged\n%s", got, before)
			}
			if got := names(t, s.root+"/active"); len(got) != 0 {
				t.Errorf("active/ holds %q after the end, want nothing", got)
			}
		}
	})
	t.Run("changes from many sides lose nothing", func(t *testing.T) {
		dir := t.TempDir()
		op, _ := create(t, openStore(t, dir), backupOf("pg-one"))
		var all sync.WaitGroup
		for range 8 {
			s := openStore(t, dir)
			all.Go(func() {
				for range 5 {
					if _, err := s.Update(op.ID, func(op *Operation) error { op.Command = append(op.Command, "x"); return nil }); err != nil {
						t.Errorf("Update = %v, want no error", err)
					}
				}
			})
		}
		all.Wait()
		got := wantState(t, openStore(t, dir), op.ID, Queued)
		if n := len(got.Command) - len(op.Command); n != 40 {
			t.Errorf("%d of 40 changes are there, want all", n)
		}
	})
}

func TestClaimIsGivenOnce(t *testing.T) {
	dir := t.TempDir()
	for range 20 {
		op, _ := create(t, openStore(t, dir), backupOf("pg-one"))
		var won atomic.Int32
		var all sync.WaitGroup
		start := make(chan struct{})
		for range 16 {
			s := openStore(t, dir)
			all.Go(func() {
				<-start
				switch err := s.Claim(op.ID); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, ErrClaimed):
					t.Errorf("Claim = %v, want %v", err, ErrClaimed)
				}
			})
		}
		close(start)
		all.Wait()
		if n := won.Load(); n != 1 {
			t.Errorf("%d callers claimed operation %s, want exactly one", n, op.ID)
		}
	}
}

// The request that takes an operation back and the runner that takes it on: one of them wins.
func TestClaimOrWithdraw(t *testing.T) {
	dir := t.TempDir()
	for range 20 {
		op, _ := create(t, openStore(t, dir), backupOf("pg-one"))
		var claimed, withdrawn error
		var both sync.WaitGroup
		both.Go(func() { claimed = openStore(t, dir).Claim(op.ID) })
		both.Go(func() { withdrawn = openStore(t, dir).Withdraw(op.ID) })
		both.Wait()
		_, err := openStore(t, dir).Load(op.ID)
		switch {
		case claimed == nil && errors.Is(withdrawn, ErrClaimed) && err == nil:
		case withdrawn == nil && (errors.Is(claimed, ErrClaimed) || errors.Is(claimed, ErrNotFound)) && errors.Is(err, ErrNotFound):
		default:
			t.Errorf("Claim = %v, Withdraw = %v, Load = %v, want one winner and the record to match", claimed, withdrawn, err)
		}
	}
}

func TestWithdraw(t *testing.T) {
	s := newStore(t)
	op, lock := create(t, s, backupOf("pg-one"))
	if err := s.Withdraw(op.ID); err != nil {
		t.Fatalf("Withdraw = %v, want no error", err)
	}
	if got := append(names(t, s.root+"/operations"), names(t, s.root+"/active")...); len(got) != 0 {
		t.Errorf("the store holds %q after Withdraw, want nothing", got)
	}
	if err := s.CheckAlive(op.ID, lock); !errors.Is(err, ErrNotFound) {
		t.Errorf("CheckAlive of a withdrawn operation = %v, want %v", err, ErrNotFound)
	}
	if err := s.Withdraw(op.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a second Withdraw = %v, want %v", err, ErrNotFound)
	}
}

func TestCheckAlive(t *testing.T) {
	s := newStore(t)
	op, lock := create(t, s, backupOf("pg-one"))
	other, otherLock := create(t, s, backupOf("pg-two"))
	if err := s.CheckAlive(op.ID, otherLock); err == nil {
		t.Errorf("CheckAlive of %s with the lock of %s = nil, want it refused", op.ID, other.ID)
	}
	f, err := os.Open(filepath.Join(s.dir(op.ID), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	closeFile(t, lock)
	if err := s.CheckAlive(op.ID, f); err == nil {
		t.Error("CheckAlive of the right file that nobody has locked = nil, want it refused")
	}
}

func TestListsAreNewestFirst(t *testing.T) {
	s := newStore(t)
	var want []ID
	for i := range 5 {
		op, _ := create(t, s, backupOf(fmt.Sprint("pg-", i)))
		want = append(want, op.ID)
	}
	slices.Sort(want)
	slices.Reverse(want)
	for _, odd := range []string{".new-20260102T030405-0az9kx", ".old-20260102T030405-0az9kx", "lost+found", "20260102T030405"} {
		if err := os.Mkdir(filepath.Join(s.root, "operations", odd), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, list := range map[string]func() ([]Operation, error){"All": s.All, "Active": s.Active, "Unsettled": s.Unsettled} {
		if ops, err := list(); err != nil || !slices.Equal(idsOf(ops), want) {
			t.Errorf("%s = %v, %v, want %v", name, idsOf(ops), err, want)
		}
	}
	if _, err := s.End(want[2], Failed, func(*Operation) {}); err != nil {
		t.Fatal(err)
	}
	open := slices.Delete(slices.Clone(want), 2, 3)
	for name, list := range map[string]func() ([]Operation, error){"Active": s.Active, "Unsettled": s.Unsettled} {
		if ops, err := list(); err != nil || !slices.Equal(idsOf(ops), open) {
			t.Errorf("%s after an end = %v, %v, want %v", name, idsOf(ops), err, open)
		}
	}
}

// An entry of active/ whose removal was missed is passed over.
func TestSuperfluousEntriesOfActiveArePassedOver(t *testing.T) {
	s := newStore(t)
	op := createDead(t, s, backupOf("pg-one"))
	wantState(t, s, op.ID, Interrupted)
	for _, name := range []string{string(op.ID), string(newID(time.Now()))} {
		if err := touch(filepath.Join(s.root, "active", name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, list := range map[string]func() ([]Operation, error){"Active": s.Active, "Unsettled": s.Unsettled} {
		if ops, err := list(); err != nil || len(ops) != 0 {
			t.Errorf("%s = %v, %v, want nothing", name, idsOf(ops), err)
		}
	}
}

// wantDamaged fails unless the record is shown as damaged, no harm is done to the other
// one, and nothing can be done to it.
func wantDamaged(t *testing.T, s *Store, bad, good ID) {
	t.Helper()
	op := wantState(t, s, bad, Damaged)
	if op.ID != bad || !op.CreatedAt.Equal(bad.Time()) || op.Error == nil || op.Error.Detail == "" || !json.Valid(op.Request) {
		t.Errorf("the damaged record is shown as %+v, want its ID, time, reason and a request", op)
	}
	ops, err := s.All()
	if err != nil || len(ops) != 2 {
		t.Fatalf("All = %v, %v, want both records", idsOf(ops), err)
	}
	for _, op := range ops {
		if want := map[ID]State{bad: Damaged, good: Queued}[op.ID]; op.State != want {
			t.Errorf("All shows %s as %s, want %s", op.ID, op.State, want)
		}
	}
	if ops, err := s.Active(); err != nil || !slices.Equal(idsOf(ops), []ID{good}) {
		t.Errorf("Active = %v, %v, want %s alone", idsOf(ops), err, good)
	}
	if op, err := s.End(bad, Succeeded, func(*Operation) { t.Error("change is called on a damaged record") }); err != nil || op.State != Damaged {
		t.Errorf("End of a damaged record = %q, %v, want it as it is", op.State, err)
	}
}

func TestDamagedRecordsHarmNoOther(t *testing.T) {
	s := newStore(t)
	good, _ := create(t, s, backupOf("pg-one"))
	bad := createDead(t, s, backupOf("pg-two"))
	whole := stored(t, s, bad.ID)
	for _, tc := range []struct{ name, data string }{
		{"empty", ""},
		{"NULs", string(make([]byte, 4096))},
		{"of another operation", strings.ReplaceAll(whole, string(bad.ID), string(good.ID))},
		{"of a version to come", strings.Replace(whole, `"version": 1`, `"version": 2`, 1)},
		{"with an unknown state", strings.Replace(whole, `"queued"`, `"paused"`, 1)},
		{"not JSON", "hello"},
		{"twice", whole + whole},
		{"not UTF-8", "\xff\xfe"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			store(t, s, bad.ID, tc.data)
			wantDamaged(t, s, bad.ID, good.ID)
			if got := stored(t, s, bad.ID); got != tc.data {
				t.Errorf("the damaged record was changed to %q, want it kept for a look", got)
			}
		})
	}
	t.Run("cut off at any byte", func(t *testing.T) {
		for n := range len(whole) - 1 { // without its last newline it is whole
			store(t, s, bad.ID, whole[:n])
			if op, err := s.Load(bad.ID); err != nil || op.State != Damaged {
				t.Fatalf("Load of a record cut off at byte %d of %d = %q, %v, want %q", n, len(whole), op.State, err, Damaged)
			}
		}
		wantDamaged(t, s, bad.ID, good.ID)
	})
	t.Run("missing", func(t *testing.T) {
		if err := os.Remove(filepath.Join(s.dir(bad.ID), "operation.json")); err != nil {
			t.Fatal(err)
		}
		wantDamaged(t, s, bad.ID, good.ID)
	})
	t.Run("repaired", func(t *testing.T) {
		store(t, s, bad.ID, whole)
		wantState(t, s, bad.ID, Interrupted)
	})
}

// What cannot be read at all (EIO, a folder or a file in its place) is damaged, too.
func TestUnreadableRecordsHarmNoOther(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(s *Store, id ID) error
	}{
		{"operation.json is a folder", func(s *Store, id ID) error {
			path := filepath.Join(s.dir(id), "operation.json")
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		}},
		{"operation.json is a link to itself", func(s *Store, id ID) error {
			path := filepath.Join(s.dir(id), "operation.json")
			return errors.Join(os.Remove(path), os.Symlink("operation.json", path))
		}},
		{"the record is a file", func(s *Store, id ID) error {
			return errors.Join(os.RemoveAll(s.dir(id)), os.WriteFile(s.dir(id), nil, 0o600))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStore(t)
			good, _ := create(t, s, backupOf("pg-one"))
			bad := createDead(t, s, backupOf("pg-two"))
			if err := tc.spoil(s, bad.ID); err != nil {
				t.Fatal(err)
			}
			wantState(t, s, bad.ID, Damaged)
			ops, err := s.All()
			if err != nil || len(ops) != 2 {
				t.Fatalf("All = %v, %v, want both records", idsOf(ops), err)
			}
			wantState(t, s, good.ID, Queued)
		})
	}
}

// A state directory that stops to work says so, with the kernel's reason, and keeps what it had.
func TestAFullDiskIsReportedAndHarmsNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("this root cannot mount a small file system: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s := openStore(t, dir)
	running, _ := create(t, s, backupOf("pg-one"))
	ending, _ := create(t, s, backupOf("pg-two"))
	dying, lock := create(t, s, backupOf("pg-three"))
	all := slices.Sorted(slices.Values([]string{string(running.ID), string(ending.ID), string(dying.ID)}))
	before := stored(t, s, running.ID)
	if err := os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk = %v, want %v", err, syscall.ENOSPC)
	}
	for _, tc := range []struct {
		name string
		act  func() error
	}{
		{"Create", func() error { _, _, err := s.Create(backupOf("pg-two")); return err }},
		{"Start", func() error { _, err := s.Start(running.ID, ""); return err }},
	} {
		err := tc.act()
		if e, ok := errors.AsType[*UnusableError](err); !ok || e.Dir != dir || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s on a full disk = %v, want an UnusableError that is %v", tc.name, err, syscall.ENOSPC)
		}
	}
	if got := stored(t, s, running.ID); got != before {
		t.Errorf("the record is now %q, want it unchanged", got)
	}
	if got := names(t, dir+"/operations"); !slices.Equal(got, all) {
		t.Errorf("operations/ holds %q, want the first three alone", got)
	}
	// The end of what was accepted is recorded all the same, in the room that was set aside.
	if got, err := s.End(ending.ID, Failed, func(op *Operation) { op.Error = &Failure{"Barman failed", strings.Repeat("why ", 1000)} }); err != nil || got.State != Failed {
		t.Errorf("End on a full disk = %s, %v, want it failed", got.State, err)
	}
	closeFile(t, lock)
	wantState(t, s, dying.ID, Interrupted)
	for id, state := range map[ID]string{ending.ID: `"failed"`, dying.ID: `"interrupted"`} {
		if got := stored(t, s, id); !strings.Contains(got, state) || !json.Valid([]byte(got)) {
			t.Errorf("the record of %s on the full disk is %q, want it whole and %s", id, got, state)
		}
	}
	if got := names(t, dir+"/active"); !slices.Equal(got, []string{string(running.ID)}) {
		t.Errorf("active/ holds %q, want the one without an end", got)
	}
	wantState(t, s, running.ID, Queued)
}

func TestAStateDirectoryThatBecomesReadOnly(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a file system read-only")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("this root cannot mount a file system: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s := openStore(t, dir)
	op, lock := create(t, s, backupOf("pg-one"))
	closeFile(t, lock)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skip("this root cannot remount: ", err)
	}
	if _, _, err := s.Create(backupOf("pg-two")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Create on a read-only file system = %v, want %v", err, syscall.EROFS)
	}
	if _, err := s.End(op.ID, Failed, func(*Operation) {}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("End on a read-only file system = %v, want %v", err, syscall.EROFS)
	}
	if err := s.Check(); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Check of a read-only file system = %v, want %v", err, syscall.EROFS)
	}
	wantState(t, s, op.ID, Interrupted)
}

func TestOutput(t *testing.T) {
	s := newStore(t)
	op, _ := create(t, s, backupOf("pg-one"))
	for i, text := range []string{"one\n", "two\n"} {
		w, err := s.OutputWriter(op.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := s.OutputBytes(op.ID); got != int64(4*(i+1)) {
			t.Errorf("OutputBytes = %d, want %d", got, 4*(i+1))
		}
	}
	f, err := s.Output(op.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, 100)
	if n, _ := f.Read(b); string(b[:n]) != "one\ntwo\n" {
		t.Errorf("the output is %q, want both lines", b[:n])
	}
}

func TestMessages(t *testing.T) {
	boom := errors.New("boom")
	if err := (&LaunchError{boom}); !errors.Is(err, boom) || err.Error() != "no runner could be started: boom" {
		t.Errorf("LaunchError = %v, want its cause in it", err)
	}
	if got := (&TransitionError{"x", Queued, Succeeded}).Error(); got != "operation x is queued: it cannot become succeeded" {
		t.Errorf("TransitionError = %s", got)
	}
}
