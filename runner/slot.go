package runner

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// slot waits for one of n slots and takes it; the kernel gives it back when this
// process ends, however it ends. The first in the queue looks for a free slot ten
// times a second (flock can wait for one file, not for the first of several); the
// others sleep on the queue's lock.
func slot(ctx context.Context, dir string, n int) (release func(), err error) {
	queue := flock.New(filepath.Join(dir, "queue"))
	turn := make(chan error, 1)
	go func() { turn <- queue.Lock() }() // ends with its turn, or with the process
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case err := <-turn:
		if err != nil {
			return nil, fmt.Errorf("wait in the queue: %w", err)
		}
	}
	defer func() { _ = queue.Unlock() }()
	for {
		for i := range n {
			l := flock.New(filepath.Join(dir, fmt.Sprint(i)))
			if got, err := l.TryLock(); err != nil {
				return nil, fmt.Errorf("take a slot: %w", err)
			} else if got {
				return func() { _ = l.Unlock() }, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
