package operation

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrOvertaken says that what was being read was left out meanwhile: Barman prints faster than the reader reads.
var ErrOvertaken = errors.New("this part of the output was left out while it was read; read again, or follow the output")

// omittedLine stands in place of what was left out.
func omittedLine(n int64) []byte {
	return fmt.Appendf(nil, "\n[barback: %d bytes were left out here]\n", n)
}

// Printed is what was kept of an output when it was opened, with one line in place of
// what was left out. Its offsets are its own. It is to be read by one at a time.
type Printed struct {
	*io.SectionReader
	End int64 // offset behind it, in what Barman printed
	f   *os.File
}

// Close gives the file back.
func (p *Printed) Close() error { return p.f.Close() }

// Printed opens what Barman printed from byte offset on. As text it has no control characters;
// then a character that is printed in part only is not there yet, unless the operation has ended.
func (s *Store) Printed(op Operation, offset int64, text bool) (*Printed, error) {
	f, err := s.Output(op.ID)
	if err != nil {
		return nil, err
	}
	snap := &snapshot{reader: newReader(f, op, text), start: offset}
	if snap.end, snap.gap, err = snap.now(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	hold, err := snap.hold(snap.end, snap.gap)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	snap.end -= hold
	if offset < snap.gap.to {
		snap.line = omittedLine(snap.gap.to - max(offset, snap.gap.from))
	}
	rest := max(0, snap.end-max(offset, snap.gap.to))
	return &Printed{io.NewSectionReader(snap, 0, snap.head()+int64(len(snap.line))+rest), snap.end, f}, nil
}

// snapshot reads an output with its end and its gap as they were at one moment: what is before the
// gap, the line, what is behind it.
type snapshot struct {
	*reader
	start, end int64
	gap        gap
	line       []byte
}

// head is the number of bytes before the line.
func (s *snapshot) head() int64 { return max(0, s.gap.from-s.start) }

func (s *snapshot) ReadAt(p []byte, at int64) (done int, err error) {
	for done < len(p) && err == nil {
		var part []byte
		part, err = s.part(at+int64(done), int64(len(p)-done))
		done += copy(p[done:], part)
	}
	return done, err
}

// part is up to n bytes at an offset of the snapshot's own.
func (s *snapshot) part(at, n int64) ([]byte, error) {
	head, line := s.head(), int64(len(s.line))
	switch {
	case at < head:
		return s.kept(s.start+at, min(n, head-at), gap{0, s.gap.from})
	case at < head+line:
		return s.line[at-head:], nil
	}
	off := max(s.start, s.gap.to) + at - head - line
	if off >= s.end {
		return nil, io.EOF
	}
	return s.kept(off, min(n, s.end-off), gap{s.gap.to, s.end})
}

// kept is up to n bytes at an offset of the output, if they are still there when they have been read.
func (s *snapshot) kept(off, n int64, within gap) ([]byte, error) {
	p, err := s.read(off, n, within)
	if err != nil {
		return nil, err
	}
	if _, now, err := s.now(); err != nil || now.overlaps(off, int64(len(p))) {
		return nil, errors.Join(err, ErrOvertaken)
	}
	return p, nil
}

// reader reads an output that grows, and whose gap does, while it is read.
type reader struct {
	f    *os.File
	op   Operation
	text bool
	buf  []byte
}

func newReader(f *os.File, op Operation, text bool) *reader {
	return &reader{f, op, text, make([]byte, 32<<10+2*around)}
}

// now is how far the output has grown, and what of it was left out.
func (r *reader) now() (size int64, g gap, err error) {
	st, err := r.f.Stat()
	if err != nil {
		return 0, gap{}, err
	}
	if r.op.State == Damaged {
		return st.Size(), hole(r.f, st.Size()), nil
	}
	return st.Size(), gapOf(st.Size(), r.op.MaxOutput), nil
}

// read gives up to n bytes at off, as text if that is wanted: then what stands around them, but within what
// is there, tells which bytes are characters. So it does not matter where a reader begins and ends.
func (r *reader) read(off, n int64, within gap) ([]byte, error) {
	n = min(n, int64(len(r.buf)-2*around))
	first, last := max(within.from, off-around), min(within.to, off+n+around)
	p := r.buf[:last-first]
	if _, err := r.f.ReadAt(p, first); err != nil {
		return nil, fmt.Errorf("read the output at %d: %w", first, err)
	}
	if r.text {
		printable(p)
	}
	return p[off-first:][:n], nil
}

// hold is how many of the last bytes are not to be shown yet: a character of which more will come.
func (r *reader) hold(size int64, g gap) (int64, error) {
	if !r.text || r.op.State.Final() {
		return 0, nil
	}
	first := max(g.to, size-around, 0)
	p := make([]byte, size-first)
	_, err := r.f.ReadAt(p, first)
	return int64(unfinished(p)), err
}

// Piece is a part of what Barman printed, or a line in place of what was left out.
type Piece struct {
	Bytes   []byte // valid until the next one
	End     int64  // offset behind it, in what Barman printed
	Omitted int64  // so many bytes were left out; 0: these are Barman's
}

// next is the piece at an offset; an empty one if there is nothing yet. It never waits.
func (r *reader) next(off int64) (Piece, error) {
	for {
		size, g, err := r.now()
		if err != nil {
			return Piece{}, err
		}
		if g.overlaps(off, 1) {
			return Piece{omittedLine(g.to - off), g.to, g.to - off}, nil
		}
		within := gap{g.to, size}
		if off < g.from {
			within = gap{0, g.from}
		} else if hold, err := r.hold(size, g); err != nil {
			return Piece{}, err
		} else if off >= size-hold {
			return Piece{End: off}, nil
		} else {
			size -= hold
		}
		p, err := r.read(off, min(size, within.to)-off, within)
		if err != nil {
			return Piece{}, err
		}
		if _, g, err := r.now(); err != nil || !g.overlaps(off, int64(len(p))) {
			return Piece{Bytes: p, End: off + int64(len(p))}, err
		} // else it was overtaken, and the gap has grown beyond it
	}
}
