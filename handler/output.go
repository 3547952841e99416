package handler

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"barback/runner/operation"
)

// output handles "GET …/operations/ID/output": what Barman printed so far. ?offset=N leaves out
// the first N bytes, Range is honoured (RFC 9110, 14), ?follow=1 goes on until the operation has
// ended, and Accept: text/event-stream gives the same as server-sent events. Control characters become
// question marks, so that offsets stay what they are; ?raw=1 leaves them in. Of an output beyond
// [runner] max_output a line stands in place of the middle; offsets stay those of what Barman printed.
func (h *handler) output(w http.ResponseWriter, r *request) error {
	op, err := h.find(r)
	if err != nil {
		return err
	}
	offset, err := offset(r)
	if err != nil {
		return err
	}
	text := !on(r, "raw")
	head := w.Header()
	head.Set("X-Operation-State", string(op.State))
	switch {
	case r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/event-stream"):
		head.Set("Content-Type", "text/event-stream")
		return h.events(w, r, op, offset, text)
	case r.Method == http.MethodGet && on(r, "follow"):
		head.Set("Content-Type", "text/plain; charset=utf-8")
		return h.follow(w, r, op, offset, text)
	}
	head.Set("Content-Type", "text/plain; charset=utf-8")
	return h.soFar(w, r, op, offset, text)
}

// soFar sends what is there now; more may come while it is sent. X-Output-End is the ?offset= that goes on
// where this answer ends. Should Barman print so much meanwhile that what was announced is no longer there, the
// answer ends early: its Content-Length tells.
func (h *handler) soFar(w http.ResponseWriter, r *request, op operation.Operation, offset int64, text bool) error {
	out, err := h.Records.Printed(op, offset, text)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	w.Header().Set("X-Output-End", strconv.FormatInt(out.End, 10))
	ranged, unconditional := &rangeWriter{ResponseWriter: w}, r.Clone(r.Context())
	for _, h := range []string{"If-Match", "If-None-Match", "If-Range"} { // an output that grows has no ETag
		unconditional.Header.Del(h)
	}
	http.ServeContent(ranged, unconditional, "", time.Time{}, out)
	if ranged.refused {
		return errRange
	}
	return nil
}

// rangeWriter keeps back net/http's own 416, which is plain text.
type rangeWriter struct {
	http.ResponseWriter
	refused bool
}

// WriteHeader passes on all but a 416.
func (w *rangeWriter) WriteHeader(status int) {
	if w.refused = status == http.StatusRequestedRangeNotSatisfiable; !w.refused {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *rangeWriter) Write(p []byte) (int, error) {
	if w.refused {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// follow sends what is there and what comes, until the end.
func (h *handler) follow(w http.ResponseWriter, r *request, op operation.Operation, offset int64, text bool) error {
	flush := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	_ = flush.Flush()
	ctx, leave := h.untilEnding(r.Context())
	defer leave()
	_, err := h.Records.Follow(ctx, op.ID, offset, text, func(p operation.Piece) error {
		if _, err := w.Write(p.Bytes); err != nil {
			return err
		}
		return flush.Flush()
	})
	return err
}

func on(r *request, name string) bool {
	v := r.URL.Query().Get(name)
	return v != "" && v != "0" && v != "false"
}

func offset(r *request) (int64, error) {
	s := r.URL.Query().Get("offset")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, badParameter("offset", "must be a number of bytes, 0 or more")
	}
	return n, nil
}
