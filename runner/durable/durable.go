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

	"golang.org/x/sys/unix"
)

// WriteFile puts data in place of path with the permissions perm. The fsync before
// the rename makes the content durable, the one after it the name (fsync(2), rename(2)).
// A failed fsync means that the data is lost: it is never tried again on the same file.
// What root writes belongs to the owner of the directory, so that an administrator's
// command does not lock the service out of its own files.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return Write(path, perm, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// Write is [WriteFile] of what fill writes.
func Write(path string, perm fs.FileMode, fill func(*os.File) error) error {
	staged, err := Stage(path, perm, fill)
	if err != nil {
		return err
	}
	defer staged.Discard()
	return staged.Commit()
}

// Create writes a new file in a folder that nobody looks into yet: there is no name to change, and with that a commit of the
// file system's journal less than [WriteFile] needs.
func Create(path string, data []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm) // #nosec G304 -- our own directory
	if err != nil {
		return err
	}
	write := func(f *os.File) error { _, err := f.Write(data); return err }
	if err := errors.Join(complete(f, write, perm), f.Close()); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Staged is a file that lies complete beside the one that it is to replace.
type Staged struct{ path, temp string }

// Stage writes a file to be put in place of path later, when others have been written, too: whatever can fail
// for want of space has then been done.
func Stage(path string, perm fs.FileMode, fill func(*os.File) error) (*Staged, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	s := &Staged{path, f.Name()}
	if err := errors.Join(complete(f, fill, perm), f.Close()); err != nil {
		s.Discard()
		return nil, err
	}
	return s, nil
}

// Commit puts the file in its place.
func (s *Staged) Commit() error {
	if err := os.Rename(s.temp, s.path); err != nil {
		return err
	}
	s.temp = ""
	return SyncDir(filepath.Dir(s.path))
}

// Discard removes what was not put in its place.
func (s *Staged) Discard() {
	if s.temp != "" {
		_ = os.Remove(s.temp)
	}
}

// Reserve sets size bytes of disk aside in a new file at path, for [WriteReserved].
func Reserve(path string, size int64, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm) // #nosec G304 -- our own directory
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size) // #nosec G115 -- a descriptor
	if errors.Is(err, unix.EOPNOTSUPP) {
		_, err = f.Write(make([]byte, size))
	}
	return errors.Join(err, f.Close())
}

// WriteReserved is [WriteFile] into the space of a reserved file: it needs no more of the disk than was
// set aside, so that a full one does not stop it. The reserved file is gone afterwards. It returns
// [fs.ErrNotExist] if there is none.
func WriteReserved(path, reserved string, data []byte) error {
	f, err := os.OpenFile(reserved, os.O_WRONLY, 0) // #nosec G304 -- our own directory
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Truncate(int64(len(data))), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(reserved, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

func complete(f *os.File, fill func(*os.File) error, perm fs.FileMode) error {
	if err := Own(f); err != nil {
		return err
	}
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Chmod(perm); err != nil {
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

// MakeDir makes a folder that is not there. It belongs to the owner of the one that it lies in, whoever asks first.
func MakeDir(path string, perm fs.FileMode) error {
	err := os.Mkdir(path, perm)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	d, err := os.Open(path) // #nosec G304 -- our own directory
	if err != nil {
		return err
	}
	return errors.Join(Own(d), d.Close())
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
