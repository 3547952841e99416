package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// The two texts of an unknown path's and an unknown server's 404.
const (
	noServer   = `"error":"404 Not Found: No barman config found for 'nope'."`
	noResource = `"error":"404 Not Found: Resource not found"`
)

// allows wants methods in the Allow header.
func allows(methods ...string) func(peer, reply) {
	return func(p peer, res reply) {
		p.t.Helper()
		var got []string
		for m := range strings.SplitSeq(res.Header.Get("Allow"), ",") {
			got = append(got, strings.TrimSpace(m))
		}
		for _, m := range methods {
			if !slices.Contains(got, m) {
				p.t.Errorf("Allow = %q, want %s in it", got, m)
			}
		}
	}
}

// peerPaths are the fixed paths, and what every answer has.
var peerPaths = []peerRow{
	{name: "status", mark: contract, ask: "GET /status", code: 200, says: `"OK"`, holds: func(p peer, res reply) {
		if len(res.body) != 4 {
			p.t.Errorf("the body is %q, want the four bytes \"OK\" with their quotes", res.body)
		}
	}},
	{name: "status was said to be HTML", mark: defect, ask: "GET /status", code: 200, holds: func(p peer, res reply) {
		if got := res.Header.Get("Content-Type"); got != "application/json" {
			p.t.Errorf("Content-Type = %q, want application/json", got)
		}
	}},
	{name: "h-query", mark: contract, ask: "GET /status?x=1", code: 200, says: `"OK"`},
	{name: "status-head", mark: contract, ask: "HEAD /status", code: 200, holds: func(p peer, res reply) {
		if got := res.Header.Get("Content-Length"); got != "4" || len(res.body) != 0 {
			p.t.Errorf("Content-Length = %q with the body %q, want 4 and none", got, res.body)
		}
	}},
	{name: "status-options", mark: free, ask: "OPTIONS /status", code: 204, holds: allows("OPTIONS", "HEAD", "GET")},
	{name: "status-post", mark: contract, ask: "POST /status", code: 405, holds: allows("OPTIONS", "HEAD", "GET")},
	{name: "h-badmethod", mark: contract, ask: "FOO /status", code: 405, holds: allows("OPTIONS", "HEAD", "GET")},
	{name: "status-http10", mark: free, ask: "GET /status HTTP/1.0\r\n\r\n", code: 200, says: `"OK"`},
	{name: "h-no-host", mark: free, ask: "GET /status HTTP/1.1\r\nConnection: close\r\n\r\n", code: 400, says: "400 Bad Request: "}, // RFC 9112, 3.2
	{name: "h-gzip", mark: free, ask: "GET /operations", header: []string{"Accept-Encoding", "gzip"}, code: 200, says: `{"operations":[`},
	{name: "h-bighdr", mark: free, ask: "GET /status", header: []string{"X-Long", strings.Repeat("x", 8000)}, code: 200, says: `"OK"`},
	// API.md's own rule is that every path takes a slash at its end. No client waits for a 404 there; that there is
	// no redirect is kept.
	{name: "status-slash", mark: extended, ask: "GET /status/", code: 200, says: `"OK"`},
	{name: "ops-slash", mark: extended, ask: "GET /operations/", code: 200, says: `"operations":[`},
	{name: "s-list-slash", mark: extended, ask: "GET /servers/pg-one/operations/", code: 200, says: `"operations":[`},
	{name: "root", mark: free, ask: "GET /", code: 200, says: `"links"`},
	{name: "nothing", mark: free, ask: "GET /nope", code: 404, says: `"error":"404 Not Found: `},
	{name: "servers", mark: free, ask: "GET /servers", code: 200, says: `"pg-one"`},
	{name: "x-server-enc", mark: free, ask: "GET /servers/..%2f/operations"},
	{name: "diagnose", mark: contract, ask: "GET /diagnose", code: 200, says: `"servers":{`, holds: func(p peer, res reply) {
		for _, member := range []string{"global", "models", "servers"} {
			if _, ok := res.json(p.t)[member].(map[string]any); !ok {
				p.t.Errorf("the object has no %s: %.200s", member, res.body)
			}
		}
	}},
	{name: "diagnose-post", mark: contract, ask: "POST /diagnose", code: 405, holds: allows("OPTIONS", "HEAD", "GET")},
	{name: "ops-delete", mark: contract, ask: "DELETE /operations", code: 405, holds: allows("OPTIONS", "HEAD", "GET", "POST")},
	{name: "s-put", mark: contract, ask: "PUT /servers/pg-one/operations", body: `{"type":"config_switch","reset":true}`, code: 405, holds: allows("OPTIONS", "HEAD", "GET", "POST")},
	{name: "ops-id-post", mark: contract, ask: "POST /operations/$instance", body: `{"type":"config_update"}`, code: 405, holds: allows("OPTIONS", "HEAD", "GET")},
	// DELETE forgets a finished operation: it was a 405, which no client waits for.
	{name: "s-id-delete", mark: extended, ask: "DELETE /servers/pg-one/operations/20200101T000000", code: 404, says: noResource},
	{name: "ops-options", mark: free, ask: "OPTIONS /operations", code: 204, holds: allows("OPTIONS", "HEAD", "GET", "POST")},
	{name: "s-id-options", mark: free, ask: "OPTIONS /servers/pg-one/operations/$done", code: 204, holds: allows("OPTIONS", "HEAD", "GET")},
	{name: "405 was HTML", mark: defect, ask: "POST /status", body: `{}`, code: 405, says: `"error":"405 Method Not Allowed: `},
	{name: "400 was HTML", mark: defect, ask: "POST /operations", body: `{"type":`, code: 400, says: `"error":"400 Bad Request: `},
}

// peerEmpty is asked before anything else.
var peerEmpty = peerRow{name: "ops-list-empty", mark: contract, ask: "GET /operations", code: 200, says: `{"operations":[]}`}

// tells wants an operation's answer to have the old members with these values.
func tells(status string) func(peer, reply) {
	return func(p peer, res reply) {
		p.t.Helper()
		op := res.json(p.t)
		if asked := res.Request.URL.Path; op["status"] != status || !strings.HasSuffix(asked, "/"+fmt.Sprint(op["operation_id"])) {
			p.t.Errorf("status = %v of operation %v, want %s of the one asked for (%s)", op["status"], op["operation_id"], status, asked)
		}
	}
}

// peerLists are the lists of operations and their status.
var peerLists = []peerRow{
	{name: "ops-list", mark: contract, ask: "GET /operations", code: 200, says: `"type":"config_update"`, holds: sorted("config_update")},
	{name: "s-list", mark: contract, ask: "GET /servers/pg-one/operations", code: 200, says: `{"operations":[{"id":"`, holds: sorted("backup", "recovery", "config_switch")},
	{name: "the list was in the order of the directory", mark: defect, ask: "GET /servers/pg-one/operations", code: 200, holds: sorted("backup", "recovery", "config_switch")},
	{name: "s-list-head", mark: contract, ask: "HEAD /servers/pg-one/operations", code: 200, holds: func(p peer, res reply) {
		get := p.do("GET", "/servers/pg-one/operations", "")
		if got := res.Header.Get("Content-Length"); got != fmt.Sprint(len(get.body)) || res.Header.Get("Content-Type") != "application/json" || len(res.body) != 0 {
			p.t.Errorf("HEAD = %q of %s bytes with the body %q, want the headers of GET: %d bytes", res.Header.Get("Content-Type"), got, res.body, len(get.body))
		}
	}},
	{name: "s-unknown-server", mark: contract, ask: "GET /servers/nope/operations", code: 404, says: noServer},
	{name: "case-id", mark: contract, ask: "GET /servers/PG-ONE/operations", code: 404, says: strings.Replace(noServer, "nope", "PG-ONE", 1)},
	{name: "s-model-as-server", mark: contract, ask: "GET /servers/pg-one:plain/operations", code: 404, says: strings.Replace(noServer, "nope", "pg-one:plain", 1)},
	{name: "s-inactive", mark: contract, ask: "GET /servers/pg-off/operations", code: 200, says: `{"operations":[]}`},
	{name: "s-unknown-server-id", mark: contract, ask: "GET /servers/nope/operations/$done", code: 404, says: noServer},
	{name: "s-unknown-id", mark: contract, ask: "GET /servers/pg-one/operations/20200101T000000", code: 404, says: noResource},
	{name: "ops-id-unknown", mark: contract, ask: "GET /operations/20200101T000000", code: 404, says: noResource},
	{name: "i-under-a-server", mark: contract, ask: "GET /servers/pg-one/operations/$instance", code: 404, says: noResource},
	{name: "i-server-under-the-instance", mark: contract, ask: "GET /operations/$done", code: 404, says: noResource},
	{name: "i-under-another-server", mark: contract, ask: "GET /servers/pg-two/operations/$done", code: 404, says: noResource},
	{name: "r-ok-status-end", mark: contract, ask: "GET /servers/pg-one/operations/$done", code: 200, holds: tells("DONE")},
	{name: "r-fails-status", mark: contract, ask: "GET /servers/pg-one/operations/$failed", code: 200, holds: tells("FAILED")},
	// Its records, imported: those of one server, the other's are not there.
	{name: "imported-done", mark: contract, ask: "GET /servers/pg-two/operations/20261121T203109", code: 200, holds: tells("DONE")},
	{name: "imported-failed", mark: contract, ask: "GET /servers/pg-two/operations/20261121T203110", code: 200, holds: tells("FAILED")},
	{name: "imported-elsewhere", mark: contract, ask: "GET /servers/pg-one/operations/20261121T203109", code: 404, says: noResource},
	{name: "imported-list", mark: contract, ask: "GET /servers/pg-two/operations", code: 200, says: `"id":"20261121T203109","type":"config_switch"`},
	{name: "neither exit code nor times nor output were told", mark: defect, ask: "GET /servers/pg-one/operations/$done", code: 200, holds: func(p peer, res reply) {
		op := res.json(p.t)
		for _, member := range []string{"created_at", "started_at", "ended_at", "exit_code", "output"} {
			if op[member] == nil {
				p.t.Errorf("the operation has no %s: %s", member, res.body)
			}
		}
		if out := p.do("GET", "/servers/pg-one/operations/"+p.words["$done"]+"/output", ""); out.StatusCode != http.StatusOK || !strings.Contains(string(out.body), "Backup completed") {
			p.t.Errorf("its output = %d %q, want what barman backup printed", out.StatusCode, out.body)
		}
	}},
	{name: "x-dots", mark: free, ask: "GET /operations/../../x"},
	{name: "x-dots-enc", mark: free, ask: "GET /servers/pg-one/operations/..%2f..%2fpg-two%2fjobs%2fx"},
	{name: "x-absolute-enc", mark: free, ask: "GET /servers/pg-one/operations/%2ftmp%2foutside"},
	{name: "x-dotdot", mark: free, ask: "GET /operations/.."},
	{name: "x-long", mark: free, ask: "GET /operations/" + strings.Repeat("a", 300), code: 404, says: noResource},
	{name: "x-nul", mark: free, ask: "GET /operations/a%00b"},
	{name: "x-blank", mark: free, ask: "GET /operations/a%20b", code: 404, says: noResource},
}

// sorted wants the newest first, each with its id and one of these types.
func sorted(types ...string) func(peer, reply) {
	return func(p peer, res reply) {
		p.t.Helper()
		var ids []string
		for _, entry := range res.json(p.t)["operations"].([]any) {
			op := entry.(map[string]any)
			ids = append(ids, op["id"].(string))
			if !slices.Contains(types, op["type"].(string)) {
				p.t.Errorf("type = %v, want one of %v", op["type"], types)
			}
		}
		if len(ids) == 0 || !slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) }) {
			p.t.Errorf("the IDs are %q, want the newest first", ids)
		}
	}
}

// peerBeforeModels is what a Barman before 3.10 makes different.
var peerBeforeModels = []peerRow{
	{name: "old-status", mark: contract, ask: "GET /status", code: 200, says: `"OK"`},
	{name: "old-list", mark: contract, ask: "GET /servers/pg-one/operations", code: 200, says: `"type":"backup"`},
	{name: "old-recovery", mark: contract, ask: "POST /servers/pg-one/operations", body: `{"backup_id":"latest","destination_directory":"$dest","local":true}`, code: 202, ends: "DONE"},
	{name: "config_switch was accepted and failed with usage text", mark: defect, ask: "POST /servers/pg-one/operations", body: `{"type":"config_switch","reset":true}`, code: 501, says: "3.10"},
	{name: "config_update was accepted and failed with usage text", mark: defect, ask: "POST /operations", body: `{"type":"config_update","changes":[{"scope":"server","server_name":"pg-one","description":"x"}]}`, code: 501, says: "3.10"},
	// That Barman, and pg-backup-api with it, took a model for a server and could do nothing with it.
	{name: "old-model", mark: free, ask: "GET /servers/pg-old:model/operations", code: 404, says: strings.Replace(noServer, "nope", "pg-old:model", 1)},
}
