package operation

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Import records an operation that ended elsewhere, where it had the ID old, with what it printed. It
// reports false if that was done before; the record then stays as it is.
func (s *Store) Import(op Operation, old string, output []byte) (created bool, err error) {
	if !isOld(old) {
		return false, fmt.Errorf("%q is not an ID of pg-backup-api, which is a time as 20261121T203109", old)
	}
	if !op.State.Final() {
		return false, fmt.Errorf("operation %s has not ended", old)
	}
	op.ID = importedID(op.CreatedAt, op.Server, old)
	unlock, err := lockFile(s.gate())
	if err != nil {
		return false, s.wrap(err)
	}
	defer unlock()
	s.sweep()
	if _, err := s.parse(op.ID); !errors.Is(err, ErrNotFound) {
		return false, nil //nolint:nilerr // a damaged one is there, too
	}
	s.forget(op.ID) // of an import that was killed
	lock, err := s.create(op, output)
	if err != nil {
		return false, fmt.Errorf("record operation %s: %w", old, s.wrap(err))
	}
	_ = lock.Close()
	_ = os.Remove(filepath.Join(s.dir(op.ID), "reserve")) // its end is recorded
	if err := s.Claim(op.ID); err != nil {
		return true, err
	}
	s.closed(op)
	return true, nil
}

func importedID(accepted time.Time, server, old string) ID {
	sum := sha256.Sum256([]byte(server + "\x00" + old))
	suffix := make([]byte, 6)
	for i := range suffix {
		suffix[i] = base32[sum[i]&31]
	}
	return ID(accepted.UTC().Format(idTime) + "-" + string(suffix) + "=" + old)
}

// zones is more than clocks on earth differ.
const zones = 27 * time.Hour

// Find loads the operation that clients call name; an old name is one of that server (empty: of the instance).
func (s *Store) Find(server, name string) (Operation, error) {
	if !isOld(name) {
		id, err := ParseID(name)
		if err != nil {
			return Operation{}, err
		}
		return s.Load(id)
	}
	local := ID(name).Time()
	list, _, err := s.List(Query{Since: local.Add(-zones), Until: local.Add(zones), Keep: func(op Summary) bool {
		return op.Server == server && op.ID.Name() == name
	}})
	if err != nil {
		return Operation{}, err
	}
	if len(list) == 0 {
		return Operation{}, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	return s.Load(list[0].ID)
}
