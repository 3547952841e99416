package handler

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"barback/runner/barman"
	"barback/runner/operation"
)

// output handles "GET …/operations/ID/output": what Barman printed so far. ?offset=N leaves out
// the first N bytes, Range is honoured (RFC 9110, 14), ?follow=1 goes on until the operation has
// ended, and Accept: text/event-stream gives the same as server-sent events. Control characters become
// question marks, so that offsets stay what they are; ?raw=1 leaves them in.
func (h *handler) output(w http.ResponseWriter, r *request) error {
	op, err := h.find(r)
	if err != nil {
		return err
	}
	offset, err := offset(r)
	if err != nil {
		return err
	}
	clean := printable
	if on(r, "raw") {
		clean = func(p []byte) []byte { return p }
	}
	head := w.Header()
	head.Set("X-Operation-State", string(op.State))
	switch {
	case r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/event-stream"):
		head.Set("Content-Type", "text/event-stream")
		return h.events(w, r, op, offset, clean)
	case r.Method == http.MethodGet && on(r, "follow"):
		head.Set("Content-Type", "text/plain; charset=utf-8")
		return h.follow(w, r, op, offset, clean)
	}
	head.Set("Content-Type", "text/plain; charset=utf-8")
	return h.soFar(w, r, op, offset, clean)
}

// soFar sends what is there now; more may come while it is sent.
func (h *handler) soFar(w http.ResponseWriter, r *request, op operation.Operation, offset int64, clean func([]byte) []byte) error {
	f, err := h.Records.Output(op.ID)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	start := min(offset, st.Size())
	ranged := &rangeWriter{ResponseWriter: w}
	http.ServeContent(ranged, r.Request, "", time.Time{}, &cleaned{io.NewSectionReader(f, start, st.Size()-start), clean})
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
func (h *handler) follow(w http.ResponseWriter, r *request, op operation.Operation, offset int64, clean func([]byte) []byte) error {
	flush := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	_ = flush.Flush()
	_, err := h.Records.Follow(r.Context(), op.ID, offset, func(p []byte) error {
		if _, err := w.Write(clean(p)); err != nil {
			return err
		}
		return flush.Flush()
	})
	return err
}

// events sends the output as server-sent events (HTML standard, 9.2): one "output" event per
// line, whose id is the offset behind it, so that a client that comes back with Last-Event-ID misses
// nothing; at the end one "state" event.
func (h *handler) events(w http.ResponseWriter, r *request, op operation.Operation, offset int64, clean func([]byte) []byte) error {
	if last, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); err == nil && last > offset {
		offset = last
	}
	flush := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	_ = flush.Flush()
	var line []byte
	send := func() error {
		offset += int64(len(line))
		_, err := fmt.Fprintf(w, "event: output\nid: %d\ndata: %s\n\n", offset, strings.NewReplacer("\n", "", "\r", "").Replace(string(clean(line)))) // #nosec G705 -- an event stream is no page
		line = line[:0]
		return err
	}
	op, err := h.Records.Follow(r.Context(), op.ID, offset, func(p []byte) error {
		for _, c := range p {
			if line = append(line, c); c == '\n' {
				if err := send(); err != nil {
					return err
				}
			}
		}
		return flush.Flush()
	})
	if err != nil || !op.State.Final() {
		return err
	}
	if len(line) > 0 {
		if err := send(); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(w, "event: state\ndata: {\"state\":%q,\"status\":%q}\n\n", op.State, op.State.Status())
	return err
}

// cleaned is a seekable reader whose bytes go through clean, which keeps their number.
type cleaned struct {
	io.ReadSeeker
	clean func([]byte) []byte
}

func (c *cleaned) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	copy(p, c.clean(p[:n]))
	return n, err
}

// printable puts question marks in place of what a terminal would obey.
func printable(p []byte) []byte {
	out := make([]byte, len(p))
	for i, c := range p {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' || c == 0x7f {
			c = '?'
		}
		out[i] = c
	}
	return out
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
		return 0, &barman.InvalidError{Summary: "A parameter is not allowed", Fields: []barman.Field{{Pointer: "?offset", Detail: "must be a number of bytes, 0 or more"}}}
	}
	return n, nil
}
