package operation

import (
	"bytes"
	"cmp"
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
	Archived           bool // only its month's archive has it
}

func (op *Operation) summary() Summary {
	return Summary{op.ID, op.Type, op.Server, op.State, op.RequestedBy, op.CreatedAt, op.EndedAt, op.archived}
}

// entry is a line of the index.
type entry struct {
	Summary
	// highest is the highest ID on this line and those before it: who reads backwards knows by
	// it what cannot come any more.
	highest ID
	stamp   stamp
}

// stamp tells whether a record is still the file that the line was written for.
type stamp struct{ size, mtime int64 }

func (s *Store) stamp(id ID) (stamp, error) {
	st, err := os.Stat(s.recordFile(id))
	if err != nil {
		return stamp{}, err
	}
	return stamp{st.Size(), st.ModTime().UnixNano()}, nil
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

// words keeps one copy of each text that the lines of an index have in common.
type words map[string]string

func (w words) get(b []byte) string {
	s, ok := w[string(b)]
	if !ok {
		s = string(b)
		w[s] = s
	}
	return s
}

// parseEntry reads a line without its newline; false if it is not what append wrote.
func (w words) parseEntry(line []byte) (e entry, ok bool) {
	const sum = 8
	if len(line) < sum {
		return e, false
	}
	rest := line[:len(line)-sum]
	if want, err := strconv.ParseUint(string(line[len(rest):]), 16, 32); err != nil || uint32(want) != crc32.ChecksumIEEE(rest) {
		return e, false
	}
	var f [11][]byte
	for i := range f {
		if f[i], rest, ok = bytes.Cut(rest, []byte{'\t'}); !ok {
			return e, false
		}
	}
	var n [4]int64
	for i, s := range f[7:] {
		var err error
		if n[i], err = strconv.ParseInt(string(s), 10, 64); err != nil {
			return e, false
		}
	}
	e = entry{Summary{ID(f[0]), w.get(f[4]), plain(w.get(f[5])), State(w.get(f[3])), plain(w.get(f[6])), moment(n[0]), moment(n[1]), string(f[2]) == "archived"}, "", stamp{n[2], n[3]}}
	if e.highest = e.ID; !bytes.Equal(f[0], f[1]) {
		e.highest = ID(f[1])
	}
	return e, len(rest) == 0
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
	e := entry{Summary: op.summary(), highest: max(last.highest, op.ID)}
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
		if e, ok = (words{}).parseEntry(line); !ok {
			return false, errIndex
		}
		end = at + int64(len(line)) + 1
		return false, nil
	})
	return end, e, err
}

// backwards gives visit each whole line of f and its offset, the last one first, until visit
// says false. What follows the last newline is not a whole line.
func backwards(f *os.File, visit func(at int64, line []byte) (bool, error)) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	block := int64(16 << 10)
	var rest []byte // the begin of a line whose end was read: it has no newline but at its end
	whole := false
	for pos := size; pos > 0; block = min(2*block, 1<<20) {
		n := min(block, pos)
		pos -= n
		buf := make([]byte, n, n+int64(len(rest)))
		if _, err := f.ReadAt(buf, pos); err != nil {
			return err
		}
		buf = append(buf, rest...)
		for {
			i := bytes.LastIndexByte(buf, '\n')
			if !whole { // cut off what a writer has not finished
				if i < 0 {
					buf = nil
					break
				}
				buf, whole = buf[:i], true
				continue
			}
			if i < 0 {
				break
			}
			if on, err := visit(pos+int64(i)+1, buf[i+1:]); err != nil || !on {
				return err
			}
			buf = buf[:i]
		}
		rest = buf
	}
	if whole {
		_, err = visit(0, rest)
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
	known := words{}
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
