package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What Go's server refuses before a handler sees it is JSON all the same; an answer that looks alike is not touched.
func TestRefusalsAreProblems(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const alike = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		done <- serveHTTP(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = io.WriteString(w, alike)
		}), time.Minute)
	}()
	for _, tc := range []struct {
		name, request string
		status        int
		says          string // as JSON: a part of error
	}{
		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, "400 Bad Request: this is no HTTP request that can be answered: 400 Bad Request: missing required Host header"},
		{"a line that is no header", "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", 400, "400 Bad Request: "},
		{"no HTTP", "hello\r\n\r\n", 400, "400 Bad Request: "},
		{"another version", "GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505, "505 HTTP Version Not Supported: "},
		{"a header that is too long", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", 431, "431 Request Header Fields Too Large: "},
		{"an encoding that is none", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: nope\r\n\r\n", 501, "501 Not Implemented: "},
		{"an answer that looks alike", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, tc.request); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != tc.status {
				t.Fatalf("the answer is %d %q, %v, want %d", res.StatusCode, body, err, tc.status)
			}
			if tc.says == "" {
				if string(body) != alike {
					t.Errorf("the body is %q, want it as the handler wrote it", body)
				}
				return
			}
			var p map[string]any
			if err := json.Unmarshal(body, &p); err != nil || res.Header.Get("Content-Type") != "application/problem+json" || p["status"] != float64(tc.status) || !strings.HasPrefix(fmt.Sprint(p["error"]), tc.says) {
				t.Errorf("the body is %s %q, %v, want a problem with the error %q", res.Header.Get("Content-Type"), body, err, tc.says)
			}
		})
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("the server ends with %v", err)
	}
}
