package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"barback/runner/barman"
)

// parameter is one place where a client can write something.
type parameter struct {
	name string
	// kind of the operation whose body it stands in; empty: in no body.
	kind string
	// put writes JSON into a body, or text where none is.
	put func(to map[string]any, v any)
	// pointers to what a refusal may name: these, and what lies below.
	pointers []string
	good     []any // what has to be accepted
}

// bodies are requests that are accepted, to put values in.
var bodies = map[string]map[string]any{
	"backup":        {"type": "backup"},
	"recovery":      {"type": "recovery", "backup_id": yardBackup, "destination_directory": "/nonexistent/a", "local": true, "ignore_checks": true},
	"config_switch": {"type": "config_switch", "model_name": "m"},
	"config_update": {"type": "config_update"},

	"delete":            {"type": "delete", "backup_id": yardBackup},
	"keep":              {"type": "keep", "backup_id": yardBackup, "target": "full"},
	"verify_backup":     {"type": "verify_backup", "backup_id": yardBackup},
	"generate_manifest": {"type": "generate_manifest", "backup_id": yardBackup},
	"check_backup":      {"type": "check_backup", "backup_id": yardBackup},
	"switch_wal":        {"type": "switch_wal"},
	"archive_wal":       {"type": "archive_wal"},
	"rebuild_xlogdb":    {"type": "rebuild_xlogdb"},
	"sync_backup":       {"type": "sync_backup", "backup_id": yardBackup},
	"sync_wals":         {"type": "sync_wals"},
	"cron":              {"type": "cron"},

	"check":              {"type": "check"},
	"status":             {"type": "status"},
	"replication_status": {"type": "replication_status"},
}

// needs are members that another one needs beside it; nil: that must not be there.
var needs = map[string]map[string]any{
	"remote_ssh_command": {"local": nil}, "target": {"local": nil}, "reset": {"model_name": nil},
	"exclusive": {"target_xid": json.Number("7")}, "target_action": {"target_immediate": true}, "time_zone": {"target_time": "2026-01-01T01:00:00"},
	"network_compression": {"local": nil, "remote_ssh_command": "ssh h.invalid"}, "staging_location": {"local": nil, "remote_ssh_command": "ssh h.invalid"},
	"archive_timeout": {"archive": true},
}

func member(kind, name string, good ...any) parameter {
	other := map[string]string{"local": "remote_ssh_command", "target": "remote_ssh_command", "reset": "model_name", "time_zone": "target_time", "no_get_wal": "get_wal"}[name] // missing, where this one is null
	return parameter{name: name, kind: kind, pointers: []string{"/" + name, "/" + cmp.Or(other, name)}, good: good, put: func(to map[string]any, v any) {
		for other, value := range needs[name] {
			if to[other] = value; value == nil {
				delete(to, other)
			}
		}
		to[name] = v
	}}
}

// change is a member of the one change of a config_update.
func change(name string, good ...any) parameter {
	return parameter{name: "changes/" + name, kind: "config_update", pointers: []string{"/changes/0/" + name, "/changes/0/scope"}, good: good, put: func(to map[string]any, v any) {
		c := map[string]any{"scope": "server", "server_name": "pg-a", "compression": "gzip"}
		if name == "model_name" {
			c["scope"] = "model"
			delete(c, "server_name")
		}
		c[name] = v
		to["changes"] = []any{c}
	}}
}

var (
	counts     = []any{json.Number("7")}
	parameters = []parameter{
		member("backup", "type", "backup"),
		member("backup", "name", "nightly", "a b: c@d"), member("backup", "reuse_backup", "link"), member("backup", "queue", true),
		member("backup", "wait", true), member("backup", "immediate_checkpoint", true), member("backup", "jobs", counts...),
		member("backup", "wait_timeout", counts...), member("backup", "bwlimit", counts...), member("backup", "retry_times", counts...), member("backup", "retry_sleep", counts...),
		member("backup", "no_immediate_checkpoint", true), member("backup", "no_retry", true), member("backup", "jobs_start_batch_size", counts...),
		member("backup", "jobs_start_batch_period", counts...), member("backup", "manifest", true, false), member("backup", "no_manifest", true),
		member("backup", "keepalive_interval", counts...), member("backup", "check_timeout", counts...), member("backup", "cloud_staging_max_size", "30Gi", "7"),
		member("backup", "cloud_staging_directory", "/nonexistent/c"), member("backup", "incremental", yardBackup, "latest"),
		member("backup", "nobody-knows-it", "x"),
		{name: "a member's name", kind: "backup", put: func(to map[string]any, v any) { to["x"+fmt.Sprint(v)] = "x" }, good: []any{"x"}},
		member("recovery", "backup_id", "latest", yardBackup), member("recovery", "destination_directory", "/nonexistent/x", "/nonexistent/größe/a@b%+=,-"),
		member("recovery", "remote_ssh_command", "ssh h.invalid", "ssh -p 22 -l postgres -C -o BatchMode=yes h.invalid"),
		member("recovery", "target", "prod"), member("recovery", "local", true), member("recovery", "overwrite", true),
		member("recovery", "bwlimit", counts...), member("recovery", "jobs", counts...), member("recovery", "retry_times", counts...), member("recovery", "retry_sleep", counts...),
		member("recovery", "no_retry", true), member("recovery", "jobs_start_batch_size", counts...), member("recovery", "jobs_start_batch_period", counts...),
		member("recovery", "target_time", "2026-01-01T00:00:00Z", "2026-01-01 01:02:03.5+01:00"), member("recovery", "time_zone", "Europe/Rome"),
		member("recovery", "target_xid", json.Number("733"), "733"), member("recovery", "target_lsn", "0/3000028"), member("recovery", "target_name", "a b; c", "größe"),
		member("recovery", "target_immediate", true), member("recovery", "target_tli", json.Number("1"), "current", "latest"), member("recovery", "exclusive", true),
		member("recovery", "target_action", "pause"), member("recovery", "get_wal", true, false), member("recovery", "no_get_wal", true),
		member("recovery", "standby_mode", true), member("recovery", "network_compression", true, false), member("recovery", "no_network_compression", true),
		member("recovery", "recovery_conf_filename", "a.conf"), member("recovery", "recovery_staging_path", "/nonexistent/s"),
		member("recovery", "local_staging_path", "/nonexistent/s"), member("recovery", "staging_path", "/nonexistent/s"),
		member("recovery", "staging_location", "remote"), member("recovery", "staging_wal_directory", "/nonexistent/w"), member("recovery", "combine_mode", "clone"),
		member("recovery", "delta_restore", true, false), member("recovery", "no_delta_restore", true), member("recovery", "recovery_option_port", counts...),
		member("recovery", "restore_command"), member("recovery", "partial_wal", true), member("recovery", "skip_archive_wal", true),
		member("recovery", "snapshot_recovery_instance"), member("recovery", "snapshot_recovery_zone", "a-1"), member("recovery", "gcp_zone", "a-1"),
		member("recovery", "azure_resource_group", "a-1"), member("recovery", "aws_region", "a-1"), member("recovery", "ignore_checks", true),
		{name: "a tablespace's folder", kind: "tablespace", pointers: []string{"/tablespaces"}, put: func(to map[string]any, v any) { to["tablespaces"] = map[string]any{"ts": v} }, good: []any{"/nonexistent/ts"}},
		{name: "a tablespace's name", kind: "tablespace", pointers: []string{"/tablespaces"}, put: func(to map[string]any, v any) {
			to["tablespaces"] = map[string]any{"ts": "/nonexistent/ts", fmt.Sprint("x", v): "/nonexistent/y"}
		}},
		{name: "tablespaces", kind: "tablespace", pointers: []string{"/tablespaces"}, put: func(to map[string]any, v any) { to["tablespaces"] = v }},
		member("delete", "backup_id", "latest"), member("delete", "incrementals", true), member("delete", "queue", true),
		member("keep", "backup_id", "latest"), member("keep", "target", "standalone", "release"), member("verify_backup", "backup_id", "latest"),
		member("generate_manifest", "backup_id", "latest"), member("check_backup", "backup_id", "latest"), member("sync_backup", "backup_id", "20250101T000000"),
		member("switch_wal", "force", true), member("switch_wal", "archive", true), member("switch_wal", "archive_timeout", counts...),
		{name: "a member's name", kind: "delete", pointers: []string{""}, put: func(to map[string]any, v any) { to["x"+fmt.Sprint(v)] = "x" }},
		{name: "a member's name", kind: "archive_wal", pointers: []string{""}, put: func(to map[string]any, v any) { to["x"+fmt.Sprint(v)] = "x" }},
		member("rebuild_xlogdb", "type", "rebuild_xlogdb"), member("sync_wals", "type", "sync_wals"), member("cron", "type", "cron"),
		member("cron", "host"), member("config_update", "host"),
		member("config_switch", "model_name", "m2", "größe"), member("config_switch", "reset", true),
		change("scope", "server"), change("server_name", "pg-b"), change("model_name", "m2"), change("compression", "lz4", "a b"), change("conninfo", "host=a user=b"),
		{name: "changes", kind: "config_update", pointers: []string{"/changes"}, put: func(to map[string]any, v any) { to["changes"] = v }},
		{name: "an option's name", kind: "config_update", pointers: []string{"/changes/0"}, put: func(to map[string]any, v any) {
			to["changes"] = []any{map[string]any{"scope": "server", "server_name": "pg-a", fmt.Sprint("x", v): "x"}}
		}},
	}
)

// body is the request with v in p's place.
func (p parameter) body(v any) map[string]any {
	kind := p.kind
	if kind == "tablespace" {
		kind = "recovery"
	}
	to := maps.Clone(bodies[kind])
	if kind == "config_update" {
		to["changes"] = []any{map[string]any{"scope": "server", "server_name": "pg-a", "compression": "gzip"}}
	}
	if p.put != nil {
		p.put(to, v)
	}
	return to
}

// server is whom the body goes to; empty: the instance.
func (p parameter) server() string {
	switch p.kind {
	case "config_update", "cron":
		return ""
	case "tablespace", "generate_manifest":
		return "pg-b"
	case "sync_backup", "sync_wals":
		return "pg-copy"
	}
	return "pg-a"
}

// TestInjection sends every value of the corpora in every place of a body. Either it is refused, with a pointer to
// where it stands, and nothing is started; or what is started is exactly what was asked for, each value one
// argument. By default it is a sample; BARBACK_TORTURE=1 sends all.
func TestInjection(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(tortureSeed(t), 0))
	n := newNoting(t)
	bodyValues(t, n, rnd, n.url, times(2, 1000), func(parameter) bool { return true })
	n.environs()
	n.logs()
}

// bodyValues sends to url, of each parameter that is meant, what has to be accepted and so many others.
func bodyValues(t *testing.T, n *noting, rnd *rand.Rand, url string, most int, meant func(parameter) bool) {
	words, commands, raw := n.corpus("words"), n.corpus("commands"), n.corpus("json")
	for _, p := range parameters {
		if !meant(p) {
			continue
		}
		var values []any
		for _, w := range words {
			values = append(values, w)
		}
		for _, w := range commands {
			if p.name == "remote_ssh_command" {
				values = append(values, w)
			}
		}
		for _, r := range raw {
			values = append(values, decoded(t, r))
		}
		rnd.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
		t.Run(p.kind+" "+p.name, func(t *testing.T) {
			c := client{t, url}
			for _, v := range p.good {
				if !p.send(n, c, v) {
					t.Errorf("%v in %s was refused, want it accepted: the test would test nothing", v, p.name)
				}
			}
			for _, v := range values[:min(most, len(values))] {
				p.send(n, c, v)
			}
		})
	}
}

func decoded(t testing.TB, s string) (v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return v
}

// send puts v in p's place, and holds what was started against what was asked for.
func (p parameter) send(n *noting, c client, v any) (accepted bool) {
	c.t.Helper()
	body := p.body(v)
	text, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	path := "/operations"
	if server := p.server(); server != "" {
		path = "/servers/" + server + path
	}
	res := c.do("POST", path, string(text), "Prefer", "wait=20")
	accepted = res.StatusCode == http.StatusAccepted
	var why any
	if accepted {
		why = res.json(c.t)["error"]
	} else {
		p.refused(c.t, res, text)
	}
	p.started(n, c.t, body, text, accepted, fmt.Sprint(why))
	return accepted
}

// refused holds a refusal to its form: it says where in the body the reason stands.
func (p parameter) refused(t testing.TB, res reply, body []byte) {
	t.Helper()
	wellFormed(t, res)
	switch res.StatusCode {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
	case http.StatusNotFound: // a backup that is not there
		if p.name == "backup_id" || p.name == "incremental" {
			return
		}
		fallthrough
	default:
		t.Errorf("POST %s = %d %s, want 202, 400 or 422", body, res.StatusCode, res.body)
		return
	}
	list, _ := res.json(t)["errors"].([]any)
	for _, e := range list {
		at, _ := e.(map[string]any)["pointer"].(string)
		if slices.ContainsFunc(p.pointers, func(p string) bool { return at == p || strings.HasPrefix(at, p+"/") }) {
			return
		}
	}
	t.Errorf("POST %s = %d %s, want a pointer to %v", body, res.StatusCode, res.body, p.pointers)
}

// started checks what ran because of a body.
func (p parameter) started(n *noting, t testing.TB, body map[string]any, text []byte, accepted bool, why string) {
	t.Helper()
	args, ok := p.argv(body)
	wantBarman, wantSSH := [][]string{append([]string{"-c", n.env["LAB_BARMAN_CONF"]}, args...)}, [][]string(nil)
	looked := strings.Contains(why, "the destination ") // there is something, and Barman does not come to it
	if looked {
		wantBarman = nil
	}
	switch {
	case !accepted:
		wantBarman = nil
	case !ok:
		t.Errorf("%s was accepted, want it refused", text)
		return
	}
	for _, arg := range args {
		if ssh, remote := strings.CutPrefix(arg, "--remote-ssh-command=ssh "); remote && accepted {
			script := fmt.Sprintf("if test -e %[1]v; then ls -A %[1]v; fi", body["destination_directory"])
			lacks := fmt.Sprintf("cd %v && for f in pg_commit_ts pg_logical/mappings pg_logical/snapshots pg_notify pg_replslot pg_subtrans pg_tblspc pg_twophase; do test -d $f || echo $f; done", body["destination_directory"])
			wantSSH = [][]string{append(strings.Fields(ssh), script), append(strings.Fields(ssh), "true"), append(strings.Fields(ssh), lacks)}
		}
	}
	barman, ssh := n.ran()
	slices.SortFunc(ssh, slices.Compare)
	slices.SortFunc(wantSSH, slices.Compare)
	same := func(a, b [][]string) bool { return slices.EqualFunc(a, b, slices.Equal) }
	if !same(barman, wantBarman) || !same(ssh, wantSSH) {
		t.Errorf("POST %s, accepted: %v (%s), started Barman %q and ssh %q, want %q and %q", text, accepted, why, barman, ssh, wantBarman, wantSSH)
	}
	n.alive(t, string(text))
}

// alive fails if something was done that nobody may do.
func (n *noting) alive(t testing.TB, because string) {
	t.Helper()
	if os.Remove(n.canary()) == nil {
		t.Errorf("%s ran what it holds", because)
	}
}

// Every member that an operation may have stands in the table above, and every kind of operation is among the bodies.
func TestInjectionReachesEveryMember(t *testing.T) {
	for _, k := range barman.Kinds {
		if bodies[k.Name] == nil {
			t.Errorf("no test sends odd values in a %s", k.Name)
		}
		for _, o := range k.Options {
			if !slices.ContainsFunc(parameters, func(p parameter) bool {
				return (p.kind == k.Name || p.kind == "tablespace" && k.Name == "recovery") && p.name == o.Name
			}) {
				t.Errorf("no test sends odd values in the %s of a %s", o.Name, k.Name)
			}
		}
	}
}
