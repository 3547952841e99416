package operation

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Policy says how long records stay. A zero switches its rule off.
type Policy struct {
	ArchiveAfter  time.Duration // after its end an operation is moved to its month's archive
	MaxOperations int           // the oldest beyond that number are moved, too
	MaxSize       int64         // and so are the oldest, while all take more bytes of the disk
	DeleteAfter   time.Duration // an archive is deleted so long after its month
}

// Pruned is what [Store.Prune] did, or would do.
type Pruned struct {
	Archived  map[string]int // by month, YYYYMM
	Deleted   []string       // archives, YYYYMM
	Damaged   []ID           // records that cannot be read, and stay where they are
	Reindexed bool           // the index did not agree with the records
}

// Prune moves finished operations to the archives of their months and deletes archives, as p says, and
// makes the index right. An error is of what could not be done; nothing is lost by it, nor by the end of the process at any
// moment: a record leaves its place when the archive with it is on the disk and was read back.
func (s *Store) Prune(p Policy, now time.Time, try bool) (Pruned, error) {
	unlock, err := s.lockArchives()
	if err != nil {
		return Pruned{}, s.wrap(err)
	}
	defer unlock()
	if !try {
		if err := s.sweepAlone(); err != nil {
			return Pruned{}, s.wrap(err)
		}
	}
	done := Pruned{Archived: map[string]int{}}
	live, err := s.reconcile(&done, try)
	if err != nil {
		return done, s.wrap(err)
	}
	byMonth := map[string][]ID{}
	for _, id := range s.victims(p, now, live) {
		byMonth[month(id)] = append(byMonth[month(id)], id)
	}
	for m, ids := range byMonth {
		if !try {
			if moveErr := s.archiveAll(m, ids); moveErr != nil {
				err = errors.Join(err, moveErr)
				continue
			}
		}
		done.Archived[m] = len(ids)
	}
	months, listErr := s.months()
	err = errors.Join(err, listErr)
	for _, m := range months {
		if !p.expired(m, now) {
			continue
		}
		if !try {
			if dropErr := s.dropArchive(m); dropErr != nil {
				err = errors.Join(err, dropErr)
				continue
			}
		}
		done.Deleted = append(done.Deleted, m)
	}
	if err != nil {
		err = s.wrap(err)
	}
	return done, err
}

// reconcile compares the index with the records, and gives those of the latter that have ended, the
// newest first.
func (s *Store) reconcile(done *Pruned, try bool) ([]Summary, error) {
	active, err := s.ids("active")
	if err != nil {
		return nil, err
	}
	indexed := map[ID]bool{}
	var list []Summary
	lines, err := s.ended(Query{}, nil, nil)
	agrees := err == nil
	for _, e := range lines {
		indexed[e.ID] = true
		if !e.Archived && !s.stands(&e) {
			agrees = false
		}
	}
	if err != nil && !errors.Is(err, errIndex) {
		return nil, err
	}
	ids, err := s.ids("operations") // behind the index: who ends meanwhile is missing there, and looked at again
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		op, err := s.parse(id)
		switch {
		case unreadable(err):
			return nil, err
		case err != nil && !errors.Is(err, ErrNotFound):
			done.Damaged = append(done.Damaged, id)
			continue
		case err != nil || op.archived || !op.State.Final():
			continue
		}
		if !indexed[id] && !slices.Contains(active, id) {
			agrees = false
		}
		list = append(list, op.summary())
	}
	if done.Reindexed = !agrees; !agrees && !try {
		return list, s.Reindex()
	}
	return list, nil
}

// victims are the operations in live, newest first, that have to go.
func (s *Store) victims(p Policy, now time.Time, live []Summary) []ID {
	keep := len(live)
	if p.MaxOperations > 0 {
		keep = min(keep, p.MaxOperations)
	}
	if p.MaxSize > 0 {
		var size int64
		for i := range live[:keep] {
			if size += s.diskUse(live[i].ID); size > p.MaxSize {
				keep = i
				break
			}
		}
	}
	var ids []ID
	for i, op := range live {
		if i >= keep || p.ArchiveAfter > 0 && op.EndedAt.Before(now.Add(-p.ArchiveAfter)) {
			ids = append(ids, op.ID)
		}
	}
	return ids
}

// diskUse is how many bytes of the disk a record takes.
func (s *Store) diskUse(id ID) (sum int64) {
	entries, _ := os.ReadDir(s.dir(id))
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Lstat(filepath.Join(s.dir(id), e.Name()), &st) == nil {
			sum += st.Blocks * 512
		}
	}
	return sum
}

// archiveAll moves records of one month to its archive.
func (s *Store) archiveAll(month string, ids []ID) error {
	if err := s.rewrite(month, ids, nil); err != nil {
		return err
	}
	if err := s.holds(month, ids); err != nil {
		return err
	}
	moved := make(map[ID]bool, len(ids))
	for _, id := range ids {
		moved[id] = true
	}
	err := s.reline(func(e *entry) bool {
		e.Archived = e.Archived || moved[e.ID]
		return true
	})
	if err != nil {
		return err
	}
	var gone []ID
	for _, id := range ids {
		if discardErr := s.discard(id); errors.Is(discardErr, ErrNotFound) {
			gone = append(gone, id) // somebody wanted it forgotten meanwhile
		} else {
			err = errors.Join(err, discardErr)
		}
	}
	if len(gone) == 0 {
		return err
	}
	return errors.Join(err, s.withdrawArchived(month, gone))
}

// unarchive forgets an archived operation.
func (s *Store) unarchive(id ID) error {
	unlock, err := s.lockArchives()
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := s.fromArchive(id); err != nil {
		return err
	}
	return s.withdrawArchived(month(id), []ID{id})
}

func (s *Store) withdrawArchived(month string, ids []ID) error {
	if err := s.rewrite(month, nil, ids); err != nil {
		return err
	}
	return s.reline(func(e *entry) bool { return !e.Archived || !slices.Contains(ids, e.ID) })
}

// expired reports whether the archive of a month is to be deleted.
func (p Policy) expired(month string, now time.Time) bool {
	start, err := time.Parse("200601", month)
	return p.DeleteAfter > 0 && err == nil && start.AddDate(0, 1, 0).Before(now.Add(-p.DeleteAfter))
}

func (s *Store) dropArchive(m string) error {
	if err := os.Remove(s.archiveFile(m)); err != nil {
		return fmt.Errorf("delete archive: %w", err)
	}
	return s.reline(func(e *entry) bool { return !e.Archived || month(e.ID) != m })
}

// sweepAlone is sweep under the lock that it needs.
func (s *Store) sweepAlone() error {
	unlock, err := lockFile(s.gate())
	if err != nil {
		return err
	}
	defer unlock()
	s.sweep()
	_, err = s.open()
	return err
}
