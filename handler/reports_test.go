package handler

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"barback/handler/auth"
	"barback/runner/operation"
)

// printing is a script that prints doc, ends with that code, and before waits as long as the file hold is there.
func (b *bench) printing(doc string, code int) {
	b.t.Helper()
	b.tells(fmt.Sprintf("while test -e %s/hold; do sleep 0.02; done\ncat <<'EOT'\n%s\nEOT\nexit %d", b.dir, doc, code))
}

func (b *bench) hold() { b.write("hold", "") }

func (b *bench) release() {
	b.t.Helper()
	if err := os.Remove(filepath.Join(b.dir, "hold")); err != nil {
		b.t.Fatal(err)
	}
}

const failedCheck = `{"_INFO": ["be careful"], "pg-one": {"postgresql": {"status": "FAILED", "hint": "password=topsecret"}, "directories": {"status": "OK", "hint": ""}}}`

// A check that fails is an answer.
func TestChecks(t *testing.T) {
	b := newBench(t, nil)
	b.printing(failedCheck, 1)
	res := b.ask("GET", "/servers/pg-one/check", "")
	res.want(200, `{"server":"pg-one","active":true,"ok":false,"failed":["postgresql"],"checks":[{"name":"directories","ok":true},{"name":"postgresql","ok":false,"hint":"password=*REDACTED*"}],"messages":["be careful"]}`)
	if res.Header().Get("Age") != "0" || res.Header().Get("ETag") == "" {
		t.Errorf("the headers are %v, want an Age and an ETag", res.Header())
	}
	b.ask("GET", "/servers/pg-one/check", "", "If-None-Match", res.Header().Get("ETag")).want(304, "")
	b.ask("GET", "/servers/pg-one/check/", "").want(200, "")
	if n := b.runs(); n != 3 {
		t.Errorf("Barman ran %d times for three requests, want each time: nobody asked for an old answer", n)
	}
	b.ask("GET", "/servers/pg-one/check?max_age=1000", "").want(200, "")
	if n := b.runs(); n != 3 {
		t.Errorf("Barman ran %d times, want an old answer for who asks for one", n)
	}
	b.printing(strings.Replace(failedCheck, "FAILED", "OK", 1), 0)
	b.ask("GET", "/servers/pg-one/check", "").want(200, `"ok":true,"failed":[]`)
	b.printing(`{"pg-off": {"directories": {"status": "OK", "hint": ""}}}`, 0)
	b.ask("GET", "/servers/pg-off/check", "").want(200, `"active":false,"ok":true`)
}

func TestReportsThatCannotBeHad(t *testing.T) {
	b := newBench(t, nil)
	for _, tc := range []struct {
		name, path, says string
		code, want       int
		problem          string
	}{
		{"Barman failed", "check", `{"_ERROR": ["out of luck"]}`, 1, 502, "out of luck"},
		{"a check was broken off", "check", `{"_EXCEPTION": ["no more memory"], "pg-one": {}}`, 1, 502, "no more memory"},
		{"no JSON", "check", `Traceback`, 0, 502, "no JSON object"},
		{"another server", "check", `{"pg-two": {}}`, 0, 502, "it is not there"},
		{"a check without a status", "check", `{"pg-one": {"x": {"hint": ""}}}`, 0, 502, `its x is {\"hint\":\"\"}`},
		{"a status that is none", "status", `{"pg-one": {"active": []}}`, 0, 502, "cannot be read"},
		{"clients that are none", "replication-status", `{"pg-one": {"streaming_clients": {}}}`, 0, 502, "cannot be read"},
		{"a time that is none", "replication-status", `{"pg-one": {"streaming_clients": [{"started_at": "soon"}]}}`, 0, 502, "it is no time"},
		{"exit code 2", "check", failedCheck, 2, 502, "exit status 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b.t = t
			b.printing(tc.says, tc.code)
			b.ask("GET", "/servers/pg-one/"+tc.path, "").want(tc.want, tc.problem)
		})
	}
	b.t = t
	for _, path := range []string{"check", "status", "replication-status", "wals"} {
		b.ask("GET", "/servers/nope/"+path, "").want(404, "Server 'nope' does not exist")
		b.ask("GET", "/servers/pg-one/"+path, "", "Accept", "text/html").want(406, "")
		b.ask("POST", "/servers/pg-one/"+path, "{}").want(405, "")
	}
	b.ask("GET", "/servers/pg-off/replication-status", "").want(409, "is inactive")
	b.ask("GET", "/servers/pg-one/check?max_age=x", "").want(400, "?max_age")
	if n := b.start.started(); n != 0 {
		t.Errorf("%d operations were started, want none", n)
	}
}

// Slower than the client likes, a report is an operation that all get who ask meanwhile.
func TestSlowReports(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Deadline = 300 * time.Millisecond })
	b.printing(failedCheck, 1)
	b.hold()
	slow := b.ask("GET", "/servers/pg-one/check", "")
	slow.want(202, `"type":"check"`)
	id, _ := slow.json()["operation_id"].(string)
	path := "/servers/pg-one/operations/" + id
	if got := slow.Header().Get("Location"); got != path || slow.Header().Get("Retry-After") != "1" {
		t.Errorf("Location is %q, want %s, and Retry-After", got, path)
	}
	runs := b.runs()
	for _, prefer := range []string{"wait=0", "respond-async", ""} {
		again := b.ask("GET", "/servers/pg-one/check", "", "Prefer", prefer)
		again.want(202, `"operation_id":"`+id+`"`)
		if got := again.Header().Get("Preference-Applied"); got != prefer {
			t.Errorf("Preference-Applied is %q, want %q", got, prefer)
		}
	}
	b.ask("GET", "/servers/pg-one/status", "", "Prefer", "respond-async").want(202, `"type":"status"`)
	if n := b.runs(); n != runs {
		t.Errorf("Barman was asked %d times while an operation was at work, want not at all", n-runs)
	}
	b.release()

	var waits sync.WaitGroup
	var waited *reply
	waits.Go(func() { waited = b.ask("GET", "/servers/pg-one/check", "", "Prefer", "wait=25") })
	b.end(id, operation.Succeeded, func(op *operation.Operation) {
		op.Result.Report = []byte(`{"server":"pg-one","active":true,"ok":false,"failed":["x"],"checks":[{"name":"x","ok":false,"hint":"password=topsecret"}]}`)
	})
	waits.Wait()
	waited.want(200, `"failed":["`)
	ended := b.ask("GET", path, "")
	ended.want(200, `"result":{"report":{"active":true,"checks":[{"hint":"password=*REDACTED*","name":"x","ok":false}],"failed":["x"],"ok":false,"server":"pg-one"}}`)
	b.ask("GET", "/servers/pg-one/check", "").want(200, `"failed":["postgresql"]`)
}

// end ends an operation as its runner does.
func (b *bench) end(id string, state operation.State, apply func(*operation.Operation)) {
	b.t.Helper()
	op, err := b.store.Find("pg-one", id)
	if err == nil {
		_, err = b.store.Start(op.ID, "")
	}
	if err == nil {
		_, err = b.store.End(op.ID, state, apply)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	_ = b.start.locks[op.ID].Close()
}

// Who may look at something may see the operation that looks at it, and no other.
func TestWhoFollowsAReport(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Deadline = 0 })
	b.allow(map[string]auth.Lists{"anonymous": {Access: []string{"GET servers/pg-one/check"}}})
	id, _ := b.ask("GET", "/servers/pg-one/check", "").json()["operation_id"].(string)
	other, _ := b.operation(operation.Operation{Type: "status", Server: "pg-one"})
	b.ask("GET", "/servers/pg-one/operations/"+id, "").want(200, `"type":"check"`)
	b.ask("GET", "/servers/pg-one/operations/"+string(other.ID), "").want(404, "")
	b.ask("POST", "/servers/pg-one/operations/"+id+"/cancel", "").want(401, "")
	b.ask("POST", "/servers/pg-one/operations", `{"type":"check"}`).want(401, "")
	b.ask("GET", "/servers/pg-two/operations/"+id, "").want(401, "")
	list := b.ask("GET", "/servers/pg-one/operations", "")
	if list.want(200, id); strings.Contains(list.Body.String(), string(other.ID)) {
		t.Errorf("the list is %s, want no operation of another type", list.Body)
	}
	b.ask("GET", "/servers/pg-one/status", "").want(401, "servers/pg-one/status")
	b.ask("GET", "/servers/pg-one/wals", "").want(401, "servers/pg-one/wals")
}

func TestWALs(t *testing.T) {
	b := newBench(t, nil)
	b.info(1, "DONE")
	b.write("home/pg-one/streaming/000000010000000000000004.partial", "")
	res := b.ask("GET", "/servers/pg-one/wals", "")
	res.want(200, `"timelines":[{"timeline":1,"first":"000000010000000000000003","last":"000000010000000000000003","first_at":"2026-01-01T01:00:00.5Z"`)
	res.want(200, `"backups":[{"backup_id":"20260201T100000","timeline":1,"first":"000000010000000000000001","needed":"000000010000000000000001","complete":false,"last":null,"last_at":null,"files":0,"bytes":0}]`)
	res.want(200, `"waiting":{"incoming":0,"streaming":1,"errors":0}`)
	b.ask("GET", "/servers/pg-one/wals", "", "If-None-Match", res.Header().Get("ETag")).want(304, "")
	b.ask("GET", "/servers/pg-off/wals", "").want(200, `"files":0,"bytes":0,"timelines":[],"backups":[]`)
}

func TestAutomaticBackup(t *testing.T) {
	b := newBench(t, nil)
	first, second := b.info(1, "DONE"), b.info(2, "DONE")
	for query, want := range map[string]string{
		"": second, "target_time=2026-02-02T09:00:00Z": first, "target_time=2026-02-02+09:00:00&time_zone=UTC": first, "target_time=2026-02-02T10:00:04Z": second,
		"target_lsn=0/17000000": second, "target_tli=1": second, "target_time=2026-01-15T00:00:00Z": benchBackup,
	} {
		b.ask("GET", "/servers/pg-one/backups/auto?"+query, "").want(200, `{"backup_id":"`+want+`"`)
	}
	b.ask("GET", "/servers/pg-one/backups/auto?target_time=2026-02-02T09:00:00", "").want(400, `"pointer":"?target_time"`)
	b.ask("GET", "/servers/pg-one/backups/auto?target_xid=7", "").want(400, "auto needs a target_time")
	b.ask("GET", "/servers/pg-one/backups/auto?target_time=2020-01-01T00:00:00Z", "").want(422, "ended before the target")
	b.ask("GET", "/servers/nope/backups/auto", "").want(404, "")
}
