package handler

import (
	"encoding/json"
	"net/http"

	"barback/runner/barman"
	"barback/runner/operation"
)

// cancel handles "POST …/operations/ID/cancel". Asking again is no error; after the end it is a 409
// that says how it ended.
func (h *handler) cancel(w http.ResponseWriter, r *request) error {
	op, err := h.find(r)
	if err != nil {
		return err
	}
	if op, err = h.Launcher.Cancel(op.ID, r.who.Name); err != nil {
		return err
	}
	return h.accepted(w, r, op)
}

// retry handles "POST …/operations/ID/retry": a new operation with the same request, checked
// anew. Only what has ended can be tried again.
func (h *handler) retry(w http.ResponseWriter, r *request) error {
	old, err := h.find(r)
	if err != nil {
		return err
	}
	if !old.State.Final() {
		return &operation.TransitionError{ID: old.ID, From: old.State, To: "retried"}
	}
	kind, ok := barman.KindOf(old.Type, old.Server == "")
	var body map[string]json.RawMessage
	if !ok || json.Unmarshal(old.Request, &body) != nil {
		return &operation.TransitionError{ID: old.ID, From: old.State, To: "retried"}
	}
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	return h.start(w, r, kind, barman.Request{Type: kind.Name, Server: old.Server, Body: body}, old.Request, key)
}

// forget handles "DELETE …/operations/ID": the record and its output are removed.
func (h *handler) forget(w http.ResponseWriter, r *request) error {
	op, err := h.find(r)
	if err != nil {
		return err
	}
	if err := h.Records.Delete(op.ID); err != nil {
		return err
	}
	return noContent(w)
}
