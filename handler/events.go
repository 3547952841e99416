package handler

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"unicode/utf8"

	"barback/runner/operation"
)

// events sends the output as server-sent events (HTML standard, 9.2): one "output" event per
// line, whose id is the offset behind it, so that a client that comes back with Last-Event-ID misses
// nothing; at the end one "state" event.
func (h *handler) events(w http.ResponseWriter, r *request, op operation.Operation, offset int64, text bool) error {
	if last, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); err == nil && last > offset {
		offset = last
	}
	flush := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	_ = flush.Flush()
	lines := &lineEvents{w: w}
	ctx, leave := h.untilEnding(r.Context())
	defer leave()
	op, err := h.Records.Follow(ctx, op.ID, offset, text, func(p operation.Piece) error {
		if err := lines.take(p); err != nil {
			return err
		}
		return flush.Flush()
	})
	if err != nil || !op.State.Final() {
		return err
	}
	if err := lines.send(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "event: state\ndata: {\"state\":%q,\"status\":%q}\n\n", op.State, op.State.Status())
	return err
}

// maxLine is the longest line of one event: a longer one is several, cut between characters.
const maxLine = 64 << 10

// lineEvents makes an event of each line. A line ends with \n, \r\n, or a \r alone: programs
// draw their progress over itself that way (rsync --progress), and each state of it is worth an event, while a reader of lines
// would wait for the end of the whole copy. As it is not known whether a \n comes behind a \r, the event goes out with
// the next byte. A \r before anything else (rsync begins with it) makes no event of its own.
type lineEvents struct {
	w    io.Writer
	line []byte // printed, not sent
	said bool   // something in it is no \r
	end  int64  // offset behind it
}

func (e *lineEvents) take(p operation.Piece) error {
	if p.Omitted > 0 { // the line before is cut short; what is left out is an event of its own
		if err := e.send(); err != nil {
			return err
		}
		e.line, e.end = append(e.line, bytes.TrimSpace(p.Bytes)...), p.End
		return e.send()
	}
	e.end = p.End - int64(len(p.Bytes))
	for _, c := range p.Bytes {
		if c != '\n' && e.full(c) {
			if err := e.send(); err != nil {
				return err
			}
		}
		e.line, e.said, e.end = append(e.line, c), e.said || c != '\r', e.end+1
		if c == '\n' {
			if err := e.send(); err != nil {
				return err
			}
		}
	}
	return nil
}

// full reports whether what was taken is a line by itself, now that c comes behind it.
func (e *lineEvents) full(c byte) bool {
	n := len(e.line)
	return e.said && e.line[n-1] == '\r' ||
		n >= maxLine && (c != '\r' && utf8.RuneStart(c) || n >= maxLine+utf8.UTFMax)
}

// send makes an event of what was taken.
func (e *lineEvents) send() error {
	if len(e.line) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(e.w, "event: output\nid: %d\ndata: %s\n\n", e.end, bytes.Trim(e.line, "\r\n"))
	e.line, e.said = e.line[:0], false
	return err
}
