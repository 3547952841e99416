package handler

import (
	"strings"
	"testing"
	"time"

	"barback/handler/auth"
	"barback/runner/operation"
)

// TestImportedOperations: an operation of pg-backup-api is under its old ID what any other is under its own.
func TestImportedOperations(t *testing.T) {
	b := newBench(t, nil)
	const old = "20260101T000000"
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for server, kind := range map[string]string{"": "config_update", "pg-one": "backup", "pg-two": "recovery"} {
		op := operation.Operation{Type: kind, Server: server, State: operation.Succeeded, CreatedAt: at, StartedAt: at, EndedAt: at.Add(time.Minute),
			Request: []byte(`{"backup_id":"latest"}`), Command: []string{"pg-backup-api"}}
		if kind == "backup" {
			op.Request = []byte(`{"type":"backup"}`)
		}
		if _, err := b.store.Import(op, old, []byte("printed for "+server)); err != nil {
			t.Fatal(err)
		}
	}
	for path, kind := range map[string]string{"/operations": "config_update", "/servers/pg-one/operations": "backup", "/servers/pg-two/operations": "recovery"} {
		res := b.ask("GET", path+"/"+old, "")
		res.want(200, `"operation_id":"`+old+`","status":"DONE","state":"succeeded","type":"`+kind+`"`)
		res.want(200, `"self":"`+path+"/"+old+`"`)
		b.ask("GET", path, "").want(200, `{"operations":[{"id":"`+old+`","type":"`+kind+`","status":"DONE"`)
		b.ask("GET", path+"/"+old, "", "Prefer", "wait=1").want(200, `"DONE"`)
	}
	if n := strings.Count(b.ask("GET", "/operations?scope=all", "").Body.String(), `"id":"`+old+`"`); n != 3 {
		t.Errorf("the list of all holds the old ID %d times, want three", n)
	}
	const one = "/servers/pg-one/operations/" + old
	b.ask("GET", one+"/output", "", "Accept", "text/plain").want(200, "printed for pg-one")
	again := b.ask("POST", one+"/retry", "")
	again.want(202, `"type":"backup"`)
	if next := again.Header().Get("Location"); strings.Contains(next, old) {
		t.Errorf("the retry is %s, want an operation of its own", next)
	}
	b.ask("GET", "/servers/pg-off/operations/"+old, "").want(404, "Resource not found")
	b.ask("GET", "/servers/pg-one/operations/20260101T000001", "").want(404, "Resource not found")

	b.allow(map[string]auth.Lists{"anonymous": {Access: []string{"servers/*/operations/backup"}}})
	b.ask("GET", "/servers/pg-two/operations/"+old, "").want(404, "Resource not found") // a recovery: not to be seen
	b.ask("DELETE", one, "").want(204, "")
	b.ask("GET", one, "").want(404, "Resource not found")
}
