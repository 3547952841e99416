package runner

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// alone waits for the lock of what the operation must have for itself; the kernel gives it
// back when this process ends, however it ends.
func alone(ctx context.Context, dir, resource string) (release func(), err error) {
	if resource == "" {
		return func() {}, nil
	}
	return wait(ctx, filepath.Join(dir, "="+url.QueryEscape(resource)))
}

// wait takes a lock, or gives up when ctx ends.
func wait(ctx context.Context, path string) (release func(), err error) {
	l := flock.New(path)
	turn := make(chan error, 1)
	go func() { turn <- l.Lock() }() // ends with its turn, or with the process
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case err := <-turn:
		return func() { _ = l.Unlock() }, err
	}
}

// slot waits for one of n slots and takes it; the kernel gives it back when this
// process ends, however it ends. The first in the queue looks for a free slot ten
// times a second (flock can wait for one file, not for the first of several); the
// others sleep on the queue's lock.
func slot(ctx context.Context, dir string, n int) (release func(), err error) {
	leave, err := wait(ctx, filepath.Join(dir, "queue"))
	if err != nil {
		return nil, err
	}
	defer leave()
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
