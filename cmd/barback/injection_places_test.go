package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The places outside of an operation's body where a client can write something.

// paths are the routes with a name in them, %s.
var paths = []string{
	"GET /%s", "GET /servers/%s/operations", "POST /servers/%s/operations", "GET /servers/%s/operations/ID", "GET /servers/pg-a/operations/%s", "GET /servers/pg-a/operations/%s/output",
	"POST /servers/pg-a/operations/%s/cancel", "POST /servers/pg-a/operations/%s/retry", "DELETE /servers/pg-a/operations/%s", "DELETE /servers/%s/operations/ID", "GET /servers/%s/operations/ID/output",
	"POST /servers/%s/operations/ID/cancel", "POST /servers/%s/operations/ID/retry", "GET /operations/%s", "GET /operations/%s/output", "POST /operations/%s/cancel", "POST /operations/%s/retry", "DELETE /operations/%s",
	"GET /servers/%s", "GET /servers/%s/backups", "GET /servers/%s/backups/ID", "GET /servers/pg-a/backups/%s",
	"GET /users/%s", "POST /users/%s", "DELETE /users/%s", "DELETE /tokens/%s",
	"GET /servers/%s/check", "GET /servers/%s/status", "GET /servers/%s/replication-status", "GET /servers/%s/wals",
	"GET /barman/%s", "POST /barman/%s", "GET /barman/%s/help", "POST /barman/%s/help", "GET /barman/list-servers/%s", "POST /barman/list-servers/%s",
}

// queries are the parameters of each path. ID is an operation that has ended.
var queries = map[string][]string{
	"/operations":                        {"type", "state", "status", "server", "since", "until", "page_size", "page_token", "requested_by", "scope", "dry_run", "nobody-knows-it"},
	"/servers/pg-a/operations":           {"type", "state", "status", "server", "since", "until", "page_size", "page_token", "requested_by", "scope", "dry_run"},
	"/operations/ID/retry":               {"dry_run"},
	"/servers/pg-a/operations/ID/retry":  {"dry_run"},
	"/operations/ID/output":              {"offset", "follow", "raw"},
	"/servers/pg-a/operations/ID":        {"wait"},
	"/servers/pg-a/operations/ID/output": {"offset", "follow", "raw"},
	"/servers/pg-a/backups":              {"status", "since", "until", "page_size", "page_token"},
	"/status":                            {"deep"},
	"/diagnose":                          {"max_age", "host"},
	"/version":                           {"host"},
	"/audit":                             {"since", "limit"},
	"/auth/user/change":                  {"username", "password", "access", "deny"}, // the commands' own: TestInjectionInCommands
	"/auth/user/add":                     {"username", "password", "access", "deny"},
	"/config/barman/change":              {"changes"},
	"/config/barmanapi/change":           {"changes"},
	"/servers/pg-a/check":                {"max_age"},
	"/servers/pg-a/status":               {"max_age"},
	"/servers/pg-a/replication-status":   {"max_age"},
	"/servers/pg-a/backups/ID":           {"target_time", "time_zone", "target_lsn", "target_tli"},
	"/history/list":                      {"past", "token"},
	"/history/result":                    {"ticket", "token"},
	"/barman/list-servers":               {"server_name", "token"},
	"/barman/list-servers/help":          {"token"},
}

// headers are those that barback reads, and those that something in front of it does.
var headers = []string{
	"X-Request-Id", "Idempotency-Key", "Authorization", "Prefer", "Accept", "Content-Type", "If-None-Match", "Range", "If-Range", "Last-Event-ID", "Origin", "Sec-Fetch-Site",
	"Host", "X-Forwarded-For", "X-Forwarded-User", "Remote-User", "REMOTE_USER", "Proxy", "Cookie", "User-Agent", "Nobody-Knows-It",
}

// people are the members of the bodies that are about users and tokens.
var people = []struct{ path, member, body string }{
	{"/users", "name", `{"name":%s}`}, {"/users", "role", `{"name":"x","role":%s}`}, {"/users", "access", `{"name":"x","access":[%s]}`}, {"/users", "deny", `{"name":"x","deny":[%s]}`}, {"/users", "password", `{"name":"x","password":%s}`},
	{"/users/boss", "name", `{"name":%s}`}, {"/users", "a member's name", `{"name":"x",%s:1}`},
	{"/tokens", "user", `{"user":%s}`}, {"/tokens", "name", `{"name":%s}`}, {"/tokens", "scope", `{"scope":[%s]}`}, {"/tokens", "expires", `{"expires":%s}`},
}

// TestInjectionElsewhere sends the values in paths, queries, headers and bodies that start nothing: nothing is
// started, and nothing but an answer of the right form comes back.
func TestInjectionElsewhere(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(tortureSeed(t), 0))
	n := newNoting(t)
	words, most := n.corpus("words"), times(3, 1000)
	c := client{t, n.url}
	described(c)
	done := c.post("/servers/pg-a/operations", `{"type":"backup"}`)
	c.wait(done)
	n.ran()
	boss := n.boss()
	sample := func() []string {
		rnd.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
		return words[:min(most, len(words))]
	}
	at := func(path string) string { return strings.ReplaceAll(path, "/ID", "/"+filepath.Base(done)) }
	for _, route := range paths {
		method, path, _ := strings.Cut(route, " ")
		body := map[bool]string{true: `{"type":"backup"}`}[strings.HasSuffix(path, "/operations") && method == "POST"]
		for _, w := range sample() {
			n.quiet(c, method, fmt.Sprintf(at(path), url.PathEscape(w)), body, boss)
		}
	}
	for path, names := range queries {
		for _, name := range names {
			for _, w := range slices.Concat(sample(), []string{"0"}) { // a max_age is what has Barman asked
				n.quiet(c, "GET", at(path)+"?"+name+"="+url.QueryEscape(w), "", boss)
			}
		}
	}
	for _, w := range sample() {
		if dry := url.QueryEscape(w); dry != "" && dry != "0" && dry != "false" {
			n.quiet(c, "POST", "/servers/pg-a/operations?dry_run="+dry, `{"type":"backup"}`, boss)
		}
	}
	for _, m := range people {
		for _, w := range sample() {
			quoted, _ := json.Marshal(w)
			n.quiet(c, "POST", m.path, fmt.Sprintf(m.body, quoted), boss)
			c.do("DELETE", "/users/x", "", "Authorization", boss)
		}
	}
	for _, name := range headers {
		for _, w := range sample() {
			n.rawHeader(t, name, w)
		}
	}
	for _, w := range sample() {
		n.raw(t, "GET /servers/"+w+"/operations?type="+w+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", nil)
	}
	if res := c.do("GET", "/users", "", "Authorization", boss); res.StatusCode != 200 {
		t.Errorf("GET /users after all that = %d %s, want 200", res.StatusCode, res.body)
	}
	n.logs()
}

// described holds the tables above against the description of the API: no place in it is left out.
func described(c client) {
	c.t.Helper()
	type parameter struct {
		Ref  string `json:"$ref"`
		In   string
		Name string
	}
	type operation struct{ Parameters []parameter }
	var api struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Parameters map[string]parameter }
	}
	res, err := c.try("GET", "/openapi.json", "")
	if err := errors.Join(err, json.Unmarshal(res.body, &api)); err != nil || len(api.Paths) < 10 {
		c.t.Fatalf("the description cannot be read, or has %d paths: %v", len(api.Paths), err)
	}
	place := regexp.MustCompile(`\{\w+\}`)
	names := strings.NewReplacer("{server}", "pg-a", "{id}", "ID", "{command}", "list-servers", "{option}", "help")
	for path, methods := range api.Paths {
		for method, raw := range methods {
			var of []parameter
			if method == "parameters" {
				_ = json.Unmarshal(raw, &of)
			} else {
				var op operation
				_ = json.Unmarshal(raw, &op)
				of = op.Parameters
				for _, at := range place.FindAllStringIndex(path, -1) {
					route := strings.ToUpper(method) + " " + names.Replace(path[:at[0]]) + "%s" + names.Replace(path[at[1]:])
					if !slices.Contains(paths, route) {
						c.t.Errorf("no test sends odd values in %s", route)
					}
				}
			}
			for _, p := range of {
				if p.Ref != "" {
					p = api.Components.Parameters[strings.TrimPrefix(p.Ref, "#/components/parameters/")]
				}
				if p.In == "query" && !slices.Contains(queries[names.Replace(path)], p.Name) || p.In == "header" && !slices.Contains(headers, p.Name) {
					c.t.Errorf("no test sends odd values in the %s %s of %s", p.In, p.Name, path)
				}
			}
		}
	}
}

// boss is an administrator's Authorization header.
func (n *noting) boss() string {
	n.t.Helper()
	add := n.command(n.bin, "user", "add", "--config", n.config, "--role", "admin", "--password-stdin", "boss")
	add.Stdin = strings.NewReader("correct horse battery\n")
	n.must(add)
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth("boss", "correct horse battery")
	return r.Header.Get("Authorization")
}

// quiet sends what must start nothing but a look without a word of the client's.
func (n *noting) quiet(c client, method, path, body, who string) {
	c.t.Helper()
	res := c.do(method, path, body, "Authorization", who, "Prefer", "wait=20")
	what := fmt.Sprintf("%s %s %s = %d %s", method, path, body, res.StatusCode, res.body)
	if res.StatusCode >= 500 {
		c.t.Errorf("%s, want no failure of the server", what)
	}
	if res.StatusCode >= 400 {
		wellFormed(c.t, res)
	}
	n.nothing(c.t, what)
}

// harmless are the commands that paths without a body may start.
var harmless = []string{"-f json diagnose", "-f json check pg-a", "-f json status pg-a", "-f json replication-status pg-a", "list-servers"}

// nothing fails if something was started that does something.
func (n *noting) nothing(t testing.TB, because string) {
	t.Helper()
	barman, ssh := n.ran()
	for _, args := range barman {
		if words := strings.Join(args, " "); !slices.Contains(harmless, strings.TrimPrefix(words, "-c "+n.env["LAB_BARMAN_CONF"]+" ")) {
			t.Errorf("%s started Barman %q", because, args)
		}
	}
	if len(ssh) > 0 {
		t.Errorf("%s started ssh %q", because, ssh)
	}
	n.alive(t, because)
}

// rawHeader sends a backup with a header as a client can write it that keeps no rules: what is started is
// that backup, or nothing.
func (n *noting) rawHeader(t testing.TB, name, value string) {
	t.Helper()
	body := `{"type":"backup"}`
	request := fmt.Sprintf("POST /servers/pg-a/operations HTTP/1.1\r\nHost: x\r\nPrefer: wait=20\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n%s: %s\r\n\r\n%s", len(body), name, value, body)
	if name == "Host" || name == "Content-Type" {
		request = regexp.MustCompile("(?m)^"+name+": [^\r]*\r\n").ReplaceAllString(request[:strings.Index(request, name+": "+value)], "") + request[strings.Index(request, name+": "+value):]
	}
	n.raw(t, request, []string{"-c", n.env["LAB_BARMAN_CONF"], "backup", "pg-a"})
}

// raw sends bytes and reads one answer to its end. What is started has the arguments, or nothing is.
func (n *noting) raw(t testing.TB, request string, args []string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(n.url, "http://"), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(conn, request)
	var copied bytes.Buffer
	res, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &copied)), nil)
	if err != nil {
		t.Fatalf("%q is not answered in HTTP: %v %q", request, err, copied.Bytes())
	}
	answer, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode >= 500 || res.Header.Get("X-Forged") != "" {
		t.Errorf("%q = %d %v %s (%v), want an answer of one piece", request, res.StatusCode, res.Header, answer, err)
	}
	if id := res.Header.Get("X-Request-Id"); !regexp.MustCompile(`^[A-Za-z0-9._@-]*$`).MatchString(id) {
		t.Errorf("%q = X-Request-Id %q, want an ID that harms nobody", request, id)
	}
	if res.StatusCode == http.StatusAccepted {
		n.settled(t, answer)
	}
	barman, ssh := n.ran()
	if len(ssh) > 0 || len(barman) > 1 || len(barman) == 1 && !slices.Equal(barman[0], args) || (len(barman) == 1) != (res.StatusCode == http.StatusAccepted && res.Header.Get("Idempotent-Replayed") == "") {
		t.Errorf("%q = %d started Barman %q and ssh %q, want %q if it is a 202", request, res.StatusCode, barman, ssh, args)
	}
	n.alive(t, request)
}

// settled waits for the end of the operation of an answer.
func (n *noting) settled(t testing.TB, answer []byte) {
	t.Helper()
	var op struct{ Links map[string]string }
	if err := json.Unmarshal(answer, &op); err != nil {
		t.Fatalf("the 202 is %s: %v", answer, err)
	}
	client{t, n.url}.wait(op.Links["self"])
}
