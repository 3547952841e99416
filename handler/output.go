package handler

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"barback/runner/barman"
)

// output handles "GET …/operations/ID/output": what Barman printed so far. ?offset=N leaves out
// the first N bytes; Range is honoured (RFC 9110, 14).
func (h *handler) output(w http.ResponseWriter, r *request) error {
	op, err := h.find(r)
	if err != nil {
		return err
	}
	offset, err := offset(r)
	if err != nil {
		return err
	}
	f, err := h.Records.Output(op.ID)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	size := st.Size() // what is there now; more may come while it is sent
	head := w.Header()
	head.Set("Content-Type", "text/plain; charset=utf-8")
	head.Set("X-Operation-State", string(op.State))
	http.ServeContent(w, r.Request, "", time.Time{}, io.NewSectionReader(f, min(offset, size), size-min(offset, size)))
	return nil
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
