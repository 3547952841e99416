package handler

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"barback/handler/auth"
	"barback/handler/barmanapi"
	"barback/runner/barman"
	"barback/runner/operation"
	"barback/runner/rewrite"
)

// The errors that only the handler makes.
var (
	errNoRoute       = errors.New("no such path; GET / lists what there is")
	errNotFound      = errors.New("Resource not found") //nolint:staticcheck // pg-backup-api's words, which its clients know
	errBadPath       = errors.New("the path holds dot segments, double slashes, encoded slashes or control characters")
	errNotAcceptable = errors.New("this answer exists as application/json only; the Accept header excludes it")
	errTokenByToken  = errors.New("a token makes no tokens: log in with a password, or use barback token create")
	errRange         = errors.New("the Range lies outside of what Barman printed so far; Content-Range says how much that is")
	errMediaType     = errors.New("send the body as JSON, with Content-Type: application/json")
	errCrossOrigin   = errors.New("a page of another site sent this request; send it from a program, or from a page of this host")
	errNoBody        = errors.New("the request has no body: send a JSON object")
)

type methodError string

func (e methodError) Error() string {
	return fmt.Sprintf("the method %q is not allowed on this path; the Allow header lists those that are", string(e))
}

// bodyError refuses a body as a whole.
type bodyError string

func (e bodyError) Error() string { return string(e) }

// brokenError wraps why this installation cannot work.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// deniedError refuses what an identity may not do.
type deniedError struct {
	who        auth.Identity
	permission string
}

func (e *deniedError) Error() string {
	if !e.who.Known && auth.Administrative(e.permission) {
		return fmt.Sprintf("this needs a login with the permission %q", e.permission)
	}
	if !e.who.Known {
		return fmt.Sprintf("this needs a login with the permission %q; an administrator can open it to all with: barback user allow anonymous %s", e.permission, e.permission)
	}
	return fmt.Sprintf("%s has no permission %q; an administrator can give it with: barback user allow %s %s", e.who.Name, e.permission, e.who.Name, e.permission)
}

// problem is the body of every error: RFC 9457, and the member error that
// pg-backup-api's clients read.
type problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail"`
	Instance  string         `json:"instance,omitempty"`
	RequestID string         `json:"request_id"`
	Errors    []barman.Field `json:"errors,omitempty"`
	Error     string         `json:"error"`
	// Conflicting is the operation in the way. Its key must not be operation_id: clients take that for success.
	Conflicting string `json:"conflicting_operation,omitempty"`
	State       string `json:"state,omitempty"`
}

// classify is the only table from errors to statuses.
func classify(err error) (status int, slug, title string) {
	is := func(target error) bool { return errors.Is(err, target) }
	if timeout, unreached := barman.Unreached(err); unreached {
		if timeout {
			return http.StatusGatewayTimeout, "barman-host", "The Barman host does not answer"
		}
		return http.StatusBadGateway, "barman-host", "The Barman host cannot be reached"
	}
	switch {
	case is(errBadPath):
		return http.StatusBadRequest, "bad-path", "Bad path"
	case is(errNoRoute), is(barmanapi.ErrNoRoute):
		return http.StatusNotFound, "no-such-path", "No such path"
	case is(errNotFound), is(operation.ErrNotFound):
		return http.StatusNotFound, "not-found", "Not found"
	case as[*barman.UnknownError](err), as[noConfigError](err):
		return http.StatusNotFound, "unknown-name", "Not known to Barman"
	case as[*barman.AmbiguousError](err):
		return http.StatusConflict, "ambiguous-name", "Several Barman hosts have this name"
	case as[methodError](err):
		return http.StatusMethodNotAllowed, "method-not-allowed", "Method not allowed"
	case is(errRange):
		return http.StatusRequestedRangeNotSatisfiable, "bad-range", "Range outside of what there is"
	case is(errCrossOrigin):
		return http.StatusForbidden, "cross-origin", "Request of another site"
	case is(errNotAcceptable):
		return http.StatusNotAcceptable, "not-acceptable", "Not acceptable"
	case is(errMediaType):
		return http.StatusUnsupportedMediaType, "media-type", "Unsupported media type"
	case as[*http.MaxBytesError](err):
		return http.StatusRequestEntityTooLarge, "body-too-large", "Body too large"
	case is(errNoBody), as[bodyError](err):
		return http.StatusBadRequest, "bad-body", "Bad body"
	case as[*barmanapi.Error](err):
		e, _ := errors.AsType[*barmanapi.Error](err)
		return e.Status, cmp.Or(map[int]string{http.StatusUnauthorized: "bad-credentials", http.StatusForbidden: "forbidden"}[e.Status], "invalid-request"), e.Type
	case is(auth.ErrPassword), is(auth.ErrToken), is(auth.ErrScheme):
		return http.StatusUnauthorized, "bad-credentials", "Credentials refused"
	case is(errTokenByToken):
		return http.StatusForbidden, "forbidden", "Forbidden"
	case as[*auth.ThrottledError](err):
		return http.StatusTooManyRequests, "too-many-failures", "Too many failed log-ins"
	case as[*auth.BusyError](err):
		return http.StatusServiceUnavailable, "log-ins-busy", "Too many log-ins at once"
	case as[*rewrite.BusyError](err):
		return http.StatusServiceUnavailable, "being-changed", "The configuration is being changed"
	case as[*deniedError](err):
		if d, _ := errors.AsType[*deniedError](err); d.who.Known {
			return http.StatusForbidden, "forbidden", "Forbidden"
		}
		return http.StatusUnauthorized, "login-needed", "Login needed"
	case as[*barman.InvalidError](err):
		switch e, _ := errors.AsType[*barman.InvalidError](err); {
		case e.Policy:
			return http.StatusUnprocessableEntity, "not-allowed-here", "Not allowed here"
		case e.Hopeless:
			return http.StatusUnprocessableEntity, "would-fail", "It would fail"
		}
		return http.StatusBadRequest, "invalid-request", "Invalid request"
	case as[*operation.ConflictError](err):
		return http.StatusConflict, "conflict", "Another operation is in the way"
	case as[*operation.AcceptingError](err):
		return http.StatusConflict, "being-accepted", "The same request is being accepted"
	case as[*operation.KeyError](err):
		return http.StatusUnprocessableEntity, "key-reused", "Idempotency-Key used for another request"
	case as[*operation.TransitionError](err):
		return http.StatusConflict, "wrong-state", "Not in this state"
	case as[*barman.InactiveError](err):
		return http.StatusConflict, "inactive-server", "Barman does not do this for the server"
	case as[*barman.ElsewhereError](err):
		return http.StatusNotImplemented, "other-host", "Barman works on another host"
	case as[*barman.UnsupportedError](err):
		return http.StatusNotImplemented, "unsupported", "The installed Barman cannot do this"
	case is(syscall.ENOSPC), is(syscall.EDQUOT):
		return http.StatusInsufficientStorage, "no-space", "No space for the record"
	case is(auth.ErrNoUser), is(auth.ErrNoToken):
		return http.StatusNotFound, "not-found", "Not found"
	case is(auth.ErrUserExists):
		return http.StatusConflict, "exists", "There already"
	case is(auth.ErrTokens):
		return http.StatusConflict, "too-many-tokens", "Too many tokens"
	case as[*auth.UnreadableError](err):
		return http.StatusServiceUnavailable, "users-file", "Users or log-ins cannot be read"
	case as[*operation.UnusableError](err):
		return http.StatusServiceUnavailable, "state-directory", "The state directory cannot be used"
	case as[*barman.MissingError](err):
		return http.StatusServiceUnavailable, "no-barman", "Barman is not installed"
	case as[*barman.BrokenError](err):
		return http.StatusServiceUnavailable, "broken-barman", "Barman does not work"
	case as[*barman.AskError](err):
		if e, _ := errors.AsType[*barman.AskError](err); e.Timeout {
			return http.StatusGatewayTimeout, "barman-timeout", "Barman took too long"
		}
		return http.StatusBadGateway, "barman-failed", "Barman failed"
	case as[*barman.ConfigError](err):
		return http.StatusServiceUnavailable, "barman-config", "Barman's configuration cannot be used"
	case as[*barman.ManualError](err):
		return http.StatusServiceUnavailable, "no-manual", "Barman's manual is not there"
	case as[*rewrite.NotOursError](err):
		return http.StatusConflict, "not-ours", "The file is another user's"
	case is(rewrite.ErrMeanwhile):
		return http.StatusConflict, "changed-meanwhile", "Somebody else changed the file"
	case is(syscall.EROFS):
		return http.StatusInsufficientStorage, "read-only", "The file system is read-only"
	case as[*operation.BusyError](err):
		return http.StatusServiceUnavailable, "busy", "Too many operations"
	case as[*operation.LaunchError](err):
		return http.StatusServiceUnavailable, "no-runner", "No runner could be started"
	case as[*brokenError](err):
		return http.StatusServiceUnavailable, "broken-installation", "barback is not set up right"
	}
	return http.StatusInternalServerError, "internal", "Internal error"
}

// bearer is the challenge of RFC 6750, 3.
func bearer(err error) string {
	if errors.Is(err, auth.ErrToken) {
		return `Bearer realm="barback", error="invalid_token"`
	}
	return `Bearer realm="barback"`
}

func as[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// problem writes err as the answer. What nobody expected is logged and not told.
func (h *handler) problem(w http.ResponseWriter, r *request, err error) {
	if rec, ok := w.(*recorder); ok && rec.status != 0 {
		return // something went out already
	}
	status, slug, title := classify(err)
	detail := err.Error()
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		detail = fmt.Sprintf("the body is larger than the %d bytes that max_body allows", e.Limit)
	}
	log := h.Log.WithField("request", r.id).WithError(err)
	switch {
	case slug == "internal":
		detail = "barback could not do this; its log says why, under this request ID"
		log.Error("request failed")
	case slug == "users-file": // anybody can ask, and a parser names what it stumbles over
		detail = "users.toml or the files of log-ins cannot be used; the log says why, under this request ID"
		log.Error("request refused")
	case status >= 500:
		log.Error("request refused")
	}
	r.refused = slug
	detail = maskMessage(detail)
	p := problem{
		Type: "urn:barback:" + slug, Title: title, Status: status, Detail: detail, Instance: maskPath(r.asked), RequestID: r.id,
		Error: fmt.Sprintf("%d %s: %s", status, http.StatusText(status), detail),
	}
	if e, ok := errors.AsType[*barman.InvalidError](err); ok {
		for _, f := range e.Fields {
			p.Errors = append(p.Errors, barman.Field{Pointer: maskMessage(f.Pointer), Detail: maskMessage(f.Detail)})
		}
	}
	if e, ok := errors.AsType[*operation.ConflictError](err); ok {
		p.Conflicting = string(e.ID)
	}
	if e, ok := errors.AsType[*operation.KeyError](err); ok {
		p.Conflicting = string(e.ID)
	}
	if e, ok := errors.AsType[*operation.TransitionError](err); ok {
		p.State = string(e.From)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Del("Preference-Applied") // there is nothing that one waited for
	if status == http.StatusUnauthorized {
		w.Header().Add("WWW-Authenticate", `Basic realm="barback", charset="UTF-8"`)
		w.Header().Add("WWW-Authenticate", bearer(err))
	}
	if e, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err); ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(e.RetryAfter()/time.Second)))
	}
	switch slug {
	case "no-runner", "being-accepted":
		w.Header().Set("Retry-After", "1")
	case "busy":
		w.Header().Set("Retry-After", "10")
	}
	switch {
	case h.inDialect(r) && slug == "no-such-path":
		write(w, "application/json", status, barmanapi.NoRoute())
		return
	case h.inDialect(r):
		write(w, "application/json", status, barmanapi.Refusal(status, title, detail))
		return
	}
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte(`{"title":"Internal error","status":500}`)
	}
	write(w, "application/problem+json", status, append(body, '\n'))
}
