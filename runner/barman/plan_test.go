package barman

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"barback/runner/operation"
)

// planBox has two servers, a backup of each state and a model.
func planBox(t testing.TB) *box {
	t.Helper()
	return newBox(t, map[string]string{
		"conf.d/1.conf": "[pg-one]\n[pg-off]\nactive = false\n[passive]\nprimary_ssh_command = ssh x\n[pg-one:api]\nmodel = true\ncluster = pg-one\n[else]\nbackup_directory = DIR/else\n",
		"home/pg-one/meta/20260101T000000-backup.info": backupInfo("DONE", "backup_name=nightly"),
		"home/pg-one/meta/20260102T000000-backup.info": backupInfo("WAITING_FOR_WALS"),
		"home/pg-one/meta/20260103T000000-backup.info": backupInfo("FAILED"),
		"home/pg-one/meta/20260104T000000-backup.info": backupInfo("STARTED"),
	})
}

func kindOf(t testing.TB, name string) Kind {
	t.Helper()
	k, ok := KindOf(name, name == "config_update" || name == "cron")
	if !ok {
		t.Fatalf("KindOf(%q) finds nothing", name)
	}
	return k
}

func (b *box) plan(t testing.TB, kind, server, body string) (Plan, error) {
	t.Helper()
	r := request(t, server, body)
	r.Type = kind
	return b.client.Plan(kindOf(t, kind), r)
}

func TestPlans(t *testing.T) {
	b := planBox(t)
	for _, tc := range []struct {
		name, kind, server, body string
		want                     []string // behind "barman -c CONF"
		backup                   string
		target                   *operation.Target
	}{
		{"a backup", "backup", "pg-one", `{}`, []string{"backup", "pg-one"}, "", nil},
		{"a backup with every option", "backup", "pg-one",
			`{"type":"backup","wait":true,"wait_timeout":60,"immediate_checkpoint":true,"jobs":4,"bwlimit":0,"retry_times":0,"retry_sleep":30,"name":"before release 1.2","reuse_backup":"link"}`,
			[]string{"backup", "--wait", "--immediate-checkpoint", "--jobs=4", "--wait-timeout=60", "--bwlimit=0", "--retry-times=0", "--retry-sleep=30", "--name=before release 1.2", "--reuse-backup=link", "pg-one"}, "", nil},
		{"options that are off or null", "backup", "pg-one", `{"wait":false,"immediate_checkpoint":null,"jobs":null,"name":null,"reuse_backup":null}`, []string{"backup", "pg-one"}, "", nil},
		{"members that are not known are left alone", "backup", "pg-one", `{"operation_type":"x","--help":true,"server":"other"}`, []string{"backup", "pg-one"}, "", nil},
		{"a local recovery", "recovery", "pg-one", `{"backup_id":"20260101T000000","destination_directory":"/srv/new","local":true}`,
			[]string{"recover", "pg-one", "20260101T000000", "/srv/new"}, "20260101T000000", &operation.Target{Directory: "/srv/new"}},
		{"a recovery over ssh", "recovery", "pg-one", `{"backup_id":"latest","destination_directory":"/srv/new/","remote_ssh_command":"ssh -p 22 postgres@db","overwrite":true}`,
			[]string{"recover", "--remote-ssh-command=ssh -p 22 postgres@db", "pg-one", "20260102T000000", "/srv/new/"}, "20260102T000000",
			&operation.Target{Directory: "/srv/new", SSH: "ssh -p 22 postgres@db", Host: "postgres@db:22", Overwrite: true}},
		{"a recovery of the oldest", "recovery", "pg-one", `{"backup_id":"oldest","destination_directory":"/srv/new","local":true,"overwrite":false}`,
			[]string{"recover", "pg-one", "20260101T000000", "/srv/new"}, "20260101T000000", &operation.Target{Directory: "/srv/new"}},
		{"a recovery by name", "recovery", "pg-one", `{"backup_id":"nightly","destination_directory":"/srv/new","local":true}`,
			[]string{"recover", "pg-one", "20260101T000000", "/srv/new"}, "20260101T000000", &operation.Target{Directory: "/srv/new"}},
		{"a model", "config_switch", "pg-one", `{"model_name":"pg-one:api"}`, []string{"config-switch", "pg-one", "pg-one:api"}, "", nil},
		{"no model", "config_switch", "pg-one", `{"reset":true}`, []string{"config-switch", "pg-one", "--reset"}, "", nil},
		{"changes, as they were sent", "config_update", "", `{"changes":[{"server_name":"pg-one","scope":"server","description":"ä <&> --x"}, {"scope":"model","model_name":"m","cluster":"1"}]}`,
			[]string{"config-update", `[{"description":"ä \u003c\u0026\u003e --x","scope":"server","server_name":"pg-one"},{"cluster":"1","model_name":"m","scope":"model"}]`}, "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := b.plan(t, tc.kind, tc.server, tc.body)
			if err != nil {
				t.Fatalf("Plan(%s) = %v, want no error", tc.body, err)
			}
			if want := append([]string{b.client.Command, "-c", b.client.Config}, tc.want...); !slices.Equal(got.Command, want) {
				t.Errorf("the command is %q, want %q", got.Command, want)
			}
			if got.BackupID != tc.backup {
				t.Errorf("the backup is %q, want %q", got.BackupID, tc.backup)
			}
			if !reflect.DeepEqual(got.Target, tc.target) {
				t.Errorf("the target is %+v, want %+v", got.Target, tc.target)
			}
		})
	}
}

func TestPlanRefusals(t *testing.T) {
	b := planBox(t)
	recovery := func(more string) string {
		return `{"backup_id":"latest","destination_directory":"/srv/new","remote_ssh_command":"ssh db"` + more + `}`
	}
	for _, tc := range []struct {
		name, kind, server, body string
		pointer, says            string
		policy                   bool
	}{
		{"wait is a string", "backup", "pg-one", `{"wait":"true"}`, "/wait", "must be true or false", false},
		{"wait is a number", "backup", "pg-one", `{"wait":1}`, "/wait", "must be true or false", false},
		{"immediate_checkpoint is a list", "backup", "pg-one", `{"immediate_checkpoint":[]}`, "/immediate_checkpoint", "must be true or false", false},
		{"jobs is a string", "backup", "pg-one", `{"jobs":"2"}`, "/jobs", "must be a whole number", false},
		{"jobs is a fraction", "backup", "pg-one", `{"jobs":1.5}`, "/jobs", "must be a whole number", false},
		{"jobs is too large for a number", "backup", "pg-one", `{"jobs":99999999999999999999}`, "/jobs", "must be a whole number", false},
		{"no jobs", "backup", "pg-one", `{"jobs":0}`, "/jobs", "must be at least 1", false},
		{"negative jobs", "backup", "pg-one", `{"jobs":-1}`, "/jobs", "must be at least 1", false},
		{"wait_timeout 0", "backup", "pg-one", `{"wait_timeout":0}`, "/wait_timeout", "must be at least 1", false},
		{"a negative bwlimit", "backup", "pg-one", `{"bwlimit":-1}`, "/bwlimit", "must be at least 0", false},
		{"retry_times is true", "backup", "pg-one", `{"retry_times":true}`, "/retry_times", "must be a whole number", false},
		{"a negative retry_sleep", "backup", "pg-one", `{"retry_sleep":-5}`, "/retry_sleep", "must be at least 0", false},
		{"name is a number", "backup", "pg-one", `{"name":5}`, "/name", "must be a string", false},
		{"an empty name", "backup", "pg-one", `{"name":""}`, "/name", "must be letters", false},
		{"a name with a dash in front", "backup", "pg-one", `{"name":"--help"}`, "/name", "must not begin with a dash", false},
		{"a name with a newline", "backup", "pg-one", `{"name":"a\nb"}`, "/name", "control characters", false},
		{"a name with a newline at the end", "backup", "pg-one", `{"name":"a\n"}`, "/name", "control characters", false},
		{"a name with a NUL", "backup", "pg-one", `{"name":"a\u0000b"}`, "/name", "control characters", false},
		{"a name with a slash", "backup", "pg-one", `{"name":"a/b"}`, "/name", "must be letters", false},
		{"a name with a quote", "backup", "pg-one", `{"name":"a'b"}`, "/name", "must be letters", false},
		{"a name that is a word of Barman's", "backup", "pg-one", `{"name":"latest"}`, "/name", "words", false},
		{"a name that is another word of Barman's", "backup", "pg-one", `{"name":"last-failed"}`, "/name", "words", false},
		{"a name that is an ID", "backup", "pg-one", `{"name":"20260101T000000"}`, "/name", "ID", false},
		{"reuse_backup unknown", "backup", "pg-one", `{"reuse_backup":"all"}`, "/reuse_backup", "off, link or copy", false},
		{"reuse_backup is true", "backup", "pg-one", `{"reuse_backup":true}`, "/reuse_backup", "must be a string", false},

		{"no backup_id", "recovery", "pg-one", `{"x":1}`, "/backup_id", "Request body is missing ``backup_id``", false},
		{"backup_id is null", "recovery", "pg-one", `{"backup_id":null}`, "/backup_id", "Request body is missing ``backup_id``", false},
		{"backup_id is a number", "recovery", "pg-one", `{"backup_id":5}`, "/backup_id", "must be a string", false},
		{"backup_id is a list", "recovery", "pg-one", `{"backup_id":["latest"]}`, "/backup_id", "must be a string", false},
		{"backup_id with a dash", "recovery", "pg-one", `{"backup_id":"--get-wal"}`, "/backup_id", "must not begin with a dash", false},
		{"backup_id with a tab", "recovery", "pg-one", `{"backup_id":"a\tb"}`, "/backup_id", "control characters", false},
		{"no destination", "recovery", "pg-one", `{"backup_id":"latest","remote_ssh_command":"ssh db"}`, "/destination_directory", "is missing", false},
		{"destination is a number", "recovery", "pg-one", `{"backup_id":"latest","destination_directory":5,"remote_ssh_command":"ssh db"}`, "/destination_directory", "must be a string", false},
		{"destination is an option", "recovery", "pg-one", `{"backup_id":"latest","destination_directory":"--help","remote_ssh_command":"ssh db"}`, "/destination_directory", "must not begin with a dash", false},
		{"neither ssh nor local", "recovery", "pg-one", `{"backup_id":"latest","destination_directory":"/srv/new"}`, "/remote_ssh_command", "Make sure all options/arguments are met and try again", false},
		{"local is false", "recovery", "pg-one", `{"backup_id":"latest","destination_directory":"/srv/new","local":false}`, "/remote_ssh_command", "is missing", false},
		{"local is a string", "recovery", "pg-one", `{"backup_id":"latest","destination_directory":"/srv/new","local":"yes"}`, "/local", "must be true or false", false},
		{"ssh and local", "recovery", "pg-one", recovery(`,"local":true`), "/local", "excludes remote_ssh_command", false},
		{"ssh is a number", "recovery", "pg-one", `{"backup_id":"latest","destination_directory":"/srv/new","remote_ssh_command":5}`, "/remote_ssh_command", "must be a string", false},
		{"ssh is another command", "recovery", "pg-one", `{"backup_id":"latest","destination_directory":"/srv/new","remote_ssh_command":"sh -c id"}`, "/remote_ssh_command", "must begin with ssh", true},
		{"ssh is empty", "recovery", "pg-one", `{"backup_id":"latest","destination_directory":"/srv/new","remote_ssh_command":""}`, "/remote_ssh_command", "must begin with ssh", true},
		{"overwrite is a string", "recovery", "pg-one", recovery(`,"overwrite":"true"`), "/overwrite", "must be true or false", false},
		{"a failed backup", "recovery", "pg-one", `{"backup_id":"20260103T000000","destination_directory":"/srv/new","local":true}`, "/backup_id", "is FAILED, not DONE", false},
		{"the last failed backup", "recovery", "pg-one", `{"backup_id":"last-failed","destination_directory":"/srv/new","local":true}`, "/backup_id", "is FAILED, not DONE", false},
		{"a backup that runs", "recovery", "pg-one", `{"backup_id":"20260104T000000","destination_directory":"/srv/new","local":true}`, "/backup_id", "is STARTED, not DONE", false},

		{"neither model nor reset", "config_switch", "pg-one", `{"x":1}`, "/model_name", "Make sure all options/arguments are met and try again", false},
		{"both model and reset", "config_switch", "pg-one", `{"model_name":"m","reset":true}`, "/reset", "excludes model_name", false},
		{"an empty model", "config_switch", "pg-one", `{"model_name":""}`, "/model_name", "is missing", false},
		{"a model that is a number", "config_switch", "pg-one", `{"model_name":5}`, "/model_name", "must be a string", false},
		{"a model that is an option", "config_switch", "pg-one", `{"model_name":"--reset"}`, "/model_name", "must not begin with a dash", false},
		{"reset is false", "config_switch", "pg-one", `{"reset":false}`, "/reset", "can only be true", false},
		{"reset is a string", "config_switch", "pg-one", `{"reset":"true"}`, "/reset", "must be true or false", false},

		{"no changes", "config_update", "", `{"x":1}`, "/changes", "is missing", false},
		{"changes is null", "config_update", "", `{"changes":null}`, "/changes", "is missing", false},
		{"empty changes", "config_update", "", `{"changes":[]}`, "/changes", "is missing", false},
		{"changes is a string", "config_update", "", `{"changes":"x"}`, "/changes", "must be an array of objects", false},
		{"changes is an object", "config_update", "", `{"changes":{}}`, "/changes", "must be an array of objects", false},
		{"changes holds a string", "config_update", "", `{"changes":[{},"x"]}`, "/changes", "must be an array of objects", false},
		{"a change with a list", "config_update", "", `{"changes":[{"scope":"server","server_name":"pg-one","description":["x"]}]}`, "/changes/0/description", "must be a string", false},
		{"a change with a number", "config_update", "", `{"changes":[{"scope":"server","server_name":"pg-one"},{"scope":"server","server_name":"pg-one","x":5}]}`, "/changes/1/x", "must be a string", false},
		{"a change with null", "config_update", "", `{"changes":[{"scope":"server","server_name":"pg-one","x":null}]}`, "/changes/0/x", "must be a string", false},
		{"a change without a scope", "config_update", "", `{"changes":[{"server_name":"pg-one","x":"y"}]}`, "/changes/0/scope", "must be server or model", false},
		{"a change that is null", "config_update", "", `{"changes":[null]}`, "/changes/0/scope", "must be server or model", false},
		{"a change of another scope", "config_update", "", `{"changes":[{"scope":"global"}]}`, "/changes/0/scope", "must be server or model", false},
		{"a change of an unknown server", "config_update", "", `{"changes":[{"scope":"server","server_name":"nope"}]}`, "/changes/0/server_name", "that Barman knows", false},
		{"a change of a model without a name", "config_update", "", `{"changes":[{"scope":"model","model_name":""}]}`, "/changes/0/model_name", "is missing", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			plan, err := b.plan(t, tc.kind, tc.server, tc.body)
			if plan.Command != nil {
				t.Errorf("Plan(%s) gives the command %q, want none", tc.body, plan.Command)
			}
			wantRefusal(t, err, tc.pointer, tc.says, tc.policy)
		})
	}
}

func TestPlansOfWhatIsNotThere(t *testing.T) {
	b := planBox(t)
	for _, tc := range []struct{ name, kind, server, body, want string }{
		{"an unknown server", "backup", "nope", `{}`, "Server 'nope' does not exist"},
		{"a model for a server", "backup", "pg-one:api", `{}`, "Server 'pg-one:api' does not exist"},
		{"an unknown backup", "recovery", "pg-one", `{"backup_id":"20200101T000000"}`, "Backup '20200101T000000' does not exist"},
		{"an empty backup", "recovery", "pg-one", `{"backup_id":""}`, "Backup '' does not exist"},
		{"a piece of last-failed", "recovery", "pg-one", `{"backup_id":"failed"}`, "Backup 'failed' does not exist"},
		{"a backup of an unknown server", "recovery", "nope", `{"backup_id":"latest"}`, "Server 'nope' does not exist"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := b.plan(t, tc.kind, tc.server, tc.body); !errors.Is(err, ErrUnknown) || err.Error() != tc.want {
				t.Errorf("Plan = %v, want %q", err, tc.want)
			}
		})
	}
	t.Run("an inactive or passive server makes no backup", func(t *testing.T) {
		for _, server := range []string{"pg-off", "passive"} {
			_, err := b.plan(t, "backup", server, `{}`)
			if e, ok := errors.AsType[*InactiveError](err); !ok || e.Server != server || !strings.Contains(e.Error(), server) || e.Passive != (server == "passive") {
				t.Errorf("Plan of a backup of %s = %v, want an InactiveError", server, err)
			}
		}
	})
	t.Run("no Barman", func(t *testing.T) {
		b := planBox(t)
		b.client.Command = filepath.Join(b.dir, "none")
		_, err := b.plan(t, "backup", "pg-one", `{}`)
		if e, ok := errors.AsType[*MissingError](err); !ok || e.Command != b.client.Command {
			t.Errorf("Plan = %v, want a MissingError", err)
		}
	})
	t.Run("a Barman that is too old", func(t *testing.T) {
		b := planBox(t)
		b.write(t, "barman", "#!/bin/sh\necho '3.4.0 Barman by EnterpriseDB (www.enterprisedb.com)'\n")
		for _, kind := range []string{"config_switch", "config_update"} {
			_, err := b.plan(t, kind, "pg-one", `{"reset":true,"changes":[{"scope":"server","server_name":"pg-one"}]}`)
			if e, ok := errors.AsType[*UnsupportedError](err); !ok || e.Installed != "3.4.0" || e.Kind != kind {
				t.Errorf("Plan of %s = %v, want an UnsupportedError", kind, err)
			}
		}
		if _, err := b.plan(t, "backup", "pg-one", `{}`); err != nil {
			t.Errorf("Plan of a backup = %v, want no error", err)
		}
	})
}

func TestRawSSHCommands(t *testing.T) {
	b := planBox(t)
	b.client.Policy.AllowRawSSHCommand = true
	body := func(ssh string) string {
		quoted, err := json.Marshal(ssh)
		if err != nil {
			t.Fatal(err)
		}
		return `{"backup_id":"latest","destination_directory":"/srv/new","remote_ssh_command":` + string(quoted) + `}`
	}
	plan, err := b.plan(t, "recovery", "pg-one", body("sudo -u x ssh -F /etc/x db"))
	if want := "--remote-ssh-command=sudo -u x ssh -F /etc/x db"; err != nil || !slices.Contains(plan.Command, want) {
		t.Errorf("Plan with the administrator's leave = %q, %v, want %q in it", plan.Command, err, want)
	}
	for _, ssh := range []string{"-x", "a\nb", "a\x00b", "a\x7fb"} {
		_, err := b.plan(t, "recovery", "pg-one", body(ssh))
		wantRefusal(t, err, "/remote_ssh_command", "must not", false)
	}
}

// An empty command is none: a local restore has to be asked for by name.
func TestAnEmptyRawSSHCommandIsNoLocalRestore(t *testing.T) {
	b := planBox(t)
	b.client.Policy.AllowRawSSHCommand = true
	plan, err := b.plan(t, "recovery", "pg-one", `{"backup_id":"latest","destination_directory":"/srv/new","remote_ssh_command":""}`)
	if err == nil {
		t.Errorf("Plan = %q, want it refused", plan.Command)
	}
}

func TestDestinations(t *testing.T) {
	b := newBox(t, map[string]string{"conf.d/1.conf": "[s1]\n[else]\nbackup_directory = DIR/else/backups\n[odd]\nbackup_directory = DIR/odd/\n"})
	for _, tc := range []struct {
		name, dest string
		allowed    []string
		says       string // empty: it is allowed
		policy     bool
	}{
		{"a folder", "/srv/new", nil, "", false},
		{"a slash at the end", "/srv/new/", nil, "", false},
		{"one level", "/x", nil, "", false},
		{"characters that mean nothing to a shell", "/srv/a.b_c-d@e%f+g=h:i,j", nil, "", false},
		{"other letters and digits", "/srv/größe/大/٣", nil, "", false},
		{"a dot in a name", "/srv/..x/.y/z.", nil, "", false},
		{"a dash in front of a name", "/srv/-x", nil, "", false},
		{"nothing", "", nil, "must be an absolute path", false},
		{"the root", "/", nil, "must not be /", false},
		{"two slashes", "//", nil, "", true},
		{"three slashes", "///", nil, "without . and ..", false},
		{"the root with a dot", "/.", nil, "without . and ..", false},
		{"relative", "srv/new", nil, "must be an absolute path", false},
		{"relative with a dot", "./new", nil, "must be an absolute path", false},
		{"a tilde", "~/new", nil, "must be an absolute path", false},
		{"a tilde within", "/srv/~x", nil, "must be an absolute path", false},
		{"dots", "/srv/../etc", nil, "without . and ..", false},
		{"dots at the end", "/srv/new/..", nil, "without . and ..", false},
		{"a dot", "/srv/./new", nil, "without . and ..", false},
		{"a double slash", "/srv//new", nil, "without . and ..", false},
		{"two slashes at the end", "/srv/new//", nil, "without . and ..", false},
		{"two slashes in front", "//srv/new", nil, "without . and ..", false},
		{"a blank", "/srv/a b", nil, "must be an absolute path", false},
		{"a newline", "/srv/a\nb", nil, "must be an absolute path", false},
		{"a newline at the end", "/srv/a\n", nil, "must be an absolute path", false},
		{"a NUL", "/srv/a\x00b", nil, "must be an absolute path", false},
		{"a single quote", "/srv/a'b", nil, "must be an absolute path", false},
		{"a double quote", `/srv/a"b`, nil, "must be an absolute path", false},
		{"a dollar", "/srv/$HOME", nil, "must be an absolute path", false},
		{"a back quote", "/srv/`id`", nil, "must be an absolute path", false},
		{"a semicolon", "/srv/a;id", nil, "must be an absolute path", false},
		{"a star", "/srv/*", nil, "must be an absolute path", false},
		{"a backslash", `/srv/a\b`, nil, "must be an absolute path", false},
		{"brackets", "/srv/(a)", nil, "must be an absolute path", false},
		{"an ampersand", "/srv/a&b", nil, "must be an absolute path", false},
		{"a redirection", "/srv/a>b", nil, "must be an absolute path", false},
		{"an exclamation mark", "/srv/a!b", nil, "must be an absolute path", false},
		{"a zero-width space", "/srv/a\u200bb", nil, "must be an absolute path", false},
		{"not UTF-8", "/srv/a\xff", nil, "must be an absolute path", false},
		{"barman_home", "HOME", nil, "would destroy it", true},
		{"barman_home with a slash", "HOME/", nil, "would destroy it", true},
		{"below barman_home", "HOME/s1/base/20260101T000000/data", nil, "would destroy it", true},
		{"beside what looks like barman_home", "HOMEx", nil, "", false},
		{"above barman_home", "DIR", nil, "would destroy it", true},
		{"far above barman_home", "/" + strings.Split(b.dir, "/")[1], nil, "would destroy it", true},
		{"the backup_directory of a server", "DIR/else/backups", nil, "would destroy it", true},
		{"below it", "DIR/else/backups/x", nil, "would destroy it", true},
		{"above it", "DIR/else", nil, "would destroy it", true},
		{"below one that is written with a slash", "DIR/odd/x", nil, "would destroy it", true},
		{"allowed", "/srv/restore/x", []string{"/srv/restore"}, "", false},
		{"the allowed folder itself", "/srv/restore", []string{"/srv/restore"}, "", false},
		{"the second of the allowed", "/b/x", []string{"/a", "/b"}, "", false},
		{"all is allowed below /", "/b/x", []string{"/"}, "", false},
		{"outside of what is allowed", "/srv/other", []string{"/srv/restore"}, "outside allowed_destinations", true},
		{"above what is allowed", "/srv", []string{"/srv/restore"}, "outside allowed_destinations", true},
		{"a name that begins like it", "/srv/restore2", []string{"/srv/restore"}, "outside allowed_destinations", true},
		{"allowed, but Barman's own", "HOME/x", []string{"HOME"}, "would destroy it", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expand := strings.NewReplacer("HOME", b.home, "DIR", b.dir)
			c := *b.client
			c.Policy.AllowedDestinations = nil
			for _, dir := range tc.allowed {
				c.Policy.AllowedDestinations = append(c.Policy.AllowedDestinations, expand.Replace(dir))
			}
			dest := tc.dest
			if dest != "/srv/$HOME" {
				dest = expand.Replace(dest)
			}
			err := c.checkDestination("destination_directory", dest, nil)
			if tc.says == "" && !tc.policy {
				if err != nil {
					t.Errorf("checkDestination(%q) = %v, want it allowed", dest, err)
				}
				return
			}
			wantRefusal(t, err, "/destination_directory", tc.says, tc.policy)
		})
	}
}

// WAL files and base backups may lie outside of backup_directory: they are Barman's own, too.
func TestDestinationsOfBarmansOtherFolders(t *testing.T) {
	for _, option := range []string{"basebackups_directory", "wals_directory", "incoming_wals_directory", "streaming_wals_directory", "errors_directory"} {
		b := newBox(t, map[string]string{"conf.d/1.conf": "[s1]\n" + option + " = DIR/other\n"})
		for _, dest := range []string{b.dir + "/other", b.dir + "/other/x"} {
			if err := b.client.checkDestination("destination_directory", dest, nil); err == nil {
				t.Errorf("checkDestination(%q), the %s of a server = nil, want it refused", dest, option)
			}
		}
	}
}

// A folder in the configuration may be written with a slash at its end, and need not be there yet.
func TestAnAllowedDestinationWithASlashAtItsEnd(t *testing.T) {
	b := newBox(t, nil)
	for _, dir := range []string{b.dir + "/restore", b.dir + "/restore/"} {
		b.client.Policy.AllowedDestinations = []string{dir}
		for _, dest := range []string{b.dir + "/restore", b.dir + "/restore/x"} {
			b.write(t, "barman.conf", "[barman]\nbarman_home = DIR/home\n")
			if err := b.client.checkDestination("destination_directory", dest, nil); err != nil {
				t.Errorf("checkDestination(%q) with %q allowed = %v, want it allowed", dest, dir, err)
			}
		}
	}
}

// Links lead where they lead: neither around Barman's own folders nor out of the allowed ones.
func TestDestinationsThroughLinks(t *testing.T) {
	b := newBox(t, map[string]string{"conf.d/1.conf": "[s1]\n", "home/s1/x": "", "allowed/x": "", "other/x": ""})
	for name, target := range map[string]string{"into-home": "home/s1", "allowed/out": "../other", "in": "allowed", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(b.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	b.client.Policy.Forbidden = []string{b.dir + "/state"}
	for _, tc := range []struct {
		dest    string
		allowed string
		ok      bool
	}{
		{"other/x", "", true}, {"into-home", "", false}, {"into-home/y", "", false}, {"in/y", "", true}, {"loop/x", "", true},
		{"state", "", false}, {"state/x", "", false}, {"statement", "", true},
		{"allowed/x", "allowed", true}, {"in/x", "allowed", false}, {"in/x", "in", true}, {"allowed/out", "allowed", false}, {"allowed/out/y", "allowed", false}, {"other", "allowed", false},
	} {
		b.client.Policy.AllowedDestinations = nil
		if tc.allowed != "" {
			b.client.Policy.AllowedDestinations = []string{filepath.Join(b.dir, tc.allowed)}
		}
		if err := b.client.checkDestination("destination_directory", filepath.Join(b.dir, tc.dest), nil); (err == nil) != tc.ok {
			t.Errorf("checkDestination(%q) with %q allowed = %v, want it allowed: %v", tc.dest, tc.allowed, err, tc.ok)
		}
	}
}

func TestTablespaces(t *testing.T) {
	for _, tc := range []struct {
		list string
		want []Tablespace
		ok   bool
	}{
		{"[]", nil, true},
		{"[('tbs1', 16387, '/fast/tbs1')]", []Tablespace{{"tbs1", "/fast/tbs1", 16387}}, true},
		{"[('a', 1, '/a'), ('b', 2, '/b')]", []Tablespace{{"a", "/a", 1}, {"b", "/b", 2}}, true},
		{`[("it's", 1, '/a\\b')]`, []Tablespace{{"it's", `/a\b`, 1}}, true},
		{`[('x\'y', 1, "/a'b")]`, []Tablespace{{"x'y", "/a'b", 1}}, true},
		{"", nil, false}, {"[", nil, false}, {"[('a', 1)]", nil, false}, {"[('a', 1, '/a'] ", nil, false}, {"nonsense", nil, false}, {"[('a', 'x', '/a')]", nil, false},
	} {
		if got, err := tablespaces(tc.list); !reflect.DeepEqual(got, tc.want) || (err == nil) != tc.ok {
			t.Errorf("tablespaces(%s) = %v, %v, want %v", tc.list, got, err, tc.want)
		}
	}
}

// A tablespace that nobody moved would be restored over the live one.
func TestRecoveriesOfTablespaces(t *testing.T) {
	b := newBox(t, map[string]string{"conf.d/1.conf": "[pg-one]\n",
		"home/pg-one/meta/20260101T000000-backup.info": strings.Replace(backupInfo("DONE"), "tablespaces=None", "tablespaces=[('fast', 1, '/fast'), ('old', 2, '/old')]", 1),
		"home/pg-one/meta/20260102T000000-backup.info": strings.Replace(backupInfo("DONE"), "tablespaces=None", "tablespaces=nonsense", 1)})
	body := func(more string) string {
		return `{"backup_id":"20260101T000000","destination_directory":"/srv/new","local":true` + more + `}`
	}
	plan, err := b.plan(t, "recovery", "pg-one", body(`,"tablespaces":{"fast":"/srv/fast/","old":"/srv/old"}`))
	if want := []string{"recover", "--tablespace=fast:/srv/fast/", "--tablespace=old:/srv/old", "pg-one", "20260101T000000", "/srv/new"}; err != nil || !slices.Equal(plan.Command[3:], want) ||
		!slices.Equal(plan.Target.Others, []string{"/srv/fast", "/srv/old"}) {
		t.Errorf("Plan = %+v, %v, want %q", plan, err, want)
	}
	plan, err = b.plan(t, "recovery", "pg-one", body(`,"tablespaces":{"fast":"/srv/fast"},"overwrite":true`))
	if want := []string{"recover", "--tablespace=fast:/srv/fast", "pg-one", "20260101T000000", "/srv/new"}; err != nil || !slices.Equal(plan.Command[3:], want) {
		t.Errorf("Plan with overwrite = %q, %v, want %q", plan.Command, err, want)
	}
	for _, tc := range []struct {
		name, body, pointer, says string
		policy                    bool
	}{
		{"none is moved", body(``), "/tablespaces", "over what is there", true},
		{"one is not moved", body(`,"tablespaces":{"fast":"/srv/fast"}`), "/tablespaces", `"old"`, true},
		{"one that is not there", body(`,"tablespaces":{"fast":"/srv/fast","old":"/srv/old","x":"/srv/x"}`), "/tablespaces/x", "no tablespace of this name", false},
		{"into Barman's own", body(`,"tablespaces":{"fast":"` + b.home + `","old":"/srv/old"}`), "/tablespaces/fast", "would destroy it", true},
		{"a relative folder", body(`,"tablespaces":{"fast":"x","old":"/srv/old"}`), "/tablespaces/fast", "absolute path", false},
		{"an option", body(`,"tablespaces":{"fast":"--help","old":"/srv/old"}`), "/tablespaces/fast", "absolute path", false},
		{"a list", body(`,"tablespaces":["/srv/fast"]`), "/tablespaces", "must be an object of strings", false},
		{"a number", body(`,"tablespaces":{"fast":5}`), "/tablespaces", "must be an object of strings", false},
		{"a catalog that cannot be read", strings.Replace(body(``), "0101", "0102", 1), "/backup_id", "is DAMAGED", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := b.plan(t, "recovery", "pg-one", tc.body)
			wantRefusal(t, err, tc.pointer, tc.says, tc.policy)
		})
	}
}

func TestADestinationNeedsBarmansConfiguration(t *testing.T) {
	b := newBox(t, map[string]string{"barman.conf": "[barman]\n"})
	if err := b.client.checkDestination("destination_directory", "/srv/new", nil); err == nil {
		t.Error("checkDestination without barman_home = nil, want an error: nobody knows what is Barman's own")
	}
}

func TestKinds(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Kinds {
		if seen[k.Name] || k.plan == nil {
			t.Errorf("the type %q is listed twice or has no plan", k.Name)
		}
		seen[k.Name] = true
		if got, ok := KindOf(k.Name, k.Instance); !ok || got.Name != k.Name {
			t.Errorf("KindOf(%q, %v) = %q, %v, want it", k.Name, k.Instance, got.Name, ok)
		}
		if _, ok := KindOf(k.Name, !k.Instance); ok {
			t.Errorf("KindOf(%q) finds it at the other level, too", k.Name)
		}
	}
	for _, name := range []string{"", "RECOVERY", "recovery ", "restore"} {
		if k, ok := KindOf(name, false); ok {
			t.Errorf("KindOf(%q) = %q, want nothing", name, k.Name)
		}
	}
	if got := Names(false); !slices.Contains(got, "backup") || !slices.Contains(got, "delete") || slices.Contains(got, "cron") {
		t.Errorf("the types of a server are %q", got)
	}
	if got := Names(true); !slices.Equal(got, []string{"config_update", "cron"}) {
		t.Errorf("the types of the instance are %q", got)
	}
}

// ownOption reports whether we write an argv element with a dash ourselves.
func ownOption(arg string) bool {
	return slices.Contains([]string{"--reset", "--release"}, arg) || slices.ContainsFunc(Kinds, func(k Kind) bool {
		return slices.ContainsFunc(k.Options, func(o Option) bool { return arg == long(o.Name) || arg == long("no_"+o.Name) })
	})
}

// Whatever a client sends, no element of the argv is an option but ours, none holds a
// NUL or, outside of JSON, a control character, and the server stands where it belongs.
func FuzzPlan(f *testing.F) {
	b := planBox(f)
	b.client.Cache = b.dir
	for _, body := range []string{
		`{"wait":true,"jobs":2,"name":"x","reuse_backup":"link"}`, `{"backup_id":"latest","destination_directory":"/srv/new","remote_ssh_command":"ssh db"}`,
		`{"backup_id":"nightly","destination_directory":"/-x","local":true,"overwrite":true}`, `{"model_name":"x"}`, `{"reset":true}`,
		`{"changes":[{"scope":"server","x":"--y"}]}`, `{"name":"--help"}`, `{"backup_id":"-x"}`, `{"model_name":"--reset"}`, `{"name":"a\u0000"}`, `{"model_name":"a\nb"}`, `{"changes":[{"-":"-"}]}`,
	} {
		for i := range Kinds {
			f.Add(i, body)
		}
	}
	f.Fuzz(func(t *testing.T, i int, body string) {
		k := Kinds[uint(i)%uint(len(Kinds))]
		r := Request{Type: k.Name, Server: "pg-one"}
		if k.Instance {
			r.Server = ""
		}
		if json.Unmarshal([]byte(body), &r.Body) != nil {
			return
		}
		plan, err := b.client.Plan(k, r)
		if err != nil {
			if plan.Command != nil {
				t.Errorf("a refused %s has the command %q", k.Name, plan.Command)
			}
			if e, ok := errors.AsType[*InvalidError](err); ok {
				if len(e.Fields) == 0 || !strings.HasPrefix(e.Fields[0].Pointer, "/") || e.Fields[0].Detail == "" {
					t.Errorf("the refusal %+v names no member", e)
				}
			} else if _, inactive := errors.AsType[*InactiveError](err); !inactive && !errors.Is(err, ErrUnknown) {
				t.Errorf("Plan(%s) = %v, want a refusal or something unknown", body, err)
			}
			return
		}
		args := plan.Command[4:] // behind "barman -c CONF COMMAND"
		for n, arg := range args {
			if arg == "" || strings.ContainsRune(arg, 0) {
				t.Errorf("the argv %q holds an empty element or a NUL", plan.Command)
			}
			if k.Name != "config_update" && strings.ContainsFunc(arg, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
				t.Errorf("the argv %q holds a control character", plan.Command)
			}
			name, _, value := strings.Cut(arg, "=")
			if strings.HasPrefix(arg, "-") && !ownOption(arg) && (!value || strings.Trim(name[2:], "abcdefghijklmnopqrstuvwxyz-") != "") {
				t.Errorf("element %d of %q is an option that is none of ours", n, plan.Command)
			}
		}
		if k.Name == "config_update" && (len(args) != 1 || !json.Valid([]byte(args[0])) || args[0][0] != '[') {
			t.Errorf("the argv of config_update is %q, want a JSON array", plan.Command)
		}
		if !k.Instance && !slices.Contains(args, "pg-one") {
			t.Errorf("the argv %q does not name the server", plan.Command)
		}
	})
}

func TestFindTakesNamesAndPaths(t *testing.T) {
	b := newBox(t, nil)
	if got, err := b.client.Find(); err != nil || got != b.client.Command {
		t.Errorf("Find of a path = %q, %v, want it", got, err)
	}
	t.Setenv("PATH", b.dir)
	if got, err := (&Client{Command: "barman"}).Find(); err != nil || got != b.client.Command {
		t.Errorf("Find of a name = %q, %v, want %q", got, err, b.client.Command)
	}
	if err := os.Chmod(b.client.Command, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{b.client.Command, "barman", b.dir, ""} {
		_, err := (&Client{Command: command}).Find()
		if _, ok := errors.AsType[*MissingError](err); !ok || !strings.Contains(fmt.Sprint(err), "Barman is not installed") {
			t.Errorf("Find(%q), which is no program = %v, want a MissingError", command, err)
		}
	}
}
