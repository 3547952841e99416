package main

import (
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	openapi "barback/handler/contract" // "contract" is a word of peerRow
)

var document = sync.OnceValues(func() (*openapi.Document, error) {
	text, err := os.ReadFile("../../handler/openapi.yaml")
	if err != nil {
		return nil, err
	}
	return openapi.Load(text)
})

// complaints were made already: who polls would make them again and again.
var complaints sync.Map

// documented holds an answer that came through a door against openapi.yaml. Where a test mounts barback below a path,
// that begins with /backup.
func documented(t testing.TB, method, path string, res reply) {
	t.Helper()
	d, err := document()
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{"/backup/api", "/backup"} {
		if below, ok := strings.CutPrefix(path, base); ok && (below == "" || below[0] == '/') {
			path = "/" + strings.TrimPrefix(below, "/")
		}
	}
	if res.StatusCode == http.StatusNotFound && strings.Contains(string(res.body), "urn:barback:no-such-path") {
		path = "" // it lies outside of where barback is mounted
	}
	if err := d.Check(openapi.Answer{Method: method, Path: path, Status: res.StatusCode, Header: res.Header, Body: res.body}); err != nil {
		if _, made := complaints.LoadOrStore(t.Name()+err.Error(), true); made {
			return // it was polled
		}
		t.Errorf("%s %s = %d %v %.2000s\nis not as openapi.yaml has it: %v", method, path, res.StatusCode, res.Header, res.body, err)
	}
}
