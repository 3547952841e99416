package handler

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"barback/runner/operation"
)

// allowed is the Allow header as a sorted list.
func allowed(r *reply) []string {
	var list []string
	for m := range strings.SplitSeq(r.Header().Get("Allow"), ",") {
		list = append(list, strings.TrimSpace(m))
	}
	slices.Sort(list)
	return list
}

// Every route with every method. A method that the path does not have is a 405 that names those
// that it has, and a trailing slash changes nothing.
func TestRoutes(t *testing.T) {
	read := []string{"GET", "HEAD", "OPTIONS"}
	list := []string{"GET", "HEAD", "OPTIONS", "POST"}
	one := []string{"DELETE", "GET", "HEAD", "OPTIONS"}
	act := []string{"OPTIONS", "POST"}
	b := newBench(t, nil)
	server := string(b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Failed, "x").ID)
	instance := string(b.ended(operation.Operation{Type: "config_update"}, operation.Failed, "x").ID)
	for _, tc := range []struct {
		path  string
		allow []string
		get   int // what GET answers
	}{
		{"/", read, 200}, {"/status", read, 200}, {"/status?x=1", read, 200}, {"/version", read, 200}, {"/diagnose", read, 200}, {"/servers", read, 200},
		{"/servers/pg-one/check", read, 200}, {"/servers/pg-one/status", read, 200}, {"/servers/pg-one/replication-status", read, 200}, {"/servers/pg-one/wals", read, 200},
		{"/operations", list, 200}, {"/operations/" + instance, one, 200}, {"/operations/" + instance + "/output", read, 200},
		{"/operations/" + instance + "/cancel", act, 405}, {"/operations/" + instance + "/retry", act, 405},
		{"/servers/pg-one/operations", list, 200}, {"/servers/s%207/operations", list, 200}, {"/servers/pg-one/operations/" + server, one, 200},
		{"/servers/pg-one/operations/" + server + "/output", read, 200}, {"/servers/pg-one/operations/" + server + "/cancel", act, 405},
		{"/servers/pg-one/operations/" + server + "/retry", act, 405},
		{"/servers/nope/operations", list, 404}, {"/operations/x", one, 404}, {"/operations/" + server, one, 404}, {"/servers/pg-one/operations/" + instance, one, 404},
		{"/servers/pg-two/operations/" + server, one, 404}, {"/operations/x/output", read, 404}, {"/servers/pg-one/operations/..", nil, 400},
		{"/nope", nil, 404}, {"/Status", nil, 404}, {"/operations/x/y", nil, 404}, {"/servers/pg-one/operation", nil, 404},
		{"/operations/x/output/y", nil, 404},
	} {
		t.Run(tc.path, func(t *testing.T) {
			for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "FOO", "TRACE", "get"} {
				for _, slash := range []string{"", "/"} {
					path, query, _ := strings.Cut(tc.path, "?")
					target := strings.TrimSuffix(path, "/") + slash
					if target == "" {
						target = "/"
					}
					if query != "" {
						target += "?" + query
					}
					if method == "DELETE" && tc.get == 200 && slices.Contains(tc.allow, method) {
						continue // that would take it away
					}
					res := b.ask(method, target, "")
					res.t = t
					switch {
					case tc.allow == nil:
						res.want(tc.get, "")
					case !slices.Contains(tc.allow, method):
						res.want(405, "not allowed on this path")
						if got := allowed(res); !slices.Equal(got, tc.allow) {
							t.Errorf("%s %s: Allow = %v, want %v", method, target, got, tc.allow)
						}
					case method == "OPTIONS":
						res.want(204, "")
						if got := allowed(res); !slices.Equal(got, tc.allow) || res.Body.Len() != 0 {
							t.Errorf("OPTIONS %s: Allow = %v with %q, want %v and no body", target, got, res.Body, tc.allow)
						}
					case method == "GET" || method == "HEAD":
						res.want(tc.get, "")
					}
				}
			}
		})
	}
}

// HEAD is GET without the body, over a real connection.
func TestHEAD(t *testing.T) {
	b := newBench(t, nil)
	op := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Failed, "some output\n")
	srv := httptest.NewServer(b)
	defer srv.Close()
	for _, path := range []string{"/", "/status", "/version", "/servers", "/servers/pg-one/check", "/servers/pg-one/wals", "/operations", "/nope", "/servers/pg-one/operations/" + string(op.ID), "/servers/pg-one/operations/" + string(op.ID) + "/output", "/operations/x"} {
		var heads [2]http.Header
		var codes [2]int
		for i, method := range []string{"GET", "HEAD"} {
			r, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Request-Id", "same")
			res, err := srv.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || (len(body) == 0) != (method == "HEAD") {
				t.Errorf("%s %s has a body of %d bytes (%v), want one for GET alone", method, path, len(body), err)
			}
			res.Header.Del("Date")
			heads[i], codes[i] = res.Header, res.StatusCode
		}
		if codes[0] != codes[1] || fmt.Sprint(heads[0]) != fmt.Sprint(heads[1]) {
			t.Errorf("HEAD %s = %d %v, GET %d %v, want the same", path, codes[1], heads[1], codes[0], heads[0])
		}
	}
}

func TestStatus(t *testing.T) {
	b := newBench(t, nil)
	for _, target := range []string{"/status", "/status/", "/status?deep=", "/status?deep=0", "/status?x=1"} {
		res := b.ask("GET", target, "")
		res.want(200, "")
		if res.Body.String() != `"OK"` || res.Header().Get("Content-Length") != "4" || res.Header().Get("Content-Type") != "application/json" {
			t.Errorf("GET %s = %q %v, want the four bytes \"OK\" as JSON", target, res.Body, res.Header())
		}
	}
	b.ask("GET", "/status?deep=1", "").want(200, `"detail":"fine"`)
	bad := newBench(t, func(c *Config) {
		c.Checks = func() []Check { return []Check{{"one", true, "fine"}, {"two", false, "it is broken"}} }
	})
	w := httptest.NewRecorder()
	bad.ServeHTTP(w, httptest.NewRequest("GET", "/status?deep=1", nil))
	if w.Code != 503 || !strings.Contains(w.Body.String(), "it is broken") || !strings.Contains(w.Body.String(), `"status":"FAILED"`) {
		t.Errorf("GET /status?deep=1 with a check that fails = %d %s, want 503 and the reason", w.Code, w.Body)
	}
}

func TestIndexAndVersion(t *testing.T) {
	b := newBench(t, func(c *Config) { c.BasePath = "/barback" })
	links := b.ask("GET", "/barback/", "").json()["links"].(map[string]any)
	for _, path := range links {
		b.ask("GET", path.(string), "").want(200, "")
	}
	v := b.ask("GET", "/barback/version", "").json()
	if v["barman"] != "3.13.3" || v["barback"] != "test" || len(v["operations"].([]any)) < 4 {
		t.Errorf("GET /version = %v, want both versions and the types of operations", v)
	}
}

func TestServersList(t *testing.T) {
	b := newBench(t, nil)
	op, _ := b.operation(operation.Operation{Type: "backup", Server: "pg-one"})
	res := b.ask("GET", "/servers", "")
	list := res.json()["servers"].([]any)
	var names []string
	for _, s := range list {
		names = append(names, s.(map[string]any)["name"].(string))
	}
	if !slices.Equal(names, []string{"pg-off", "pg-one", "pg-two", "s 7"}) {
		t.Errorf("the servers are %q", names)
	}
	one := list[1].(map[string]any)
	if one["description"] != "One" || one["active"] != true || one["active_model"] != nil || fmt.Sprint(one["running_operations"]) != "["+string(op.ID)+"]" {
		t.Errorf("pg-one is shown as %v", one)
	}
	if one["disabled"] != true || fmt.Sprint(one["faults"]) != "[conninfo is missing ssh_command is missing]" || list[0].(map[string]any)["disabled"] != false || list[0].(map[string]any)["faults"] != nil {
		t.Errorf("pg-one is shown as %v, want it disabled, and pg-off as %v", one, list[0])
	}
	if last, ok := one["last_backup"].(map[string]any); !ok || last["backup_id"] != "20260101T000000" || last["status"] != "DONE" || last["end_time"] != "2026-01-01T00:00:01Z" {
		t.Errorf("the last backup of pg-one is shown as %v", one["last_backup"])
	}
	if links := list[3].(map[string]any)["links"].(map[string]any); links["operations"] != "/servers/s%207/operations" {
		t.Errorf("the links of \"s 7\" are %v, want them escaped", links)
	}
}

// Paths that Apache and we could read differently are refused.
func TestPaths(t *testing.T) {
	b := newBench(t, nil)
	for _, tc := range []struct {
		name, target string
		want         int
	}{
		{"a slash at the end", "/servers/pg-one/operations/", 200},
		{"a double slash in front", "//status", 400},
		{"a double slash", "/servers//operations", 400},
		{"a double slash at the end", "/status//", 400},
		{"a dot", "/./status", 400},
		{"a dot at the end", "/status/.", 400},
		{"two dots", "/servers/../status", 400},
		{"two dots at the end", "/servers/..", 400},
		{"escaped dots", "/servers/%2e%2e/status", 400},
		{"half-escaped dots", "/servers/.%2E/status", 400},
		{"an escaped dot", "/%2e/status", 400},
		{"an escaped slash", "/servers%2Fpg-one/operations", 400}, // Apache refuses it, or is told what it is
		{"an escaped double slash", "/servers/%2Foperations", 400},
		{"escaped dots and slashes", "/servers/..%2f..%2fetc/operations", 400},
		{"three dots are a name", "/servers/.../operations", 404},
		{"a name with a dot", "/servers/.x/operations", 404},
		{"a NUL", "/servers/pg-one%00/operations", 400},
		{"a NUL in an ID", "/operations/a%00b", 400},
		{"a newline", "/servers/pg-one%0a/operations", 400},
		{"a carriage return", "/status%0d", 400},
		{"a tab", "/status%09", 400},
		{"an escape", "/status%1b", 400},
		{"a DEL", "/status%7f", 400},
		{"a blank", "/servers/s%207/operations", 200},
		{"a backslash", "/servers%5c..%5cstatus", 404},
		{"other letters", "/servers/gr%C3%B6%C3%9Fe/operations", 404},
		{"not UTF-8", "/servers/%ff/operations", 404},
		{"an ID that is none", "/operations/..%00", 400},
		{"an ID of 300 letters", "/operations/" + strings.Repeat("a", 300), 404},
		{"an absolute target", "http://localhost/status", 200},
		{"doubly escaped dots", "/servers/%252e%252e/operations", 404},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := b.ask("GET", tc.target, "")
			res.t = t
			res.want(tc.want, "")
		})
	}
	t.Run("OPTIONS *", func(t *testing.T) {
		res := b.serve(&http.Request{Method: "OPTIONS", URL: &url.URL{Path: "*"}, RequestURI: "*", Header: http.Header{}, Body: http.NoBody})
		res.want(204, "")
	})
	t.Run("no path", func(t *testing.T) {
		b.serve(&http.Request{Method: "GET", URL: &url.URL{}, Header: http.Header{}, Body: http.NoBody}).want(400, "")
		b.serve(&http.Request{Method: "GET", URL: &url.URL{Path: "*"}, Header: http.Header{}, Body: http.NoBody}).want(400, "")
		b.serve(&http.Request{Method: "GET", URL: &url.URL{Path: "status"}, Header: http.Header{}, Body: http.NoBody}).want(400, "")
	})
}

func TestBasePath(t *testing.T) {
	b := newBench(t, func(c *Config) { c.BasePath = "/bar/back" })
	for _, tc := range []struct {
		target string
		want   int
	}{
		{"/bar/back/status", 200}, {"/bar/back/status/", 200}, {"/bar/back", 200}, {"/bar/back/", 200}, {"/bar/back/servers/pg-one/operations", 200},
		{"/status", 404}, {"/", 404}, {"/bar", 404}, {"/bar/backX", 404}, {"/bar/backX/status", 404}, {"/bar/back-status", 404}, {"/BAR/BACK/status", 404},
		{"/bar/back/bar/back/status", 404}, {"/bar/back/../status", 400}, {"/bar//back/status", 400}, {"/bar/back//status", 400}, {"/bar/back/%2e%2e/x", 400},
	} {
		b.ask("GET", tc.target, "").want(tc.want, "")
	}
	res := b.ask("POST", "/bar/back/servers/s%207/operations", `{"type":"backup"}`)
	self := res.Header().Get("Location")
	if res.Code != 202 || !strings.HasPrefix(self, "/bar/back/servers/s%207/operations/") {
		t.Errorf("the Location is %q, want it below the base path", self)
	}
	b.ask("GET", self, "").want(200, `"server":"s 7"`)
	b.ask("GET", self+"/output", "").want(200, "")
	for name, link := range res.json()["links"].(map[string]any) {
		if !strings.HasPrefix(link.(string), "/bar/back/servers/s%207/operations") {
			t.Errorf("the link %s is %v, want it below the base path", name, link)
		}
	}
}

// The instance of a problem is the path that was asked for, which is not ours without the base path.
func TestInstanceIsThePathThatWasAskedFor(t *testing.T) {
	b := newBench(t, func(c *Config) { c.BasePath = "/barback" })
	for _, target := range []string{"/barback/nope", "/barback/servers/s%207/operations/x", "/barback//x", "/other"} {
		if got := b.ask("GET", target, "").json()["instance"]; got != target {
			t.Errorf("instance of GET %s = %v, want that path", target, got)
		}
	}
}

func TestAccept(t *testing.T) {
	for _, tc := range []struct {
		header string
		want   bool
	}{
		{"", true}, {"*/*", true}, {"application/json", true}, {"application/*", true}, {"APPLICATION/JSON", true}, {"text/html, application/json", true},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true}, {"application/json;q=0.1", true}, {"application/json; charset=utf-8", true},
		{"text/html", false}, {"text/*", false}, {"application/xml", false}, {"application/json;q=0", false}, {"application/json;q=0.000", false},
		{"*/*, application/json;q=0", false}, {"application/json;q=0, */*", false}, {"application/*;q=0, */*", false}, {"application/json, */*;q=0", true},
		{"application/json, application/*;q=0", true}, {";;;", false}, {"application/json;q=x", true}, {"nonsense", false},
	} {
		if got := acceptsJSON(tc.header); got != tc.want {
			t.Errorf("acceptsJSON(%q) = %v, want %v", tc.header, got, tc.want)
		}
	}
	b := newBench(t, nil)
	b.ask("GET", "/servers", "", "Accept", "text/html").want(406, "application/json")
	b.ask("GET", "/nope", "", "Accept", "text/html").want(404, "no such path")
	b.ask("GET", "/operations", "", "Accept", "application/*").want(200, "")
}

// Who asks for another type of answer must not start something and be told that it was refused.
func TestARefusedTypeOfAnswerStartsNothing(t *testing.T) {
	b := newBench(t, nil)
	b.ask("POST", "/servers/pg-one/operations", `{"type":"backup"}`, "Accept", "text/html").want(406, "")
	if n := b.start.started(); n != 0 {
		t.Errorf("%d operations were started by a request that got 406, want none", n)
	}
	op, _ := b.operation(operation.Operation{Type: "backup", Server: "pg-one"})
	b.ask("POST", "/servers/pg-one/operations/"+string(op.ID)+"/cancel", "", "Accept", "text/html").want(406, "")
	if now, err := b.store.Load(op.ID); err != nil || now.State != operation.Queued {
		t.Errorf("an operation whose cancel got 406 is %s (%v), want it queued", now.State, err)
	}
}

func TestETags(t *testing.T) {
	b := newBench(t, nil)
	op, release := b.operation(operation.Operation{Type: "backup", Server: "pg-one"})
	for _, path := range []string{"/", "/version", "/servers", "/operations", "/servers/pg-one/operations", "/servers/pg-one/operations/" + string(op.ID)} {
		tag := b.ask("GET", path, "").Header().Get("ETag")
		if len(tag) < 3 || tag[0] != '"' || tag[len(tag)-1] != '"' {
			t.Errorf("the ETag of %s is %q, want it in quotes", path, tag)
		}
		for _, header := range []string{tag, "W/" + tag, `"x", ` + tag, "*", ` ` + tag + ` `} {
			res := b.ask("GET", path, "", "If-None-Match", header)
			if res.Code != 304 || res.Body.Len() != 0 || res.Header().Get("ETag") != tag || res.Header().Get("Cache-Control") != "no-cache" {
				t.Errorf("GET %s with If-None-Match %s = %d %q %v, want 304 with the tag", path, header, res.Code, res.Body, res.Header())
			}
		}
		for _, header := range []string{`"x"`, strings.Trim(tag, `"`), tag + "x", ""} {
			if res := b.ask("GET", path, "", "If-None-Match", header); res.Code != 200 {
				t.Errorf("GET %s with If-None-Match %s = %d, want 200", path, header, res.Code)
			}
		}
	}
	path := "/servers/pg-one/operations/" + string(op.ID)
	tag := b.ask("GET", path, "").Header().Get("ETag")
	release()
	if res := b.ask("GET", path, "", "If-None-Match", tag); res.Code != 200 || !strings.Contains(res.Body.String(), "interrupted") {
		t.Errorf("GET of an operation that changed = %d %s, want 200 and the new state", res.Code, res.Body)
	}
	if got := b.ask("GET", "/nope", "", "If-None-Match", "*"); got.Code != 404 {
		t.Errorf("GET of nothing with If-None-Match = %d, want 404", got.Code)
	}
}

// Errors and output must not be kept by caches.
func TestCacheControl(t *testing.T) {
	b := newBench(t, nil)
	for _, path := range []string{"/nope", "/status", "/servers/nope/operations"} {
		if got := b.ask("GET", path, "").Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control of %s = %q, want no-store", path, got)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	b := newBench(t, nil)
	for _, good := range []string{"a", "abc-DEF_1.2", "a@b", strings.Repeat("x", 64), "f47ac10b-58cc-4372-a567-0e02b2c3d479"} {
		if got := b.ask("GET", "/status", "", "X-Request-Id", good).Header().Get("X-Request-Id"); got != good {
			t.Errorf("X-Request-Id %q comes back as %q, want it", good, got)
		}
	}
	seen := map[string]bool{}
	for _, bad := range []string{"", strings.Repeat("x", 65), "a b", "a\nb", "a\x1b[31m", `a","level":"fatal`, "größe", "a/b", "{}", "\x00", "a=b"} {
		got := b.ask("GET", "/status", "", "X-Request-Id", bad).Header().Get("X-Request-Id")
		if got == bad || !isRequestID(got) || len(got) != 16 || seen[got] {
			t.Errorf("X-Request-Id %q comes back as %q, want a new one", bad, got)
		}
		seen[got] = true
	}
	b.ask("GET", `/x","status":200,"msg":"forged`, "")
	for line := range strings.Lines(b.log.text()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("the log line %q is not JSON: %v", line, err)
		}
		if entry["msg"] != "request" && entry["msg"] != "request refused" {
			t.Errorf("the log has the message %q, want ours alone", entry["msg"])
		}
	}
	if n := strings.Count(b.log.text(), "\n"); n != 5+11+1 {
		t.Errorf("%d log lines for 17 requests, want one for each", n)
	}
}

func TestTheLogLine(t *testing.T) {
	b := newBench(t, nil)
	b.askAs("ann", "GET", "/nope?token=secret", "", "X-Request-Id", "r1")
	var entry map[string]any
	if err := json.Unmarshal([]byte(b.log.text()), &entry); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"request": "r1", "method": "GET", "path": "/nope", "status": 404.0, "user": "ann", "level": "info"} {
		if entry[key] != want {
			t.Errorf("%s in the log is %v, want %v", key, entry[key], want)
		}
	}
	if strings.Contains(b.log.text(), "secret") {
		t.Errorf("the log tells the query: %s", b.log.text())
	}
}

// What the path rules let through has one reading: no dot segments, no empty ones, no
// control characters, and it begins at the base path.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", "/status", "/barback/status", "/barbackX", "//", "/./", "/../", "/a/..", "/\x00", "/barback/../x", "/barback//", "*", "", "/barback/\x7f", "/a\nb", "/barback"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		for _, base := range []string{"", "/barback"} {
			h := &handler{Config: Config{BasePath: base}}
			at := &url.URL{Path: path}
			got, err := h.path(&request{Request: &http.Request{Method: "GET", URL: at}, asked: at.EscapedPath()})
			if err != nil {
				if got != "" {
					t.Errorf("path(%q) = %q beside the error %v", path, got, err)
				}
				continue
			}
			if got != "/" && (got[0] != '/' || strings.HasSuffix(got, "/")) || strings.Contains(got, "//") {
				t.Errorf("path(%q) = %q, want one slash in front and none at the end", path, got)
			}
			for segment := range strings.SplitSeq(got, "/") {
				if segment == "." || segment == ".." {
					t.Errorf("path(%q) = %q, want no dot segments", path, got)
				}
			}
			if strings.ContainsFunc(got, func(c rune) bool { return c < ' ' || c == 0x7f }) {
				t.Errorf("path(%q) = %q, want no control characters", path, got)
			}
			if want := strings.TrimSuffix(path, "/"); strings.TrimSuffix(base+got, "/") != want {
				t.Errorf("path(%q) below %q = %q, want what is behind the base path", path, base, got)
			}
		}
	})
}

// A panic ends in a 500 like any other, with its cause in the log alone.
func TestPanics(t *testing.T) {
	b := newBench(t, nil)
	b.start.fail = func() error { panic("secret cause") }
	res := b.ask("POST", "/servers/pg-one/operations", `{"type":"backup"}`, "X-Request-Id", "r1")
	res.want(500, "its log says why")
	if strings.Contains(res.Body.String(), "secret") {
		t.Errorf("the answer tells the cause: %s", res.Body)
	}
	log := b.log.text()
	if !strings.Contains(log, "secret cause") || !strings.Contains(log, "request panicked") || !strings.Contains(log, "TestPanics") || !strings.Contains(log, `"status":500`) {
		t.Errorf("the log is %s, want the cause, the stack and the status", log)
	}
	b.start.fail = nil
	b.ask("POST", "/servers/pg-one/operations", `{"type":"backup"}`).want(202, "")
}

// The body of a request is read even if nobody wants it, but for who asks first.
func TestBodiesAreReadBeforeTheAnswer(t *testing.T) {
	b := newBench(t, nil)
	for _, tc := range []struct {
		name   string
		expect string
		want   int
	}{{"sent at once", "", 0}, {"after a question", "100-continue", 5000}} {
		body := strings.NewReader(strings.Repeat("x", 5000))
		r := httptest.NewRequest("POST", "/nope", body)
		if tc.expect != "" {
			r.Header.Set("Expect", tc.expect)
		}
		b.serve(r).want(404, "")
		if body.Len() != tc.want {
			t.Errorf("%s: %d bytes of the body are left unread, want %d", tc.name, body.Len(), tc.want)
		}
	}
}

// Go's server refuses what is no HTTP; what comes through is answered as all else.
func TestRawRequests(t *testing.T) {
	srv := httptest.NewServer(newBench(t, nil))
	defer srv.Close()
	for _, tc := range []struct{ name, request, want string }{
		{"HTTP/1.0", "GET /status HTTP/1.0\r\n\r\n", "200 OK"},
		{"a control character in the target", "GET /sta\x01tus HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200 OK"},
		{"a header that is no header", "GET /status HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", "400 Bad Request"},
		{"two lengths", "POST /operations HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "400 Bad Request"},
		{"CONNECT", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "400 Bad Request"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, tc.request); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.HasSuffix(strings.TrimSpace(line), tc.want) {
				t.Errorf("the answer begins %q, %v, want %s", line, err, tc.want)
			}
		})
	}
}
