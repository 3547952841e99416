package barman

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What Barman runs as a command, or where it writes, config_update may not set, on whatever scope and
// however many harmless changes stand beside it.
func TestOptionsThatConfigUpdateMayNotSet(t *testing.T) {
	b := planBox(t)
	for _, option := range []string{
		"ssh_command", "primary_ssh_command", "pre_backup_script", "post_backup_retry_script", "pre_archive_script", "pre_recovery_script", "post_wal_delete_script",
		"custom_compression_filter", "custom_decompression_filter", "custom_compression_magic", "encryption_passphrase_command", "path_prefix", "errors_directory",
		"barman_home", "backup_directory", "basebackups_directory", "wals_directory", "barman_lock_directory", "log_file", "configuration_files_directory",
		"recovery_staging_path", "local_staging_path", "config_changes_queue", "server_name", "model_name", "scope ", "", "Conninfo", "conninfo\npre_backup_script", "nonsense",
	} {
		for _, scope := range []string{`"scope":"server","server_name":"pg-one"`, `"scope":"model","model_name":"m"`} {
			if strings.Contains(scope, fmt.Sprintf("%q", option)) {
				continue // its own name
			}
			name, _ := json.Marshal(option)
			body := fmt.Sprintf(`{"changes":[{"scope":"server","server_name":"pg-one","description":"x"},{%s,"description":"x",%s:"/bin/sh"}]}`, scope, name)
			_, err := b.plan(t, "config_update", "", body)
			wantRefusal(t, err, "/changes/1/"+token(option), "allowed_options of [config_update]", true)
		}
	}
}

func TestOptionsThatTheConfigurationAllows(t *testing.T) {
	for _, tc := range []struct {
		allowed []string
		option  string
		ok      bool
	}{
		{nil, "conninfo", true}, {nil, "snapshot_zone", true}, {nil, "ssh_command", false},
		{[]string{}, "description", false},
		{[]string{"*"}, "ssh_command", true},
		{[]string{"ssh_command"}, "ssh_command", true}, {[]string{"ssh_command"}, "primary_ssh_command", false}, {[]string{"*_script"}, "pre_backup_script", true},
	} {
		b := planBox(t)
		b.client.Policy.ConfigOptions = tc.allowed
		_, err := b.plan(t, "config_update", "", fmt.Sprintf(`{"changes":[{"scope":"server","server_name":"pg-one",%q:"x"}]}`, tc.option))
		if (err == nil) != tc.ok {
			t.Errorf("with %q allowed %s is %v, want it allowed: %v", tc.allowed, tc.option, err, tc.ok)
		}
	}
}

func TestTargets(t *testing.T) {
	b := planBox(t)
	b.client.Policy.AllowedDestinations = []string{"/srv"}
	b.client.Policy.Targets = map[string]Target{
		"standby": {SSH: "ssh -p 22 postgres@db"},
		"odd":     {SSH: "sudo -u x ssh db | cat"}, // the administrator may
		"here":    {Destinations: []string{"/home/restore"}},
	}
	for _, only := range []bool{false, true} {
		b.client.Policy.TargetsOnly = only
		for _, tc := range []struct{ body, ssh, host string }{
			{`"target":"standby","destination_directory":"/srv/new"`, "ssh -p 22 postgres@db", "postgres@db:22"},
			{`"target":"odd","destination_directory":"/srv/new"`, "sudo -u x ssh db | cat", "sudo -u x ssh db | cat"},
			{`"target":"here","destination_directory":"/home/restore/new"`, "", ""},
		} {
			plan, err := b.plan(t, "recovery", "pg-one", `{"backup_id":"latest",`+tc.body+`}`)
			if err != nil || plan.Target.SSH != tc.ssh || plan.Target.Host != tc.host {
				t.Errorf("Plan(%s) = %+v, %v, want %q to %q", tc.body, plan.Target, err, tc.ssh, tc.host)
				continue
			}
			if has := slices.Contains(plan.Command, "--remote-ssh-command="+tc.ssh); has != (tc.ssh != "") {
				t.Errorf("Plan(%s) is %q, want the target's command in it: %v", tc.body, plan.Command, tc.ssh != "")
			}
		}
	}
	b.client.Policy.TargetsOnly = false
	for _, tc := range []struct {
		body, pointer, says string
		policy, only        bool
	}{
		{`"target":"nope","destination_directory":"/srv/new"`, "/target", "here, odd, standby", true, false},
		{`"target":"","destination_directory":"/srv/new"`, "/target", "here, odd, standby", true, false},
		{`"target":5,"destination_directory":"/srv/new"`, "/target", "must be a string", false, false},
		{`"target":"standby","local":true,"destination_directory":"/srv/new"`, "/target", "excludes", false, false},
		{`"target":"standby","remote_ssh_command":"ssh db","destination_directory":"/srv/new"`, "/target", "excludes", false, false},
		{`"target":"here","destination_directory":"/srv/new"`, "/destination_directory", "allowed_destinations of the target", true, false},
		{`"target":"standby","destination_directory":"/home/restore/new"`, "/destination_directory", "allowed_destinations of [restore]", true, false},
		{`"local":true,"destination_directory":"/srv/new"`, "/target", "targets_only", true, true},
		{`"remote_ssh_command":"ssh db","destination_directory":"/srv/new"`, "/target", "targets_only", true, true},
	} {
		b.client.Policy.TargetsOnly = tc.only
		_, err := b.plan(t, "recovery", "pg-one", `{"backup_id":"latest",`+tc.body+`}`)
		wantRefusal(t, err, tc.pointer, tc.says, tc.policy)
	}
	b.client.Policy = Policy{}
	_, err := b.plan(t, "recovery", "pg-one", `{"backup_id":"latest","target":"x","destination_directory":"/srv/new"}`)
	wantRefusal(t, err, "/target", "has no [targets]", true)
}
