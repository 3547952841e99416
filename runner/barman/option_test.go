package barman

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The table of options is Barman's own: what its commands know, and from which version on. Whoever adds an option to Barman
// is found here.
func TestOptionsAreThoseOfBarman(t *testing.T) {
	elsewhere := []string{ // other members say it, or other paths
		"--help", "--tablespace", "--remote-ssh-command",
	}
	for _, program := range realBarmans(t) {
		c := &Client{Command: program, Cache: t.TempDir()}
		version, err := c.Version()
		if err != nil {
			t.Fatal(err)
		}
		t.Run(version, func(t *testing.T) {
			for _, k := range Kinds {
				if !slices.ContainsFunc(k.Options, func(o Option) bool { return o.args != nil }) {
					continue
				}
				command, err := c.command(k.Command)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range k.Options {
					if _, has := command.Find(o.Name); o.Since != "" && has != !older(version, o.Since) {
						t.Errorf("%s of %s: the table says since %s, this Barman has it: %v", o.Name, k.Name, o.Since, has)
					} else if o.Since == "" && o.args != nil && !has {
						t.Errorf("%s of %s: this Barman does not have it", o.Name, k.Name)
					}
				}
				for _, p := range command.Parameters {
					flag := "--" + p.Name
					known := func(o Option) bool { return long(o.Name) == flag || long("no_"+o.Name) == flag }
					if !p.Positional() && !slices.Contains(elsewhere, flag) && !slices.ContainsFunc(k.Options, known) {
						t.Errorf("%s of this Barman's %s has no member", flag, k.Command)
					}
				}
			}
		})
	}
}

// aged is planBox with a Barman of a version, whose help lists flags. It notes its starts.
func aged(t testing.TB, version string, flags ...string) *box {
	t.Helper()
	b := planBox(t)
	help := "usage: barman X\n\noptions:\n  -h, --help            show this help message and exit\n  --jobs NJOBS, -j NJOBS\n                        --not-this-one is text\n"
	for _, f := range flags {
		help += "  " + f + " X\n"
	}
	b.write(t, "barman", "#!/bin/sh\necho \"$@\" >> DIR/starts\ncase $* in --version) echo '"+version+" Barman' ;; *--help) cat <<'EOT'\n"+help+"EOT\n;; esac\n")
	b.client.Cache = b.dir
	return b
}

func TestOptionsOfNewerBarmans(t *testing.T) {
	body := func(more string) string {
		return `{"backup_id":"latest","destination_directory":"/srv/new","remote_ssh_command":"ssh db"` + more + `}`
	}
	b := aged(t, "3.4.0")
	for member, since := range map[string]string{
		`"delta_restore":true`: "3.16", `"delta_restore":false`: "3.16", `"no_delta_restore":true`: "3.16", `"staging_path":"/srv/tmp"`: "3.15", `"recovery_conf_filename":"x.conf"`: "3.5",
		`"aws_region":"eu-1"`: "3.7", `"jobs_start_batch_size":2`: "3.5", `"staging_wal_directory":"/srv/w"`: "3.13", `"not_this_one":true`: "",
	} {
		_, err := b.plan(t, "recovery", "pg-one", body(","+member))
		e, ok := errors.AsType[*UnsupportedError](err)
		switch {
		case since == "" && err == nil:
		case !ok || e.Since != since || e.Installed != "3.4.0" || !strings.Contains(member, e.Member) || !strings.Contains(e.Error(), since):
			t.Errorf("%s with Barman 3.4.0 = %v, want an UnsupportedError that names %s", member, err, since)
		}
	}
	for _, member := range []string{`"partial_wal":false`, `"partial_wal":null`, `"get_wal":true`} {
		if _, err := b.plan(t, "recovery", "pg-one", body(","+member)); err != nil {
			t.Errorf("%s with Barman 3.4.0 = %v, want it accepted: no new option comes of it", member, err)
		}
	}
	_, err := b.plan(t, "backup", "pg-one", `{"name":"x"}`)
	if e, ok := errors.AsType[*UnsupportedError](err); !ok || e.Member != "name" || e.Since != "3.5" {
		t.Errorf("a name for a backup with Barman 3.4.0, which forgets it = %v, want an UnsupportedError", err)
	}
	b = aged(t, "3.16.0", "--delta-restore", "--no-delta-restore")
	for range 3 {
		plan, err := b.plan(t, "recovery", "pg-one", body(`,"delta_restore":true`))
		if err != nil || !slices.Contains(plan.Command, "--delta-restore") {
			t.Errorf("delta_restore with a Barman whose help has it = %q, %v", plan.Command, err)
		}
	}
	if starts := b.text(t, "starts"); starts != "--version\nrecover --help\n" {
		t.Errorf("Barman was started as %q, want to be asked once", starts)
	}
	b.write(t, "barman", b.text(t, "barman")+"# another\n")
	if _, err := b.plan(t, "recovery", "pg-one", body(`,"delta_restore":true`)); err != nil || strings.Count(b.text(t, "starts"), "--help") != 2 {
		t.Errorf("after a change of the program, Barman was started as %q (%v), want to be asked anew", b.text(t, "starts"), err)
	}
}

// text reads a file of the box.
func (b *box) text(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestMembersThatExcludeEachOther(t *testing.T) {
	b := planBox(t)
	body := `{"backup_id":"latest","destination_directory":"/srv/new","local":true,`
	for _, tc := range []struct{ kind, body, pointer, says string }{
		{"recovery", body + `"target_xid":1,"target_lsn":"0/1"}`, "/target_lsn", "excludes target_xid"},
		{"recovery", body + `"target_time":"2026-11-21T22:00:00Z","target_immediate":true}`, "/target_immediate", "excludes target_time"},
		{"recovery", body + `"retry_times":1,"no_retry":true}`, "/no_retry", "excludes retry_times"},
		{"recovery", body + `"get_wal":true,"no_get_wal":true}`, "/no_get_wal", "excludes get_wal"},
		{"backup", `{"immediate_checkpoint":false,"no_immediate_checkpoint":true}`, "/no_immediate_checkpoint", "excludes"},
		{"recovery", body + `"exclusive":true}`, "/exclusive", "needs a target_time"},
		{"recovery", body + `"exclusive":true,"target_name":"x"}`, "/exclusive", "needs a target_time"},
		{"recovery", body + `"target_action":"promote"}`, "/target_action", "needs a target"},
		{"recovery", body + `"time_zone":"UTC"}`, "/time_zone", "needs a target_time"},
		{"recovery", body + `"target_time":false}`, "/target_time", "must be a string"},
		{"recovery", body + `"target_xid":false}`, "/target_xid", "whole number"},
		{"recovery", body + `"target_name":false,"target_lsn":"0/9000000"}`, "/target_name", "must be a string"},
		{"recovery", body + `"target_tli":false}`, "/target_tli", "at least 1"},
		{"recovery", body + `"target_immediate":"yes"}`, "/target_immediate", "true or false"},
		{"recovery", body + `"time_zone":5,"target_time":"2026-11-21T22:00:00Z"}`, "/time_zone", "must be a string"},
		{"switch_wal", `{"archive_timeout":5}`, "/archive_timeout", "needs archive"},
		{"recovery", body + `"restore_command":"x"}`, "/restore_command", "allow_raw_ssh_command"},
	} {
		_, err := b.plan(t, tc.kind, "pg-one", tc.body)
		wantRefusal(t, err, tc.pointer, tc.says, tc.pointer == "/restore_command")
	}
	if _, err := b.plan(t, "recovery", "pg-one", body+`"target_xid":1,"target_immediate":false,"target_lsn":null}`); err != nil {
		t.Errorf("a target beside others that are off = %v, want it accepted", err)
	}
}
