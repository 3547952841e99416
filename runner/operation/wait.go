package operation

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// watches are the operations that somebody in this process waits for. The kernel wakes who
// sleeps on a lock, and a thread sleeps with it: one for each operation, however many wait.
var watches = struct {
	sync.Mutex
	gone map[string]chan struct{}
}{gone: map[string]chan struct{}{}}

// Wait returns the operation when it has ended, or as it is when ctx ends. It is woken by the
// end of the runner, whose lock the kernel frees, and polls nothing.
func (s *Store) Wait(ctx context.Context, id ID) (Operation, error) {
	for {
		op, err := s.Load(id)
		if err != nil || op.State.Final() {
			return op, err
		}
		select {
		case <-ctx.Done():
			return s.Load(id) // as it is now, not as it was before the wait
		case <-s.unlocked(id):
		}
		if op, err := s.Load(id); err != nil || op.State.Final() {
			return op, err
		}
		// Its runner is gone, and what is left of it cannot be ended yet.
		select {
		case <-ctx.Done():
		case <-time.After(lookGrace):
		}
	}
}

// unlocked is closed when the alive lock of the operation is free.
func (s *Store) unlocked(id ID) <-chan struct{} {
	path := filepath.Join(s.dir(id), "lock")
	watches.Lock()
	defer watches.Unlock()
	if ch, ok := watches.gone[path]; ok {
		return ch
	}
	ch := make(chan struct{})
	watches.gone[path] = ch
	go func() {
		l := flock.New(path, flock.SetFlag(0)) // read, and never make it anew
		if l.RLock() == nil {
			_ = l.Unlock()
		}
		watches.Lock()
		delete(watches.gone, path)
		watches.Unlock()
		close(ch)
	}()
	return ch
}
