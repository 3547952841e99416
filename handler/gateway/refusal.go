package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"barback/runner/pattern"
)

// refusal is what Go's server writes, in one piece and as plain text, when it cannot make a request of
// what it read: no Host, a malformed line, headers that are too long. No answer of a handler begins so.
var refusal = pattern.New(`^HTTP/1\.1 (\d{3}) [^\r\n]*\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n([^\r\n]*)$`)

// Write passes on an answer, and makes a problem (RFC 9457) of a refusal: clients parse every body as JSON.
func (w *watched) Write(p []byte) (int, error) {
	m := refusal().FindSubmatch(p)
	if m == nil {
		return w.Conn.Write(p)
	}
	status, _ := strconv.Atoi(string(m[1]))
	title := http.StatusText(status)
	body, err := json.Marshal(map[string]any{"type": "about:blank", "title": title, "status": status, "detail": "this is no HTTP request that can be answered: " + string(m[2]),
		"error": fmt.Sprintf("%d %s: this is no HTTP request that can be answered: %s", status, title, m[2])})
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(w.Conn, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s", status, title, len(body), body); err != nil {
		return 0, err
	}
	return len(p), nil
}
