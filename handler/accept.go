package handler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"barback/runner/barman"
	"barback/runner/operation"
)

// accept handles "POST /operations" and "POST /servers/NAME/operations". The checks
// come in pg-backup-api's order: body is JSON, body is not empty, server exists, type is
// known, members. 202 only when a runner holds the operation.
func (h *handler) accept(w http.ResponseWriter, r *request) error {
	server := r.params.ByName("server")
	if err := r.mayAny(server); err != nil {
		return err
	}
	raw, body, err := h.body(r, server)
	if err != nil {
		return err
	}
	kind, err := h.kind(r, server, body)
	if err != nil {
		return err
	}
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	return h.start(w, r, kind, barman.Request{Type: kind.Name, Server: server, Body: body}, raw, key)
}

// start has an operation begun and answers with it.
func (h *handler) start(w http.ResponseWriter, r *request, kind barman.Kind, req barman.Request, raw json.RawMessage, key string) error {
	var err error
	if req.DryRun, err = dryRun(r); err != nil {
		return err
	}
	plan, err := h.Barman.Plan(kind, req)
	if err != nil {
		return err
	}
	op, err := plan.Operation(req, raw)
	if err != nil {
		return err
	}
	if req.DryRun {
		return h.rehearse(w, r, plan, op)
	}
	op.Key = key
	if op, err = h.launch(w, r, op); err != nil {
		return err
	}
	return h.accepted(w, r, op)
}

// launch has a runner take the operation; it may be one that there was already.
func (h *handler) launch(w http.ResponseWriter, r *request, op operation.Operation) (operation.Operation, error) {
	op.RequestedBy, op.RequestID = r.who.Name, r.id
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), launchTimeout)
	defer cancel()
	op, err := h.Launcher.Start(ctx, op)
	if err != nil {
		return op, h.conceal(r, err)
	}
	if op.CreatedAt.Before(began) {
		w.Header().Set("Idempotent-Replayed", "true")
		return op, nil
	}
	h.Log.WithFields(map[string]any{"request": r.id, "operation": string(op.ID), "type": op.Type, "server": op.Server, "user": r.who.Name}).Info("operation accepted")
	return op, nil
}

// conceal leaves out of err what is said of an operation that the caller may not see.
func (h *handler) conceal(r *request, err error) error {
	e, ok := errors.AsType[*operation.ConflictError](err)
	if !ok {
		return err
	}
	if op, err := h.Records.Load(e.ID); err != nil || !r.follows(op.Server, op.Type) {
		return &operation.ConflictError{Why: "another operation, which you may not see, is in the way"}
	}
	return err
}

// accepted answers 202 with an operation to poll, after the wait that the client prefers.
func (h *handler) accepted(w http.ResponseWriter, r *request, op operation.Operation) error {
	op, err := h.waited(w, r, op)
	if err != nil {
		return err
	}
	return h.toPoll(w, r, op)
}

// toPoll answers 202 with an operation.
func (h *handler) toPoll(w http.ResponseWriter, r *request, op operation.Operation) error {
	r.target = string(op.ID)
	v := h.view(op, h.Records.OutputBytes(op.ID))
	w.Header().Set("Location", v.Links["self"])
	w.Header().Set("Operation-Location", v.Links["self"])
	if !op.State.Final() {
		w.Header().Set("Retry-After", "1")
	}
	return answer(w, r, http.StatusAccepted, v)
}

// idempotencyKey reads the header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a
// string, in quotes as the draft has it or without. It holds as long as the record
// of the operation.
func idempotencyKey(r *request) (string, error) {
	value := r.Header.Get("Idempotency-Key")
	if value == "" {
		return "", nil
	}
	key := value
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		key = value[1 : n-1]
	}
	if len(key) == 0 || len(key) > 255 || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return "", bodyError("the Idempotency-Key must be 1 to 255 printable ASCII characters")
	}
	return operation.Key(r.who.Name, key), nil
}

// body reads a JSON object, and gives it back as it was sent, too.
func (h *handler) body(r *request, server string) (json.RawMessage, map[string]json.RawMessage, error) {
	raw, err := h.sent(r)
	if err != nil {
		return nil, nil, err
	}
	body, err := object(raw)
	if err != nil {
		return nil, nil, err
	}
	if len(body) == 0 {
		return nil, nil, bodyError(notMet(server))
	}
	return raw, body, nil
}

// sent reads a body that arrived whole, and says of itself that it is JSON.
func (h *handler) sent(r *request) ([]byte, error) {
	raw, err := h.limited(r)
	switch {
	case as[*http.MaxBytesError](err):
		return nil, err
	case err != nil:
		return nil, bodyError("the body did not arrive whole: " + err.Error())
	case len(bytes.TrimSpace(raw)) == 0:
		return nil, errNoBody
	case !isJSON(r.Header.Get("Content-Type")):
		return nil, errMediaType
	}
	return raw, nil
}

// limited reads a body of at most MaxBody bytes.
func (h *handler) limited(r *request) ([]byte, error) {
	if r.ContentLength > h.MaxBody {
		return nil, &http.MaxBytesError{Limit: h.MaxBody}
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, h.MaxBody+1))
	if err == nil && int64(len(raw)) > h.MaxBody {
		err = &http.MaxBytesError{Limit: h.MaxBody}
	}
	return raw, err
}

// object parses a JSON object. What JSON calls empty comes back as an empty one.
func object(raw []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(raw) {
		return nil, bodyError("the body is not UTF-8")
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, bodyError(fmt.Sprintf("the body is not JSON: %v, at byte %d", e, e.Offset))
		}
		return nil, bodyError("the body is not JSON: " + err.Error())
	}
	switch v := v.(type) {
	case map[string]any:
		var body map[string]json.RawMessage
		return body, json.Unmarshal(raw, &body)
	case []any:
		if len(v) == 0 {
			return nil, nil
		}
	case nil:
		return nil, nil
	default:
		if v == "" || v == false || v == 0.0 {
			return nil, nil
		}
	}
	return nil, bodyError("the body must be a JSON object: {\"type\": …}")
}

// notMet is what pg-backup-api answers to an empty body.
func notMet(server string) string {
	if server == "" {
		return "Minimum barman options not met for instance operation"
	}
	return fmt.Sprintf("Minimum barman options not met for server '%s'", server)
}

// kind finds the type that the body asks for; recovery if it names none, as in
// pg-backup-api. The permission is asked before the server is looked up, so that
// nobody learns which servers there are.
func (h *handler) kind(r *request, server string, body map[string]json.RawMessage) (barman.Kind, error) {
	name := ""
	if raw, ok := body["type"]; !ok && server != "" {
		name = "recovery"
	} else if ok && json.Unmarshal(raw, &name) != nil {
		name = ""
	}
	kind, found := barman.KindOf(name, server == "")
	if found {
		if err := r.may(permission(server, name)); err != nil {
			return kind, err
		}
	}
	if server != "" {
		if _, err := h.Barman.Server(server); err != nil {
			return kind, err
		}
	}
	if !found {
		detail := "must be one of " + strings.Join(barman.Names(server == ""), ", ")
		if _, ok := barman.KindOf(name, server != ""); ok {
			detail += "; " + name + " goes to another path: " + map[bool]string{true: "/servers/NAME/operations", false: "/operations"}[server == ""]
		}
		return kind, &barman.InvalidError{Summary: "The type of operation is not known", Fields: []barman.Field{{Pointer: "/type", Detail: detail}}}
	}
	return kind, nil
}

// isJSON accepts application/json and what is named to be JSON (RFC 6839).
func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json"))
}
