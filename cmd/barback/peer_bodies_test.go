package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

const (
	post    = "POST /servers/pg-one/operations"
	options = `Make sure all options/arguments are met and try again`
)

var (
	asText = []string{"Content-Type", "text/plain"}
	asForm = []string{"Content-Type", "application/x-www-form-urlencoded"}
)

// peerBodies are the requests that are refused, in the order of the checks: body is JSON, body is not
// empty, server exists, type is known, members.
var peerBodies = []peerRow{
	{name: "b-nobody", mark: contract, ask: post, code: 400},
	{name: "b-none-json", mark: contract, ask: post, header: []string{"Content-Type", "application/json"}, code: 400},
	{name: "b-badjson", mark: contract, ask: post, body: `{"type":`, code: 400},
	// It was a 400 with Werkzeug before 2.3 and is a 415 with later ones, so that no client relies on one of them; and
	// who does not know 415 has to take it for a 400 (RFC 9110, 15). The API says 415 for a body that is not called JSON.
	{name: "b-wrongtype", mark: extended, ask: post, body: `{"type":"recovery"}`, header: asText, code: 415, says: "application/json"},
	{name: "b-form", mark: extended, ask: post, body: `type=recovery`, header: asForm, code: 415, says: "application/json"},
	{name: "b-json-charset", mark: contract, ask: post, body: `{"type":"config_switch"}`, header: []string{"Content-Type", "application/json; charset=utf-8"}, code: 400, says: options},
	{name: "b-json-vendor", mark: contract, ask: post, body: `{"type":"config_switch"}`, header: []string{"Content-Type", "application/vnd.x+json"}, code: 400, says: options},
	{name: "b-empty", mark: contract, ask: post, body: `{}`, code: 400, says: "Minimum barman options not met for server 'pg-one'"},
	{name: "b-list", mark: contract, ask: post, body: `[]`, code: 400, says: "Minimum barman options not met for server 'pg-one'"},
	{name: "b-null", mark: contract, ask: post, body: `null`, code: 400, says: "Minimum barman options not met for server 'pg-one'"},
	{name: "b-empty-unknown-server", mark: contract, ask: "POST /servers/nope/operations", body: `{}`, code: 400, says: "Minimum barman options not met for server 'nope'"},
	{name: "b-unknown-server", mark: contract, ask: "POST /servers/nope/operations", body: `{"type":"recovery","backup_id":"latest"}`, code: 404, says: `"error":"404 Not Found: Server 'nope' does not exist"`},
	{name: "b-unknown-server-and-type", mark: contract, ask: "POST /servers/nope/operations", body: `{"type":"nope"}`, code: 404, says: `"error":"404 Not Found: Server 'nope' does not exist"`},
	{name: "b-list1 was a 500", mark: defect, ask: post, body: `[1]`, code: 400, says: "must be a JSON object"},
	{name: "b-string was a 500", mark: defect, ask: post, body: `"x"`, code: 400, says: "must be a JSON object"},
	{name: "b-number was a 500", mark: defect, ask: post, body: `5`, code: 400, says: "must be a JSON object"},
	{name: "t-unknown was a 500", mark: defect, ask: post, body: `{"type":"nope"}`, code: 400, says: `"pointer":"/type"`},
	{name: "t-number was a 500", mark: defect, ask: post, body: `{"type":5}`, code: 400, says: `"pointer":"/type"`},
	{name: "t-list was a 500", mark: defect, ask: post, body: `{"type":["recovery"]}`, code: 400, says: `"pointer":"/type"`},
	{name: "t-object was a 500", mark: defect, ask: post, body: `{"type":{}}`, code: 400, says: `"pointer":"/type"`},
	{name: "t-null was a 500", mark: defect, ask: post, body: `{"type":null}`, code: 400, says: `"pointer":"/type"`},
	{name: "t-upper was a 500", mark: defect, ask: post, body: `{"type":"RECOVERY"}`, code: 400, says: `"pointer":"/type"`},
	{name: "t-config-update-on-server was a 500", mark: defect, ask: post, body: `{"type":"config_update","changes":[{}]}`, code: 400, says: "/operations"},
	{name: "r-default: no type is a recovery", mark: contract, ask: post, body: `{"destination_directory":"$dest"}`, code: 400, says: "Request body is missing ``backup_id``"},
	{name: "big: a body of 20 MB was written to the job file whole", mark: defect, ask: post, body: `{"type":"config_switch","reset":true,"x":"` + strings.Repeat("x", 20<<20) + `"}`, code: 413, says: "max_body"},

	{name: "r-no-backup-id", mark: contract, ask: post, body: `{"type":"recovery"}`, code: 400, says: "Request body is missing ``backup_id``"},
	{name: "r-unknown-backup", mark: contract, ask: post, body: `{"backup_id":"20200101T000000"}`, code: 404, says: `"error":"404 Not Found: Backup '20200101T000000' does not exist"`},
	{name: "r-empty-backup", mark: contract, ask: post, body: `{"backup_id":""}`, code: 404, says: `"error":"404 Not Found: Backup '' does not exist"`},
	{name: "r-missing-dest", mark: contract, ask: post, body: `{"backup_id":"$backup","remote_ssh_command":"$ssh"}`, code: 400, says: options},
	{name: "r-missing-ssh", mark: contract, ask: post, body: `{"backup_id":"$backup","destination_directory":"$dest"}`, code: 400, says: options},
	{name: "it did not say which option is missing", mark: defect, ask: post, body: `{"backup_id":"$backup","destination_directory":"$dest"}`, code: 400, says: `"pointer":"/remote_ssh_command"`},
	{name: "r-backup-id-number was a 500", mark: defect, ask: post, body: `{"backup_id":5}`, code: 400, says: `"pointer":"/backup_id"`},
	{name: "r-backup-id-list was a 500", mark: defect, ask: post, body: `{"backup_id":["latest"]}`, code: 400, says: `"pointer":"/backup_id"`},
	// A word that stands for a backup gets past the check of the backup: what is missing then is the folder.
	{name: "r-latest", mark: contract, ask: post, body: `{"backup_id":"latest"}`, code: 400, says: `"pointer":"/destination_directory"`},
	{name: "r-last", mark: contract, ask: post, body: `{"backup_id":"last"}`, code: 400, says: `"pointer":"/destination_directory"`},
	{name: "r-oldest", mark: contract, ask: post, body: `{"backup_id":"oldest"}`, code: 400, says: `"pointer":"/destination_directory"`},
	{name: "r-first", mark: contract, ask: post, body: `{"backup_id":"first"}`, code: 400, says: `"pointer":"/destination_directory"`},
	{name: "r-last-failed", mark: contract, ask: post, body: `{"backup_id":"last-failed"}`, code: 400, says: `"pointer":"/destination_directory"`},
	{name: "last-failed was accepted, and can never be restored", mark: defect, ask: post, body: `{"backup_id":"last-failed","destination_directory":"$dest","remote_ssh_command":"$ssh"}`, code: 422, says: "is FAILED, not DONE"},
	{name: "latest-full was not known", mark: defect, ask: post, body: `{"backup_id":"latest-full"}`, code: 400, says: `"pointer":"/destination_directory"`},
	{name: "last-full was not known", mark: defect, ask: post, body: `{"backup_id":"last-full"}`, code: 400, says: `"pointer":"/destination_directory"`},
	{name: "the name of a backup was not known", mark: defect, ask: post, body: `{"backup_id":"nightly"}`, code: 400, says: `"pointer":"/destination_directory"`},
	{name: "failed was taken for last-failed", mark: defect, ask: post, body: `{"backup_id":"failed"}`, code: 404, says: "Backup 'failed' does not exist"},
	{name: "st was taken for last-failed", mark: defect, ask: post, body: `{"backup_id":"st"}`, code: 404, says: "Backup 'st' does not exist"},
	{name: "a was taken for last-failed", mark: defect, ask: post, body: `{"backup_id":"a","destination_directory":"$dest","remote_ssh_command":"$ssh"}`, code: 404, says: "Backup 'a' does not exist"},
	{name: "r-dest-number was in progress for ever", mark: defect, ask: post, body: `{"backup_id":"$backup","destination_directory":5,"remote_ssh_command":"$ssh"}`, code: 400, says: `"pointer":"/destination_directory"`},
	{name: "r-dash-dest was DONE with Barman's help", mark: defect, ask: post, body: `{"backup_id":"$backup","destination_directory":"--help","remote_ssh_command":"$ssh"}`, code: 400, says: "must not begin with a dash"},
	{name: "injection: --get-wal was an option of Barman", mark: defect, ask: post, body: `{"backup_id":"$backup","destination_directory":"--get-wal","remote_ssh_command":"$ssh"}`, code: 400, says: "must not begin with a dash"},
	{name: "injection: any command was run on the Barman host", mark: defect, ask: post, body: `{"backup_id":"$backup","destination_directory":"$dest","remote_ssh_command":"sh -c id>$proof"}`, code: 422, says: `"pointer":"/remote_ssh_command"`,
		holds: func(p peer, _ reply) {
			if _, err := os.Stat(p.words["$proof"]); err == nil {
				p.t.Errorf("%s is there: the command was run", p.words["$proof"])
			}
		}},

	{name: "cs-empty-model was accepted and failed", mark: defect, ask: post, body: `{"type":"config_switch","model_name":""}`, code: 400, says: options},
	{name: "cs-reset-false", mark: contract, ask: post, body: `{"type":"config_switch","reset":false}`, code: 400, says: options},
	{name: "cs-reset-string", mark: contract, ask: post, body: `{"type":"config_switch","reset":"true"}`, code: 400, says: `"pointer":"/reset"`},
	{name: "cs-both", mark: contract, ask: post, body: `{"type":"config_switch","reset":true,"model_name":"pg-one:plain"}`, code: 400, says: options},
	{name: "cs-neither", mark: contract, ask: post, body: `{"type":"config_switch"}`, code: 400, says: options},
	{name: "cs-model-number", mark: contract, ask: post, body: `{"type":"config_switch","model_name":5}`, code: 400, says: `"pointer":"/model_name"`},

	{name: "cu-changes-string was accepted and failed", mark: defect, ask: "POST /operations", body: `{"type":"config_update","changes":"x"}`, code: 400, says: `"pointer":"/changes"`},
	{name: "cu-bad-scope was DONE, and nothing was done", mark: defect, ask: "POST /operations", body: `{"type":"config_update","changes":[{"scope":"nope","server_name":"pg-one","description":"x"}]}`, code: 400, says: `"pointer":"/changes/0/scope"`},
	{name: "cu-no-changes", mark: contract, ask: "POST /operations", body: `{"type":"config_update"}`, code: 400, says: options},
	{name: "cu-empty", mark: contract, ask: "POST /operations", body: `{}`, code: 400, says: "Minimum barman options not met for instance operation"},
	{name: "cu-no-type was a 500", mark: defect, ask: "POST /operations", body: `{"changes":[{}]}`, code: 400, says: `"pointer":"/type"`},
	{name: "cu-recovery was a 500", mark: defect, ask: "POST /operations", body: `{"type":"recovery","backup_id":"latest"}`, code: 400, says: "/servers/NAME/operations"},
	{name: "cu-switch was a 500", mark: defect, ask: "POST /operations", body: `{"type":"config_switch","reset":true}`, code: 400, says: "/servers/NAME/operations"},
}

// peerOperations are the requests that are accepted, each polled to its end.
var peerOperations = []peerRow{
	{name: "r-ok", mark: contract, ask: post, body: `{"type":"recovery","backup_id":"latest","destination_directory":"$dest","remote_ssh_command":"$ssh"}`, code: 202, ends: "DONE", slow: true, holds: accepted},
	{name: "r-default-type", mark: contract, ask: post, body: `{"backup_id":"oldest","destination_directory":"$dest","local":true}`, code: 202, says: `"type":"recovery"`, ends: "DONE"},
	{name: "r-fails", mark: contract, ask: post, body: `{"backup_id":"$backup","destination_directory":"$dest","remote_ssh_command":"ssh -p $refusing nobody@127.0.0.1"}`, code: 202, ends: "FAILED"},
	{name: "cs-model", mark: contract, ask: post, body: `{"type":"config_switch","model_name":"pg-one:plain"}`, code: 202, ends: "DONE"},
	{name: "cs-model-again", mark: contract, ask: post, body: `{"type":"config_switch","model_name":"pg-one:plain"}`, code: 202, ends: "DONE", prints: "is already active"},
	{name: "cs-reset", mark: contract, ask: post, body: `{"type":"config_switch","reset":true}`, code: 202, ends: "DONE"},
	{name: "cs-reset-again", mark: contract, ask: post, body: `{"type":"config_switch","reset":true}`, code: 202, ends: "DONE"},
	{name: "cs-unknown-model", mark: contract, ask: post, body: `{"type":"config_switch","model_name":"nope"}`, code: 202, ends: "FAILED", prints: "Unknown model 'nope'"},
	{name: "cs-extra", mark: contract, ask: post, body: `{"type":"config_switch","reset":true,"operation_type":"x","start_time":"1999","note":"größer"}`, code: 202, ends: "DONE", holds: extra},
	{name: "cu-ok", mark: contract, ask: "POST /operations", body: `{"type":"config_update","changes":[{"scope":"server","server_name":"pg-one","description":"x"}]}`, code: 202, ends: "DONE"},
}

// accepted wants a 202 as old clients read it, with where to poll besides.
func accepted(p peer, res reply) {
	p.t.Helper()
	id, _ := res.json(p.t)["operation_id"].(string)
	if got, want := res.Header.Get("Location"), backups+"/"+id; id == "" || got != want {
		p.t.Errorf("operation_id = %q, Location = %q, want a text and its path", id, got)
	}
}

// extra wants what the client sent besides to be kept, and not to be believed.
func extra(p peer, res reply) {
	p.t.Helper()
	op := res.json(p.t)
	request, err := json.Marshal(op["request"])
	if err != nil || !strings.Contains(string(request), `"note":"größer"`) || op["type"] != "config_switch" || strings.HasPrefix(fmt.Sprint(op["created_at"]), "1999") {
		p.t.Errorf("type %v of %v with the request %s, want a config_switch of today, and the request as it was sent", op["type"], op["created_at"], request)
	}
}
