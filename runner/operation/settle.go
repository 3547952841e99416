package operation

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// lookPatience and lookGrace are what a reader that finds a dead runner leaves Barman to end by
// itself, and after a signal. The runner's guard sent Barman a SIGINT when the runner died, so that
// it has usually finished long before. Together they keep an answer below two seconds.
const (
	lookPatience = 700 * time.Millisecond
	lookGrace    = 700 * time.Millisecond
)

// verdict is what a look at a record that is not final comes to.
type verdict int

const (
	alive    verdict = iota // somebody is at work
	orphaned                // the runner is dead, Barman still holds the lock
	dead                    // nobody is at work
)

// judge decides from the two facts that the kernel knows. A runner that is not
// recorded yet cannot have started Barman, so that only the lock counts.
func judge(lockHeld, runnerKnown, runnerAlive bool) verdict {
	switch {
	case !lockHeld:
		return dead
	case runnerKnown && !runnerAlive:
		return orphaned
	}
	return alive
}

// settled gives op back as it really is: if the record claims that somebody is at
// work and nobody is, what is left of the operation is ended and its end recorded.
func (s *Store) settled(op Operation, patience, grace time.Duration, cause string) Operation {
	if op.State.Final() {
		return op
	}
	if s.atWork(&op) {
		return op
	}
	lock := filepath.Join(s.dir(op.ID), "lock")
	locked, err := held(lock)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return op // no descriptors: a claim is all we have
	}
	// The record again, now that the lock was looked at: a runner may have noted itself in
	// between, and been killed since.
	if now, err := s.read(op.ID); err == nil {
		if op = now; op.State.Final() {
			return op
		}
	}
	switch judge(locked, op.Runner != nil, op.Runner != nil && op.Runner.alive()) {
	case alive:
		return op
	case orphaned, dead:
		if !op.EndRemains(patience, grace) {
			return op // never "failed" while anything of it runs
		}
	}
	if !freed(lock, lookGrace) {
		return op
	}
	running, err := s.elsewhere(op, patience+grace)
	if running {
		return op
	}
	return s.interrupt(op, cause, err)
}

// atWork reports whether the runner that the record names holds its lock.
func (s *Store) atWork(op *Operation) bool {
	if op.Runner == nil {
		return false
	}
	locked, err := held(filepath.Join(s.dir(op.ID), "lock"))
	return err == nil && locked && op.Runner.alive()
}

// elsewhere is what runs of op on another host. What was not started does not.
func (s *Store) elsewhere(op Operation, limit time.Duration) (running bool, err error) {
	if s.Elsewhere == nil || op.Runner == nil {
		return false, nil
	}
	return s.Elsewhere(op, limit)
}

// freed waits until nobody holds the lock: the kernel closes the files of a process that was killed
// a moment after it stopped running. Without descriptors nothing is known, and a claim is a claim.
func freed(lock string, limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		locked, err := held(lock)
		if err != nil || !locked {
			return err == nil || errors.Is(err, fs.ErrNotExist)
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// interrupt records the end of an operation that nobody works on any more. If
// that cannot be written (full disk) the answer is still the truth, and the next reader tries again. unseen is
// why it is not known what another host does.
func (s *Store) interrupt(op Operation, cause string, unseen error) Operation {
	if cause == "" {
		cause = gone(op)
	}
	if unseen != nil {
		cause = fmt.Sprintf("its runner ended, and what Barman does is not known: %v. The Barman host ends it by itself when it notices", unseen)
	}
	end := func(op *Operation) error {
		if op.State.Final() {
			return nil
		}
		op.EndedAt, op.Unseen = time.Now().UTC(), unseen != nil
		op.Error = &Failure{Title: "Interrupted", Detail: cause}
		return op.move(Interrupted)
	}
	if now, err := s.Update(op.ID, end); err == nil {
		return now
	}
	_ = end(&op)
	return op
}

func gone(op Operation) string {
	if op.Runner == nil {
		return "barback ended before Barman was started: nothing was done"
	}
	if boot, err := bootID(); err == nil && boot != op.Runner.BootID {
		return "the machine was restarted while the operation was running"
	}
	return fmt.Sprintf("its runner (process %d) was killed or crashed; what it had started was ended, and Barman's work is not complete", op.Runner.PID)
}
