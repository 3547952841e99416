package handler

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"barback/runner/operation"
)

// checksOf are the findings of a dry run, by name.
func checksOf(t testing.TB, r *reply) map[string]string {
	t.Helper()
	found := map[string]string{}
	list, _ := r.json()["checks"].([]any)
	for _, c := range list {
		c := c.(map[string]any)
		found[c["name"].(string)] = fmt.Sprint(c["ok"], " ", c["detail"])
	}
	return found
}

func TestDryRun(t *testing.T) {
	b := newBench(t, nil)
	const path = "/servers/pg-one/operations?dry_run=1"
	before := b.tree()
	r := b.ask("POST", path, `{"backup_id":"latest","destination_directory":"/srv/new","local":true,"target_lsn":"0/9000000"}`, "Idempotency-Key", "k")
	r.want(200, `"dry_run":true`)
	got := checksOf(t, r)
	for name, want := range map[string]string{
		"backup": "true backup 20260101T000000 is DONE", "wals": "false the target is 0/9000000", "conflict": "true no operation", "destination": "true nothing is there",
	} {
		if !strings.HasPrefix(got[name], want) {
			t.Errorf("the check %s found %q, want %q", name, got[name], want)
		}
	}
	if doc := r.json(); doc["ok"] != false || doc["backup_id"] != "20260101T000000" || !strings.HasSuffix(fmt.Sprint(doc["command"]), "recover --target-lsn=0/9000000 pg-one 20260101T000000 /srv/new]") {
		t.Errorf("the answer is %s", r.Body)
	}
	b.ask("POST", path, `{"type":"delete","backup_id":"latest"}`).want(200, `"ok":true`)
	b.ask("POST", path, `{"type":"delete"}`).want(400, `"pointer":"/backup_id"`)
	b.ask("POST", path, `{"type":"delete","backup_id":"nope"}`).want(404, "")
	b.ask("POST", path, `{"type":"nope"}`).want(400, `"pointer":"/type"`)
	b.ask("POST", "/servers/pg-one/operations?dry_run=maybe", `{"type":"delete","backup_id":"latest"}`).want(400, `?dry_run`)
	b.ask("POST", "/servers/pg-off/operations?dry_run=1", `{"type":"switch_wal"}`).want(409, "inactive")
	secret := b.ask("POST", "/operations?dry_run=1", `{"type":"config_update","changes":[{"scope":"server","server_name":"pg-one","conninfo":"host=x password=topsecret"}]}`)
	if secret.want(200, "REDACTED"); strings.Contains(secret.Body.String(), "topsecret") {
		t.Errorf("the answer shows a password: %s", secret.Body)
	}
	if b.start.started() != 0 || b.tree() != before {
		t.Errorf("dry runs started %d operations, and the state is\n%s\nwant\n%s", b.start.started(), b.tree(), before)
	}
}

// What a dry run says of another operation is what the POST then says.
func TestDryRunBesideAnother(t *testing.T) {
	b := newBench(t, nil)
	const path, body = "/servers/pg-one/operations", `{"backup_id":"latest","destination_directory":"/srv/new","local":true}`
	id := b.ask("POST", path, body).json()["operation_id"].(string)
	if got := checksOf(t, b.ask("POST", path+"?dry_run=1", body))["conflict"]; !strings.HasPrefix(got, "true the same is at work") || !strings.Contains(got, id) {
		t.Errorf("the check of the same recovery found %q, want operation %s", got, id)
	}
	for _, other := range []string{`{"backup_id":"latest","destination_directory":"/srv/new/x","local":true}`, `{"type":"delete","backup_id":"latest"}`} {
		if got := checksOf(t, b.ask("POST", path+"?dry_run=1", other))["conflict"]; !strings.HasPrefix(got, "false ") || !strings.Contains(got, id) {
			t.Errorf("the check of %s found %q, want operation %s in its way", other, got, id)
		}
		b.ask("POST", path, other).want(409, id)
	}
	b.start.fail = func() error { return errors.New("it is not empty") }
	if got := checksOf(t, b.ask("POST", path+"?dry_run=1", body))["destination"]; got != "false it is not empty" {
		t.Errorf("the check of the destination found %q, want what the look found", got)
	}
	done := b.ended(operation.Operation{Type: "backup", Server: "pg-one", Request: []byte(`{"type":"backup","wait":true}`)}, operation.Failed, "x")
	b.ask("POST", path+"/"+string(done.ID)+"/retry?dry_run=1", "").want(200, `"--wait"`)
}

// tree lists what is recorded of operations.
func (b *bench) tree() string {
	b.t.Helper()
	var names []string
	for _, dir := range []string{"/state/operations", "/state/active", "/state/keys"} {
		entries, err := os.ReadDir(b.dir + dir)
		if err != nil && !os.IsNotExist(err) {
			b.t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, dir+"/"+e.Name())
		}
	}
	return strings.Join(names, "\n")
}

func TestRefusalsBeforeTheStart(t *testing.T) {
	b := newBench(t, nil)
	const path = "/servers/pg-one/operations"
	b.ask("POST", path, `{"backup_id":"latest","destination_directory":"/srv/new","local":true,"target_time":"2026-01-01T00:00:00Z"}`).want(422, "urn:barback:would-fail")
	b.ask("POST", path, `{"backup_id":"latest","destination_directory":"/srv/new","local":true,"target_time":"2026-01-01T00:00:00Z"}`).want(422, `"pointer":"/target_time"`)
	b.ask("POST", path, `{"backup_id":"latest","destination_directory":"/srv/new","local":true,"target_time":"2026-01-01T00:30:00"}`).want(400, "has no time zone")
	b.ask("POST", path, `{"backup_id":"latest","destination_directory":"/srv/new","local":true,"delta_restore":true}`).want(501, "delta_restore of a recovery needs Barman 3.16 or later; installed is 3.13.3")
	b.ask("POST", path, `{"type":"sync_wals"}`).want(409, "not passive")
	if b.start.started() != 0 {
		t.Error("what was refused was started")
	}
}

func TestVersionListsOptions(t *testing.T) {
	doc := newBench(t, nil).ask("GET", "/version", "").json()
	found := map[string]any{}
	for _, k := range doc["operations"].([]any) {
		k := k.(map[string]any)
		for _, o := range k["options"].([]any) {
			o := o.(map[string]any)
			found[fmt.Sprint(k["type"], " ", o["name"])] = fmt.Sprint(o["supported"], " ", o["since"])
		}
	}
	for name, want := range map[string]string{"recovery target_time": "true <nil>", "recovery delta_restore": "false 3.16", "backup wait": "true <nil>", "delete backup_id": "true <nil>"} {
		if found[name] != want {
			t.Errorf("GET /version says of %s %v, want %s", name, found[name], want)
		}
	}
}
