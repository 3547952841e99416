package operation

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner/durable"
)

// The index holds one line for every operation that has ended, in the order in which they ended,
// so that a list reads one file instead of every record, and a page of the newest only its end. It is
// written beside the records and made anew from them when it is missing or damaged.

// Summary is what a list says of an operation.
type Summary struct {
	ID                 ID
	Type, Server       string
	State              State
	RequestedBy        string
	CreatedAt, EndedAt time.Time
	Archived           bool  // only its month's archive has it
	stamp              stamp // of a line of the index: which record it was written for
}

func (op *Operation) summary() Summary {
	return Summary{op.ID, op.Type, op.Server, op.State, op.RequestedBy, op.CreatedAt, op.EndedAt, op.archived, stamp{}}
}

// entry is a line of the index.
type entry struct {
	Summary
	// highest is the highest ID on this line and those before it: who reads backwards knows by
	// it what cannot come any more.
	highest ID
}

// stamp tells whether a record is still the file that the line was written for.
type stamp struct{ size, mtime int64 }

func (s *Store) stamp(id ID) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Stat(s.recordFile(id), &st); err != nil {
		return stamp{}, err
	}
	return stamp{st.Size, st.Mtim.Nano()}, nil
}

func (s *Store) indexFile() string { return filepath.Join(s.root, "index") }

var (
	escape   = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`)
	unescape = strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n")
)

// append writes e as a line: its fields with tabs between, and their CRC-32.
func (e *entry) append(b []byte) []byte {
	start := len(b)
	place := "live"
	if e.Archived {
		place = "archived"
	}
	for _, field := range []string{string(e.ID), string(e.highest), place, string(e.State), e.Type, escape.Replace(e.Server), escape.Replace(e.RequestedBy)} {
		b = append(append(b, field...), '\t')
	}
	for _, n := range []int64{nanos(e.CreatedAt), nanos(e.EndedAt), e.stamp.size, e.stamp.mtime} {
		b = append(strconv.AppendInt(b, n, 10), '\t')
	}
	return fmt.Appendf(b, "%08x\n", crc32.ChecksumIEEE(b[start:]))
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// words keeps one copy of each text that the lines of an index have in common; the last one of each field is at hand.
type words struct {
	all  map[string]string
	last [fields]string
}

// fields is how many a line has, without its sum.
const fields = 11

func (w *words) get(field int, b []byte) string {
	if string(b) == w.last[field] {
		return w.last[field]
	}
	s, ok := w.all[string(b)]
	if !ok {
		if w.all == nil {
			w.all = map[string]string{}
		}
		s = string(b)
		w.all[s] = s
	}
	w.last[field] = s
	return s
}

// parseEntry reads a line without its newline, of which it keeps nothing; false if it is not what append wrote.
func (w *words) parseEntry(line []byte) (e entry, ok bool) {
	var sum [4]byte
	rest := line[:max(0, len(line)-2*len(sum))]
	if _, err := hex.Decode(sum[:], line[len(rest):]); err != nil || binary.BigEndian.Uint32(sum[:]) != crc32.ChecksumIEEE(rest) {
		return e, false
	}
	var f [fields][]byte
	for i := range f {
		end := bytes.IndexByte(rest, '\t')
		if end < 0 {
			return e, false
		}
		f[i], rest = rest[:end], rest[end+1:]
	}
	var n [4]int64
	for i := range n {
		if n[i], ok = integer(f[7+i]); !ok {
			return e, false
		}
	}
	e = entry{Summary: Summary{ID(f[0]), w.get(4, f[4]), plain(w.get(5, f[5])), State(w.get(3, f[3])), plain(w.get(6, f[6])), moment(n[0]), moment(n[1]), string(f[2]) == "archived", stamp{n[2], n[3]}}}
	if e.highest = e.ID; !bytes.Equal(f[0], f[1]) {
		e.highest = ID(f[1])
	}
	return e, len(rest) == 0
}

// integer reads what strconv.AppendInt wrote.
func integer(b []byte) (n int64, ok bool) {
	digits := bytes.TrimPrefix(b, []byte("-"))
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	if len(digits) < len(b) {
		n = -n
	}
	return n, len(digits) > 0
}

func plain(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	return unescape.Replace(s)
}

// errIndex says that the index cannot be used and has to be made anew.
var errIndex = errors.New("the index of operations is missing or damaged")

// note puts the operation, whose record is final on disk, into the index.
func (s *Store) note(op Operation) error {
	unlock, err := s.lockIndex()
	if err != nil {
		return err
	}
	defer unlock()
	f, err := os.OpenFile(s.indexFile(), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return s.rebuild() // from the records, of which this is one
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	end, last, err := lastEntry(f)
	if errors.Is(err, errIndex) {
		return s.rebuild()
	}
	if err != nil {
		return err
	}
	e := entry{op.summary(), max(last.highest, op.ID)}
	if e.stamp, err = s.stamp(op.ID); err != nil {
		return err
	}
	line := e.append(nil)
	if _, err := f.WriteAt(line, end); err != nil {
		return errors.Join(err, f.Truncate(end))
	}
	return f.Sync() // only then may the operation leave the list of those without an end
}

// lastEntry finds the end of the last whole line, behind which a writer may have died, and reads the line.
func lastEntry(f *os.File) (end int64, e entry, err error) {
	err = backwards(f, func(at int64, line []byte) (bool, error) {
		var ok bool
		if e, ok = new(words).parseEntry(line); !ok {
			return false, errIndex
		}
		end = at + int64(len(line)) + 1
		return false, nil
	})
	return end, e, err
}

// backwards gives visit each whole line of f and its offset, the last one first, until visit
// says false; the line is not to be kept. What follows the last newline is not a whole line.
func backwards(f *os.File, visit func(at int64, line []byte) (bool, error)) error {
	pos, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	var buf []byte   // the begin of a line whose end was visited; in the loop what stands before that, too
	var begins []int // of the lines in a block but the first one
	whole := false
	for block := int64(16 << 10); pos > 0; block = min(4*block, 256<<10) {
		n := int(min(block, pos))
		pos -= int64(n)
		rest := buf
		buf = slices.Grow(buf, n)[:n+len(rest)]
		copy(buf[n:], rest)
		if _, err := f.ReadAt(buf[:n], pos); err != nil {
			return err
		}
		begins = begins[:0]
		for from := 0; ; { // forwards, as that is many times faster
			i := bytes.IndexByte(buf[from:n], '\n')
			if i < 0 {
				break
			}
			from += i + 1
			begins = append(begins, from)
		}
		for _, i := range slices.Backward(begins) {
			if whole {
				if on, err := visit(pos+int64(i), buf[i:]); err != nil || !on {
					return err
				}
			}
			buf, whole = buf[:i-1], true // what a writer has not finished goes first
		}
		if !whole {
			buf = nil
		}
	}
	if whole {
		_, err = visit(0, buf)
	}
	return err
}

func (s *Store) lockIndex() (unlock func(), err error) { return lockFile(s.indexFile() + ".lock") }

// reline replaces the lines of the index by what change makes of them; it drops those that change
// says false to.
func (s *Store) reline(change func(*entry) bool) error {
	unlock, err := s.lockIndex()
	if err != nil {
		return err
	}
	defer unlock()
	data, err := os.ReadFile(s.indexFile())
	if err != nil {
		return err
	}
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	out := make([]byte, 0, len(data))
	var highest ID
	var known words
	for line := range bytes.Lines(data) {
		e, ok := known.parseEntry(bytes.TrimSuffix(line, []byte("\n")))
		if !ok {
			return s.rebuild()
		}
		if change(&e) {
			highest = max(highest, e.ID)
			e.highest = highest
			out = e.append(out)
		}
	}
	return durable.WriteFile(s.indexFile(), out, 0o640)
}

// Reindex makes the index anew from the records and the archives.
func (s *Store) Reindex() error {
	unlock, err := s.lockIndex()
	if err != nil {
		return s.wrap(err)
	}
	defer unlock()
	if err := s.rebuild(); err != nil {
		return s.wrap(err)
	}
	return nil
}

// rebuild is Reindex under the lock. A damaged record has a line, too: lists look at the record.
func (s *Store) rebuild() error {
	ids, err := s.ids("operations")
	if err != nil {
		return err
	}
	seen := make(map[ID]bool, len(ids))
	var list []entry
	for _, id := range ids {
		op, err := s.parse(id)
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			op = damaged(id, err)
		case !op.State.Final():
			continue
		}
		e := entry{Summary: op.summary()}
		if op.State != Damaged {
			e.stamp, _ = s.stamp(id) // without one a list looks at the record
		}
		seen[id] = true
		list = append(list, e)
	}
	archived, err := s.archived()
	for _, op := range archived {
		if !seen[op.ID] { // a prune that was killed leaves some in both places
			list = append(list, entry{Summary: op.summary()})
		}
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.ID, b.ID) })
	var b []byte
	for i := range list {
		list[i].highest = list[i].ID
		b = list[i].append(b)
	}
	return errors.Join(err, durable.WriteFile(s.indexFile(), b, 0o640))
}
