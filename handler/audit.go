package handler

import (
	"cmp"
	"net/http"
	"strconv"
	"time"

	"barback/handler/auth"
)

// audited is what the audit log tells of a request besides what the request says itself.
type audited struct {
	permission string // asked last
	server     string // that the path does not name
	target     string // the operation, user or token
	refused    string // the kind of problem that was the answer
	changes    bool   // though it is a GET
}

// audit notes every request that would change something, and every refusal. Whoever has no login
// and is refused again and again is noted less and less often: see [auth.Keeper.Tell]. A request is
// not refused because it cannot be noted, as a full log would then stop backups; what should
// have been noted goes to the log instead.
func (h *handler) audit(r *request, status int) {
	if h.Audit == nil || h.Auth == nil {
		return
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	if reads && !r.changes && !refusal(status) {
		return
	}
	e := auth.Entry{
		Time: time.Now().UTC(), RequestID: r.id, Identity: Shown(r.who.Name), How: r.who.How, Remote: auth.Remote(r.Request), Method: r.Method, Path: maskPath(r.asked),
		Permission: Shown(r.permission), Server: Shown(cmp.Or(r.server, r.params.ByName("server"))), Target: Shown(r.target), Status: status, Result: r.refused,
	}
	if e.Result == "" {
		e.Result = "ok"
	}
	if !r.who.Known && status >= http.StatusBadRequest {
		n, tell := h.Auth.Tell(e.Remote, e.Time)
		if !tell {
			return
		}
		e.Refusals = n
		e.Claimed = h.claimed(r)
	}
	if err := h.Audit.Write(e); err != nil {
		h.Log.WithField("request", r.id).WithField("entry", e).WithError(err).Error("audit log cannot be written")
	}
}

func refusal(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusTooManyRequests:
		return true
	}
	return false
}

// claimed is who a client that was refused said that it was, if there is such a user: people type
// passwords where names belong.
func (h *handler) claimed(r *request) string {
	name, _, _ := r.BasicAuth()
	if _, known, err := h.Auth.Users.Find(name); err != nil || !known {
		return ""
	}
	return name
}

const maxEntries = 1000

// auditLog handles "GET /audit?since=TIME&limit=N": the last entries, newest first.
func (h *handler) auditLog(w http.ResponseWriter, r *request) error {
	if err := r.may("audit"); err != nil {
		return err
	}
	since, limit, q := time.Time{}, 100, r.URL.Query()
	var err error
	if s := q.Get("since"); s != "" {
		if since, err = time.Parse(time.RFC3339, s); err != nil {
			return invalid("?since", strconv.Quote(s)+" is not a time such as 2026-01-31T12:00:00Z")
		}
	}
	if s := q.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > maxEntries {
			return invalid("?limit", strconv.Quote(s)+" is not a number from 1 to "+strconv.Itoa(maxEntries))
		}
	}
	entries, err := h.Audit.Tail(since, limit)
	if err != nil {
		return err
	}
	return answer(w, r, http.StatusOK, map[string]any{"entries": entries})
}
