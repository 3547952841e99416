package operation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"
)

// onlyReported has watches look at an operation when the kernel reports something, and never else.
func onlyReported(t testing.TB) {
	old := lookEvery
	lookEvery = time.Hour
	t.Cleanup(func() { lookEvery = old })
}

// unreported has the kernel report nothing, as if all inotify instances of the user were taken.
func unreported(t testing.TB) {
	inotify.mu.Lock()
	defer inotify.mu.Unlock()
	fd := inotify.fd
	inotify.fd = -1
	t.Cleanup(func() {
		inotify.mu.Lock()
		defer inotify.mu.Unlock()
		inotify.fd = fd
	})
}

// users is how many look at an operation, once it was looked at.
func users(s *Store, id ID) int {
	watches.Lock()
	w := watches.of[s.dir(id)]
	watches.Unlock()
	if w == nil {
		return 0
	}
	<-w.seen
	watches.Lock()
	defer watches.Unlock()
	return w.users
}

// eventually polls: nobody is told how many others wait.
func eventually(t testing.TB, what func() string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what())
		}
	}
}

// seen is what two are told who look at an operation: one waits, one follows.
type seen struct {
	waited, followed   Operation
	waitErr, followErr error
	printed            string
}

// seenBy lets the two look, and does something.
func seenBy(t testing.TB, s *Store, op Operation, do func()) (got seen) {
	t.Helper()
	var all sync.WaitGroup
	var out bytes.Buffer
	all.Go(func() { got.waited, got.waitErr = s.Wait(t.Context(), op.ID) })
	all.Go(func() {
		got.followed, got.followErr = s.Follow(t.Context(), op.ID, 0, true, func(p Piece) error { out.Write(p.Bytes); return nil })
	})
	eventually(t, func() string { return "there are not two who look" }, func() bool { return users(s, op.ID) == 2 })
	do()
	all.Wait()
	got.printed = out.String()
	return got
}

// What has come to an end is seen because the kernel reports it, or else because each operation is looked at now and then.
func TestWhoLooksSeesTheEnd(t *testing.T) {
	for _, how := range []struct {
		name    string
		prepare func(testing.TB)
	}{{"reported", onlyReported}, {"unreported", unreported}} {
		t.Run(how.name, func(t *testing.T) {
			how.prepare(t)
			s := newStore(t)
			for _, tc := range []struct {
				name string
				do   func(op Operation, close func())
				want State
			}{
				{"it has succeeded, its runner still lives", func(op Operation, _ func()) {
					if _, err := s.End(op.ID, Succeeded, func(*Operation) {}); err != nil {
						t.Error(err)
					}
				}, Succeeded},
				{"its runner is gone", func(_ Operation, close func()) { close() }, Interrupted},
			} {
				t.Run(tc.name, func(t *testing.T) {
					op, lock, w := capped(t, s, 0)
					if _, err := s.Start(op.ID, ""); err != nil {
						t.Fatal(err)
					}
					got := seenBy(t, s, op, func() {
						_, _ = io.WriteString(w, "all\n")
						tc.do(op, func() { closeFile(t, lock) })
					})
					if got.waitErr != nil || got.followErr != nil || got.waited.State != tc.want || got.followed.State != tc.want || got.printed != "all\n" {
						t.Errorf("Wait = %s, %v, Follow = %s, %v with %q, want %s with all that was printed", got.waited.State, got.waitErr, got.followed.State, got.followErr, got.printed, tc.want)
					}
				})
			}
			t.Run("it was taken back", func(t *testing.T) {
				op, _ := create(t, s, backupOf("pg-one"))
				got := seenBy(t, s, op, func() {
					if err := s.Withdraw(op.ID); err != nil {
						t.Error(err)
					}
				})
				if !errors.Is(got.waitErr, ErrNotFound) || !errors.Is(got.followErr, ErrNotFound) {
					t.Errorf("Wait = %v, Follow = %v, want both %v", got.waitErr, got.followErr, ErrNotFound)
				}
			})
		})
	}
}

// Output comes as it is printed, to each follower; the one who comes after somebody who only waits gets it, too.
func TestFollowersGetWhatIsPrintedAtOnce(t *testing.T) {
	onlyReported(t)
	s := newStore(t)
	op, _, w := capped(t, s, 0)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() { _, _ = s.Wait(ctx, op.ID) })
	eventually(t, func() string { return "nobody waits" }, func() bool { return users(s, op.ID) == 1 })
	got := []chan string{make(chan string), make(chan string)}
	for _, got := range got {
		all.Go(func() {
			_, _ = s.Follow(ctx, op.ID, 0, true, func(p Piece) error {
				select {
				case got <- string(p.Bytes):
				case <-ctx.Done():
				}
				return nil
			})
		})
	}
	for i := range 20 {
		line := fmt.Sprintf("line %d\n", i)
		if _, err := io.WriteString(w, line); err != nil {
			t.Fatal(err)
		}
		for _, got := range got {
			select {
			case p := <-got:
				if p != line {
					t.Fatalf("a follower gets %q, want %q", p, line)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("a follower does not get %q", line)
			}
		}
	}
}

// A user may have 128 inotify instances: more followers than that get all of the output, and when they have gone
// nothing of them is left.
func TestMoreFollowersThanTheKernelHasInstances(t *testing.T) {
	s := newStore(t)
	op, lock, w := capped(t, s, 0)
	if _, err := s.Start(op.ID, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const n = 300
	var all, gone sync.WaitGroup
	ends := make([]string, n)
	for i := range ends {
		all.Go(func() {
			var got bytes.Buffer
			op, err := s.Follow(t.Context(), op.ID, 0, true, func(p Piece) error { got.Write(p.Bytes); return nil })
			ends[i] = fmt.Sprint(op.State, err, got.String())
		})
		gone.Go(func() { _, _ = s.Follow(ctx, op.ID, 0, true, func(Piece) error { return nil }) })
		gone.Go(func() { _, _ = s.Wait(ctx, op.ID) })
	}
	eventually(t, func() string { return fmt.Sprintf("%d look, want %d", users(s, op.ID), 3*n) }, func() bool { return users(s, op.ID) == 3*n })
	cancel()
	gone.Wait()
	if got := users(s, op.ID); got != n {
		t.Errorf("%d look when two thirds of %d have gone, want %d", got, 3*n, n)
	}
	if _, err := io.WriteString(w, "all\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.End(op.ID, Succeeded, func(*Operation) {}); err != nil {
		t.Fatal(err)
	}
	closeFile(t, lock)
	all.Wait()
	for i, got := range ends {
		if want := fmt.Sprint(Succeeded, error(nil), "all\n"); got != want {
			t.Fatalf("follower %d got %q, want %q", i, got, want)
		}
	}
	watches.Lock()
	defer watches.Unlock()
	inotify.mu.Lock()
	defer inotify.mu.Unlock()
	if len(watches.of) != 0 || len(inotify.to) != 0 {
		t.Errorf("%d operations are looked at and %d reported when all have gone, want none", len(watches.of), len(inotify.to))
	}
}

// The kernel reports nothing when a runner dies whose Barman lives on: who waits sees it all the same, and Barman is ended.
func TestWhoLooksSeesADeadRunner(t *testing.T) {
	s := newStore(t)
	op, lock := create(t, s, backupOf("pg-one"))
	runner := startSession(t, op.ID, "sleep 300 & echo $!; wait", []*os.File{lock})
	barman := runner.pid(t)
	closeFile(t, lock)
	boot, err := bootID()
	if err != nil {
		t.Fatal(err)
	}
	st, err := readStat(runner.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	op.State, op.Runner = Running, &Process{PID: runner.cmd.Process.Pid, StartTime: st.start, BootID: boot}
	write(t, s, op)
	got := seenBy(t, s, op, func() {
		if err := runner.cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
	})
	if got.waited.State != Interrupted || got.followed.State != Interrupted {
		t.Errorf("Wait = %s, Follow = %s, want both %s", got.waited.State, got.followed.State, Interrupted)
	}
	if st, err := readStat(barman); err == nil && !st.over() {
		t.Errorf("process %d of the operation still runs", barman)
	}
}
