package operation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"barback/runner/durable"
)

// ConflictError refuses an operation because of another one.
type ConflictError struct {
	ID  ID // the other one
	Why string
}

func (e *ConflictError) Error() string { return e.Why }

// BusyError refuses an operation because there are too many. Nothing was begun.
type BusyError struct{ Why string }

func (e *BusyError) Error() string { return e.Why }

// AcceptingError says that the same operation is just being accepted for another request.
type AcceptingError struct{ ID ID }

func (e *AcceptingError) Error() string {
	return "the same request is being accepted at this moment; ask again"
}

// KeyError refuses an Idempotency-Key that was used for something else.
type KeyError struct{ ID ID }

func (e *KeyError) Error() string {
	return fmt.Sprintf("the Idempotency-Key belongs to another request, which became operation %s", e.ID)
}

// Admit is Create for requests: it first looks at what there is, under one lock for all
// processes. The same request again (by its Idempotency-Key, or an identical recovery that has not
// ended) gives back the operation that there is, and no lock.
func (s *Store) Admit(op Operation) (Operation, *os.File, error) {
	if _, err := s.Active(); err != nil { // settles the dead before the gate, where others would wait for it
		return Operation{}, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), gateTimeout)
	defer cancel()
	gate := flock.New(s.gate())
	if _, err := gate.TryLockContext(ctx, 5*time.Millisecond); errors.Is(err, context.DeadlineExceeded) {
		return Operation{}, nil, &BusyError{"too many requests are being accepted at this moment; ask again"}
	} else if err != nil {
		return Operation{}, nil, s.wrap(err)
	}
	defer func() { _ = gate.Unlock() }()
	s.sweep()
	if op.Key != "" {
		if old, err := s.byKey(op); old.ID != "" || err != nil {
			return old, nil, err
		}
	}
	open, err := s.open()
	if err != nil {
		return Operation{}, nil, err
	}
	for _, other := range open {
		switch op.against(other) {
		case same:
			return s.again(other)
		case excluded:
			return Operation{}, nil, &ConflictError{other.ID, op.why(other)}
		}
	}
	if s.MaxOpen > 0 && len(open) >= s.MaxOpen {
		return Operation{}, nil, &BusyError{fmt.Sprintf("%d operations are queued or at work, which is the most that runner.max_open allows; ask again when some have ended", len(open))}
	}
	op, lock, err := s.Create(op)
	if err != nil || op.Key == "" {
		return op, lock, err
	}
	if err := s.noteKey(op); err != nil {
		return Operation{}, nil, errors.Join(fmt.Errorf("note the Idempotency-Key: %w", s.wrap(err)), lock.Close(), s.discard(op.ID))
	}
	return op, lock, nil
}

// open is [Store.Active] for who is going to decide by it, under the admission lock: a record that cannot be
// read at this moment is an error. It also finishes what others could not: an end that stands in the record
// goes into the index, and the entry of a record that is gone goes.
func (s *Store) open() ([]Operation, error) {
	ids, err := s.ids("active")
	if err != nil {
		return nil, err
	}
	var ops []Operation
	for _, id := range ids {
		op, err := s.parse(id)
		switch {
		case errors.Is(err, ErrNotFound):
			s.forget(id)
		case unreadable(err):
			return nil, s.wrap(err)
		case err != nil: // damaged: it is in nobody's way
		case op.State.Final():
			s.closed(op)
		default:
			if op = s.settled(op, lookPatience, lookGrace, ""); !op.State.Final() {
				ops = append(ops, op)
			}
		}
	}
	return ops, nil
}

// gate is the lock under which alone records are made.
func (s *Store) gate() string { return filepath.Join(s.root, "admission.lock") }

// gateTimeout bounds how long a request waits for those before it.
const gateTimeout = 20 * time.Second

// relation is how a new operation stands to one that has not ended.
type relation int

const (
	unrelated relation = iota
	same               // it is what is being done
	excluded           // it must not run beside it
)

// against decides it: one backup of a server at a time; one restore into a folder, or into
// one above or below it; and nothing with a backup that is being deleted. Changes of the configuration wait for each other (see
// Resource) and exclude nothing. What was asked for already and has not ended is not done twice at one time.
func (op *Operation) against(other Operation) relation {
	deletes := op.Type == "delete" || other.Type == "delete"
	switch {
	case op.Server != other.Server && op.Target == nil:
		return unrelated
	case op.repeats(other):
		return same
	case op.Type == "backup" && other.Type == "backup" && !op.Queue,
		op.Type == "delete" && other.Type == "backup" && !op.Queue, // which would fail: Barman locks the server for both
		op.Server == other.Server && (deletes || op.Type == "keep" && other.Type == "keep") && op.shares(other),
		op.Target.overlaps(other.Target):
		return excluded
	}
	return unrelated
}

// repeats reports whether other is the same, of a type of which one at a time is as good as two. A backup is not:
// the second is to hold what is there when it begins.
func (op *Operation) repeats(other Operation) bool {
	switch op.Type {
	case "backup", "config_switch", "config_update", "switch_wal":
		return false
	}
	return op.Fingerprint != "" && op.Fingerprint == other.Fingerprint && (op.Target == nil || op.Target.overlaps(other.Target))
}

// shares reports whether both have to do with one backup.
func (op *Operation) shares(other Operation) bool {
	return slices.ContainsFunc(op.Uses, func(id string) bool { return slices.Contains(other.Uses, id) })
}

// Folders are all that the restore writes to.
func (t *Target) Folders() []string { return append([]string{t.Directory}, t.Others...) }

func (t *Target) overlaps(other *Target) bool {
	if t == nil || other == nil || t.Host != other.Host {
		return false
	}
	for _, a := range t.Folders() {
		for _, b := range other.Folders() {
			if a, b := a+"/", b+"/"; strings.HasPrefix(a, b) || strings.HasPrefix(b, a) {
				return true
			}
		}
	}
	return false
}

func (op *Operation) why(other Operation) string {
	switch {
	case op.Type == "backup":
		return fmt.Sprintf("a backup of server '%s' is at work already (operation %s); wait for it, or say \"queue\": true", op.Server, other.ID)
	case other.Type == "backup" && !op.shares(other):
		return fmt.Sprintf("a backup of server '%s' is at work (operation %s), and Barman deletes nothing beside it; wait for it, or say \"queue\": true", op.Server, other.ID)
	case op.Target != nil && other.Target != nil:
		return fmt.Sprintf("another recovery writes to %s already (operation %s)", other.Target.Directory, other.ID)
	}
	return fmt.Sprintf("a %s of the same backup, or of one that it needs, is at work (operation %s)", other.Type, other.ID)
}

// Conflict is what a request for op would meet at this moment: the operation in its way, or the one that it would
// get instead of a new one; nothing is changed.
func (s *Store) Conflict(op Operation) (other ID, repeats bool, err error) {
	active, err := s.Active()
	for _, a := range active {
		switch op.against(a) {
		case same:
			return a.ID, true, nil
		case excluded:
			return a.ID, false, &ConflictError{a.ID, op.why(a)}
		}
	}
	return "", false, err
}

// Resource is what the operation must have alone while it runs: runners hold a lock of that
// name. Empty: nothing.
func (op *Operation) Resource() string {
	switch op.Type {
	case "backup", "delete": // Barman has one lock for both
		return "backup " + op.Server
	case "config_switch", "config_update":
		return strings.TrimSpace("configuration " + op.Host)
	}
	return ""
}

// again is an operation that is there already, as the answer to a request for the same.
func (s *Store) again(op Operation) (Operation, *os.File, error) {
	if s.Claimed(op.ID) == nil && !op.State.Final() {
		return Operation{}, nil, &AcceptingError{op.ID}
	}
	return op, nil, nil
}

// keyFile is where the operation of an Idempotency-Key is noted. It lives as long as the record.
func (s *Store) keyFile(key string) string { return filepath.Join(s.root, "keys", key) }

// byKey finds the operation that the key stands for; the zero Operation if there is none.
func (s *Store) byKey(op Operation) (Operation, error) {
	data, err := os.ReadFile(s.keyFile(op.Key))
	if errors.Is(err, fs.ErrNotExist) {
		return Operation{}, nil
	}
	if err != nil {
		return Operation{}, s.wrap(err)
	}
	id, err := ParseID(string(bytes.TrimSpace(data)))
	if err != nil {
		return Operation{}, nil //nolint:nilerr // half written before a crash: no request was accepted with it
	}
	old, err := s.Load(id)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && s.Claimed(id) == nil && old.State.Final():
		return Operation{}, nil // forgotten, or never accepted
	case err != nil:
		return Operation{}, err
	case old.Fingerprint != op.Fingerprint:
		return Operation{}, &KeyError{id}
	}
	old, _, err = s.again(old)
	return old, err
}

func (s *Store) noteKey(op Operation) error {
	return durable.WriteFile(s.keyFile(op.Key), []byte(op.ID+"\n"), 0o640)
}

// Fingerprint is a hash of what a request asks for; the order of its members and its white
// space do not count.
func Fingerprint(kind, server string, request json.RawMessage) (string, error) {
	var v any
	if err := json.Unmarshal(request, &v); err != nil {
		return "", err
	}
	canonical, err := json.Marshal([]any{kind, server, v}) // maps are written in order
	if err != nil {
		return "", err
	}
	return hash(canonical), nil
}

// Key is the hash of an Idempotency-Key: keys of different identities are different keys.
func Key(who, key string) string { return hash([]byte(who + "\x00" + key)) }

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
