package barmanapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"barback/runner/barman/manual"
)

func parameter(name, nargs string, required bool, spellings ...string) manual.Parameter {
	return manual.Parameter{Name: name, Nargs: nargs, Required: required, Spellings: spellings}
}

var (
	server    = parameter("server_name", "", true)
	helpFor   = parameter("help", "0", false, "-h", "--help")
	restoring = manual.Command{Name: "restore", Aliases: []string{"recover"}, Parameters: []manual.Parameter{server, parameter("backup_id", "", true), parameter("destination_directory", "", true), helpFor,
		parameter("tablespace", "", false, "--tablespace"), parameter("remote-ssh-command", "", false, "--remote-ssh-command"), parameter("jobs", "", false, "--jobs", "-j"),
		parameter("get-wal", "0", false, "--get-wal"), parameter("no-get-wal", "0", false, "--no-get-wal"), parameter("target-xid", "", false, "--target-xid")}}
	keep         = manual.Command{Name: "keep", Parameters: []manual.Parameter{server, parameter("backup_id", "", true), helpFor, parameter("release", "0", false, "--release", "-r"), parameter("target", "", false, "--target")}}
	configUpdate = manual.Command{Name: "config-update", Parameters: []manual.Parameter{parameter("json_changes", "", true), helpFor}}
	syncInfo     = manual.Command{Name: "sync-info", Parameters: []manual.Parameter{server, parameter("last_wal", "?", false), parameter("last_position", "?", false), helpFor, parameter("primary", "0", false, "--primary")}}
	getWAL       = manual.Command{Name: "get-wal", Parameters: []manual.Parameter{server, parameter("wal_name", "", true), helpFor, parameter("output-directory", "", false, "--output-directory", "-o"), parameter("peek", "", false, "--peek"), parameter("test", "0", false, "--test")}}
	receiveWAL   = manual.Command{Name: "receive-wal", Parameters: []manual.Parameter{server, helpFor, parameter("stop", "0", false, "--stop")}}
	putWAL       = manual.Command{Name: "put-wal", Parameters: []manual.Parameter{server, helpFor, parameter("test", "0", false, "--test")}}
)

// A command that is a type of operation becomes its request, with values of the types that it wants.
func TestRequests(t *testing.T) {
	at := Values{"server_name": {"pg"}, "backup_id": {"b"}, "destination_directory": {"/d"}}
	with := func(base Values, pairs ...string) Values {
		v := Values{}
		for name, values := range base {
			v[name] = values
		}
		for i := 0; i < len(pairs); i += 2 {
			v[pairs[i]] = append(slices.Clone(v[pairs[i]]), pairs[i+1])
		}
		return v
	}
	some := Values{"SERVERNAME": {"pg"}, "BACKUP_ID": {"b"}}
	for _, tc := range []struct {
		command manual.Command
		values  Values
		want    string // the request, or a part of the refusal
	}{
		{restoring, at, `{"backup_id":"b","destination_directory":"/d","local":true,"type":"recovery"}`},
		{restoring, with(at, "remote-ssh-command", "ssh a"), `{"backup_id":"b","destination_directory":"/d","remote_ssh_command":"ssh a","type":"recovery"}`},
		{restoring, with(at, "target", "standby"), `{"backup_id":"b","destination_directory":"/d","target":"standby","type":"recovery"}`},
		{restoring, with(at, "tablespace", "a:/x", "tablespace", "b:/y:z"), `"tablespaces":{"a":"/x","b":"/y:z"}`},
		{restoring, with(at, "tablespace", "a:/x", "tablespace", "a:/y"), "NAME:FOLDER"},
		{restoring, with(at, "jobs", "4", "get-wal", "TRUE", "overwrite", "true"), `"get_wal":true,"jobs":4,"local":true,"overwrite":true`},
		{restoring, with(at, "no-get-wal", "TRUE"), `"no_get_wal":true`}, {restoring, with(at, "get-wal", "FALSE"), `"destination_directory":"/d","local":true,"type"`},
		{restoring, with(at, "jobs", "04"), `"jobs":"04"`}, // which the type refuses
		{restoring, with(at, "target-xid", "7"), `"target_xid":"7"`},
		{restoring, with(at, "jobs", "4", "JOBS", "5"), "Some parameters are invalid"}, {restoring, with(at, "jobs", "4", "jobs", "5"), "Some parameters are invalid"},
		{restoring, with(at, "server_name", "pg-two"), "Some parameters are invalid"}, {restoring, with(at, "type", "delete"), "Some parameters are invalid"},
		{restoring, with(at, "help", "TRUE"), "Some parameters are invalid"}, {restoring, with(at, "-c", "/x"), "Some parameters are invalid"}, {restoring, with(at, "get-wal", "yes"), "is TRUE or FALSE"},
		{restoring, Values{"server_name": {"pg"}}, "Please send a required parameter.(backup_id)"},
		{keep, with(some, "target", "full"), `{"backup_id":"b","target":"full","type":"keep"}`}, {keep, with(some, "release", "TRUE"), `{"backup_id":"b","target":"release","type":"keep"}`},
		{keep, with(some, "release", "TRUE", "target", "full"), "Some parameters are invalid"},
		{configUpdate, Values{"json_changes": {`[{"scope":"server"}]`}}, `{"changes":[{"scope":"server"}],"type":"config_update"}`}, {configUpdate, Values{"json_changes": {`[{`}}, "must be JSON"},
	} {
		c, err := newCall(tc.command, tc.values)
		got := ""
		if err == nil {
			req, raw, wrong := c.request()
			if got, err = string(raw), wrong; !c.kind.Instance && req.Server != "pg" && err == nil {
				t.Errorf("%s %v is for %q", tc.command.Name, tc.values, req.Server)
			}
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tc.want) {
			t.Errorf("%s %v = %s, want %s", tc.command.Name, tc.values, got, tc.want)
		}
	}
}

// Others become words: an option and its value are one, and no argument takes the place of another.
func TestWords(t *testing.T) {
	for _, tc := range []struct {
		values Values
		want   string
	}{
		{Values{"server_name": {"pg"}}, "[sync-info pg]"}, {Values{"server_name": {"pg"}, "primary": {"TRUE"}}, "[sync-info --primary pg]"},
		{Values{"server_name": {"pg"}, "last_wal": {"w"}, "last_position": {"7"}}, "[sync-info pg w 7]"},
		{Values{"server_name": {"pg"}, "last_position": {"7"}}, "Some parameters are invalid"}, {Values{"server_name": {"pg", "b"}}, "Some parameters are invalid"},
		{Values{"server_name": {"pg"}, "last_wal": {"-x"}}, "must not begin with a dash"}, {Values{"server_name": {"pg"}, "last_wal": {""}}, "is empty"}, {Values{"server_name": {"pg"}, "last_wal": {}}, "Some parameters are invalid"},
	} {
		c, err := newCall(syncInfo, tc.values)
		var words []string
		if err == nil {
			words, err = c.argv()
		}
		got := fmt.Sprint(words)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tc.want) {
			t.Errorf("%v = %s, want %s", tc.values, got, tc.want)
		}
	}
}

// What would not end, asks, prints no text or writes where a client says is refused, and says why.
func TestConducts(t *testing.T) {
	w := Values{"server_name": {"pg"}, "wal_name": {"w"}}
	export := manual.Command{Name: "export-backup", Parameters: []manual.Parameter{server}}
	for _, tc := range []struct {
		command manual.Command
		values  Values
		allowed string
		want    string // looks, does, or a part of the refusal
	}{
		{getWAL, w, "", "no JSON can hold"}, {getWAL, Values{"server_name": {"pg"}, "wal_name": {"w"}, "peek": {"2"}}, "", "looks"},
		{getWAL, Values{"server_name": {"pg"}, "wal_name": {"w"}, "peek": {"2"}, "output-directory": {"/etc"}}, "", "where the client says"}, {getWAL, w, "get-wal", "no JSON can hold"},
		{receiveWAL, Values{"server_name": {"pg"}}, "", "runs until it is stopped"}, {receiveWAL, Values{"server_name": {"pg"}, "stop": {"TRUE"}}, "", "does"},
		{receiveWAL, Values{"server_name": {"pg"}, "stop": {"FALSE"}}, "", "runs until it is stopped"}, {receiveWAL, Values{"server_name": {"pg"}}, "receive-wal", "runs until it is stopped"},
		{putWAL, Values{"server_name": {"pg"}}, "put-wal", "standard input"}, {putWAL, Values{"server_name": {"pg"}, "test": {"TRUE"}}, "", "looks"},
		{export, Values{"server_name": {"pg"}}, "", "where the client says"}, {export, Values{"server_name": {"pg"}}, "export-backup", "does"},
		{manual.Command{Name: "x", Aliases: []string{"list-servers"}}, Values{}, "", "looks"}, {manual.Command{Name: "x"}, Values{}, "", "does not know what it does"}, {manual.Command{Name: "x"}, Values{}, "x", "does"},
	} {
		a := &API{Config: Config{Allowed: []string{tc.allowed}}}
		c, err := newCall(tc.command, tc.values)
		if err != nil {
			t.Fatal(err)
		}
		how, err := a.conductOf(tc.command, c.given)
		got := map[bool]string{true: "looks"}[how.looks] + map[bool]string{true: "does"}[how.does]
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tc.want) {
			t.Errorf("%s %v, allowed %q: %s, want %s", tc.command.Name, tc.values, tc.allowed, got, tc.want)
		}
	}
}

func TestValues(t *testing.T) {
	for _, tc := range []struct{ query, media, body, want string }{
		{"a=1&a=2", "", "", "map[a:[1 2]]"}, {"a=1", "application/x-www-form-urlencoded; charset=utf-8", "b=2", "map[a:[1] b:[2]]"},
		{"", "application/json", `{"a":"x","b":7,"c":true,"d":false,"e":["x",1]}`, "map[a:[x] b:[7] c:[TRUE] d:[FALSE] e:[x 1]]"},
		{"a=1", "application/x-www-form-urlencoded", "a=2", "Some parameters are invalid"}, {"%zz", "", "", "query is not written right"}, {"", "application/x-www-form-urlencoded", "%zz", "form is not written right"},
		{"", "application/json", `[1]`, "no JSON object"}, {"", "application/json", `{"a":{}}`, "must be a text"}, {"", "application/json", `{"a":null}`, "must be a text"}, {"", "application/json", `{"a":[[]]}`, "must be a text"},
		{"", "text/plain", "x", "Send a form"}, {"", "", "x", "Send a form"},
	} {
		v, err := ReadValues(tc.query, tc.media, []byte(tc.body))
		got := fmt.Sprint(v)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tc.want) {
			t.Errorf("%q %s %q = %s, want %s", tc.query, tc.media, tc.body, got, tc.want)
		}
	}
}

func TestLists(t *testing.T) {
	for text, want := range map[string]string{
		"": "[] nil", "[]": "[]", "[ ]": "[]", "['barman']": "[barman]", `["auth/user/list", 'barman/x',]`: "[auth/user/list* barman/x*]", "['a*']": "[a*]", "history": "[history]",
		"[": "write a list", "['a','']": "write a list", "[barman]": "write a list", "['a'+'b']": "write a list", "['a\"]": "write a list", "['']": "write a list", "['/x']": "write a list", "[__import__('os')]": "write a list", "['GO x']": "write a list",
	} {
		list, err := readList(Values{"access": {text}}, "access")
		got := fmt.Sprint(list)
		if list == nil {
			got += " nil"
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("readList(%q) = %s, want %s", text, got, want)
		}
	}
	if got := fmt.Sprint(names(patterns([]string{"barman", "x", "y*"}))); got != "[barman x y]" {
		t.Errorf("what is shown of a list is %s, want what was sent", got)
	}
}
