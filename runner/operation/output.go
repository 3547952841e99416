package operation

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"barback/runner/durable"
)

// MinOutput is the smallest cap of an output: whoever looks for something in what Barman prints first
// looks at 256 KiB, and the head is a quarter.
const MinOutput = 1 << 20

// Output opens what Barman printed so far, as it is on the disk: with NULs in place of what was
// left out. [Store.Printed] and [Store.Follow] are for readers.
func (s *Store) Output(id ID) (*os.File, error) {
	f, err := os.Open(filepath.Join(s.dir(id), "output.log"))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.archivedOutput(id)
	}
	if err != nil {
		return nil, notFound(id, err)
	}
	return f, nil
}

// OutputBytes is the size of what Barman printed so far, with what was left out.
func (s *Store) OutputBytes(id ID) int64 {
	size, err := durable.Size(s.dir(id) + "/output.log")
	if errors.Is(err, fs.ErrNotExist) {
		size, _ = s.archivedSize(id)
	}
	return size
}

// Omitted is how many of the bytes that Barman printed were left out.
func (op *Operation) Omitted(bytes int64) int64 { return gapOf(bytes, op.MaxOutput).bytes() }

// gap is what was left out of an output: the bytes from one offset up to another. Zero: nothing.
type gap struct{ from, to int64 }

// gapOf is the gap of an output of so many bytes with a cap: its head, a quarter of the cap,
// stays, and behind it quarters are left out until the rest fits. So the tail is never less than
// half of the cap. The gap follows from two numbers alone and not from the holes of the file: a file system may have
// more of them (ZFS makes holes of any NULs), or none that it tells of, and a copy or an archive of the state directory has none.
func gapOf(size, most int64) gap {
	step := most / 4 &^ (64<<10 - 1) // a multiple of any block: a block is freed as a whole
	if step <= 0 || size <= most {
		return gap{}
	}
	return gap{step, step + (size-most+step-1)/step*step}
}

func (g gap) bytes() int64 { return g.to - g.from }

// overlaps reports whether something of the n bytes at offset off was left out.
func (g gap) overlaps(off, n int64) bool { return off < g.to && g.from < off+n }

// hole is the gap of a file whose record cannot be read: its first hole is the best evidence.
func hole(f *os.File, size int64) gap {
	from, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE) // #nosec G115 -- a descriptor
	if err != nil || from >= size {
		return gap{} // the end of a file is a hole, too
	}
	to, err := unix.Seek(int(f.Fd()), from, unix.SEEK_DATA) // #nosec G115 -- a descriptor
	if err != nil {
		to = size // ENXIO: nothing behind it
	}
	return gap{from, to}
}

// OutputWriter takes what Barman prints, and keeps no more of it than the operation's cap.
type OutputWriter struct {
	// Uncapped is why the cap cannot hold: the file system frees no part of a file. All is kept then.
	Uncapped error

	f    *os.File
	most int64
	size int64
	gap  gap // that is free on the disk
}

// OutputWriter opens the operation's output for its runner, to append.
func (s *Store) OutputWriter(id ID) (*OutputWriter, error) {
	op, err := s.read(id)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.dir(id), "output.log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640) // #nosec G302 G304
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	w := &OutputWriter{f: f, most: op.MaxOutput, size: st.Size()}
	if w.most > 0 {
		w.Uncapped = w.free(gap{w.size, w.size + 1}) // behind the end: nothing is freed, but a file system that cannot says so
	}
	if w.Uncapped == nil {
		return w, nil
	}
	w.most = 0
	if _, err := s.Update(id, func(op *Operation) error { op.MaxOutput = 0; return nil }); err != nil {
		return nil, errors.Join(err, f.Close()) // readers would leave out what is there
	}
	return w, nil
}

// Write appends p, and then frees what no longer fits below the cap. In this order, so that a
// reader that finds NULs sees the size from which they follow. That the disk gives nothing
// back is no reason to lose p: the next write tries again.
func (w *OutputWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.size += int64(n)
	if g := gapOf(w.size, w.most); g != w.gap && w.free(g) == nil {
		w.gap = g
	}
	return n, err
}

// free gives blocks back to the file system (fallocate(2)); offsets stay what they are.
func (w *OutputWriter) free(g gap) error {
	return unix.Fallocate(int(w.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, g.from, g.bytes()) // #nosec G115 -- a descriptor
}

// Close ends the writing.
func (w *OutputWriter) Close() error { return w.f.Close() }

// RunnerLog opens the file that takes the runner's own log where no journal does.
func (s *Store) RunnerLog(id ID) (*os.File, error) {
	return os.OpenFile(filepath.Join(s.dir(id), "runner.log"), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640) // #nosec G302 G304
}
