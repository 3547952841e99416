package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// playedSystemd answers "systemctl show" from the folder units, and starts sockets as systemd would.
const playedSystemd = `#!/bin/sh
dir=${0%/bin/*}
case $1 in show) cat "$dir"/units/*; exit ;; enable|reset-failed|restart) ;; *) exit 1 ;; esac
for unit; do
	case $unit in
	barback.socket) set -- http.sock --fdname=http ;;
	barback-fcgi.socket) set -- fcgi.sock --fdname=fcgi ;;
	barback-runner.socket) set -- runner.sock --accept ;;
	*) continue ;;
	esac
	rm -f "$dir/run/$1"
	arg=; [ "$1" != runner.sock ] || arg=run
	exec setpriv --reuid barman --regid barman --init-groups --inh-caps=-all systemd-socket-activate --listen="$dir/run/$1" "$2" "$dir/barback" $arg --config "$dir/barback.toml" </dev/null >>"$dir/socket.log" 2>&1 &
	until [ -S "$dir/run/$1" ]; do sleep 0.02; done
	[ "$1" = runner.sock ] && chmod 600 "$dir/run/$1" || chmod 660 "$dir/run/$1"
	sed -i "s/^ActiveState=failed/ActiveState=active/; s/^UnitFileState=disabled/UnitFileState=enabled/" "$dir/units/$unit"
done
`

// clinic is a sound installation, to be broken.
type clinic struct{ *lab }

func newClinic(t testing.TB) *clinic {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("BARBACK_TEST") == "all" {
			t.Fatal("only root sees all of an installation, and can mend it")
		}
		t.Skip("only root sees all of an installation, and can mend it: make test")
	}
	c := &clinic{newYard(t, 4)}
	t.Cleanup(func() { // what systemctl started outlives it
		_ = exec.Command("pkill", "-KILL", "-U", "barman", "-f", regexp.QuoteMeta("listen="+c.dir+"/run/")).Run() // #nosec G204
	})
	c.write("barback.toml", strings.Replace(c.read(c.config), "stop_grace", "launch_timeout = \"5s\"\nstop_grace", 1), 0o644)
	c.must(c.command("mkdir", c.dir+"/bin", c.dir+"/units", c.dir+"/home"))
	c.write("bin/systemctl", playedSystemd, 0o755)
	for unit, socket := range map[string]string{"barback.socket": "http.sock", "barback-fcgi.socket": "fcgi.sock", "barback-runner.socket": "runner.sock"} {
		c.write("units/"+unit, fmt.Sprintf("Id=%s\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nListen=%s (Stream)\n\n", unit, c.dir+"/run/"+socket), 0o644)
	}
	c.barback("user", "remove", "anonymous")
	c.addUser("ann", "admin")
	c.root("systemctl restart barback.socket barback-fcgi.socket barback-runner.socket")
	return c
}

func (c *clinic) read(path string) string {
	c.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(data)
}

// environ is root's, with our systemd first.
func (c *clinic) environ() []string {
	return []string{"PATH=" + c.dir + "/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + c.dir, "LANG=C.UTF-8", "EDITOR=true"}
}

// root runs a line of the shell as root, as somebody does who is told a remedy.
func (c *clinic) root(line string) {
	c.t.Helper()
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Dir, cmd.Env = c.dir, c.environ()
	c.must(cmd)
}

// diagnosis is what doctor says as JSON.
type diagnosis struct {
	Status, Barback string
	Findings        []finding
	code            int
	stderr          string
}

// ask runs doctor as root, or as another user.
func (c *clinic) ask(cred *syscall.Credential, args ...string) diagnosis {
	c.t.Helper()
	cmd := exec.Command(c.bin, append([]string{"doctor", "--json", "--config", c.config, "--apache", c.dir + "/no-apache"}, args...)...)
	cmd.Dir, cmd.Env = c.dir, c.environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, _ := cmd.Output()
	d := diagnosis{code: cmd.ProcessState.ExitCode(), stderr: stderr.String()}
	if err := json.Unmarshal(out, &d); err != nil {
		c.t.Fatalf("doctor --json: %v\n%s%s", err, out, d.stderr)
	}
	return d
}

// find is the finding about check whose detail has a text.
func (d diagnosis) find(check, says string) (finding, bool) {
	i := slices.IndexFunc(d.Findings, func(f finding) bool { return f.Check == check && strings.Contains(f.Detail, says) })
	if i < 0 {
		return finding{}, false
	}
	return d.Findings[i], true
}

// ill are the findings that are not well, but for what the host of the test is like.
func (d diagnosis) ill() (list []string) {
	for _, f := range d.Findings {
		if f.Status != fine && f.Check != "clock" && f.Status != skipped {
			list = append(list, fmt.Sprintf("%s %s: %s", f.Status, f.Check, f.Detail))
		}
	}
	return list
}

// state is every file of the installation, with its time, mode and owner.
func (c *clinic) files() string {
	return c.must(exec.Command("find", c.state, c.dir+"/run", c.dir+"/home", "-printf", "%p %m %u %g %s %T@ %C@\n"))
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	operation := func() string {
		c.t.Helper()
		return strings.Fields(c.barback("op", "start", "--server", "pg-a", "--wait", "backup"))[0]
	}
	operation()
	before := c.files()
	if d := c.ask(nil); len(d.ill()) > 0 || d.code != 0 || d.Status == failed {
		t.Fatalf("a sound installation: exit %d, %s\n%s", d.code, d.Status, strings.Join(d.ill(), "\n"))
	}
	if d := c.ask(c.cred); len(d.ill()) > 0 || d.code != 0 {
		t.Errorf("a sound installation, to barman: exit %d\n%s", d.code, strings.Join(d.ill(), "\n"))
	}
	if after := c.files(); after != before {
		t.Errorf("doctor changed the installation:\n%s\nwas:\n%s", after, before)
	}
	eventually(t, 5*time.Second, func() string { return fmt.Sprint("runners that were tried live: ", c.programs(true)) }, func() bool { return len(c.programs(true)) == 0 })
	damaged := operation()
	toml := c.read(c.config)
	set := func(table, line string) func() {
		return func() {
			text := line + "\n" + toml
			if table != "" {
				text = toml + "\n[" + table + "]\n" + line + "\n"
			}
			c.write("barback.toml", text, 0o644)
		}
	}
	restore := func() { c.write("barback.toml", toml, 0o644) }
	soon := time.Now().Add(48 * time.Hour).UTC().Format(time.RFC3339)
	var mute net.Listener
	for _, tc := range []struct {
		name       string
		harm       func()
		status     string
		check      string
		says       string
		remedy     string // what it has to contain; DIR is the lab's folder
		undo       func() // for a remedy that needs somebody who reads
		afterwards func()
	}{
		{name: "a state directory that its owner cannot write to", harm: func() { c.root("chmod 500 state") }, status: failed, check: "state directory", says: "permission denied", remedy: "chmod u+rwx DIR/state"},
		{name: "a folder of it that its owner cannot write to", harm: func() { c.root("chmod 500 state/active") }, status: failed, check: "state directory", says: "state/active", remedy: "chmod -R u+rwX DIR/state"},
		{name: "a state directory open to all", harm: func() { c.root("chmod 755 state") }, status: warning, check: "state directory", says: "mode 0755", remedy: "chmod o-rwx"},
		{name: "a state directory of root's", harm: func() { c.root("chown -R root:root state") }, status: failed, check: "user", says: "Barman's home", remedy: "chown -R barman:barman DIR/state"},
		{name: "files of root's in it", harm: func() { c.root("chown -R root:root state/operations") }, status: failed, check: "state directory", says: "state/operations does not belong to barman", remedy: "chown -R barman:barman"},
		{name: "no state directory", harm: func() { c.root("mv state elsewhere") }, status: failed, check: "state directory", says: "no such file", remedy: "install -d -o barman -g barman -m 0750",
			afterwards: func() { c.root("rm -r state && mv elsewhere state") }},
		{name: "a folder above it that is closed", harm: func() { c.root("mkdir -m 700 shut && mv state shut/ && ln -s shut/state state") }, status: failed, check: "state directory", says: "permission denied", remedy: "chmod o+x DIR/shut",
			afterwards: func() { c.root("rm state && mv shut/state state && rmdir shut") }},
		{name: "no Barman", harm: func() { c.root("mv barman barman.away") }, status: failed, check: "barman", says: "not installed", undo: func() { c.root("mv barman.away barman") }},
		{name: "a Barman that hangs", harm: func() { c.root("mv barman barman.away"); c.program("barman", "#!/bin/sh\nsleep 300\n") }, status: failed, check: "barman", says: "did not end within", undo: func() { c.root("mv barman.away barman") }},
		{name: "no configuration of Barman", harm: func() { c.root("mv barman.conf away") }, status: failed, check: "barman's configuration", says: "no such file", undo: func() { c.root("mv away barman.conf") }},
		{name: "a configuration of Barman that is closed", harm: func() { c.root("chown root barman.conf; chmod 600 barman.conf") }, status: failed, check: "barman's configuration", says: "permission denied", remedy: "chmod o+r DIR/barman.conf"},
		{name: "no home of Barman", harm: func() { c.root("mv home away") }, status: failed, check: "user", says: "does not exist", remedy: "install -d -o barman", afterwards: func() { c.root("rmdir home; mv away home") }},
		{name: "a mistake in the configuration", harm: set("", "colour = 1"), status: failed, check: "configuration", says: "line 1: unknown key colour", undo: restore},
		{name: "a configuration that is closed", harm: func() { c.root("chown root barback.toml; chmod 600 barback.toml") }, status: failed, check: "configuration", says: "user barman, who barback runs as, cannot read it", remedy: "chmod o+r DIR/barback.toml"},
		{name: "a configuration that all can write to", harm: func() { c.root("chmod 666 barback.toml") }, status: failed, check: "configuration", says: "everybody on this host can write", remedy: "chmod o-w"},
		{name: "a proxy who is no user", harm: set("", "trusted_proxy_header = \"X-Remote-User\"\ntrusted_proxy_user = \"nobody-here\""), status: failed, check: "trusted proxy", says: "unknown user nobody-here", undo: restore},
		{name: "a peer who is no user", harm: set("auth.peers", `"user:nobody-here" = "ann"`), status: warning, check: "identities", says: "unknown user nobody-here", undo: restore},
		{name: "a peer who may nothing", harm: set("auth.peers", `"user:www-data" = "web"`), status: warning, check: "identities", says: "identity web, which nothing is allowed", remedy: "user role web viewer", afterwards: func() { restore(); c.barback("user", "remove", "web") }},
		{name: "users whom all can read", harm: func() { c.root("chmod 644 state/users.toml") }, status: failed, check: "identities", says: "others can read it", remedy: "chmod 600"},
		{name: "users that nobody can parse", harm: func() { c.root("cp -p state/users.toml away; echo '[' >>state/users.toml") }, status: failed, check: "identities", says: "users.toml", undo: func() { c.root("mv away state/users.toml") }},
		{name: "no user at all", harm: func() { c.root("mv state/users.toml away") }, status: warning, check: "identities", says: "nobody may do anything", remedy: "user add admin --role admin", afterwards: func() { c.root("mv away state/users.toml") }},
		{name: "no admin", harm: func() { c.barback("user", "role", "ann", "viewer") }, status: warning, check: "identities", says: "none of them is an admin", remedy: "user add admin --role admin", afterwards: func() { c.barback("user", "role", "ann", "admin") }},
		{name: "anonymous with rights", harm: func() { c.barback("user", "allow", "anonymous", "servers/*/operations") }, status: warning, check: "anonymous", says: "EVERYBODY who reaches a port of barback may, without any login: delete backups; write restores", remedy: "user remove anonymous"},
		{name: "a token that ends soon", harm: func() { c.barback("token", "create", "ann", "--name", "nightly job", "--expires", "2d") }, status: warning, check: "tokens", says: "ann called nightly job expires on " + strings.Replace(soon[:11], "T", " ", 1), remedy: "token create ann --name 'nightly job'"},
		{name: "an audit log of root's", harm: func() { c.root("chown root audit.log; chmod 600 audit.log") }, status: failed, check: "audit log", says: "permission denied", remedy: "chown barman:barman DIR/audit.log"},
		{name: "a dead socket", harm: func() { c.unplug("http.sock") }, status: failed, check: "sockets", says: "http.sock: nobody listens", remedy: "systemctl restart barback.socket"},
		{name: "a socket that is gone", harm: func() { c.root("rm run/fcgi.sock") }, status: failed, check: "sockets", says: "fcgi.sock: systemd listens, but its socket is gone", remedy: "systemctl restart barback-fcgi.socket"},
		{name: "a FastCGI socket open to all", harm: func() { c.root("chmod 666 run/fcgi.sock") }, status: failed, check: "sockets", says: "say who he is", remedy: "chmod o-rwx"},
		{name: "an HTTP socket open to all", harm: func() { c.root("chmod 666 run/http.sock") }, status: warning, check: "sockets", says: "everybody on this host may connect", remedy: "chmod o-rwx"},
		{name: "a socket that does not answer", harm: func() { mute = c.mute("http.sock") }, status: failed, check: "sockets", says: "http.sock: no barback answers", undo: func() { _ = mute.Close(); c.root("systemctl restart barback.socket") }},
		{name: "a unit that failed", harm: func() { c.root("sed -i s/ActiveState=active/ActiveState=failed/ units/barback.socket") }, status: failed, check: "sockets", says: "barback.socket has failed", remedy: "systemctl reset-failed barback.socket && systemctl restart barback.socket"},
		{name: "a unit that is not enabled", harm: func() { c.root("sed -i s/UnitFileState=enabled/UnitFileState=disabled/ units/barback.socket") }, status: warning, check: "sockets", says: "after a restart of this host", remedy: "systemctl enable barback.socket"},
		{name: "a dead runner socket", harm: func() { c.unplug("runner.sock") }, status: failed, check: "runner", says: "connection refused", remedy: "systemctl restart barback-runner.socket"},
		{name: "a runner socket that does not answer", harm: func() { mute = c.mute("runner.sock") }, status: failed, check: "runner", says: "did not answer within 5s", undo: func() { _ = mute.Close(); c.root("systemctl restart barback-runner.socket") }},
		{name: "a runner socket that is not there", harm: func() {
			c.root("rm run/runner.sock; sed -i s/ActiveState=active/ActiveState=inactive/ units/barback-runner.socket")
		}, status: warning, check: "runner socket", says: "which an Apache restart ends", remedy: "systemctl enable --now barback-runner.socket"},
		{name: "runners with another state directory", harm: func() { c.runnerElsewhere() }, status: failed, check: "runner", says: "another configuration", undo: func() { c.root("systemctl restart barback-runner.socket") }},
		{name: "a damaged record", harm: func() { c.root("echo '{' >state/operations/" + damaged + "/operation.json") }, status: failed, check: "records", says: "the record of operation " + damaged + " cannot be read", remedy: "mv DIR/state/operations/" + damaged},
		{name: "a damaged index", harm: func() { c.root("echo nonsense >state/index") }, status: warning, check: "records", says: "index", remedy: "op list --all"},
		{name: "an operation without a runner", harm: c.orphan, status: warning, check: "records", says: "nobody works on them", remedy: "op show"},
		{name: "a record of the future", harm: func() { c.root("touch away; " + c.future()) }, status: failed, check: "clock", says: "the newest record is of 2099", undo: func() { c.root("rm -r state/operations/2099*") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.harm()
			d := c.ask(nil)
			f, ok := d.find(tc.check, tc.says)
			if !ok || f.Status != tc.status || (d.code != 0) != (tc.status == failed) {
				t.Errorf("want %s %s: %q, exit %d; it says\n%s", tc.status, tc.check, tc.says, d.code, strings.Join(d.ill(), "\n"))
			}
			if want := strings.ReplaceAll(tc.remedy, "DIR", c.dir); !strings.Contains(f.Remedy, want) || f.Remedy == "" {
				t.Errorf("the remedy is %q, want %q in it", f.Remedy, want)
			}
			switch {
			case tc.undo != nil:
				tc.undo()
			case !t.Failed():
				c.root(f.Remedy)
			}
			d = c.ask(nil)
			if f, ill := d.find(tc.check, tc.says); ill && f.Status == tc.status {
				t.Errorf("after the remedy it still says %s %s: %s", f.Status, f.Check, f.Detail)
			}
			if tc.afterwards != nil {
				tc.afterwards()
				d = c.ask(nil)
			}
			if ill := d.ill(); len(ill) > 0 {
				t.Fatalf("mended, but\n%s", strings.Join(ill, "\n"))
			}
		})
	}
}

// unplug ends who listens on a socket, and leaves its file.
func (c *clinic) unplug(name string) {
	c.t.Helper()
	path := c.dir + "/run/" + name
	for _, m := range regexp.MustCompile(`pid=(\d+)`).FindAllStringSubmatch(c.must(exec.Command("ss", "-xlpH", "src", path)), -1) {
		pid, _ := strconv.Atoi(m[1])
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	eventually(c.t, 10*time.Second, func() string { return "somebody still listens on " + name }, func() bool {
		conn, err := net.Dial("unix", path)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
}

// mute puts a socket in a place where nobody ever answers.
func (c *clinic) mute(name string) net.Listener {
	c.t.Helper()
	path := c.dir + "/run/" + name
	_ = os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		c.t.Fatal(err)
	}
	c.root(fmt.Sprintf("chown barman:barman %s; chmod 660 %s", path, path))
	return l
}

// runnerElsewhere has the runner's socket start runners with a configuration of their own.
func (c *clinic) runnerElsewhere() {
	c.t.Helper()
	c.root("mkdir -p -m 750 other; chown barman:barman other; sed 's|/state\"|/other\"|' barback.toml >other.toml; rm run/runner.sock")
	c.start(c.command("systemd-socket-activate", "--accept", "--listen="+c.dir+"/run/runner.sock", c.bin, "run", "--config", c.dir+"/other.toml"), "other.log")
	eventually(c.t, 10*time.Second, func() string { return "no runner socket" }, func() bool { return os.Chmod(c.dir+"/run/runner.sock", 0o600) == nil })
}

// orphan leaves an operation whose runner, guard and Barman were killed at one blow, so that nobody recorded its end.
func (c *clinic) orphan() {
	c.t.Helper()
	c.root("mv barman barman.away")
	c.program("barman", "#!/bin/sh\n[ \"$1\" = --version ] && { echo 3.4.0; exit; }\n: >${0%/*}/asleep\nexec ${0%/*}/pg_basebackup 60\n")
	c.root("rm -f asleep")
	c.barback("op", "start", "--server", "pg-b", "backup")
	eventually(c.t, 10*time.Second, func() string { return "Barman was not started" }, func() bool {
		_, err := os.Stat(c.dir + "/asleep")
		return err == nil
	})
	for _, part := range []string{partGuard, partRunner, partBarman, partChild} {
		for _, a := range c.cast() {
			if a.part == part {
				_ = syscall.Kill(a.pid, syscall.SIGKILL)
			}
		}
	}
	c.root("mv barman.away barman")
	eventually(c.t, 10*time.Second, func() string { return fmt.Sprint("it lives: ", c.programs(true)) }, func() bool { return len(c.programs(true)) == 0 })
}

// future copies a record to a time that is still to come.
func (c *clinic) future() string {
	paths, _ := filepath.Glob(c.state + "/operations/2*")
	id := filepath.Base(paths[0])
	next := "2099" + id[4:]
	return fmt.Sprintf("cp -a state/operations/%s state/operations/%s; sed -i 's/%s/%s/; s/\"20[0-9][0-9]-/\"2099-/g' state/operations/%s/operation.json; chown barman:barman state/operations/%s/*", id, next, id, next, next, next)
}
