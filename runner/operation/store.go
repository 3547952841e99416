package operation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner/durable"
)

// Store is the state directory. Any number of processes may use it at once; a
// Store holds nothing open and may be copied.
type Store struct {
	root   string
	memory durable.Kept[Operation]
	// MaxOpen is how many operations may be without an end before [Store.Admit] refuses more; 0: any number.
	MaxOpen int
	// Elsewhere tells whether something of an operation still runs on another host, after the limit; an error
	// says that this is not known. nil: nothing runs on other hosts.
	Elsewhere func(op Operation, limit time.Duration) (running bool, err error)
}

// Open takes the state directory into use and makes what is missing below it.
// The directory itself has to exist: making it is the administrator's or the
// package's act, so that a missing mount is not papered over.
func Open(dir string) (*Store, error) {
	s := &Store{root: dir, memory: durable.Kept[Operation]{Most: remembered}}
	if err := s.Check(); err != nil {
		return nil, err
	}
	for _, sub := range folders {
		if err := durable.MakeDir(filepath.Join(dir, sub), 0o750); err != nil {
			return nil, s.wrap(err)
		}
	}
	for _, name := range lockFiles {
		if err := s.makeLock(filepath.Join(dir, name)); err != nil {
			return nil, s.wrap(err)
		}
	}
	return s, s.checkFolders()
}

// lockFiles are made at once: one that root's command made later would lock everybody else out.
var lockFiles = []string{"admission.lock", "index.lock", "archive/lock"}

func (s *Store) makeLock(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640) // #nosec G302 G304 -- our own directory, read by the group
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(durable.Own(f), f.Close())
}

var folders = []string{"operations", "active", "slots", "keys", "drafts", "archive"}

func (s *Store) checkFolders() error {
	for _, sub := range folders {
		if err := unix.Access(filepath.Join(s.root, sub), unix.W_OK|unix.X_OK); err != nil {
			return s.wrap(&fs.PathError{Op: "write to", Path: filepath.Join(s.root, sub), Err: err})
		}
	}
	return nil
}

// Check says why the state directory cannot be used: missing, not writable, or
// on a file system whose flock or rename does not keep the promises of doc.go.
func (s *Store) Check() error {
	st, err := os.Stat(s.root)
	switch {
	case err != nil:
		return s.wrap(err)
	case !st.IsDir():
		return fmt.Errorf("state directory %s: not a directory", s.root)
	}
	if err := unix.Access(s.root, unix.W_OK|unix.X_OK); err != nil {
		return s.wrap(&fs.PathError{Op: "write to", Path: s.root, Err: err})
	}
	var vfs unix.Statfs_t
	if err := unix.Statfs(s.root, &vfs); err != nil {
		return s.wrap(err)
	}
	switch vfs.Type {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return fmt.Errorf("state directory %s: lies on a network file system, where locks do not hold; use a local one", s.root)
	}
	return nil
}

// UnusableError says that the state directory itself does not work.
type UnusableError struct {
	Dir string
	Err error
}

func (e *UnusableError) Error() string {
	return fmt.Sprintf("state directory %s: %v", e.Dir, e.Err)
}

func (e *UnusableError) Unwrap() error { return e.Err }

func (s *Store) wrap(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok && pe.Path == s.root {
		err = pe.Err
	}
	return &UnusableError{s.root, err}
}

func (s *Store) recordFile(id ID) string { return s.dir(id) + "/operation.json" }

func (s *Store) dir(id ID) string { return s.root + "/operations/" + string(id) }

// Load reads one operation as it really is: see [Store.Settle]. A record that cannot be
// parsed comes back in state damaged. ErrNotFound if there is none.
func (s *Store) Load(id ID) (Operation, error) { return s.Settle(id, lookPatience, lookGrace, "") }

// Settle is Load with the times that Barman gets to clean up after its runner died (see
// [Operation.EndRemains]), and with what is known of the cause.
func (s *Store) Settle(id ID, patience, grace time.Duration, cause string) (Operation, error) {
	op, err := s.read(id)
	if err != nil {
		return Operation{}, err
	}
	return s.settled(op, patience, grace, cause), nil
}

// read is the record as it stands; one that cannot be read comes back as damaged.
func (s *Store) read(id ID) (Operation, error) {
	op, ok := s.memory.Recall(s.recordFile(id))
	if ok {
		return op, nil
	}
	op, err := s.parse(id)
	if err == nil || errors.Is(err, ErrNotFound) {
		return op, err
	}
	op = damaged(id, err)
	if line, ok := s.line(id); ok { // what is known of it beside its record
		op.Type, op.Server, op.RequestedBy, op.CreatedAt, op.EndedAt = line.Type, line.Server, line.RequestedBy, line.CreatedAt, line.EndedAt
	}
	return op, nil
}

// parse is read with the error as it is: who goes on to change the record must not take one that cannot
// be read at this moment for final.
func (s *Store) parse(id ID) (Operation, error) {
	path := s.recordFile(id)
	b, stamp, err := durable.ReadFile(path)
	if err != nil {
		_, statErr := os.Lstat(s.dir(id)) // #nosec G703 -- an ID is a name: ParseID
		if errors.Is(err, fs.ErrNotExist) && errors.Is(statErr, fs.ErrNotExist) {
			return s.fromArchive(id)
		}
		return Operation{}, err
	}
	op, err := decode(id, b)
	if err == nil {
		s.remember(path, op, len(b), stamp)
	}
	return op, err
}

// unreadable reports whether err is of the disk and not of what stands on it: the record may be whole, nobody
// knows at this moment.
func unreadable(err error) bool {
	as, ok := errors.AsType[*fs.PathError](err)
	return ok && !errors.Is(as, fs.ErrNotExist)
}

// Update changes a record under its state lock and makes the change durable. A
// record that is final stays as it is: change gets no say then.
func (s *Store) Update(id ID, change func(*Operation) error) (Operation, error) {
	unlock, err := lockState(s.dir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return s.fromArchive(id) // all that is there has ended
	}
	if err != nil {
		return Operation{}, notFound(id, err)
	}
	defer unlock()
	op, err := s.parse(id)
	if errors.Is(err, ErrNotFound) {
		return Operation{}, err
	}
	if unreadable(err) {
		return Operation{}, s.wrap(fmt.Errorf("update operation %s: %w", id, err))
	}
	if err != nil {
		return damaged(id, err), nil
	}
	if op.State.Final() {
		return op, nil
	}
	if err := change(&op); err != nil {
		return Operation{}, err
	}
	data, err := op.encode()
	if err != nil {
		return Operation{}, err
	}
	if err := s.write(op, data); err != nil {
		return Operation{}, fmt.Errorf("update operation %s: %w", id, s.wrap(err))
	}
	return op, nil
}

// write replaces the record; its end goes into the room that was reserved for it.
func (s *Store) write(op Operation, data []byte) error {
	path := s.recordFile(op.ID)
	if !op.State.Final() {
		return durable.WriteFile(path, data, 0o640)
	}
	err := durable.WriteReserved(path, filepath.Join(s.dir(op.ID), "reserve"), data)
	if errors.Is(err, fs.ErrNotExist) {
		err = durable.WriteFile(path, data, 0o640)
	}
	if err == nil {
		s.closed(op)
	}
	return err
}

// Start moves the operation to running, in the hands of the calling process.
func (s *Store) Start(id ID, invocation string) (Operation, error) {
	self, err := Self()
	if err != nil {
		return Operation{}, err
	}
	return s.Update(id, func(op *Operation) error {
		op.Runner, op.Invocation, op.StartedAt = self, invocation, time.Now().UTC()
		return op.move(Running)
	})
}

// End records how the operation ended: state, and what change adds.
func (s *Store) End(id ID, state State, change func(*Operation)) (Operation, error) {
	return s.Update(id, func(op *Operation) error {
		change(op)
		op.EndedAt = time.Now().UTC()
		if op.State == Canceling && state != Succeeded && !op.Unseen {
			state = Canceled // that is why it ended
		}
		return op.move(state)
	})
}

// AskCancel notes that who wants op to stop: a queued one is canceled with that, as its
// runner will not start it any more.
func (op *Operation) AskCancel(who string, now time.Time) error {
	if op.Cancel == nil {
		op.Cancel = &Cancel{who, now}
	}
	if op.State == Queued {
		op.EndedAt = now
		return op.move(Canceled)
	}
	return op.move(Canceling)
}

// CancelAsked reports whether somebody wants the operation to stop.
func (s *Store) CancelAsked(id ID) bool {
	op, err := s.read(id)
	return err == nil && op.Cancel != nil
}

// Delete forgets a finished operation. One that has not ended is a [TransitionError].
func (s *Store) Delete(id ID) error {
	op, err := s.Load(id)
	if err != nil {
		return err
	}
	if !op.State.Final() {
		return &TransitionError{id, op.State, "deleted"}
	}
	if !op.archived {
		if err = s.discard(id); !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	err = s.unarchive(id) // it was archived before, or meanwhile
	if err != nil && !errors.Is(err, ErrNotFound) {
		err = s.wrap(err)
	}
	return err
}

// closed moves the operation from the list of those without an end to the index. If that cannot be
// done, readers take its end from the record, and a later request tries again ([Store.open]).
func (s *Store) closed(op Operation) {
	if s.note(op) == nil {
		s.forget(op.ID)
	}
}

// forget takes the operation off the list of those without an end.
func (s *Store) forget(id ID) { _ = os.Remove(filepath.Join(s.root, "active", string(id))) }

// All reads every record, newest first: [Store.List] is what a request wants. A record that vanishes
// meanwhile is left out, and so are the archived ones.
func (s *Store) All() ([]Operation, error) { return s.load(s.ids("operations")) }

// Active reads the operations that have not ended, newest first.
func (s *Store) Active() ([]Operation, error) {
	ops, err := s.load(s.ids("active"))
	return slices.DeleteFunc(ops, func(op Operation) bool { return op.State.Final() }), err
}

// Unsettled reads the records without an end as they stand, whoever works on them.
func (s *Store) Unsettled() ([]Operation, error) {
	ids, err := s.ids("active")
	if err != nil {
		return nil, err
	}
	var ops []Operation
	for _, id := range ids {
		if op, err := s.read(id); err == nil && !op.State.Final() {
			ops = append(ops, op)
		}
	}
	return ops, nil
}

func (s *Store) load(ids []ID, err error) ([]Operation, error) {
	if err != nil {
		return nil, err
	}
	ops := make([]Operation, len(ids))
	var dead sync.WaitGroup // a look at a dead runner may take a second: all of them together, not one by one
	for i, id := range ids {
		op, err := s.read(id)
		if err != nil {
			continue // it vanished meanwhile
		}
		if ops[i] = op; !op.State.Final() {
			dead.Go(func() { ops[i] = s.settled(op, lookPatience, lookGrace, "") })
		}
	}
	dead.Wait()
	return slices.DeleteFunc(ops, func(op Operation) bool { return op.ID == "" }), nil
}

func (s *Store) ids(sub string) ([]ID, error) {
	entries, err := os.ReadDir(filepath.Join(s.root, sub))
	if err != nil {
		return nil, s.wrap(err)
	}
	ids := make([]ID, 0, len(entries))
	for _, e := range entries {
		if id, err := ParseID(e.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b ID) int { return strings.Compare(string(b), string(a)) })
	return ids, nil
}

// Slots is the directory of the locks that bound the number of running operations.
func (s *Store) Slots() string { return filepath.Join(s.root, "slots") }
