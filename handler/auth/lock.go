package auth

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"barback/runner/durable"
)

// BusyError says that something that is done a few at a time had no room within the time that a request
// can wait.
type BusyError struct{ what string }

func (e *BusyError) Error() string { return e.what + "; try again" }

// RetryAfter is when to try again.
func (e *BusyError) RetryAfter() time.Duration { return time.Second }

// lockWait is how long a request waits for a lock that is held for microseconds.
const lockWait = 3 * time.Second

// lockFile takes the lock of a file, which it makes.
func lockFile(path string) (unlock func(), err error) {
	return lockOneOf([]string{path}, lockWait, 2*time.Millisecond)
}

// lockOneOf takes the first lock that is free. A process that dies gives it back.
func lockOneOf(paths []string, limit, pause time.Duration) (unlock func(), err error) {
	for _, path := range paths {
		if err := own(path); err != nil {
			return nil, err
		}
	}
	for end := time.Now().Add(limit); ; time.Sleep(pause) {
		for _, path := range paths {
			l := flock.New(path)
			if got, err := l.TryLock(); err != nil {
				return nil, fmt.Errorf("lock %s: %w", path, err)
			} else if got {
				return func() { _ = l.Unlock() }, nil
			}
		}
		if time.Now().After(end) {
			return nil, &BusyError{filepath.Base(paths[0]) + " is in use by other requests"}
		}
	}
}

// makeDirs makes folders that are not there, for the owner of the state directory.
func makeDirs(dirs ...string) error {
	for _, dir := range dirs {
		if err := durable.MakeDir(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}
