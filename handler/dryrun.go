package handler

import (
	"context"
	"net/http"
	"time"

	"barback/runner/barman"
	"barback/runner/operation"
)

// rehearsal is what a POST would have started.
type rehearsal struct {
	DryRun   bool           `json:"dry_run"`
	OK       bool           `json:"ok"` // all checks are
	Type     string         `json:"type"`
	Server   *string        `json:"server"`
	Host     string         `json:"host,omitempty"`
	Command  []string       `json:"command"`
	BackupID string         `json:"backup_id,omitempty"`
	Checks   []barman.Check `json:"checks"`
}

// lookTimeout bounds the look at a destination on another host: a web server waits for the answer.
const lookTimeout = 20 * time.Second

// dryRun reads ?dry_run.
func dryRun(r *request) (bool, error) {
	switch r.URL.Query().Get("dry_run") {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	}
	return false, &barman.InvalidError{Summary: "A parameter is not allowed", Fields: []barman.Field{{Pointer: "?dry_run", Detail: "must be 1 or 0"}}}
}

// rehearse answers what would be run, and what every check found, those that a runner would make included. Nothing
// is started or written down.
func (h *handler) rehearse(w http.ResponseWriter, r *request, plan barman.Plan, op operation.Operation) error {
	a := rehearsal{DryRun: true, OK: true, Type: op.Type, Server: optional(op.Server), Host: op.Host, Command: masked(op.Command), BackupID: op.Result.BackupID, Checks: plan.Checks}
	other, repeats, err := h.Records.Conflict(op)
	switch {
	case repeats:
		a.note("conflict", nil, "the same is at work already: it would be the answer, operation "+other.Name())
	case as[*operation.ConflictError](err) || err == nil:
		a.note("conflict", err, "no operation is in the way")
	default:
		return err
	}
	if op.Target != nil {
		ctx, cancel := context.WithTimeout(r.Context(), lookTimeout)
		defer cancel()
		fine := "nothing is there that would be lost"
		if op.Target.Overwrite {
			fine = "not looked at: \"overwrite\": true leaves it to Barman"
		}
		a.note("destination", h.Launcher.Look(ctx, op), fine)
	}
	for _, c := range a.Checks {
		a.OK = a.OK && c.OK
	}
	return answer(w, r, http.StatusOK, a)
}

// note adds a check that err says the result of.
func (a *rehearsal) note(name string, err error, fine string) {
	c := barman.Check{Name: name, OK: err == nil, Detail: fine}
	if err != nil {
		c.Detail = err.Error()
	}
	a.Checks = append(a.Checks, c)
}
