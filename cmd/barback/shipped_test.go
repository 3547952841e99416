package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tool finds a program that a test needs; "make test" installs them all.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("BARBACK_TEST") == "all" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed: make test", name)
	return ""
}

func TestShippedConfigurationIsTheDefaults(t *testing.T) {
	path := filepath.Join(root(t), "packaging/barback.toml")
	got, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	got.path = ""
	want := defaults()
	if g, w := show(t, got), show(t, want); g != w {
		t.Errorf("packaging/barback.toml says\n%s\nthe defaults are\n%s", g, w)
	}
}

func show(t *testing.T, c config) string {
	t.Helper()
	var b strings.Builder
	if err := writeConfig(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestShippedUnits lets systemd read the units. It looks for the programs that they
// start: a copy of the units names one that is there.
func TestShippedUnits(t *testing.T) {
	verify := tool(t, "systemd-analyze")
	paths, _ := filepath.Glob(filepath.Join(root(t), "systemd", "*.*"))
	dir := t.TempDir()
	var units []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		switch filepath.Ext(path) {
		case ".service", ".socket", ".timer", ".slice":
		default:
			continue
		}
		copied := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(copied, []byte(strings.ReplaceAll(string(text), "/usr/bin/barback", "/bin/true")), 0o600); err != nil {
			t.Fatal(err)
		}
		units = append(units, copied)
	}
	if len(units) < 4 {
		t.Fatalf("only %v units are shipped", units)
	}
	for _, unit := range units {
		cmd := exec.Command(verify, "verify", "--man=no", "--recursive-errors=no", unit) // #nosec G204
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), filepath.Base(unit)+":") {
			t.Errorf("systemd-analyze verify %s: %v\n%s", filepath.Base(unit), err, out)
		}
	}
}

// TestShippedUnitsLetRequestsEnd: systemd kills no barback that still waits for Barman.
func TestShippedUnitsLetRequestsEnd(t *testing.T) {
	c := defaults()
	for _, unit := range []string{"barback.service", "barback@.service"} {
		text, err := os.ReadFile(filepath.Join(root(t), "systemd", unit))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "\nTimeoutStopSec=")
		value, _, _ := strings.Cut(rest, "\n")
		if got, err := time.ParseDuration(value); err != nil || got <= c.drain() {
			t.Errorf("%s: TimeoutStopSec=%s (%v), want more than the %v that requests may take", unit, value, err, c.drain())
		}
	}
}

// TestShippedApache lets Apache read each recipe.
func TestShippedApache(t *testing.T) {
	apache := tool(t, "apache2")
	modules := "/usr/lib/apache2/modules"
	recipes, _ := filepath.Glob(filepath.Join(root(t), "apache", "barback-*.conf"))
	if len(recipes) < 4 {
		t.Fatalf("only %v recipes are shipped", recipes)
	}
	for _, recipe := range recipes {
		t.Run(filepath.Base(recipe), func(t *testing.T) {
			dir := t.TempDir()
			var conf strings.Builder
			conf.WriteString("ServerRoot " + dir + "\nServerName localhost\nPidFile " + dir + "/pid\nErrorLog " + dir + "/log\n")
			for _, m := range []string{"mpm_event", "authz_core", "authz_host", "authn_core", "alias", "mime", "dir", "env", "setenvif", "headers", "unique_id", "suexec", "fcgid", "proxy", "proxy_fcgi", "proxy_http", "cgid", "ssl", "socache_shmcb", "rewrite", "log_config"} {
				file := modules + "/mod_" + m + ".so"
				if _, err := os.Stat(file); err == nil {
					conf.WriteString("LoadModule " + m + "_module " + file + "\n")
				}
			}
			for name, value := range map[string]string{"BARBACK_ADDRESS": "127.0.0.1:7481", "BARBACK_ROOT": dir, "BARBACK_LOGS": dir, "BARBACK_LOCAL": dir + "/local*.conf", "BARBACK_ERRORS": filepath.Join(root(t), "apache/errors"), "APACHE_LOG_DIR": dir} {
				conf.WriteString("Define " + name + " " + value + "\n")
			}
			conf.WriteString("Include " + recipe + "\n")
			path := filepath.Join(dir, "apache.conf")
			if err := os.WriteFile(path, []byte(conf.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(apache, "-t", "-f", path).CombinedOutput(); err != nil || !strings.Contains(string(out), "Syntax OK") { // #nosec G204
				t.Errorf("apache2 -t: %v\n%s", err, out)
			}
		})
	}
}
