package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// wants holds that a finding is there, and returns its remedy.
func (c *clinic) wants(d diagnosis, status, check, says string) string {
	c.t.Helper()
	f, ok := d.find(check, says)
	if !ok || f.Status != status {
		var all []string
		for _, f := range d.Findings {
			all = append(all, f.Status+" "+f.Check+": "+f.Detail)
		}
		c.t.Errorf("want %s %s: %q; it says (exit %d)\n%s", status, check, says, d.code, strings.Join(all, "\n"))
	}
	return f.Remedy
}

// TestDoctorDisk: a full disk, and one that is mounted read-only.
func TestDoctorDisk(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	narrow(t, c.lab)
	c.barback("user", "remove", "anonymous")
	c.addUser("ann", "admin")
	c.wants(c.ask(nil), warning, "disk", "less than the")
	c.write("barback.toml", c.read(c.config)+"[retention]\nmax_size = \"1MiB\"\n", 0o644)
	if ill := c.ask(nil).ill(); len(ill) > 0 {
		t.Errorf("a small disk for small things: %v", ill)
	}
	path, err := c.fill(true)
	if err != nil {
		t.Fatal(err)
	}
	remedy := c.wants(c.ask(nil), failed, "disk", "nothing can be written")
	shown := exec.Command("/bin/sh", "-c", remedy)
	if out, err := shown.CombinedOutput(); err != nil || !strings.Contains(string(out), path) {
		t.Errorf("%s: %v\n%s\nwant it to show %s", remedy, err, out, path)
	}
	c.root("rm -r " + path)
	if ill := c.ask(nil).ill(); len(ill) > 0 {
		t.Errorf("with room again: %v", ill)
	}
	if path, err = c.fill(false); err != nil {
		t.Fatal(err)
	}
	c.wants(c.ask(nil), failed, "disk", "no files can be made")
	c.root("rm -r " + path)

	c.root("mount -o remount,ro " + c.state)
	remedy = c.wants(c.ask(nil), failed, "state directory", "mounted read-only")
	c.root(remedy)
	if ill := c.ask(nil).ill(); len(ill) > 0 {
		t.Errorf("mounted to be written again: %v", ill)
	}
}

// TestDoctorOthers: who may not look is told so, and nothing is guessed.
func TestDoctorOthers(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	d := c.ask(credential(t, "www-data"))
	c.wants(d, skipped, "state directory", "run this as root")
	c.wants(d, skipped, "runner", "only barman and root can try it")
	c.wants(d, skipped, "sockets", "user www-data may not connect")
	for _, f := range d.Findings {
		if f.Status == failed {
			t.Errorf("www-data is told %s: %s, of what it may not know", f.Check, f.Detail)
		}
	}
	real := exec.Command(c.bin, "doctor")
	real.Env = append(c.environ(), "BARBACK_CONFIG="+c.config)
	out, err := real.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ok       runner: one was started through "+c.dir+"/run/runner.sock, and answered\n") {
		t.Errorf("doctor in words: %v\n%s", err, out)
	}
}

// TestDoctorApache: Apache with each recipe, and with each that it needs taken away.
func TestDoctorApache(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	for _, recipe := range []string{"proxy-fcgi", "proxy-http", "fcgid", "cgi"} {
		t.Run(recipe, func(t *testing.T) {
			c := *c
			l := *c.lab
			l.t, c.lab = t, &l
			c.root("systemctl restart barback.socket barback-fcgi.socket; chmod 666 run/http.sock; chown www-data run/fcgi.sock; chmod 600 run/fcgi.sock")
			url := c.apache(recipe)
			dir := c.dir + "/apache-" + recipe
			d := c.ask(nil, "--apache", dir)
			c.wants(d, fine, "apache", "the recipe "+recipe+", in "+dir+"/apache2.conf, is enabled and complete")
			c.wants(d, fine, "apache", "barback answers through it on "+strings.TrimPrefix(url, "http://"))
			conf := dir + "/apache2.conf"
			whole := c.read(conf)
			defer c.write(strings.TrimPrefix(conf, c.dir+"/"), whole, 0o644)
			c.write(strings.TrimPrefix(conf, c.dir+"/"), "Define BARBACK_MODULES /nonexistent\n"+strings.ReplaceAll(whole, "LoadModule headers_module", "#"), 0o644)
			c.wants(c.ask(nil, "--apache", dir), failed, "apache", "modules that are not loaded: headers")
			if strings.Contains(recipe, "cgi") && recipe != "proxy-fcgi" {
				wrappers, _ := filepath.Glob(strings.TrimSpace(c.read(dir+"/run/www")) + "/root/barback.*cgi")
				c.write(strings.TrimPrefix(conf, c.dir+"/"), whole, 0o644)
				for _, w := range wrappers {
					if err := os.Chmod(w, 0o777); err != nil {
						t.Fatal(err)
					}
				}
				c.root(c.wants(c.ask(nil, "--apache", dir), failed, "apache", "suexec will not start"))
				c.wants(c.ask(nil, "--apache", dir), fine, "apache", "barback answers through it")
			}
		})
	}
}

// TestDoctorHosts: Barman on other hosts, by ssh: one that answers, and one that nobody reaches.
func TestDoctorHosts(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	c := &clinic{l}
	c.write("barback.toml", c.read(c.config)+fmt.Sprintf("[[barman.host]]\nname = \"far\"\nssh = %q\ncommand = %q\nconfig = %q\n[[barman.host]]\nname = \"gone\"\nssh = \"ssh -p 1 barman@127.0.0.1\"\n",
		l.env["LAB_SSH_COMMAND"], l.env["LAB_BARMAN"], l.env["LAB_BARMAN_CONF"]), 0o644)
	d := c.ask(nil)
	c.wants(d, fine, "barman", "on far: version 3.4")
	c.wants(d, fine, "barman's configuration", "on far: 3 servers: pg-off, pg-one, pg-two")
	remedy := c.wants(d, failed, "barman", "the Barman host gone cannot be reached")
	if want := "runuser -u barman -- ssh -p 1 barman@127.0.0.1 true"; remedy != want {
		t.Errorf("the remedy is %q, want %q", remedy, want)
	}
}
