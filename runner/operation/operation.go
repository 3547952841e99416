package operation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// State is where an operation stands in its life.
type State string

// The states. Damaged is never stored: it is what a reader makes of a record
// that cannot be parsed.
const (
	Queued      State = "queued"
	Running     State = "running"
	Canceling   State = "canceling"
	Succeeded   State = "succeeded"
	Failed      State = "failed"
	Canceled    State = "canceled"
	Interrupted State = "interrupted"
	Damaged     State = "damaged"
)

// transitions is the whole life of an operation. A state without an entry is final.
var transitions = map[State][]State{
	Queued:    {Running, Failed, Canceled, Interrupted},
	Running:   {Canceling, Succeeded, Failed, Interrupted},
	Canceling: {Succeeded, Failed, Canceled, Interrupted},
}

// Final reports whether s never changes again.
func (s State) Final() bool { return transitions[s] == nil }

// Status is the word that pg-backup-api's clients poll for.
func (s State) Status() string {
	switch {
	case s == Succeeded:
		return "DONE"
	case s.Final():
		return "FAILED"
	}
	return "IN_PROGRESS"
}

// Known reports whether s may stand in a record.
func (s State) Known() bool {
	_, open := transitions[s]
	return open || s == Succeeded || s == Failed || s == Canceled || s == Interrupted
}

// Operation is one record. Times are UTC; a zero time means "not yet".
type Operation struct {
	Version     int             `json:"version"`
	ID          ID              `json:"id"`
	Type        string          `json:"type"`
	Server      string          `json:"server,omitempty"` // empty: of the whole instance
	Host        string          `json:"host,omitempty"`   // where its Barman is, if there are several
	State       State           `json:"state"`
	CreatedAt   time.Time       `json:"created_at"`
	StartedAt   time.Time       `json:"started_at,omitzero"`
	EndedAt     time.Time       `json:"ended_at,omitzero"`
	RequestedBy string          `json:"requested_by,omitempty"`
	RequestID   string          `json:"request_id,omitempty"`
	Request     json.RawMessage `json:"request"` // as the client sent it
	Command     []string        `json:"command"` // what the runner starts
	Target      *Target         `json:"target,omitempty"`
	Uses        []string        `json:"uses,omitempty"`        // backups that have to stay while it works, or that it deletes
	Queue       bool            `json:"queue,omitempty"`       // wait behind what it would conflict with
	Key         string          `json:"key,omitempty"`         // hash of the Idempotency-Key and who sent it
	Fingerprint string          `json:"fingerprint,omitempty"` // hash of what was asked for
	Cancel      *Cancel         `json:"cancel,omitempty"`
	ExitCode    *int            `json:"exit_code,omitempty"`
	Error       *Failure        `json:"error,omitempty"`
	MaxOutput   int64           `json:"max_output,omitempty"`  // bytes of its output that are kept (see [Operation.Omitted]); 0: all
	OutputLost  bool            `json:"output_lost,omitempty"` // not all that Barman printed could be kept
	Unseen      bool            `json:"unseen,omitempty"`      // its end was not seen: the Barman host could not be asked
	Result      Result          `json:"result,omitzero"`
	Runner      *Process        `json:"runner,omitempty"`
	// Invocation is systemd's INVOCATION_ID of the runner's unit, by which
	// ExecStopPost finds the operation (systemd.exec(5)).
	Invocation string `json:"invocation,omitempty"`

	archived bool
}

// Archived reports whether only an archive has the record.
func (op *Operation) Archived() bool { return op.archived }

// Failure says why an operation did not succeed, for people.
type Failure struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

// Target is where a restore writes. Barman empties it without asking, so that the
// runner looks first.
type Target struct {
	Directory string   `json:"directory"`
	Others    []string `json:"others,omitempty"` // folders of moved tablespaces
	SSH       string   `json:"ssh,omitempty"`    // empty: on this host
	Host      string   `json:"host,omitempty"`   // whom SSH reaches, however it is spelled
	Overwrite bool     `json:"overwrite,omitempty"`
}

// Cancel says who wanted an operation to stop.
type Cancel struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Result is what came of an operation.
type Result struct {
	BackupID     string `json:"backup_id,omitempty"`
	BackupStatus string `json:"backup_status,omitempty"` // in Barman's catalog, at the end
	// Report is what Barman told, of an operation that only reads.
	Report json.RawMessage `json:"report,omitempty"`
	// Warnings are of an operation that succeeded, sentences for people: what barback sees is amiss, and what Barman warned of.
	Warnings []string `json:"warnings,omitempty"`
}

// Process names one process beyond doubt: a pid alone may be used again.
type Process struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"` // clock ticks since boot, proc(5) stat field 22
	BootID    string `json:"boot_id"`
}

// The errors that callers tell apart.
var (
	ErrNotFound = errors.New("no such operation")
	ErrClaimed  = errors.New("the operation is claimed already")
)

// TransitionError is the refusal of a change that the table of states does not have.
type TransitionError struct {
	ID       ID
	From, To State
}

func (e *TransitionError) Error() string {
	return fmt.Sprintf("operation %s is %s: it cannot become %s", e.ID.Name(), e.From, e.To)
}

// LaunchError says that no runner could be started: nothing was begun, nothing is left.
type LaunchError struct{ Err error }

func (e *LaunchError) Error() string { return "no runner could be started: " + e.Err.Error() }
func (e *LaunchError) Unwrap() error { return e.Err }

// move changes the state, or says why it must not.
func (op *Operation) move(to State) error {
	if op.State == to || slices.Contains(transitions[op.State], to) {
		op.State = to
		return nil
	}
	return &TransitionError{op.ID, op.State, to}
}

// encode is the one writer of the format.
func (op *Operation) encode() ([]byte, error) {
	op.Version = version
	b, err := json.MarshalIndent(op, "", "  ")
	return append(b, '\n'), err
}

const version = 1

// decode is the one reader of the format.
func decode(id ID, b []byte) (Operation, error) {
	var op Operation
	if err := json.Unmarshal(b, &op); err != nil {
		return Operation{}, err
	}
	switch {
	case op.Version < 1 || op.Version > version:
		return Operation{}, fmt.Errorf("version %d is not known to this barback", op.Version)
	case op.ID != id:
		return Operation{}, fmt.Errorf("it is the record of %q", op.ID)
	case len(op.Command) == 0:
		return Operation{}, errors.New("it names no command")
	case !op.State.Known():
		return Operation{}, fmt.Errorf("unknown state %q", op.State)
	}
	return op, nil
}

// damaged is what readers see of a record that decode refused.
func damaged(id ID, why error) Operation {
	return Operation{Version: version, ID: id, State: Damaged, CreatedAt: id.Time(), Request: json.RawMessage("{}"),
		Error: &Failure{Title: "Damaged record", Detail: fmt.Sprintf("the record of this operation cannot be read: %v", why)}}
}

func notFound(id ID, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return &UnusableError{Dir: "(operation " + string(id) + ")", Err: err}
}
