package handler

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"barback/runner/barman"
	"barback/runner/operation"
)

// operation handles "GET …/operations/ID".
func (h *handler) operation(w http.ResponseWriter, r *request) error {
	op, err := h.find(r)
	if err != nil {
		return err
	}
	if op, err = h.waited(w, r, op); err != nil {
		return err
	}
	if op.State.Final() {
		return h.answerEnded(w, r, op)
	}
	w.Header().Set("Retry-After", "1")
	return answer(w, r, http.StatusOK, h.view(op, h.Records.OutputBytes(op.ID)))
}

// find is the operation that the path names, if it is where the path says and the
// caller may see it. Who may not gets the same answer as for an ID that never was, unless
// the place itself is closed to him.
func (h *handler) find(r *request) (operation.Operation, error) {
	server := r.params.ByName("server")
	if err := r.mayAny(server); err != nil {
		return operation.Operation{}, err
	}
	op, err := h.Records.Find(server, r.params.ByName("id"))
	if err != nil || op.Server != server { // what was done on a server is known here, whether Barman still has it or not
		if err := h.known(server); err != nil {
			return operation.Operation{}, err
		}
	}
	h.noteDamage(r, op.ID, op.State)
	r.target = r.params.ByName("id")
	if err == nil {
		r.target, r.permission = string(op.ID), permission(op.Server, op.Type)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && err == nil && op.Server == server {
		if err := r.may(permission(op.Server, op.Type)); err != nil && r.follows(op.Server, op.Type) {
			return operation.Operation{}, err
		}
	}
	if errors.Is(err, operation.ErrNotFound) || err == nil && (op.Server != server || !r.follows(op.Server, op.Type)) {
		return operation.Operation{}, errNotFound
	}
	return op, err
}

// known refuses a server that Barman does not have, in the words of pg-backup-api's GET.
func (h *handler) known(server string) error {
	if server == "" {
		return nil
	}
	err := h.Barman.Known(server)
	if errors.Is(err, barman.ErrUnknown) {
		return noConfigError(server)
	}
	if _, unreached := barman.Unreached(err); unreached {
		return nil // what was done there is known here
	}
	return err
}

// noConfigError is what pg-backup-api's GET says of a server that is not there.
type noConfigError string

func (e noConfigError) Error() string {
	return fmt.Sprintf("No barman config found for '%s'.", string(e))
}

// permission names an operation of a type.
func permission(server, kind string) string {
	return join(server) + "/" + kind
}

// follows reports whether the identity may see the operations of a type: who may look at something
// may see the operation that looks at it, too.
func (r *request) follows(server, kind string) bool {
	k, _ := barman.KindOf(kind, server == "")
	return r.sees(permission(server, kind)) || k.Reports() && r.sees(lookPermission(server, k))
}

func join(server string) string {
	if server == "" {
		return "operations"
	}
	return "servers/" + server + "/operations"
}

// mayAny lets through who may see or do at least one type of operation there.
func (r *request) mayAny(server string) error {
	for i := range barman.Kinds {
		kind := &barman.Kinds[i]
		if kind.Instance == (server == "") && (r.rights.May(r.Method, permission(server, kind.Name)) || (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.follows(server, kind.Name)) {
			return nil
		}
	}
	return r.may(join(server))
}

// reaches reports whether the identity may see or do anything with a server.
func (r *request) reaches(server string) bool {
	return r.sees("servers/"+server) || r.sees("servers/"+server+"/backups") || slices.ContainsFunc(barman.Names(false), func(kind string) bool {
		return r.rights.May(r.Method, permission(server, kind))
	})
}

// view is an operation as clients see it.
type view struct {
	ID          string             `json:"operation_id"`
	Status      string             `json:"status"`
	State       operation.State    `json:"state"`
	Type        string             `json:"type"`
	Server      *string            `json:"server"`
	Host        string             `json:"host,omitempty"`
	CreatedAt   time.Time          `json:"created_at"`
	StartedAt   *time.Time         `json:"started_at"`
	EndedAt     *time.Time         `json:"ended_at"`
	RequestedBy string             `json:"requested_by"`
	RequestID   string             `json:"request_id"`
	Request     json.RawMessage    `json:"request"`
	Command     []string           `json:"command"`
	ExitCode    *int               `json:"exit_code"`
	Error       *operation.Failure `json:"error"`
	Progress    *progressView      `json:"progress"`
	Result      operation.Result   `json:"result"`
	Output      outputView         `json:"output"`
	Cancel      *operation.Cancel  `json:"cancel"`
	Links       linksView          `json:"links"`
}

type outputView struct {
	Bytes      int64  `json:"bytes"`      // all that Barman printed
	Omitted    int64  `json:"omitted"`    // of them left out of the middle: the output has a cap
	Incomplete bool   `json:"incomplete"` // not all that Barman printed could be kept: the disk was full
	Href       string `json:"href"`
}

// view is what is shown of an operation that has printed so much.
func (h *handler) view(op operation.Operation, printed int64) view {
	self := h.operationsPath(op.Server) + "/" + op.ID.Name()
	failure := op.Error
	if failure != nil {
		failure = &operation.Failure{Title: failure.Title, Detail: maskMessage(failure.Detail)}
	}
	return view{
		ID: op.ID.Name(), Status: op.State.Status(), State: op.State, Type: op.Type, Server: optional(op.Server), Host: op.Host,
		CreatedAt: op.CreatedAt, StartedAt: when(op.StartedAt), EndedAt: when(op.EndedAt),
		RequestedBy: op.RequestedBy, RequestID: op.RequestID, Request: maskJSON(op.Request), Command: masked(op.Command),
		ExitCode: op.ExitCode, Error: failure, Result: h.shown(op.Result),
		Output: outputView{printed, op.Omitted(printed), op.OutputLost, self + "/output"},
		Cancel: op.Cancel, Progress: h.progress(op),
		Links: linksView{"self": self, "output": self + "/output", "cancel": self + "/cancel", "retry": self + "/retry", "operations": h.operationsPath(op.Server)},
	}
}

// masked is an argv without passwords.
func masked(argv []string) []string {
	argv = slices.Clone(argv)
	for i, arg := range argv {
		argv[i] = mask(arg)
	}
	return argv
}

func (h *handler) operationsPath(server string) string {
	if server == "" {
		return h.BasePath + "/operations"
	}
	return h.serverPath(server) + "/operations"
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
