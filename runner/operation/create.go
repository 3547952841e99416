package operation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner/durable"
)

// Create writes the record of a new operation, state queued, and returns it with
// its alive lock held. The caller hands the lock to a runner and closes its own copy.
// Until Create returns nothing is visible; when it fails nothing is left.
func (s *Store) Create(op Operation) (Operation, *os.File, error) {
	op.State, op.CreatedAt = Queued, time.Now().UTC()
	for {
		op.ID = newID(op.CreatedAt)
		lock, err := s.create(op, nil)
		if errors.Is(err, fs.ErrExist) {
			continue // somebody drew the same ID in the same 31 µs
		}
		if err != nil {
			return Operation{}, nil, fmt.Errorf("record the operation: %w", s.wrap(err))
		}
		return op, lock, nil
	}
}

func (s *Store) create(op Operation, output []byte) (lock *os.File, err error) {
	draft := filepath.Join(s.root, "drafts", string(op.ID))
	if err := os.Mkdir(draft, 0o750); err != nil {
		return nil, err
	}
	made := []string{draft}
	defer func() {
		if err != nil {
			if lock != nil {
				_ = lock.Close()
			}
			for _, path := range made {
				_ = os.RemoveAll(path)
			}
		}
	}()
	if lock, err = takeAlive(filepath.Join(draft, "lock")); err != nil {
		return nil, err
	}
	for _, path := range []string{filepath.Join(draft, "state.lock"), filepath.Join(draft, "output.log"), filepath.Join(draft, "unclaimed"), filepath.Join(s.root, "active", string(op.ID))} {
		if err := touch(path); err != nil {
			return lock, err
		}
		made = append(made, path)
	}
	if len(output) > 0 {
		if err := durable.WriteFile(filepath.Join(draft, "output.log"), output, 0o640); err != nil {
			return lock, err
		}
	}
	data, err := op.encode()
	if err != nil {
		return lock, err
	}
	if err := durable.Reserve(filepath.Join(draft, "reserve"), int64(len(data))+endRoom, 0o640); err != nil {
		return lock, err
	}
	if err := durable.Create(filepath.Join(draft, "operation.json"), data, 0o640); err != nil {
		return lock, err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, draft, unix.AT_FDCWD, s.dir(op.ID), unix.RENAME_NOREPLACE); err != nil {
		return lock, &os.LinkError{Op: "rename", Old: draft, New: s.dir(op.ID), Err: err}
	}
	if err := durable.SyncDir(filepath.Join(s.root, "operations")); err != nil {
		_ = os.Rename(s.dir(op.ID), draft)
		return lock, err
	}
	return lock, nil
}

// endRoom is what a record grows by at most until its end: times, a cause, a result.
const endRoom = 16 << 10

func touch(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640) // #nosec G302 G304 -- our own directory, read by the group
	if err != nil {
		return err
	}
	return f.Close()
}

// Claim takes the operation for good: by its runner, or by the request that could not
// start one and takes it back. Who comes second gets [ErrClaimed]. A rename decides it, which
// needs nothing of a full disk. The claim then holds the process that made it, by which a queued
// runner is found; that it could not be written costs a cancel up to a second.
func (s *Store) Claim(id ID) error {
	claim := filepath.Join(s.dir(id), "claim")
	if err := os.Rename(filepath.Join(s.dir(id), "unclaimed"), claim); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(s.dir(id)); err != nil {
			if _, err := s.fromArchive(id); err == nil {
				return ErrClaimed
			}
			return notFound(id, err)
		}
		return ErrClaimed
	} else if err != nil {
		return notFound(id, err)
	}
	if self, err := Self(); err == nil {
		if data, err := json.Marshal(self); err == nil {
			_ = os.WriteFile(claim, data, 0o640) // #nosec G306 -- read by the group
		}
	}
	return nil
}

// Claimed is the process that claimed the operation; nil while nobody has.
func (s *Store) Claimed(id ID) *Process {
	data, err := os.ReadFile(filepath.Join(s.dir(id), "claim")) // #nosec G703 -- an ID is a name: ParseID
	if err != nil {
		return nil
	}
	var p Process
	_ = json.Unmarshal(data, &p) // half written: claimed, by we do not know whom
	return &p
}

// Withdraw removes an operation that no runner took. [ErrClaimed]: one did.
func (s *Store) Withdraw(id ID) error {
	if err := s.Claim(id); err != nil {
		return err
	}
	return s.discard(id)
}

// discard takes a record out of sight at once, and then removes it, with the note of its
// Idempotency-Key if that is its own.
func (s *Store) discard(id ID) error {
	op, err := s.read(id)
	if err != nil {
		return err
	}
	old := filepath.Join(s.root, "drafts", "old-"+string(id))
	if err := os.Rename(s.dir(id), old); err != nil {
		return notFound(id, err)
	}
	s.forget(id)
	if op.Key != "" {
		if data, err := os.ReadFile(s.keyFile(op.Key)); err == nil && strings.TrimSpace(string(data)) == string(id) {
			_ = os.Remove(s.keyFile(op.Key))
		}
	}
	_ = os.RemoveAll(old) // what is left is swept by the next request
	return nil
}

// sweep removes what processes that were killed left behind. The caller holds the
// admission lock, under which alone records are made.
func (s *Store) sweep() {
	drafts, _ := os.ReadDir(filepath.Join(s.root, "drafts"))
	for _, d := range drafts {
		_ = os.RemoveAll(filepath.Join(s.root, "drafts", d.Name()))
	}
}

// CheckAlive reports whether f is the alive lock of operation id, as a runner
// has to know before it believes a descriptor that it was sent.
func (s *Store) CheckAlive(id ID, f *os.File) error {
	want, err := os.Stat(filepath.Join(s.dir(id), "lock"))
	if err != nil {
		return notFound(id, err)
	}
	got, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(want, got) {
		return fmt.Errorf("the descriptor sent with operation %s is not its lock", id)
	}
	if locked, err := held(filepath.Join(s.dir(id), "lock")); err != nil || !locked {
		return errors.Join(err, fmt.Errorf("nobody holds the lock of operation %s", id))
	}
	return nil
}
