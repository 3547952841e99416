package operation

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"
)

// At is the state directory as it is: nothing is made, whatever is missing. Only what reads is for it.
func At(dir string) *Store { return &Store{root: dir} }

// Report is what [Store.Examine] found.
type Report struct {
	Records, Open int
	Damaged       []Damage
	Stale         []ID      // they say that somebody works on them, and nobody does
	Newest        time.Time // of all times that stand in records
	Archived      int
	Archives      error // why an archive cannot be read
	Index         error // why the index cannot
}

// Damage is a record that cannot be read.
type Damage struct {
	ID  ID
	Dir string
	Err error
}

// Examine looks at all that is there and changes nothing: unlike [Store.Load] it ends no operation whose runner is gone.
func (s *Store) Examine() (Report, error) {
	var r Report
	if err := s.checkFolders(); err != nil && !errors.Is(err, fs.ErrNotExist) { // made when first needed
		return r, err
	}
	ids, err := s.ids("operations")
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	ended := 0
	for _, id := range ids {
		op, err := s.parse(id)
		switch {
		case errors.Is(err, ErrNotFound):
			continue // removed just now
		case err != nil:
			r.Damaged = append(r.Damaged, Damage{id, s.dir(id), err})
		case op.State.Final():
			ended++
		case s.stale(op):
			r.Stale = append(r.Stale, id)
		default:
			r.Open++
		}
		r.Records++
		for _, t := range []time.Time{op.CreatedAt, op.StartedAt, op.EndedAt} {
			if t.After(r.Newest) {
				r.Newest = t
			}
		}
	}
	archived, err := s.archived()
	r.Archived, r.Archives = len(archived), err
	if _, err := s.ended(Query{}, nil, nil); err != nil && ended > 0 {
		r.Index = err
	}
	return r, nil
}

// stale reports whether nobody works on an operation that has no end, in its record as it is after the look.
func (s *Store) stale(op Operation) bool {
	locked, err := held(filepath.Join(s.dir(op.ID), "lock"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if now, err := s.parse(op.ID); err == nil {
		op = now
	}
	return !op.State.Final() && judge(locked, op.Runner != nil, op.Runner != nil && op.Runner.alive()) != alive
}
