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
	for reach := q; ; reach.Limit *= 2 {
		found, err := s.ended(reach, seen, slices.Clip(list))
		if errors.Is(err, errIndex) {
			if err = s.Reindex(); err == nil {
				found, err = s.ended(reach, seen, slices.Clip(list))
			}
		}
		if err != nil {
			return nil, false, s.wrap(err)
		}
		among := len(found)
		found = s.standing(found, &q, seen)
		if more = q.Limit > 0 && len(found) > q.Limit; more {
			found = found[:q.Limit]
		}
		if more || among <= reach.Limit || q.Limit == 0 { // else records were taken away by hand, and their lines are still there
			return found, more, nil
		}
	}
}

func newest(a, b Summary) int { return cmp.Compare(b.ID, a.ID) }

// sameEntry: an operation may have two lines, if who wrote the first was killed before it said so.
func sameEntry(a, b Summary) bool { return a.ID == b.ID }

// standing compares the newest of list with their records, but those in seen, which were read just now. More than one
// above the limit are of no use.
func (s *Store) standing(list []Summary, q *Query, seen map[ID]bool) []Summary {
	stay := list[:0]
	for i := range list {
		e := &list[i]
		if i < verified && !q.Look && !seen[e.ID] && (!s.stands(e) || !q.wants(*e)) {
			continue
		}
		e.stamp = stamp{}
		if stay = append(stay, *e); q.Limit > 0 && len(stay) > q.Limit {
			break
		}
	}
	return stay
}

// ended adds to list what the index has, which it reads from its end until nothing that q wants can come any more, but
// those in seen; the newest first.
func (s *Store) ended(q Query, seen map[ID]bool, list []Summary) ([]Summary, error) {
	f, err := os.Open(s.indexFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errIndex
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var since ID // no older ID was accepted since then
	if !q.Since.IsZero() {
		since = ID(q.Since.UTC().Format(idTime))
	}
	var known words
	lines := 0
	sorted := func() {
		slices.SortFunc(list, newest)
		list = slices.CompactFunc(list, sameEntry)
	}
	err = backwards(f, func(at int64, line []byte) (bool, error) {
		e, ok := known.parseEntry(line)
		if !ok {
			return false, errIndex
		}
		if !seen[e.ID] && (!q.Look || s.stands(&e.Summary)) && q.wants(e.Summary) {
			if len(list) == cap(list) && q.Limit == 0 && lines >= 64 { // for as many more as there were up to here
				list = slices.Grow(list, 1+int(at)/len(line)*len(list)/lines)
			}
			list = append(list, e.Summary)
		}
		if e.highest < since {
			return false, nil
		}
		// Enough is one more than the limit, all of them newer than whatever may come. It is not
		// asked at each line, as it costs more than to read one.
		if lines++; q.Limit > 0 && lines%256 == 0 && len(list) > q.Limit {
			sorted()
			n, _ := slices.BinarySearchFunc(list, e.highest, func(s Summary, id ID) int { return cmp.Compare(id, s.ID) })
			return n <= q.Limit, nil
		}
		return true, nil
	})
	sorted()
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
func (s *Store) stands(e *Summary) bool {
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
	*e = op.summary()
	return true
}
