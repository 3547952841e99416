package operation

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Follow gives emit what Barman prints from byte offset on, as it comes, until the operation has
// ended and all of it was given, or ctx ends. It sleeps until the kernel reports a change
// (inotify(7)) and looks each second whether the runner still lives.
func (s *Store) Follow(ctx context.Context, id ID, offset int64, emit func([]byte) error) (Operation, error) {
	f, err := s.Output(id)
	if err != nil {
		return Operation{}, err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return Operation{}, err
	}
	changes, err := watch(s.dir(id))
	if err != nil {
		return Operation{}, err
	}
	defer func() { _ = changes.Close() }()
	defer context.AfterFunc(ctx, func() { _ = changes.SetReadDeadline(time.Now()) })()
	buf := make([]byte, 32<<10)
	for {
		op, err := s.Load(id) // before the copy: what was printed before the end is there by then
		if err != nil {
			return op, err
		}
		if err := copyAll(f, buf, emit); err != nil || op.State.Final() || ctx.Err() != nil {
			return op, err
		}
		_ = changes.SetReadDeadline(time.Now().Add(time.Second))
		if ctx.Err() != nil { // it ended before the deadline was set anew
			return op, nil
		}
		if _, err := changes.Read(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return op, err
		}
	}
}

func copyAll(f *os.File, buf []byte, emit func([]byte) error) error {
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if err := emit(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// watch reports changes of the files in dir: output that comes, a record that is replaced.
func watch(dir string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "inotify") // #nosec G115 -- a descriptor
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_MOVED_TO); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
