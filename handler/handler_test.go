package handler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"barback/handler/auth"
	"barback/handler/barmanapi"
	"barback/runner/barman"
	"barback/runner/operation"
)

// bench is a handler over a store, a configuration of Barman and a launcher of the test's own.
type bench struct {
	t     testing.TB
	dir   string
	store *operation.Store
	auth  *auth.Keeper
	start *fakeLauncher
	log   *logLines
	cfg   Config
	http.Handler
}

// fakeLauncher records operations, and starts nothing.
type fakeLauncher struct {
	store *operation.Store
	t     testing.TB
	mu    sync.Mutex
	got   []operation.Operation
	locks map[operation.ID]*os.File
	fail  func() error // instead of starting
}

func (l *fakeLauncher) Start(_ context.Context, op operation.Operation) (operation.Operation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return operation.Operation{}, l.fail()
	}
	op, lock, err := l.store.Admit(op)
	if err != nil || lock == nil {
		return op, err
	}
	l.t.Cleanup(func() { _ = lock.Close() })
	l.got, l.locks[op.ID] = append(l.got, op), lock
	return op, l.store.Claim(op.ID)
}

func (l *fakeLauncher) Cancel(id operation.ID, who string) (operation.Operation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return operation.Operation{}, l.fail()
	}
	return l.store.Update(id, func(op *operation.Operation) error { return op.AskCancel(who, time.Now().UTC()) })
}

func (l *fakeLauncher) Look(context.Context, operation.Operation) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail()
	}
	return nil
}

// started is how many operations there were.
func (l *fakeLauncher) started() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.got)
}

// logLines collects what is logged.
type logLines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logLines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

const benchUsers = `[users.anonymous]
access = ["*"]
[users.ann]
access = ["*"]
`

// newBench makes a bench on which anonymous may all; change may alter the configuration.
func newBench(t testing.TB, change func(*Config)) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{t: t, dir: dir, log: &logLines{}, auth: auth.New(filepath.Join(dir, "state"), nil)}
	for name, text := range map[string]string{
		"barman":      "#!/bin/sh\ncase $* in *--help) echo 'usage: barman' ;; *diagnose) echo '{\"_INFO\": [\"{}\"]}' ;; *' check '*|*status*) echo '{\"pg-one\": {}}' ;; *) echo '3.13.3 Barman by EnterpriseDB (www.enterprisedb.com)' ;; esac\n",
		"barman.conf": "[barman]\nbarman_home = " + dir + "/home\n[pg-one]\ndescription = One\n[pg-two]\n[s 7]\n[pg-off]\nactive = false\n",
		"home/pg-one/meta/20260101T000000-backup.info": "end_time=2026-01-01 00:00:01+00:00\nstatus=DONE\nversion=150018\n",
		"home/pg-one/wals/pg-one-xlog.db":              "000000010000000000000003\t16777216\t1767229200.5\tNone\n", // 2026-01-01T01:00:00.5Z
		"state/users.toml":                             benchUsers,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if b.store, err = operation.Open(filepath.Join(dir, "state")); err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.Out, log.Formatter = b.log, &logrus.JSONFormatter{}
	b.start = &fakeLauncher{store: b.store, t: t, locks: map[operation.ID]*os.File{}}
	b.cfg = Config{
		MaxBody: 4096, Deadline: time.Minute, Version: "test", Records: b.store, Auth: b.auth, Audit: &auth.Audit{Path: filepath.Join(dir, "audit.log")}, Launcher: b.start, Log: log, Requests: b.log,
		Barman: &barman.Fleet{Clients: []*barman.Client{{Command: filepath.Join(dir, "barman"), Config: filepath.Join(dir, "barman.conf"), Cache: filepath.Join(dir, "state")}}},
		Checks: func() []Check { return []Check{{"one", true, "fine"}} },
	}
	if change != nil {
		change(&b.cfg)
	}
	b.Handler = New(b.cfg)
	if _, measured := t.(*testing.B); !measured {
		b.Handler = documented{b, b.Handler}
	}
	return b
}

// table lists the routes.
func (b *bench) table() []string { return b.Handler.(documented).Handler.(*handler).table }

// allow replaces what the identities may.
func (b *bench) allow(lists map[string]auth.Lists) {
	b.t.Helper()
	if err := os.Remove(b.auth.Users.Path); err != nil {
		b.t.Fatal(err)
	}
	for name, l := range lists {
		if err := b.auth.Users.Change(name, func(u *auth.User) bool { u.Lists = l; return true }); err != nil {
			b.t.Fatal(err)
		}
	}
}

// operation records an operation; release lets its lock go.
func (b *bench) operation(op operation.Operation) (operation.Operation, func()) {
	b.t.Helper()
	if op.Request == nil {
		op.Request = json.RawMessage(`{"type":"` + op.Type + `"}`)
	}
	if op.Command == nil {
		op.Command = []string{"barman", op.Type}
	}
	op, lock, err := b.store.Create(op)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = lock.Close() })
	return op, func() { _ = lock.Close() }
}

// ended records an operation that has ended.
func (b *bench) ended(op operation.Operation, state operation.State, output string) operation.Operation {
	b.t.Helper()
	op, release := b.operation(op)
	w, err := b.store.OutputWriter(op.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := io.WriteString(w, output); err != nil {
		b.t.Fatal(err)
	}
	_ = w.Close()
	if _, err := b.store.Start(op.ID, ""); err != nil {
		b.t.Fatal(err)
	}
	op, err = b.store.End(op.ID, state, func(*operation.Operation) {})
	if err != nil {
		b.t.Fatal(err)
	}
	release()
	return op
}

// reply is an answer.
type reply struct {
	*httptest.ResponseRecorder
	t    testing.TB
	name string // of the request, for messages
}

// ask sends a request; header holds names and values in turn. The user "" is anonymous.
func (b *bench) askAs(user, method, target, body string, header ...string) *reply {
	b.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, content)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Del(header[i])
		if header[i+1] != "" {
			r.Header[http.CanonicalHeaderKey(header[i])] = []string{header[i+1]}
		}
	}
	return b.serve(r.WithContext(auth.NewContext(r.Context(), user)))
}

func (b *bench) ask(method, target, body string, header ...string) *reply {
	b.t.Helper()
	return b.askAs("", method, target, body, header...)
}

func (b *bench) serve(r *http.Request) *reply {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	res := &reply{w, b.t, r.Method + " " + r.URL.String()}
	res.wellFormed()
	return res
}

// json is the body as an object.
func (r *reply) json() map[string]any {
	r.t.Helper()
	var v map[string]any
	if err := json.Unmarshal(r.Body.Bytes(), &v); err != nil {
		r.t.Fatalf("%s: the body %q is no JSON object: %v", r.name, r.Body, err)
	}
	return v
}

// want fails unless the answer has this code, and the words in its body.
func (r *reply) want(code int, says string) {
	r.t.Helper()
	if r.Code != code || !strings.Contains(r.Body.String(), says) {
		r.t.Errorf("%s = %d %s\nwant %d with %q", r.name, r.Code, r.Body, code, says)
	}
}

// wellFormed holds for every answer: a request ID and the headers of an API; errors are
// problem+json (RFC 9457) with the member that clients of pg-backup-api read.
func (r *reply) wellFormed() {
	r.t.Helper()
	head := r.Header()
	if !isRequestID(head.Get("X-Request-Id")) || head.Get("X-Content-Type-Options") != "nosniff" || head.Get("Cache-Control") == "" {
		r.t.Errorf("%s: the headers are %v, want X-Request-Id, nosniff and Cache-Control", r.name, head)
	}
	if r.Code < 400 {
		return
	}
	if _, target, _ := strings.Cut(r.name, " "); barmanapi.Owns(target) { // says it in its own words
		return
	}
	if head.Get("Content-Type") != "application/problem+json" || head.Get("Content-Length") != fmt.Sprint(r.Body.Len()) {
		r.t.Errorf("%s: the %d is %q of %s bytes, want problem+json of %d", r.name, r.Code, head.Get("Content-Type"), head.Get("Content-Length"), r.Body.Len())
	}
	p := r.json()
	for _, member := range []string{"type", "title", "detail", "error", "request_id"} {
		if s, ok := p[member].(string); !ok || s == "" {
			r.t.Errorf("%s: %s of the problem is %v, want a text", r.name, member, p[member])
		}
	}
	if p["status"] != float64(r.Code) || p["request_id"] != head.Get("X-Request-Id") {
		r.t.Errorf("%s: status and request_id are %v and %v, want %d and %s", r.name, p["status"], p["request_id"], r.Code, head.Get("X-Request-Id"))
	}
	if want := fmt.Sprintf("%d %s: %s", r.Code, http.StatusText(r.Code), p["detail"]); p["error"] != want {
		r.t.Errorf("%s: error is %q, want %q", r.name, p["error"], want)
	}
	if !strings.HasPrefix(fmt.Sprint(p["type"]), "urn:barback:") {
		r.t.Errorf("%s: type is %v, want urn:barback:…", r.name, p["type"])
	}
	if _, ok := p["operation_id"]; ok {
		r.t.Errorf("%s: an error holds operation_id, which clients take for success: %s", r.name, r.Body)
	}
	if r.Code == http.StatusUnauthorized && head.Get("WWW-Authenticate") == "" {
		r.t.Errorf("%s: a 401 without WWW-Authenticate", r.name)
	}
	if r.Code == http.StatusMethodNotAllowed && head.Get("Allow") == "" {
		r.t.Errorf("%s: a 405 without Allow", r.name)
	}
}
