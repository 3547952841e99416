package operation

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Query says which operations a list is of. The zero value means all of them.
type Query struct {
	Before       ID                 // only those older than this one
	Since, Until time.Time          // accepted at that time or later, and before that time
	Limit        int                // no more than so many; 0: all
	Keep         func(Summary) bool // none: every one
	Look         bool               // at the record of each before Keep is asked: it may be damaged since its end
}

func (q *Query) wants(s Summary) bool {
	return (q.Before == "" || s.ID < q.Before) &&
		(q.Since.IsZero() || !s.CreatedAt.Before(q.Since)) &&
		(q.Until.IsZero() || s.CreatedAt.Before(q.Until)) &&
		(q.Keep == nil || q.Keep(s))
}

// verified is how many of a list are compared with their records: the newest. A line of the index
// is true of how its operation ended, whatever became of the record since; [Store.Prune] looks at all of them.
const verified = 250

// lineBytes is about what a line of the index takes.
const lineBytes = 150

// List gives the operations that q wants, newest first, and whether there are older ones. Those that
// have not ended are settled as [Store.Load] does. A record that is damaged now is damaged in the list.
func (s *Store) List(q Query) (list []Summary, more bool, err error) {
	// First those without an end: an operation that ends meanwhile is then in the index, or in both.
	open, err := s.load(s.ids("active"))
	if err != nil {
		return nil, false, err
	}
	seen := make(map[ID]bool, len(open))
	for _, op := range open {
		if seen[op.ID] = true; q.wants(op.summary()) {
			list = append(list, op.summary())
		}
	}
	ended, err := s.ended(q, seen, list)
	if errors.Is(err, errIndex) {
		if err = s.Reindex(); err == nil {
			ended, err = s.ended(q, seen, list)
		}
	}
	if err != nil {
		return nil, false, s.wrap(err)
	}
	slices.SortFunc(ended, newest)
	ended = slices.CompactFunc(ended, sameEntry)
	list = slices.Grow(list, len(ended))
	for i := range ended {
		if e := &ended[i]; i >= verified || s.stands(e) && q.wants(e.Summary) {
			list = append(list, e.Summary)
		}
	}
	if !slices.IsSortedFunc(list, newestSummary) { // those without an end came first
		slices.SortFunc(list, newestSummary)
	}
	if more = q.Limit > 0 && len(list) > q.Limit; more {
		list = list[:q.Limit]
	}
	return list, more, nil
}

func newest(a, b entry) int { return cmp.Compare(b.ID, a.ID) }

func newestSummary(a, b Summary) int { return cmp.Compare(b.ID, a.ID) }

// sameEntry: an operation may have two lines, if who wrote the first was killed before it said so.
func sameEntry(a, b entry) bool { return a.ID == b.ID }

// ended reads the index from its end until nothing that q wants can come any more.
func (s *Store) ended(q Query, seen map[ID]bool, open []Summary) ([]entry, error) {
	f, err := os.Open(s.indexFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errIndex
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var list []entry
	if st, err := f.Stat(); err == nil && q.Limit == 0 {
		list = make([]entry, 0, st.Size()/lineBytes)
	}
	var since ID // no older ID was accepted since then
	if !q.Since.IsZero() {
		since = ID(q.Since.UTC().Format(idTime))
	}
	lines, known := 0, words{}
	err = backwards(f, func(_ int64, line []byte) (bool, error) {
		e, ok := known.parseEntry(line)
		if !ok {
			return false, errIndex
		}
		if !seen[e.ID] && (!q.Look || s.stands(&e)) && q.wants(e.Summary) {
			list = append(list, e)
		}
		if e.highest < since {
			return false, nil
		}
		// Enough is one more than the limit, all of them newer than whatever may come. It is not
		// asked at each line, as it costs more than to read one.
		if lines++; q.Limit > 0 && lines%256 == 0 && len(list)+len(open) > q.Limit {
			slices.SortFunc(list, newest)
			list = slices.CompactFunc(list, sameEntry)
			above := 0
			for _, o := range open {
				if o.ID >= e.highest {
					above++
				}
			}
			n, _ := slices.BinarySearchFunc(list, e.highest, func(e entry, id ID) int { return cmp.Compare(id, e.ID) })
			if n+above > q.Limit {
				return false, nil
			}
		}
		return true, nil
	})
	return list, err
}

// line finds the line of an operation.
func (s *Store) line(id ID) (found Summary, ok bool) {
	_, _ = s.ended(Query{Keep: func(in Summary) bool {
		if in.ID == id {
			found, ok = in, true
		}
		return false
	}}, nil, nil)
	return found, ok
}

// stands compares a line with the record, and reads that where it is not the same any more.
// It reports whether there still is one.
func (s *Store) stands(e *entry) bool {
	if e.Archived {
		return true
	}
	if now, err := s.stamp(e.ID); err == nil && now == e.stamp {
		return true
	}
	op, err := s.read(e.ID)
	if err != nil {
		return false
	}
	e.Summary = op.summary()
	return true
}
