// Package durable replaces files so that a crash or a full disk at any point
// leaves the old content or the new one, and so that what it reported as written is still there
// after a power failure. It says nothing about concurrent writers: callers hold a lock.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// WriteFile puts data in place of path with the permissions perm. The fsync before
// the rename makes the content durable, the one after it the name (fsync(2), rename(2)).
// A failed fsync means that the data is lost: it is never tried again on the same file.
// What root writes belongs to the owner of the directory, so that an administrator's
// command does not lock the service out of its own files.
func WriteFile(path string, data []byte, perm fs.FileMode) (err error) {
	dir, name := filepath.Split(path)
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err := errors.Join(fill(f, data, perm), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

func fill(f *os.File, data []byte, perm fs.FileMode) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chmod(perm); err != nil {
		return err
	}
	if err := Own(f); err != nil {
		return err
	}
	return f.Sync()
}

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- our own directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Own gives a file that root made to the owner of its directory; for others it does nothing.
func Own(f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	st, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	owner := st.Sys().(*syscall.Stat_t)
	return f.Chown(int(owner.Uid), int(owner.Gid))
}
