package handler

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"barback/runner/barman"
	"barback/runner/operation"
)

// lookPermission names a report of Barman's.
func lookPermission(server string, k barman.Kind) string {
	return "servers/" + server + "/" + k.Command
}

// report handles "GET /servers/NAME/check", "/status" and "/replication-status": what Barman says at this moment. When
// that takes longer than the client's patience, the answer is an operation that asks anew and takes its time; while it is at
// work, all who ask get it.
func (h *handler) report(k barman.Kind) endpoint {
	return func(w http.ResponseWriter, r *request) error {
		server := r.params.ByName("server")
		if err := r.may(lookPermission(server, k)); err != nil {
			return err
		}
		age, err := maxAge(r)
		if err != nil {
			return err
		}
		end := time.Now().Add(h.patience(w, r))
		op, err := h.atWork(k, server)
		if left := time.Until(end); err == nil && op.ID == "" && left > 0 {
			a, err := h.Barman.Report(k, server, barman.Question{MaxAge: age, Timeout: left, Clean: h.clean()})
			if e, ok := errors.AsType[*barman.AskError](err); !ok || !e.Timeout {
				return reported(w, r, a, err)
			}
		}
		if err == nil && op.ID == "" {
			op, err = h.look(w, r, k, server)
		}
		if err != nil {
			return err
		}
		ctx, cancel := context.WithDeadline(r.Context(), end)
		defer cancel()
		if op, err = h.Records.Wait(ctx, op.ID); err != nil {
			return err
		}
		if op.Result.Report != nil {
			return reported(w, r, barman.Answer{Body: h.shown(op.Result).Report}, nil)
		}
		return h.toPoll(w, r, op)
	}
}

func reported(w http.ResponseWriter, r *request, a barman.Answer, err error) error {
	if err != nil {
		return err
	}
	w.Header().Set("Age", strconv.Itoa(int(a.Age/time.Second)))
	return answer(w, r, http.StatusOK, json.RawMessage(a.Body))
}

// patience is how long the request may take: as its client prefers (RFC 7240, 4.1 and 4.3), or else as configured.
func (h *handler) patience(w http.ResponseWriter, r *request) time.Duration {
	prefer := r.Header.Values("Prefer")
	if limit, ok := preferredWait(prefer); ok {
		w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(limit/time.Second)))
		return limit
	}
	for p := range strings.SplitSeq(strings.Join(prefer, ","), ",") {
		if strings.EqualFold(strings.TrimSpace(p), "respond-async") {
			w.Header().Set("Preference-Applied", "respond-async")
			return 0
		}
	}
	return h.Deadline
}

// atWork is the operation that is looking already; without an ID: none is.
func (h *handler) atWork(k barman.Kind, server string) (operation.Operation, error) {
	active, err := h.Records.Active()
	for _, op := range active {
		if op.Type == k.Name && op.Server == server {
			return op, nil
		}
	}
	return operation.Operation{}, err
}

// look starts the operation.
func (h *handler) look(w http.ResponseWriter, r *request, k barman.Kind, server string) (operation.Operation, error) {
	req := barman.Request{Type: k.Name, Server: server}
	plan, err := h.Barman.Plan(k, req)
	if err != nil {
		return operation.Operation{}, err
	}
	op, err := plan.Operation(req, json.RawMessage(`{"type":"`+k.Name+`"}`))
	if err != nil {
		return op, err
	}
	return h.launch(w, r, op)
}

// clean takes out of Barman's answers what must not be told.
func (h *handler) clean() func(string) string {
	if h.Unmasked {
		return nil
	}
	return mask
}

// shown is a result without secrets.
func (h *handler) shown(res operation.Result) operation.Result {
	if h.Unmasked {
		return res
	}
	if res.Report != nil {
		res.Report = maskJSON(res.Report)
	}
	res.Warnings = masked(res.Warnings)
	return res
}

// wals handles "GET /servers/NAME/wals".
func (h *handler) wals(w http.ResponseWriter, r *request) error {
	server := r.params.ByName("server")
	if err := r.may("servers/" + server + "/wals"); err != nil {
		return err
	}
	archive, err := h.Barman.WALs(server)
	if err != nil {
		return err
	}
	return answer(w, r, http.StatusOK, archive)
}
