package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"barback/handler/auth"
	"barback/runner/barman"
	"barback/runner/operation"
)

func TestAccepted(t *testing.T) {
	b := newBench(t, nil)
	body := `{"type":"backup", "jobs": 2,"note":"kept"}`
	res := b.askAs("ann", "POST", "/servers/pg-one/operations", body, "X-Request-Id", "r1")
	res.want(202, `"status":"IN_PROGRESS"`)
	v := res.json()
	self := "/servers/pg-one/operations/" + fmt.Sprint(v["operation_id"])
	for _, name := range []string{"Location", "Operation-Location"} {
		if got := res.Header().Get(name); got != self {
			t.Errorf("%s = %q, want %q", name, got, self)
		}
	}
	if res.Header().Get("Retry-After") != "1" || res.Header().Get("ETag") != "" || res.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the headers are %v, want Retry-After, no ETag and no-store", res.Header())
	}
	if b.start.started() != 1 {
		t.Fatalf("%d operations were started, want one", b.start.started())
	}
	op := b.start.got[0]
	if op.Type != "backup" || op.Server != "pg-one" || op.RequestedBy != "ann" || op.RequestID != "r1" || string(op.Request) != body ||
		!slices.Equal(op.Command, []string{b.cfg.Barman.Clients[0].Command, "-c", b.cfg.Barman.Clients[0].Config, "backup", "--jobs=2", "pg-one"}) {
		t.Errorf("the launcher gets %+v, want what was asked for, by whom, as it was sent", op)
	}
	got := b.ask("GET", self, "").json()
	for _, key := range []string{"operation_id", "status", "state", "type", "server", "created_at", "started_at", "ended_at", "requested_by", "request_id", "request", "command", "exit_code", "error", "progress", "result", "output", "cancel", "links"} {
		if _, ok := got[key]; !ok {
			t.Errorf("the operation lacks %s", key)
		}
	}
	if len(got) != 19 || got["requested_by"] != "ann" || got["ended_at"] != nil || fmt.Sprint(got["request"]) != "map[jobs:2 note:kept type:backup]" {
		t.Errorf("the operation is shown as %v", got)
	}
	instance := b.ask("POST", "/operations", `{"type":"config_update","changes":[{"scope":"server","server_name":"pg-one","description":"x"}]}`)
	instance.want(202, `"server":null`)
	if got := instance.Header().Get("Location"); !strings.HasPrefix(got, "/operations/") {
		t.Errorf("the Location of an instance operation is %q", got)
	}
}

// The checks of a body come in this order: JSON, not empty, server, type, members.
func TestBodies(t *testing.T) {
	b := newBench(t, nil)
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	plain := []string{"Content-Type", "text/plain"}
	for _, tc := range []struct {
		name, path, body string
		header           []string
		want             int
		says             string
	}{
		{"none", "pg-one", "", nil, 400, "no body"},
		{"none, said to be JSON", "pg-one", "", []string{"Content-Type", "application/json"}, 400, "no body"},
		{"blanks", "pg-one", " \n", nil, 400, "no body"},
		{"none, for an unknown server", "nope", "", nil, 400, "no body"},
		{"half of JSON", "pg-one", `{"type":`, nil, 400, "not JSON"},
		{"half of JSON, for an unknown server", "nope", `{"type":`, nil, 400, "not JSON"},
		{"JSON with something behind", "pg-one", `{"type":"backup"}x`, nil, 400, "at byte 18"},
		{"single quotes", "pg-one", `{'type':'backup'}`, nil, 400, "not JSON"},
		{"not UTF-8", "pg-one", "{\"type\":\"\xff\"}", nil, 400, "not UTF-8"},
		{"a byte-order mark", "pg-one", "\ufeff{\"type\":\"backup\"}", nil, 400, "not JSON"},
		{"too deep", "pg-one", strings.Repeat("[", 4000), nil, 400, "not JSON"},
		{"an empty object", "pg-one", `{}`, nil, 400, "Minimum barman options not met for server 'pg-one'"},
		{"an empty object, for an unknown server", "nope", `{}`, nil, 400, "Minimum barman options not met for server 'nope'"},
		{"an empty object, for the instance", "", `{}`, nil, 400, "Minimum barman options not met for instance operation"},
		{"an empty list", "pg-one", `[]`, nil, 400, "Minimum barman options"},
		{"null", "pg-one", `null`, nil, 400, "Minimum barman options"},
		{"false", "pg-one", `false`, nil, 400, "Minimum barman options"},
		{"zero", "pg-one", `0`, nil, 400, "Minimum barman options"},
		{"an empty string", "pg-one", `""`, nil, 400, "Minimum barman options"},
		{"a list", "pg-one", `[1]`, nil, 400, "must be a JSON object"},
		{"a string", "pg-one", `"x"`, nil, 400, "must be a JSON object"},
		{"a number", "pg-one", `5`, nil, 400, "must be a JSON object"},
		{"true", "pg-one", `true`, nil, 400, "must be a JSON object"},
		{"a list, for an unknown server", "nope", `[1]`, nil, 400, "must be a JSON object"},
		{"no Content-Type", "pg-one", `{"type":"backup"}`, []string{"Content-Type", ""}, 415, "application/json"},
		{"JSON as text", "pg-one", `{"type":"backup"}`, plain, 415, "application/json"},
		{"a form", "pg-one", `type=backup`, form, 415, "application/json"},
		{"a form, for an unknown server", "nope", `type=backup`, form, 415, "application/json"},
		{"a Content-Type that is none", "pg-one", `{"type":"backup"}`, []string{"Content-Type", "application/json; charset"}, 415, "application/json"},
		{"an unknown server", "nope", `{"type":"backup"}`, nil, 404, "404 Not Found: Server 'nope' does not exist"},
		{"an unknown server and an unknown type", "nope", `{"type":"x"}`, nil, 404, "Server 'nope' does not exist"},
		{"an unknown server and no members", "nope", `{"x":1}`, nil, 404, "Server 'nope' does not exist"},
		{"an unknown type", "pg-one", `{"type":"x"}`, nil, 400, `"pointer":"/type"`},
		{"an empty type", "pg-one", `{"type":""}`, nil, 400, `"pointer":"/type"`},
		{"upper case", "pg-one", `{"type":"RECOVERY"}`, nil, 400, "must be one of backup, recovery, config_switch"},
		{"a number for a type", "pg-one", `{"type":5}`, nil, 400, `"pointer":"/type"`},
		{"a list for a type", "pg-one", `{"type":["backup"]}`, nil, 400, `"pointer":"/type"`},
		{"null for a type", "pg-one", `{"type":null}`, nil, 400, `"pointer":"/type"`},
		{"Type is not type", "pg-one", `{"Type":"backup"}`, nil, 400, "backup_id"},
		{"no type means recovery", "pg-one", `{"x":1}`, nil, 400, "Request body is missing ``backup_id``"},
		{"no type for the instance", "", `{"x":1}`, nil, 400, `"pointer":"/type"`},
		{"a type of the instance", "pg-one", `{"type":"config_update","changes":[{}]}`, nil, 400, "goes to another path: /operations"},
		{"a type of a server", "", `{"type":"backup"}`, nil, 400, "goes to another path: /servers/NAME/operations"},
		{"a member of the wrong type", "pg-one", `{"type":"backup","jobs":"2"}`, nil, 400, `"pointer":"/jobs"`},
		{"a policy", "pg-one", `{"backup_id":"latest","destination_directory":"/srv/x","remote_ssh_command":"sh -c id"}`, nil, 422, `"pointer":"/remote_ssh_command"`},
		{"an unknown backup", "pg-one", `{"backup_id":"nope"}`, nil, 404, "404 Not Found: Backup 'nope' does not exist"},
		{"an inactive server", "pg-off", `{"type":"backup"}`, nil, 409, "inactive"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := "/operations"
			if tc.path != "" {
				path = "/servers/" + tc.path + "/operations"
			}
			res := b.ask("POST", path, tc.body, tc.header...)
			res.t = t
			res.want(tc.want, "")
			if !strings.Contains(res.Body.String(), strings.ReplaceAll(tc.says, `"`, `"`)) {
				t.Errorf("the answer is %s, want %q in it", res.Body, tc.says)
			}
		})
	}
	if n := b.start.started(); n != 0 {
		t.Errorf("%d operations were started by requests that were refused, want none", n)
	}
	for _, contentType := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.example+json", "application/problem+json;x=y"} {
		b.ask("POST", "/servers/pg-one/operations", `{"type":"backup","queue":true}`, "Content-Type", contentType).want(202, "")
	}
}

func TestBodiesThatAreTooLarge(t *testing.T) {
	b := newBench(t, nil)
	for _, tc := range []struct {
		name    string
		bytes   int
		chunked bool
		want    int
	}{
		{"just right", 4096, false, 202}, {"just right, without a length", 4096, true, 202},
		{"one byte too many", 4097, false, 413}, {"one byte too many, without a length", 4097, true, 413},
		{"far too many", 1 << 20, false, 413}, {"far too many, without a length", 1 << 20, true, 413},
	} {
		t.Run(tc.name, func(t *testing.T) {
			head := `{"type":"backup","queue":true,"x":"`
			var body io.Reader = strings.NewReader(head + strings.Repeat("x", tc.bytes-len(head)-2) + `"}`)
			if tc.chunked {
				body = io.MultiReader(body)
			}
			r := httptest.NewRequest("POST", "/servers/pg-one/operations", body)
			r.Header.Set("Content-Type", "application/json")
			res := b.serve(r)
			res.t = t
			says := ""
			if tc.want == 413 {
				says = "larger than the 4096 bytes that max_body allows"
			}
			res.want(tc.want, says)
		})
	}
	if n := b.start.started(); n != 2 {
		t.Errorf("%d operations were started, want the two of the right size", n)
	}
	t.Run("one that breaks off", func(t *testing.T) {
		r := httptest.NewRequest("POST", "/servers/pg-one/operations", io.MultiReader(strings.NewReader(`{"type":`), brokenReader{}))
		r.Header.Set("Content-Type", "application/json")
		b.serve(r).want(400, "did not arrive whole")
	})
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// What object accepts is a JSON object with all its members, or empty; what it refuses is told
// to the client.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{}`, `[]`, `null`, `0`, `-0.0`, `0e5`, `""`, `false`, `[1]`, `{"a":1,"a":2}`, `{"a":1e999}`, "{\"\xff\":1}", ` {"a":{"b":[]}} `, `{"a":`, `1`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, err := object(raw)
		if err != nil {
			if !as[bodyError](err) || body != nil {
				t.Errorf("object(%q) = %v, %v, want a bodyError alone", raw, body, err)
			}
			return
		}
		if !json.Valid(raw) || !utf8.Valid(raw) {
			t.Errorf("object accepts %q, which is no JSON", raw)
		}
		var v any
		_ = json.Unmarshal(raw, &v)
		m, ok := v.(map[string]any)
		if len(body) != len(m) || !ok && len(body) != 0 {
			t.Errorf("object(%q) has %d members, want %d", raw, len(body), len(m))
		}
		for name, member := range body {
			if _, ok := m[name]; !ok || !json.Valid(member) {
				t.Errorf("object(%q) has the member %q = %q, want those of the object", raw, name, member)
			}
		}
	})
}

func TestBrokenInstallation(t *testing.T) {
	boom := errors.New("configuration /etc/x.toml: line 3: unknown key y")
	b := newBench(t, func(c *Config) {
		*c = Config{Broken: boom, Log: c.Log, Version: "test"} // nothing else is there
	})
	for _, target := range []string{"/", "/status", "/servers", "/operations", "/nope"} {
		b.ask("GET", target, "").want(503, "line 3: unknown key y")
	}
	b.ask("POST", "/operations", `{"type":"config_update"}`).want(503, "")
	b.ask("GET", "//", "").want(400, "")
	full := newBench(t, func(c *Config) { c.Broken = &operation.UnusableError{Dir: "/x", Err: syscall.ENOSPC} })
	full.ask("GET", "/servers", "").want(507, "state directory /x")
}

// Each error has its status; what nobody expects is a 500 that tells nothing.
func TestErrorsBecomeStatuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want int
		says string
	}{
		{"a full disk", &operation.UnusableError{Dir: "/x", Err: fmt.Errorf("write: %w", syscall.ENOSPC)}, 507, "state directory /x"},
		{"a quota", fmt.Errorf("record: %w", syscall.EDQUOT), 507, ""},
		{"a state directory that does not work", &operation.UnusableError{Dir: "/x", Err: syscall.EROFS}, 503, "state directory /x"},
		{"no runner", &operation.LaunchError{Err: errors.New("no socket")}, 503, "no runner could be started: no socket"},
		{"no Barman", &barman.MissingError{Command: "barman", Err: fmt.Errorf("x: %w", os.ErrNotExist)}, 503, "Barman is not installed"},
		{"Barman's configuration", &barman.ConfigError{Path: "/etc/barman.conf", Err: os.ErrNotExist}, 503, "/etc/barman.conf"},
		{"too old a Barman", &barman.UnsupportedError{Kind: "config_switch", Since: "3.10", Installed: "3.4.0"}, 501, "3.10"},
		{"in the way", &operation.ConflictError{ID: "20260102T030405-0az9kx", Why: "wait for it"}, 409, "is in the way"}, // which, see TestHiddenOperationsStayHidden
		{"being accepted", &operation.AcceptingError{ID: "20260102T030405-0az9kx"}, 409, "ask again"},
		{"a key used twice", &operation.KeyError{ID: "20260102T030405-0az9kx"}, 422, "Idempotency-Key"},
		{"the wrong state", &operation.TransitionError{ID: "x", From: operation.Succeeded, To: operation.Canceling}, 409, `"state":"succeeded"`},
		{"forgotten meanwhile", operation.ErrNotFound, 404, ""},
		{"an inactive server", &barman.InactiveError{Server: "x"}, 409, "inactive"},
		{"not allowed here", &barman.InvalidError{Summary: "no", Policy: true, Fields: []barman.Field{{Pointer: "/x", Detail: "why"}}}, 422, `"errors":[{"pointer":"/x","detail":"why"}]`},
		{"something unknown", errors.New("open /secret/path: permission denied"), 500, "its log says why"},
		{"an error of the system", os.ErrPermission, 500, "its log says why"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.start.fail = func() error { return fmt.Errorf("start: %w", tc.err) }
			res := b.ask("POST", "/servers/pg-one/operations", `{"type":"backup"}`)
			res.want(tc.want, tc.says)
			if strings.Contains(res.Body.String(), "secret") {
				t.Errorf("the answer tells what it must not: %s", res.Body)
			}
			if logged := strings.Contains(b.log.text(), `"level":"error"`); logged != (tc.want >= 500) {
				t.Errorf("an error of status %d is logged: %v, want it for 5xx\n%s", tc.want, logged, b.log.text())
			}
			if tc.want == 500 && !strings.Contains(b.log.text(), tc.err.Error()) {
				t.Errorf("the log does not say why: %s", b.log.text())
			}
		})
	}
}

func TestStateDirectoryThatIsGone(t *testing.T) {
	b := newBench(t, nil)
	if err := os.RemoveAll(filepath.Join(b.dir, "state", "operations")); err != nil {
		t.Fatal(err)
	}
	b.ask("GET", "/operations", "").want(503, "state directory")
	b.ask("POST", "/servers/pg-one/operations", `{"type":"backup"}`).want(503, "state directory")
	if err := os.WriteFile(b.auth.Users.Path, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.ask("GET", "/servers", "").want(503, "users.toml")
}

func TestLists(t *testing.T) {
	b := newBench(t, nil)
	b.ask("GET", "/operations", "").want(200, `{"operations":[]}`)
	one := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Succeeded, "")
	two := b.ended(operation.Operation{Type: "recovery", Server: "pg-one"}, operation.Failed, "")
	instance := b.ended(operation.Operation{Type: "config_update"}, operation.Failed, "")
	other, _ := b.operation(operation.Operation{Type: "backup", Server: "pg-two"})
	bad := b.ended(operation.Operation{Type: "config_update"}, operation.Failed, "")
	if err := os.WriteFile(filepath.Join(b.dir, "state", "operations", string(bad.ID), "operation.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	ids := func(target string) []string {
		t.Helper()
		list := []string{}
		for _, o := range b.ask("GET", target, "").json()["operations"].([]any) {
			o := o.(map[string]any)
			list = append(list, fmt.Sprintf("%v %v %v", o["id"], o["type"], o["status"]))
		}
		return list
	}
	line := func(op operation.Operation, status string) string {
		return fmt.Sprintf("%s %s %s", op.ID, op.Type, status)
	}
	sorted := func(lines ...string) []string {
		slices.Sort(lines)
		slices.Reverse(lines)
		return lines
	}
	damaged := line(bad, "FAILED")
	for _, tc := range []struct {
		target string
		want   []string
	}{
		{"/servers/pg-one/operations", sorted(line(one, "DONE"), line(two, "FAILED"))},
		{"/servers/pg-two/operations", sorted(line(other, "IN_PROGRESS"))},
		{"/servers/pg-off/operations", sorted()},
		{"/operations", sorted(line(instance, "FAILED"), damaged)},
		{"/operations?scope=all", sorted(line(one, "DONE"), line(two, "FAILED"), line(other, "IN_PROGRESS"), line(instance, "FAILED"), damaged)},
		{"/servers/pg-one/operations?scope=all", sorted(line(one, "DONE"), line(two, "FAILED"))},
	} {
		if got := ids(tc.target); !slices.Equal(got, tc.want) {
			t.Errorf("GET %s = %q, want %q", tc.target, got, tc.want)
		}
	}
	res := b.ask("GET", "/operations/"+string(bad.ID), "")
	res.want(200, `"state":"damaged"`)
	if v := res.json(); v["status"] != "FAILED" || v["error"].(map[string]any)["title"] != "Damaged record" {
		t.Errorf("a damaged record is shown as %v", v)
	}
	b.ask("DELETE", "/operations/"+string(bad.ID), "").want(204, "")
	b.ask("GET", "/operations/"+string(bad.ID), "").want(404, "Resource not found")
}

// A record without a request (of another program, or edited by hand) can be looked at, too.
func TestARecordWithoutARequest(t *testing.T) {
	b := newBench(t, nil)
	op := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Failed, "")
	path := filepath.Join(b.dir, "state", "operations", string(op.ID), "operation.json")
	text := fmt.Sprintf(`{"version":1,"id":%q,"type":"backup","server":"pg-one","state":"failed","command":["barman"],"created_at":"2026-01-01T00:00:00Z"}`, op.ID)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.ask("GET", "/servers/pg-one/operations/"+string(op.ID), "").want(200, `"request":null`)
}

func TestCancelRetryDelete(t *testing.T) {
	b := newBench(t, nil)
	queued, _ := b.operation(operation.Operation{Type: "backup", Server: "pg-one"})
	path := "/servers/pg-one/operations/" + string(queued.ID)
	b.ask("DELETE", path, "").want(409, `"state":"queued"`)
	b.ask("POST", path+"/retry", "").want(409, `"state":"queued"`)
	canceled := b.askAs("ann", "POST", path+"/cancel", "")
	canceled.want(202, `"state":"canceled"`)
	if c, ok := canceled.json()["cancel"].(map[string]any); !ok || c["by"] != "ann" || canceled.Header().Get("Location") != path {
		t.Errorf("the cancel is shown as %v with Location %q, want ann and %s", canceled.json()["cancel"], canceled.Header().Get("Location"), path)
	}
	again := b.askAs("ann", "POST", path+"/retry", "")
	again.want(202, `"type":"backup"`)
	if next := fmt.Sprint(again.json()["operation_id"]); next == string(queued.ID) || again.Header().Get("Location") == path {
		t.Errorf("the retry is %s, want a new operation", next)
	}
	gone := b.ask("DELETE", path, "")
	gone.want(204, "")
	if gone.Body.Len() != 0 {
		t.Errorf("the body of a 204 is %q, want none", gone.Body)
	}
	for _, method := range []string{"GET", "DELETE"} {
		b.ask(method, path, "").want(404, "Resource not found")
	}
	b.ask("POST", path+"/retry", "").want(404, "")
	b.ask("POST", path+"/cancel", "").want(404, "")
	done := b.ended(operation.Operation{Type: "recovery", Server: "pg-one", Request: json.RawMessage(`{"backup_id":"nope"}`)}, operation.Succeeded, "")
	b.ask("POST", "/servers/pg-one/operations/"+string(done.ID)+"/retry", "").want(404, "Backup 'nope' does not exist") // checked anew
}

// Who may what: each identity with each endpoint. A refusal starts nothing.
func TestPermissions(t *testing.T) {
	lists := map[string]auth.Lists{
		"anonymous": {},
		"all":       {Access: []string{"*"}},
		"reader":    {Access: []string{"GET *"}},
		"lister":    {Access: []string{"servers"}, Deny: []string{"servers/*"}},
		"one":       {Access: []string{"servers/pg-one"}},
		"backups":   {Access: []string{"servers/pg-one/operations/backup"}},
		"blind":     {Access: []string{"POST servers/pg-one/operations/backup"}},
		"denied":    {Access: []string{"*"}, Deny: []string{"servers/pg-one/operations/backup"}},
		"instance":  {Access: []string{"operations"}},
		"deep":      {Access: []string{"status/deep", "version"}},
	}
	b := newBench(t, nil)
	b.allow(lists)
	backup := "/servers/pg-one/operations/" + string(b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Failed, "x").ID)
	recovery := "/servers/pg-one/operations/" + string(b.ended(operation.Operation{Type: "recovery", Server: "pg-one"}, operation.Failed, "x").ID)
	update := "/operations/" + string(b.ended(operation.Operation{Type: "config_update"}, operation.Failed, "x").ID)
	const unknown = "/servers/pg-one/operations/20260102T030405-0az9kx"
	backupBody, badRecovery := `{"type":"backup","queue":true}`, `{"backup_id":"nope"}`
	for _, tc := range []struct {
		user, method, path, body string
		want                     int
	}{
		// Nobody, and somebody who is not listed: the status alone.
		{"", "GET", "/status", "", 200}, {"stranger", "GET", "/status", "", 200}, {"", "GET", "/", "", 401}, {"deep", "GET", "/", "", 200}, {"", "OPTIONS", "/servers", "", 204},
		{"", "GET", "/status?deep=1", "", 401}, {"", "GET", "/version", "", 401}, {"", "GET", "/servers", "", 401}, {"", "GET", "/operations", "", 401},
		{"", "GET", "/servers/pg-one/operations", "", 401}, {"", "GET", "/servers/nope/operations", "", 401}, {"", "GET", backup, "", 401}, {"", "GET", backup + "/output", "", 401},
		{"", "POST", "/servers/pg-one/operations", backupBody, 401}, {"", "POST", "/servers/nope/operations", backupBody, 401}, {"", "POST", "/operations", `{"type":"x"}`, 401},
		{"", "DELETE", backup, "", 401}, {"", "POST", backup + "/cancel", "", 401}, {"", "POST", backup + "/retry", "", 401}, {"", "POST", "/operations", `{`, 401},
		{"stranger", "GET", "/servers", "", 403}, {"stranger", "GET", backup, "", 403}, {"stranger", "POST", "/servers/pg-one/operations", backupBody, 403},
		{"stranger", "GET", "/version", "", 403}, {"stranger", "GET", "/status?deep=1", "", 403}, {"stranger", "HEAD", "/servers", "", 403},

		{"all", "GET", "/servers", "", 200}, {"all", "GET", backup, "", 200}, {"all", "GET", update, "", 200}, {"all", "POST", "/servers/pg-one/operations", backupBody, 202},

		{"reader", "GET", "/servers", "", 200}, {"reader", "HEAD", "/servers", "", 200}, {"reader", "GET", backup, "", 200}, {"reader", "GET", backup + "/output", "", 200},
		{"reader", "POST", "/servers/pg-one/operations", backupBody, 403}, {"reader", "DELETE", backup, "", 403}, {"reader", "POST", backup + "/retry", "", 403}, {"reader", "POST", backup + "/cancel", "", 403},
		{"reader", "POST", "/servers/nope/operations", backupBody, 403}, // nobody learns which servers there are

		{"lister", "GET", "/servers", "", 200}, {"lister", "GET", backup, "", 403}, {"lister", "GET", "/servers/pg-one/operations", "", 403},

		{"one", "GET", "/servers", "", 403}, {"one", "GET", "/servers/pg-one/operations", "", 200}, {"one", "GET", backup, "", 200}, {"one", "GET", recovery, "", 200},
		{"one", "GET", "/servers/pg-two/operations", "", 403}, {"one", "POST", "/servers/pg-two/operations", backupBody, 403}, {"one", "GET", "/operations", "", 403}, {"one", "GET", update, "", 403},
		{"one", "POST", "/servers/pg-one/operations", badRecovery, 404}, {"one", "GET", unknown, "", 404},

		// An operation of a type that may not be seen is as one that never was.
		{"backups", "GET", "/servers/pg-one/operations", "", 200}, {"backups", "GET", backup, "", 200}, {"backups", "GET", recovery, "", 404}, {"backups", "GET", recovery + "/output", "", 404}, {"backups", "GET", unknown, "", 404},
		{"backups", "DELETE", recovery, "", 404}, {"backups", "POST", recovery + "/retry", "", 404}, {"backups", "POST", recovery + "/cancel", "", 404},
		{"backups", "POST", "/servers/pg-one/operations", backupBody, 202}, {"backups", "POST", "/servers/pg-one/operations", badRecovery, 403}, {"backups", "POST", "/servers/pg-one/operations", `{"type":"config_switch","reset":true}`, 403},
		{"backups", "POST", "/servers/pg-one/operations", `{"type":"x"}`, 400},

		{"blind", "POST", "/servers/pg-one/operations", backupBody, 202}, {"blind", "GET", "/servers/pg-one/operations", "", 403}, {"blind", "GET", backup, "", 403}, {"blind", "POST", backup + "/retry", "", 404},

		{"denied", "GET", backup, "", 404}, {"denied", "GET", recovery, "", 200}, {"denied", "POST", "/servers/pg-one/operations", backupBody, 403}, {"denied", "POST", "/servers/pg-two/operations", backupBody, 202},

		{"instance", "GET", "/operations", "", 200}, {"instance", "GET", update, "", 200}, {"instance", "GET", backup, "", 403}, {"instance", "GET", "/servers", "", 403},
		{"instance", "GET", "/operations/" + filepath.Base(backup), "", 404},

		{"deep", "GET", "/status?deep=1", "", 200}, {"deep", "GET", "/version", "", 200}, {"deep", "GET", "/servers", "", 403},
	} {
		before := b.start.started()
		res := b.askAs(tc.user, tc.method, tc.path, tc.body)
		if res.Code != tc.want {
			t.Errorf("%q: %s %s %s = %d %s, want %d", tc.user, tc.method, tc.path, tc.body, res.Code, res.Body, tc.want)
		}
		if started := b.start.started() - before; started != 0 && tc.want != 202 || started != 1 && tc.want == 202 {
			t.Errorf("%q: %s %s %s started %d operations", tc.user, tc.method, tc.path, tc.body, started)
		}
	}
	// Whether an operation exists must not show in the answer either.
	hidden, never := b.askAs("backups", "GET", recovery, "", "X-Request-Id", "r"), b.askAs("backups", "GET", unknown, "", "X-Request-Id", "r")
	h, n := strings.ReplaceAll(hidden.Body.String(), filepath.Base(recovery), "ID"), strings.ReplaceAll(never.Body.String(), filepath.Base(unknown), "ID")
	if h != n {
		t.Errorf("an operation that may not be seen answers\n%s\none that never was\n%s\nwant the same", h, n)
	}
}

func TestListsShowWhatMayBeSeen(t *testing.T) {
	b := newBench(t, nil)
	b.allow(map[string]auth.Lists{
		"ann": {Access: []string{"servers/pg-one/operations/backup"}},
		"bob": {Access: []string{"servers", "operations"}, Deny: []string{"servers/pg-t*", "GET operations/config_update"}},
		"cy":  {Access: []string{"*"}, Deny: []string{"servers/*/operations/recovery"}},
	})
	one := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Failed, "")
	b.ended(operation.Operation{Type: "recovery", Server: "pg-one"}, operation.Failed, "")
	two := b.ended(operation.Operation{Type: "backup", Server: "pg-two"}, operation.Failed, "")
	update := b.ended(operation.Operation{Type: "config_update"}, operation.Failed, "")
	for _, tc := range []struct {
		user, path   string
		sees, misses []string
	}{
		{"ann", "/servers/pg-one/operations", []string{string(one.ID)}, []string{"recovery"}},
		{"cy", "/servers/pg-one/operations", []string{string(one.ID)}, []string{"recovery"}},
		{"cy", "/operations?scope=all", []string{string(one.ID), string(two.ID), string(update.ID)}, []string{"recovery"}},
		{"bob", "/servers", []string{"pg-one", "pg-off", "s 7"}, []string{"pg-two"}},
		{"bob", "/servers/pg-one/operations", []string{string(one.ID), "recovery"}, nil},
	} {
		body := b.askAs(tc.user, "GET", tc.path, "").Body.String()
		for _, want := range tc.sees {
			if !strings.Contains(body, want) {
				t.Errorf("%s does not see %s in GET %s: %s", tc.user, want, tc.path, body)
			}
		}
		for _, not := range tc.misses {
			if strings.Contains(body, not) {
				t.Errorf("%s sees %s in GET %s: %s", tc.user, not, tc.path, body)
			}
		}
	}
}

func TestOutput(t *testing.T) {
	b := newBench(t, nil)
	op := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Succeeded, "0123456789")
	path := "/servers/pg-one/operations/" + string(op.ID) + "/output"
	for _, tc := range []struct {
		query, rng string
		want       int
		body       string
		contentRng string
	}{
		{"", "", 200, "0123456789", ""},
		{"?offset=0", "", 200, "0123456789", ""}, {"?offset=4", "", 200, "456789", ""}, {"?offset=9", "", 200, "9", ""}, {"?offset=10", "", 200, "", ""}, {"?offset=11", "", 200, "", ""}, {"?offset=9223372036854775807", "", 200, "", ""},
		{"?offset=", "", 200, "0123456789", ""},
		{"", "bytes=2-4", 206, "234", "bytes 2-4/10"}, {"", "bytes=5-", 206, "56789", "bytes 5-9/10"}, {"", "bytes=-3", 206, "789", "bytes 7-9/10"}, {"", "bytes=2-100", 206, "23456789", "bytes 2-9/10"},
		{"?offset=4", "bytes=1-2", 206, "56", "bytes 1-2/6"},
	} {
		var header []string
		if tc.rng != "" {
			header = []string{"Range", tc.rng}
		}
		res := b.ask("GET", path+tc.query, "", header...)
		head := res.Header()
		if res.Code != tc.want || res.Body.String() != tc.body || head.Get("Content-Range") != tc.contentRng || head.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("GET output%s with Range %q = %d %q %v, want %d %q", tc.query, tc.rng, res.Code, res.Body, head, tc.want, tc.body)
		}
		if head.Get("X-Operation-State") != "succeeded" || head.Get("Cache-Control") != "no-store" || head.Get("Content-Length") != fmt.Sprint(len(tc.body)) {
			t.Errorf("GET output%s: the headers are %v", tc.query, head)
		}
	}
	for _, query := range []string{"?offset=-1", "?offset=x", "?offset=1.5", "?offset=9223372036854775808", "?offset=0x1", "?offset=%20", "?offset=1%00"} {
		b.ask("GET", path+query, "").want(400, `"pointer":"?offset"`)
	}
	empty := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Failed, "")
	if res := b.ask("GET", "/servers/pg-one/operations/"+string(empty.ID)+"/output", "", "Range", "bytes=0-"); res.Body.Len() != 0 || res.Code >= 400 {
		t.Errorf("GET of an empty output with a Range = %d %q, want it empty", res.Code, res.Body)
	}
	escape := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Failed, "a\x1b[31mb\x00\r\n\tc\x7f")
	if got := b.ask("GET", "/servers/pg-one/operations/"+string(escape.ID)+"/output", "").Body.String(); got != "a?[31mb?\r\n\tc?" {
		t.Errorf("control characters in the output come as %q, want question marks", got)
	}
	if got := b.ask("GET", "/servers/pg-one/operations/"+string(escape.ID)+"/output?raw=1", "").Body.String(); got != "a\x1b[31mb\x00\r\n\tc\x7f" {
		t.Errorf("?raw=1 gives %q, want what was printed", got)
	}
	if got := b.ask("GET", path+"?follow=1&offset=3", "").Body.String(); got != "3456789" {
		t.Errorf("?follow=1 after the end gives %q, want what there is", got)
	}
}

// Errors are JSON, this one, too.
func TestARangeThatIsNotThere(t *testing.T) {
	b := newBench(t, nil)
	op := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Succeeded, "0123456789")
	for _, header := range []string{"bytes=10-", "bytes=20-30", "lines=1-2", "bytes=5-2"} {
		b.ask("GET", "/servers/pg-one/operations/"+string(op.ID)+"/output", "", "Range", header).want(416, "")
	}
}

func TestServerSentEvents(t *testing.T) {
	b := newBench(t, nil)
	op := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Succeeded, "one\r\ntwo\n\nthree")
	path := "/servers/pg-one/operations/" + string(op.ID) + "/output"
	res := b.ask("GET", path, "", "Accept", "text/event-stream")
	all := "event: output\nid: 5\ndata: one\n\nevent: output\nid: 9\ndata: two\n\nevent: output\nid: 10\ndata: \n\nevent: output\nid: 15\ndata: three\n\n"
	state := "event: state\ndata: {\"state\":\"succeeded\",\"status\":\"DONE\"}\n\n"
	if res.Header().Get("Content-Type") != "text/event-stream" || res.Body.String() != all+state {
		t.Errorf("the events are %q, want %q", res.Body, all+state)
	}
	if got := b.ask("GET", path, "", "Accept", "text/event-stream", "Last-Event-Id", "9").Body.String(); got != all[strings.Index(all, "event: output\nid: 10"):]+state {
		t.Errorf("the events behind 9 are %q, want those that were missed", got)
	}
}

func TestPreferredWait(t *testing.T) {
	for _, tc := range []struct {
		header []string
		want   time.Duration
		ok     bool
	}{
		{nil, 0, false}, {[]string{""}, 0, false}, {[]string{"wait=5"}, 5 * time.Second, true}, {[]string{"Wait = 5"}, 5 * time.Second, true}, {[]string{`wait="5"`}, 5 * time.Second, true},
		{[]string{"return=minimal, wait=7"}, 7 * time.Second, true}, {[]string{"return=minimal", "wait=7"}, 7 * time.Second, true}, {[]string{"wait=0"}, 0, true},
		{[]string{"wait=100000"}, maxWait, true}, {[]string{"wait=-1"}, 0, false}, {[]string{"wait"}, 0, false}, {[]string{"wait=x"}, 0, false}, {[]string{"wait=99999999999999999999"}, 0, false}, {[]string{"waits=5"}, 0, false},
	} {
		if got, ok := preferredWait(tc.header); got != tc.want || ok != tc.ok {
			t.Errorf("preferredWait(%q) = %v, %v, want %v, %v", tc.header, got, ok, tc.want, tc.ok)
		}
	}
}

func TestWaiting(t *testing.T) {
	b := newBench(t, nil)
	done := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Succeeded, "")
	path := "/servers/pg-one/operations/"
	res := b.ask("GET", path+string(done.ID), "", "Prefer", "wait=20")
	res.want(200, `"status":"DONE"`)
	if got := res.Header().Get("Preference-Applied"); got != "wait=20" {
		t.Errorf("Preference-Applied = %q, want wait=20", got)
	}
	open, release := b.operation(operation.Operation{Type: "backup", Server: "pg-one"})
	b.ask("GET", path+string(open.ID), "", "Prefer", "wait=0").want(200, "IN_PROGRESS")
	go release()
	b.ask("GET", path+string(open.ID), "", "Prefer", "wait=25").want(200, `"state":"interrupted"`)
}

// A process that is to end is not kept by who follows an operation or waits for it: the test would never end.
func TestAnEndingProcessLetsGo(t *testing.T) {
	ending, end := context.WithCancel(t.Context())
	b := newBench(t, func(c *Config) { c.Ending = ending })
	open, _ := b.operation(operation.Operation{Type: "backup", Server: "pg-one"})
	path := "/servers/pg-one/operations/" + string(open.ID)
	end()
	b.ask("GET", path, "", "Prefer", "wait=25").want(200, "IN_PROGRESS")
	b.ask("GET", path+"/output?follow=1", "").want(200, "")
	if got := b.ask("GET", path+"/output", "", "Accept", "text/event-stream").Body.String(); strings.Contains(got, "event: state") {
		t.Errorf("the events of an operation that has not ended are %q, want no final state", got)
	}
}

func TestIdempotencyKey(t *testing.T) {
	b := newBench(t, nil)
	post := func(key, body string) *reply {
		t.Helper()
		return b.ask("POST", "/servers/pg-one/operations", body, "Idempotency-Key", key)
	}
	first := post(`"k 1"`, `{"type":"backup","queue":true}`)
	first.want(202, "")
	for _, key := range []string{`"k 1"`, "k 1"} {
		again := post(key, `{"queue":true, "type":"backup"}`)
		if again.Code != 202 || again.Header().Get("Location") != first.Header().Get("Location") || again.Header().Get("Idempotent-Replayed") != "true" {
			t.Errorf("the key %s again = %d %v, want the first operation", key, again.Code, again.Header())
		}
	}
	post("k 1", `{"type":"backup","queue":true,"jobs":3}`).want(422, `"conflicting_operation"`)
	if b.start.started() != 1 {
		t.Errorf("%d operations were started with one key, want one", b.start.started())
	}
	for _, key := range []string{`""`, strings.Repeat("x", 256), "a\tb", "größe", "\x7f"} {
		post(key, `{"type":"backup","queue":true}`).want(400, "Idempotency-Key")
	}
	post(strings.Repeat("x", 255), `{"type":"backup","queue":true}`).want(202, "")
}

// A client that sends the same request again keeps its request ID, too.
func TestAReplayWithTheSameRequestIDIsTold(t *testing.T) {
	b := newBench(t, nil)
	for i, want := range []string{"", "true"} {
		res := b.ask("POST", "/servers/pg-one/operations", `{"type":"backup","queue":true}`, "Idempotency-Key", "k", "X-Request-Id", "r1")
		if got := res.Header().Get("Idempotent-Replayed"); res.Code != 202 || got != want {
			t.Errorf("request %d = %d with Idempotent-Replayed %q, want %q", i, res.Code, got, want)
		}
	}
}

func TestConflictsAreTold(t *testing.T) {
	b := newBench(t, nil)
	first := b.ask("POST", "/servers/pg-one/operations", `{"type":"backup"}`)
	first.want(202, "")
	second := b.ask("POST", "/servers/pg-one/operations", `{"type":"backup"}`)
	second.want(409, `"conflicting_operation":"`+fmt.Sprint(first.json()["operation_id"])+`"`)
	b.ask("POST", "/servers/pg-two/operations", `{"type":"backup"}`).want(202, "")
}

// What was done on a server is told, and can be canceled, when Barman has it no more; that it has it no more is told of all else.
func TestOperationsOfAServerThatBarmanHasNoMore(t *testing.T) {
	b := newBench(t, nil)
	op := b.ended(operation.Operation{Type: "backup", Server: "pg-gone"}, operation.Succeeded, "")
	b.ask("GET", "/servers/pg-gone/operations/"+string(op.ID), "").want(200, `"server":"pg-gone"`)
	b.ask("POST", "/servers/pg-gone/operations/"+string(op.ID)+"/cancel", "{}").want(202, string(op.State))
	b.ask("GET", "/servers/pg-one/operations/"+string(op.ID), "").want(404, "Resource not found")
	b.ask("GET", "/servers/pg-never/operations/"+string(op.ID), "").want(404, "No barman config found for 'pg-never'")
	b.ask("GET", "/servers/pg-gone/operations", "").want(404, "No barman config found for 'pg-gone'")
}
