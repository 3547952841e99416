package barman

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"barback/runner/operation"
)

// Request is what a client asks to be done: a type, the server it is for (empty:
// the instance), and the members of its JSON object.
type Request struct {
	Type   string
	Server string
	Body   map[string]json.RawMessage
	DryRun bool // it is not to be done: a check that fails is no error
}

// Plan is a request that passed every check that can be made beforehand.
type Plan struct {
	Command  []string // the whole argv
	BackupID string   // the backup it is about, aliases resolved; empty: none yet
	Uses     []string // the backups that must stay while it works, or that it deletes
	Target   *operation.Target
	Host     string // where it is to be done, if there are several
	Queue    bool   // wait behind another operation that excludes it
	Checks   []Check
}

// Kind is one type of operation.
type Kind struct {
	Name     string
	Command  string // of Barman's
	Instance bool   // of the whole instance, not of one server
	Since    string // first Barman that can do it; empty: all
	Options  []Option
	Alone    [][]string                                 // members of which at most one may be given
	Open     bool                                       // members that are not known are ignored, as pg-backup-api does
	plan     func(*Client, Kind, Request) (Plan, error) // Command without program, configuration and name
	report   reporter                                   // of those that only read: what their result is
	judges   bool                                       // exit code 1 is an answer
}

// Kinds lists the types of operations: adding one is adding a row.
var Kinds = []Kind{
	{Name: "backup", Command: "backup", Options: backupOptions, Alone: [][]string{retries}, Open: true, plan: planBackup},
	{Name: "recovery", Command: "recover", Options: recoveryOptions, Alone: [][]string{targets, retries}, Open: true, plan: planRecovery},
	{Name: "config_switch", Command: "config-switch", Since: "3.10", Options: members("model_name", "reset"), Open: true, plan: planConfigSwitch},
	{Name: "delete", Command: "delete", Options: members("backup_id", "incrementals", "queue"), plan: planDelete},
	{Name: "keep", Command: "keep", Options: members("backup_id", "target"), plan: planKeep},
	{Name: "verify_backup", Command: "verify-backup", Options: members("backup_id"), plan: planVerify},
	{Name: "generate_manifest", Command: "generate-manifest", Options: members("backup_id"), plan: planManifest},
	{Name: "check_backup", Command: "check-backup", Options: members("backup_id"), plan: planOfBackup},
	{Name: "switch_wal", Command: "switch-wal", Options: switchOptions, plan: planSwitch},
	{Name: "archive_wal", Command: "archive-wal", plan: planOfPrimary},
	{Name: "rebuild_xlogdb", Command: "rebuild-xlogdb", plan: planOfServer},
	{Name: "sync_backup", Command: "sync-backup", Options: members("backup_id"), plan: planSyncBackup},
	{Name: "sync_wals", Command: "sync-wals", plan: planSyncWALs},
	{Name: "check", Command: "check", plan: planLook, report: readCheck, judges: true},
	{Name: "status", Command: "status", plan: planLook, report: readStatus},
	{Name: "replication_status", Command: "replication-status", plan: planLookAtPrimary, report: readReplication},
	{Name: "config_update", Command: "config-update", Instance: true, Since: "3.10", Options: members("host", "changes"), Open: true, plan: planConfigUpdate},
	{Name: "cron", Command: "cron", Instance: true, Options: members("host"), plan: planCron},
}

// retries exclude each other.
var retries = []string{"retry_times", "no_retry"}

// members are options that the plan reads.
func members(names ...string) []Option {
	list := make([]Option, 0, len(names))
	for _, name := range names {
		list = append(list, Option{Name: name})
	}
	return list
}

// Supported reports whether Barman of that version can do it.
func (k Kind) Supported(version string) bool { return k.Since == "" || !older(version, k.Since) }

// KindOf finds a type at its level.
func KindOf(name string, instance bool) (Kind, bool) {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name && k.Instance == instance })
	if i < 0 {
		return Kind{}, false
	}
	return Kinds[i], true
}

// Names lists the types of one level.
func Names(instance bool) []string {
	var names []string
	for _, k := range Kinds {
		if k.Instance == instance {
			names = append(names, k.Name)
		}
	}
	return names
}

// Plan checks a request and builds the command that does it. It starts nothing and
// changes nothing.
func (c *Client) Plan(k Kind, r Request) (Plan, error) {
	if !k.Open {
		if err := r.unknown(k); err != nil {
			return Plan{}, err
		}
	}
	for _, names := range k.Alone {
		if err := r.atMostOne(names); err != nil {
			return Plan{}, err
		}
	}
	plan, err := k.plan(c, k, r)
	if err != nil {
		return Plan{}, err
	}
	words := []string{k.Command}
	if k.Reports() {
		words = []string{"-f", "json", k.Command}
	}
	if plan.Command, err = c.argv(append(words, plan.Command...)...); err != nil {
		return Plan{}, err
	}
	if err := c.require(k, plan.Command); err != nil {
		return Plan{}, err
	}
	if err := plan.refusal(r); err != nil {
		return Plan{}, err
	}
	return plan, nil
}

// Operation is the record of a request that passed: what its runner needs, and nothing yet of
// who sent it. raw is the request as it was sent.
func (p Plan) Operation(r Request, raw json.RawMessage) (operation.Operation, error) {
	fingerprint, err := operation.Fingerprint(r.Type, r.Server, raw)
	return operation.Operation{
		Type: r.Type, Server: r.Server, Host: p.Host, Request: raw, Fingerprint: fingerprint,
		Command: p.Command, Target: p.Target, Uses: p.Uses, Queue: p.Queue, Result: operation.Result{BackupID: p.BackupID},
	}, err
}

// Field is one thing that is wrong with a request, with a JSON pointer (RFC 6901) to it.
type Field struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// InvalidError refuses a request for what it says.
type InvalidError struct {
	Summary  string
	Fields   []Field
	Policy   bool // it is well-formed, but not allowed here
	Hopeless bool // it is allowed, but could not work
}

func (e *InvalidError) Error() string {
	parts := make([]string, 0, len(e.Fields))
	for _, f := range e.Fields {
		parts = append(parts, f.Pointer+": "+f.Detail)
	}
	return strings.Join(append([]string{e.Summary}, parts...), "; ")
}

// The sentences that pg-backup-api's clients know.
const notMet = "Make sure all options/arguments are met and try again"

// invalid refuses one member.
func invalid(summary, member, format string, args ...any) error {
	return &InvalidError{Summary: summary, Fields: []Field{{"/" + member, fmt.Sprintf(format, args...)}}}
}

// token is a name as one step of a JSON pointer (RFC 6901, 3).
func token(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// refused is invalid for a reason of policy.
func refused(member, format string, args ...any) error {
	return &InvalidError{Summary: "The request is not allowed here", Policy: true, Fields: []Field{{"/" + member, fmt.Sprintf(format, args...)}}}
}

// get reads the member name into v. It reports whether the member is there and not null;
// a value of another type is an error that names the one that is wanted.
func (r Request) get(name string, v any) (bool, error) {
	raw, ok := r.Body[name]
	if !ok || string(bytes.TrimSpace(raw)) == "null" {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return true, invalid("A value has the wrong type", name, "must be %s", typeName(v))
	}
	return true, nil
}

func typeName(v any) string {
	switch v.(type) {
	case *string:
		return "a string"
	case *bool:
		return "true or false"
	case *int:
		return "a whole number"
	case *map[string]string:
		return "an object of strings"
	case *[]map[string]json.RawMessage:
		return "an array of objects"
	}
	return "of another type"
}

// text reads a member that becomes an argument: a string without control
// characters that cannot be taken for an option.
func (r Request) text(name string) (string, bool, error) {
	var s string
	ok, err := r.get(name, &s)
	if err != nil || !ok {
		return "", ok, err
	}
	return s, true, checkWord(name, s)
}

func checkWord(member, s string) error {
	switch {
	case strings.HasPrefix(s, "-"):
		return invalid("A value is not allowed", member, "must not begin with a dash: Barman would take it for an option")
	case strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return invalid("A value is not allowed", member, "must not hold control characters")
	}
	return nil
}

// number reads a whole number of at least least.
func (r Request) number(name string, least int) (int, bool, error) {
	var n int
	ok, err := r.get(name, &n)
	if err == nil && ok && n < least {
		err = invalid("A value is not allowed", name, "must be at least %d", least)
	}
	return n, ok, err
}
