package operation

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		name                               string
		lockHeld, runnerKnown, runnerAlive bool
		want                               verdict
	}{
		{"accepted, its runner is on the way", true, false, false, alive},
		{"accepted, and whoever had it is gone", false, false, false, dead},
		{"at work", true, true, true, alive},
		{"the runner is dead, Barman is not", true, true, false, orphaned},
		{"both are dead", false, true, false, dead},
		{"the runner's number is alive, but the lock is free", false, true, true, dead},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := judge(tc.lockHeld, tc.runnerKnown, tc.runnerAlive); got != tc.want {
				t.Errorf("judge(%v, %v, %v) = %v, want %v", tc.lockHeld, tc.runnerKnown, tc.runnerAlive, got, tc.want)
			}
		})
	}
}

// write puts op on disk as it is, as if a process had died at that point.
func write(t testing.TB, s *Store, op Operation) {
	t.Helper()
	data, err := op.encode()
	if err != nil {
		t.Fatal(err)
	}
	store(t, s, op.ID, string(data))
}

// deadProcess names a process that cannot be: its start time lies before the kernel's.
func deadProcess(t testing.TB) *Process {
	t.Helper()
	boot, err := bootID()
	if err != nil {
		t.Fatal(err)
	}
	return &Process{PID: os.Getpid(), StartTime: 0, BootID: boot}
}

func TestAFreeLockMeansInterrupted(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	past := &Process{PID: self.PID, StartTime: self.StartTime, BootID: "00000000-0000-0000-0000-000000000000"}
	for _, tc := range []struct {
		name   string
		state  State
		runner *Process
		says   string
	}{
		{"accepted only", Queued, nil, "nothing was done"},
		{"running, the runner's pid belongs to another process", Running, deadProcess(t), "was killed or crashed"},
		{"running, the runner is hung up without its lock", Running, self, "was killed or crashed"},
		{"running when the machine was restarted", Running, past, "the machine was restarted"},
		{"being canceled", Canceling, deadProcess(t), "was killed or crashed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStore(t)
			op := createDead(t, s, backupOf("pg-one"))
			op.State, op.Runner = tc.state, tc.runner
			write(t, s, op)
			got := wantState(t, s, op.ID, Interrupted)
			if got.EndedAt.IsZero() || got.Error == nil || got.Error.Title != "Interrupted" || !strings.Contains(got.Error.Detail, tc.says) {
				t.Errorf("the first look gives %+v with %+v, want its end and a detail with %q", got, got.Error, tc.says)
			}
			before := stored(t, s, op.ID)
			if !strings.Contains(before, `"interrupted"`) {
				t.Fatalf("the record says %s after the first look, want it interrupted on disk, too", before)
			}
			if got := names(t, s.root+"/active"); len(got) != 0 {
				t.Errorf("active/ holds %q after the end, want nothing", got)
			}
			again := wantState(t, openStore(t, s.root), op.ID, Interrupted)
			if !again.EndedAt.Equal(got.EndedAt) || stored(t, s, op.ID) != before {
				t.Errorf("a second look gives the end %v, want the %v of the first, and the record unchanged", again.EndedAt, got.EndedAt)
			}
		})
	}
}

func TestTheCauseThatIsKnownIsTold(t *testing.T) {
	s := newStore(t)
	op := createDead(t, s, backupOf("pg-one"))
	got, err := s.Settle(op.ID, 0, time.Millisecond, "its unit ran out of memory")
	if err != nil || got.State != Interrupted || got.Error.Detail != "its unit ran out of memory" {
		t.Errorf("Settle = %q %+v, %v, want it interrupted for the cause that was given", got.State, got.Error, err)
	}
}

// A clock that was set back makes records that lie in the future: that changes nothing.
func TestAClockThatWasSetBack(t *testing.T) {
	s := newStore(t)
	now := time.Now().UTC()
	op := createDead(t, s, backupOf("pg-one"))
	op.State, op.Runner = Running, deadProcess(t)
	op.CreatedAt, op.StartedAt = now.Add(24*time.Hour), now.Add(25*time.Hour)
	write(t, s, op)
	wantState(t, s, op.ID, Interrupted)
	before := stored(t, s, op.ID)
	later, _ := create(t, s, backupOf("pg-one"))
	for range 3 {
		wantState(t, s, op.ID, Interrupted)
		wantState(t, s, later.ID, Queued)
	}
	if got := stored(t, s, op.ID); got != before {
		t.Errorf("the record is now\n%s\nwant it unchanged\n%s", got, before)
	}
	ended := op
	ended.State, ended.EndedAt = Succeeded, now.Add(26*time.Hour)
	write(t, s, ended)
	if got := wantState(t, s, op.ID, Succeeded); !got.EndedAt.Equal(ended.EndedAt) {
		t.Errorf("an end in the future is shown as %v, want %v", got.EndedAt, ended.EndedAt)
	}
}

func TestAHeldLockIsLeftAlone(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		state  State
		runner *Process
	}{
		{"queued", Queued, nil},
		{"running", Running, self},
		{"canceling", Canceling, self},
		{"running, the runner dead, but somebody of it holds on", Running, deadProcess(t)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStore(t)
			op, _ := create(t, s, backupOf("pg-one"))
			op.State, op.Runner = tc.state, tc.runner
			write(t, s, op)
			before := stored(t, s, op.ID)
			for range 3 {
				if got, err := openStore(t, s.root).Settle(op.ID, 0, time.Millisecond, "x"); err != nil || got.State != tc.state {
					t.Errorf("Settle = %q, %v, want %q", got.State, err, tc.state)
				}
			}
			if got := stored(t, s, op.ID); got != before {
				t.Errorf("the record is now\n%s\nwant it unchanged\n%s", got, before)
			}
		})
	}
}

// A record whose lock file is gone (half of a backup put back) has nobody at work, either.
func TestAMissingLockMeansInterrupted(t *testing.T) {
	s := newStore(t)
	op := createDead(t, s, backupOf("pg-one"))
	op.State, op.Runner = Running, deadProcess(t)
	write(t, s, op)
	if err := os.Remove(filepath.Join(s.dir(op.ID), "lock")); err != nil {
		t.Fatal(err)
	}
	wantState(t, s, op.ID, Interrupted)
}

// A runner that ends and readers that look in the same moment: whatever wins is final for all.
func TestFinalIsFinalUnderConcurrentReaders(t *testing.T) {
	dir := t.TempDir()
	for range 25 {
		s := openStore(t, dir)
		op, lock := create(t, s, backupOf("pg-one"))
		if _, err := s.Start(op.ID, ""); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		finals := map[State]bool{}
		note := func(op Operation, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("a reader gets %v, want the operation", err)
			} else if op.State.Final() {
				finals[op.State] = true
			}
		}
		var all sync.WaitGroup
		start := make(chan struct{})
		for range 4 {
			all.Go(func() {
				s := openStore(t, dir)
				<-start
				for range 3 {
					note(s.Load(op.ID))
				}
			})
		}
		all.Go(func() {
			<-start
			_ = lock.Close()
			note(s.End(op.ID, Succeeded, func(*Operation) {}))
		})
		close(start)
		all.Wait()
		last, err := s.Load(op.ID)
		note(last, err)
		if len(finals) != 1 {
			t.Errorf("readers of operation %s saw the final states %v, want one", op.ID, finals)
		}
	}
}

// An end that is recorded before the lock is free is what every reader sees.
func TestAnEndThatIsRecordedFirstIsNeverLost(t *testing.T) {
	dir := t.TempDir()
	for range 15 {
		s := openStore(t, dir)
		op, lock := create(t, s, backupOf("pg-one"))
		if _, err := s.Start(op.ID, ""); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for {
					got, err := openStore(t, dir).Load(op.ID)
					if err != nil || got.State == Interrupted {
						t.Errorf("a reader sees %q, %v, want running or succeeded", got.State, err)
						return
					}
					if got.State.Final() {
						return
					}
				}
			})
		}
		if _, err := s.End(op.ID, Succeeded, func(*Operation) {}); err != nil {
			t.Fatal(err)
		}
		_ = lock.Close()
		all.Wait()
		wantState(t, s, op.ID, Succeeded)
	}
}

// interrupt gives the truth back even if it cannot be written.
func TestTheTruthIsToldEvenIfItCannotBeWritten(t *testing.T) {
	s := newStore(t)
	op := createDead(t, s, backupOf("pg-one"))
	lock := filepath.Join(s.dir(op.ID), "state.lock")
	if err := errors.Join(os.Remove(lock), os.Mkdir(lock, 0o750)); err != nil { // no file, and none can be made there
		t.Fatal(err)
	}
	got := wantState(t, s, op.ID, Interrupted)
	if got.EndedAt.IsZero() || got.Error == nil {
		t.Errorf("Load = %+v, want it interrupted with an end and a reason", got)
	}
	if !json.Valid([]byte(stored(t, s, op.ID))) {
		t.Error("the record is not JSON any more")
	}
	if _, err := s.Update(op.ID, func(*Operation) error { return nil }); err == nil {
		t.Error("Update without a state lock = nil, want an error")
	}
}
