package rewrite

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner/durable"
)

// BusyError says that others held a lock for all the time that somebody could wait for it.
type BusyError struct{ path string }

func (e *BusyError) Error() string {
	return "the configuration is being changed by others (" + e.path + "); try again"
}

// RetryAfter is when to try again.
func (e *BusyError) RetryAfter() time.Duration { return time.Second }

// pause lies between two looks at a lock of others.
const pause = 20 * time.Millisecond

// Lock takes the lock of a file, which it makes. A lock file of Barman's its "cron" removes when it is free, so that the one
// that was locked may be none any more; then it is taken anew.
func Lock(path string, limit time.Duration) (unlock func(), err error) {
	for end := time.Now().Add(limit); ; time.Sleep(pause) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- the caller names it
		if err != nil {
			return nil, fmt.Errorf("the lock of the configuration: %w", err)
		}
		err = errors.Join(durable.Own(f), unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)) // #nosec G115 -- a descriptor
		if err == nil && at(f, path) {
			_ = f.Truncate(0)
			_, _ = fmt.Fprintln(f, os.Getpid()) // as Barman does
			return func() { _ = f.Close() }, nil
		}
		_ = f.Close()
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if time.Now().After(end) {
			return nil, &BusyError{path}
		}
	}
}

// at reports whether a path still leads to a file that was opened.
func at(f *os.File, path string) bool {
	a, err1 := f.Stat()
	b, err2 := os.Stat(path)
	return errors.Join(err1, err2) == nil && os.SameFile(a, b)
}
