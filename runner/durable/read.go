package durable

import (
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// Stamp tells whether a file is still the one that it was: each write, rename and change of permissions moves
// its ctime, which nobody can set. The zero Stamp is that of a file that is not there.
type Stamp struct {
	inode               uint64
	size, seconds, nano int64
}

// settled is the age from which a file's time tells it from a later one: file systems count in steps.
const settled = 2 * time.Second

func stampOf(st *unix.Stat_t) Stamp { return Stamp{st.Ino, st.Size, st.Ctim.Sec, st.Ctim.Nsec} }

// StampOf is the stamp that the file or folder has now.
func StampOf(path string) Stamp {
	var st unix.Stat_t
	if retried(func() error { return unix.Stat(path, &st) }) != nil {
		return Stamp{}
	}
	return stampOf(&st)
}

// Size is the number of bytes of a file; 0 beside an error.
func Size(path string) (int64, error) {
	var st unix.Stat_t
	err := retried(func() error { return unix.Stat(path, &st) })
	return st.Size, err
}

// StampIn is the stamp of a file by its path below a folder that is open: the way to that folder is not gone again.
func StampIn(folder int, name string) Stamp {
	var st unix.Stat_t
	if retried(func() error { return unix.Fstatat(folder, name, &st, 0) }) != nil {
		return Stamp{}
	}
	return stampOf(&st)
}

// Lasting reports whether the file had been as it is for so long that its next change gives it another stamp.
func (s Stamp) Lasting() bool { return time.Since(time.Unix(s.seconds, s.nano)) >= settled }

// ReadFile is os.ReadFile of a regular file, or one of /proc, with its stamp from before it was read. It needs half the system
// calls, as it does not try to have the file watched.
func ReadFile(path string) (data []byte, stamp Stamp, err error) {
	fd := -1
	err = retried(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, Stamp{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, Stamp{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	data = make([]byte, 0, max(st.Size+1, 512)) // one more, to see the end without growing; a file of /proc has no size
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n := 0
		err := retried(func() (err error) {
			n, err = unix.Read(fd, data[len(data):cap(data)])
			return err
		})
		if err != nil {
			return nil, Stamp{}, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return data, stampOf(&st), nil
		}
		data = data[:len(data)+n]
	}
}

// retried calls f again where a signal came in between.
func retried(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
