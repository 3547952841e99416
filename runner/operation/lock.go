package operation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// takeAlive makes the alive lock of a new record. The file is ours alone (the
// record is not visible yet), so that it cannot be busy. gofrs/flock hides its
// descriptor, and this one has to be handed on: hence the system call.
func takeAlive(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640) // #nosec G302 G304 -- our own directory, read by the group
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { // #nosec G115 -- a descriptor
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// held reports whether somebody holds the lock at path. It asks for a shared
// lock and gives it back at once; the alive lock is never taken anew, so that
// this disturbs nobody.
func held(path string) (bool, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) // without what os.File adds: each look at an operation does this
	if err != nil {
		return false, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	err = unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// lockFile waits for the lock at path, a file that [Open] makes.
func lockFile(path string) (unlock func(), err error) {
	l := flock.New(path, flock.SetFlag(os.O_RDWR))
	if err := l.Lock(); err != nil {
		return nil, err
	}
	return func() { _ = l.Unlock() }, nil
}

// lockState waits for the state lock of the record in dir. One lock object per
// acquisition: gofrs/flock says yes to every goroutine that shares one.
func lockState(dir string) (unlock func(), err error) {
	l := flock.New(dir+"/state.lock", flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o640))
	if err := l.Lock(); err != nil {
		return nil, err
	}
	return func() { _ = l.Unlock() }, nil
}
