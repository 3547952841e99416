package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"barback/runner/barman"
	"barback/runner/rewrite"
)

// Each row is a file before and after a key is set: all else is as it was.
func TestSetKeyKeepsTheRest(t *testing.T) {
	for _, tc := range []struct{ name, before, table, key, literal, after string }{
		{"a value", "a = 1\n[t]\na = 2\n", "t", "a", "3", "a = 1\n[t]\na = 3\n"},
		{"one outside of a table", "a = 1\n[t]\na = 2\n", "", "a", "3", "a = 3\n[t]\na = 2\n"},
		{"a comment behind it", "[t]\n  a=\"x # y\"   # why\n# more\n", "t", "a", `"z"`, "[t]\n  a=\"z\"   # why\n# more\n"},
		{"a list of several lines", "[t]\na = [\n  1, # one\n  2,\n] # all\nb = 3\n", "t", "a", "[4]", "[t]\na = [4] # all\nb = 3\n"},
		{"a text of several lines that looks like a table", "[t]\nx = '''\n[u]\na = 1\n'''\na = 2\n", "t", "a", "3", "[t]\nx = '''\n[u]\na = 1\n'''\na = 3\n"},
		{"a key that is not there", "[t]\na = 1\n\n# of u\n[u]\nb = 2\n", "t", "c", "3", "[t]\na = 1\nc = 3\n\n# of u\n[u]\nb = 2\n"},
		{"an empty table", "[t] # x\n[u]\n", "t", "c", "3", "[t] # x\nc = 3\n[u]\n"},
		{"a table that is not there", "a = 1", "t", "c", "3", "a = 1\n\n[t]\nc = 3\n"},
		{"nothing outside of a table", "# top\n[t]\n", "", "a", "1", "a = 1\n# top\n[t]\n"},
		{"a comment that looks like it", "[t]\n# a = 1\na = 2\n", "t", "a", "3", "[t]\n# a = 1\na = 3\n"},
		{"line ends of Windows", "[t]\r\na = 1 # x\r\nb = 2\r\n", "t", "a", "3", "[t]\r\na = 3 # x\r\nb = 2\r\n"},
		{"a table below another", "[t.u]\na = 1\n[t]\na = 2\n", "t", "a", "3", "[t.u]\na = 1\n[t]\na = 3\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := setKey(tc.before, tc.table, tc.key, tc.literal); err != nil || got != tc.after {
				t.Errorf("setKey = %q, %v, want %q", got, err, tc.after)
			}
		})
	}
	for name, text := range map[string]string{"an inline table": "t = {a = 1}\n", "a dotted key": "t.a = 1\n", "a quoted key": "[t]\n\"a\" = 1\n", "no TOML": "[t\n"} {
		t.Run(name, func(t *testing.T) {
			if got, err := setKey(text, "t", "a", "2"); err == nil {
				t.Errorf("setKey = %q, want an error", got)
			}
		})
	}
}

// shipped is the shipped configuration, at a place of its own, with a state directory.
func shipped(t *testing.T) (ownConfig, string) {
	t.Helper()
	data, err := os.ReadFile(root(t) + "/packaging/barback.toml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := strings.Replace(string(data), `"/var/lib/barback"`, fmt.Sprintf("%q", dir+"/state"), 1)
	path := filepath.Join(dir, "barback.toml")
	if err := errors.Join(os.Mkdir(dir+"/state", 0o700), os.WriteFile(path, []byte(text), 0o640)); err != nil { // #nosec G306
		t.Fatal(err)
	}
	c, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	return ownConfig{c}, text
}

func TestChangeOfOurOwnConfiguration(t *testing.T) {
	own, text := shipped(t)
	message, err := own.Change(map[string]string{"barback.log_level": "debug", "runner.max_parallel": "6", "retention.archive_after": "30d", "barback.max_body": "16MiB"}, time.Now())
	if err != nil || !strings.Contains(message, "already") {
		t.Fatalf("Change = %q, %v, want that running processes do not know of it yet", message, err)
	}
	for old, new := range map[string]string{"log_level = \"info\"": "log_level = \"debug\"", "max_parallel = 4": "max_parallel = 6", "archive_after = \"90d\"": "archive_after = \"30d\"", "max_body = \"8MiB\"": "max_body = \"16MiB\""} {
		if strings.Count(text, old) != 1 {
			t.Fatalf("the shipped configuration has %s %d times", old, strings.Count(text, old))
		}
		text = strings.Replace(text, old, new, 1)
	}
	if got, err := os.ReadFile(own.cfg.path); err != nil || string(got) != text {
		t.Errorf("the file is now\n%s\n%v, want\n%s", got, err, text)
	}
	all, err := own.Sections()
	if err != nil || all["runner"]["max_parallel"] != int64(6) || all["barback"]["log_level"] != "debug" {
		t.Errorf("Sections = %v, %v, want what was set", all, err)
	}
	if saved, _ := filepath.Glob(own.cfg.StateDir + "/saved" + own.cfg.path + "/*"); len(saved) != 1 {
		t.Errorf("saved are %v, want the last version", saved)
	}
}

// What would let an administrator of the API do more than before is not theirs to set; and what barback could
// not start with is refused. Nothing is written then.
func TestChangeOfOurOwnConfigurationIsRefused(t *testing.T) {
	own, text := shipped(t)
	for _, tc := range []struct {
		option, value, says string
		policy              bool
	}{
		{"restore.allow_raw_ssh_command", "true", "limits what may be asked for", true},
		{"restore.allowed_destinations", "[]", "limits what may be asked for", true},
		{"config_update.allowed_options", `["*"]`, "limits what may be asked for", true},
		{"targets.x", "y", "limits what may be asked for", true},
		{"barman.command", "/bin/sh", "what runs as the user of Barman", true},
		{"barman.config", "/tmp/x", "what runs as the user of Barman", true},
		{"barman.mask_passwords", "false", "hides passwords", true},
		{"barback.state_dir", "/tmp", "users, locks and operations", true},
		{"barback.trusted_proxy_user", "mallory", "who is who", true},
		{"auth.peers", "{}", "who is who", true},
		{"audit.file", "", "written down", true},
		{"runner.socket", "/tmp/x", "who runs operations", true},
		{"nosuch.option", "1", "no option", false},
		{"runner.nosuch", "1", "no option", false},
		{"log_level", "debug", "no option", false},
		{"runner.max_parallel", "0", "at least 1", false},
		{"runner.max_parallel", "x", "no whole number", false},
		{"runner.max_parallel", "9999", "max_open", false},
		{"barback.log_level", "loud", "loud", false},
		{"barback.log_level", "info\"\n[restore]\nallow_raw_ssh_command = true\n#", "restore", false},
		{"retention.archive_after", "soon", "not a time", false},
		{"runner.max_output", "1KiB", "too few", false},
	} {
		_, err := own.Change(map[string]string{"barback.idle_timeout": "10s", tc.option: tc.value}, time.Now())
		e, ok := errors.AsType[*barman.InvalidError](err)
		if !ok || e.Policy != tc.policy || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("Change(%s=%q) = %v, want a refusal (policy: %v) that says %q", tc.option, tc.value, err, tc.policy, tc.says)
		}
		if got, err := os.ReadFile(own.cfg.path); err != nil || string(got) != text {
			t.Fatalf("Change(%s=%q) was refused and has changed the file (%v)", tc.option, tc.value, err)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(own.cfg.path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	_, err := own.Change(map[string]string{"barback.log_level": "debug"}, time.Now())
	if e, ok := errors.AsType[*rewrite.NotOursError](err); !ok || !strings.Contains(e.Why, "belongs to nobody") || !strings.Contains(e.Why, "barback config check") {
		t.Errorf("Change of another's file = %v, want a NotOursError that says what to do", err)
	}
}

// Every option of the configuration is either harmless or has a reason of its own why it is not set over REST.
func TestEveryOptionIsChangeableOrSaysWhyNot(t *testing.T) {
	own, _ := shipped(t)
	for _, name := range changeable {
		if strings.Contains(name, "*") || name == "barmanapi.allowed_commands" {
			t.Errorf("%s may be set over REST: what is to come, too, would be allowed unseen", name)
		}
	}
	all, err := own.Sections()
	if err != nil {
		t.Fatal(err)
	}
	for table, options := range all {
		for key := range options {
			if err := own.mayChange(table + "." + key); err != nil && strings.Contains(err.Error(), fixed[len(fixed)-1].why) {
				t.Errorf("%s.%s has no reason: add it to changeable or to fixed", table, key)
			}
		}
	}
}

// TestOwnChangeHelper is one of the processes of the next test.
func TestOwnChangeHelper(t *testing.T) {
	var cfg struct{ Path, State, Key string }
	if err := json.Unmarshal([]byte(os.Getenv("BARBACK_OWN_CHANGE")), &cfg); err != nil {
		t.Skip("it is started by TestOwnChangesOfManyProcesses")
	}
	c := defaults()
	c.path, c.StateDir = cfg.Path, cfg.State
	for i := range 10 {
		if _, err := (ownConfig{c}).Change(map[string]string{cfg.Key: fmt.Sprint(i+21, "s")}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

// Processes that set different options at the same time lose none of them, and the file can be read at every moment.
func TestOwnChangesOfManyProcesses(t *testing.T) {
	own, _ := shipped(t)
	keys := []string{"barback.idle_timeout", "barman.timeout", "runner.launch_timeout", "runner.stop_grace", "retention.archive_after"}
	var commands []*exec.Cmd
	for _, key := range keys {
		cmd := exec.Command(os.Args[0], "-test.run=^TestOwnChangeHelper$") // #nosec G204 G702
		job, err := json.Marshal(map[string]string{"Path": own.cfg.path, "State": own.cfg.StateDir, "Key": key})
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(os.Environ(), "BARBACK_OWN_CHANGE="+string(job))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		commands = append(commands, cmd)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i, cmd := range commands {
			if err := cmd.Wait(); err != nil {
				t.Errorf("the process that sets %s: %v", keys[i], err)
			}
		}
	}()
	for over := false; !over; {
		if _, err := loadConfig(own.cfg.path); err != nil {
			t.Fatalf("while it is changed: %v", err)
		}
		select {
		case <-ended:
			over = true
		default:
		}
	}
	all, err := own.Sections()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		table, name, _ := strings.Cut(key, ".")
		if got := all[table][name]; got != "30s" {
			t.Errorf("%s = %v, want the last value that was set", key, got)
		}
	}
}
