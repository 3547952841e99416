package operation

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Follow gives emit what Barman prints from byte offset on, as it comes, until the operation has
// ended and all of it was given, or ctx ends; as text without control characters. Who cannot keep up with
// Barman gets a line in place of what was left out meanwhile. It sleeps until the kernel
// reports a change (inotify(7)) and looks each second whether the runner still lives.
func (s *Store) Follow(ctx context.Context, id ID, offset int64, text bool, emit func(Piece) error) (Operation, error) {
	f, err := s.Output(id)
	if err != nil {
		return Operation{}, err
	}
	defer func() { _ = f.Close() }()
	changes, err := watch(s.dir(id))
	if errors.Is(err, fs.ErrNotExist) { // its record is in an archive: nothing will come
		op, err := s.Load(id)
		if err == nil {
			_, err = newReader(f, op, text).emit(ctx, offset, emit)
		}
		return op, err
	}
	if err != nil {
		return Operation{}, err
	}
	defer func() { _ = changes.Close() }()
	defer context.AfterFunc(ctx, func() { _ = changes.SetReadDeadline(time.Now()) })()
	out, events := newReader(f, Operation{}, text), make([]byte, 4096)
	for {
		op, err := s.Load(id) // before the copy: what was printed before the end is there by then
		if err != nil {
			return op, err
		}
		out.op = op
		if offset, err = out.emit(ctx, offset, emit); err != nil || op.State.Final() || ctx.Err() != nil {
			return op, err
		}
		_ = changes.SetReadDeadline(time.Now().Add(time.Second))
		if ctx.Err() != nil { // it ended before the deadline was set anew
			return op, nil
		}
		if _, err := changes.Read(events); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return op, err
		}
	}
}

// emit gives all that there is from offset on, and where that ends.
func (r *reader) emit(ctx context.Context, offset int64, emit func(Piece) error) (int64, error) {
	for ctx.Err() == nil {
		piece, err := r.next(offset)
		if err != nil || len(piece.Bytes) == 0 {
			return offset, err
		}
		if err := emit(piece); err != nil {
			return offset, err
		}
		offset = piece.End
	}
	return offset, nil
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
