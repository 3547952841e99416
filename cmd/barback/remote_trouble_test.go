package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"barback/runner/barman"
)

// TestRemoteArguments: every argument reaches the program on the host byte for byte, whatever a shell would make of it.
func TestRemoteArguments(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm").overSSH()
	words, err := barman.Words(l.env["LAB_SSH_COMMAND"])
	if err != nil {
		t.Fatal(err)
	}
	host := barman.Host{SSH: words}
	l.program("recorder", "#!/bin/sh\nprintf '%s\\0' \"$@\" >"+l.dir+"/recorded\nexit 7\n")
	args := []string{
		"", "-", "--", "-n", "--help", "a b", " ", "\t", "\n", "a\nb\n", "\r\n", "'", "''", `"`, `\`, `\\`, `\'`, `'\''`, "$(id)", "`id`", "${HOME}", "$HOME", "$'x'",
		"; id", "| id", "& id", "&& id", "> /tmp/x", "< /dev/null", "*", "?", "[a-z]", "{a,b}", "~", "~barman", "#", "!!", "!x", "%s", "a=b", "BARBACK_OPERATION=x", "é", "日本", "\u202e", "\x7f", "\x1b[31m",
		"\xff\xfe", strings.Repeat("x'", 5000),
	}
	argv, err := host.Run("20260102T030405-0az9kx", 1, append([]string{l.dir + "/recorder"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	cmd := l.command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader("go\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("ssh: %v\n%s", err, stderr.Bytes())
	}
	if _, code, told := barman.HostTold(stderr.Bytes()); !told || code != 7 {
		t.Errorf("the host tells of exit code %d (%v), want 7\n%s", code, told, stderr.Bytes())
	}
	recorded, err := os.ReadFile(l.dir + "/recorded")
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(recorded), "\x00"), "\x00")
	for i, arg := range args {
		if i >= len(got) || got[i] != arg {
			t.Errorf("argument %d arrives as %q, want %q", i, got[min(i, len(got)-1)], arg)
		}
	}
	if len(got) != len(args) {
		t.Errorf("%d arguments arrive, want %d", len(got), len(args))
	}
	if _, err := host.Run("20260102T030405-0az9kx", 1, []string{strings.Repeat("x", 128<<10)}); err == nil {
		t.Error("a command that no shell takes is not refused")
	}
}

// TestRemoteRequests: what clients send reaches the remote Barman as it reaches a local one.
func TestRemoteRequests(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	l.program("recorder", fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *\" --version \"*|*\" list-\"*|*\" show-\"*|*\" --help \"*) exec %s \"$@\" ;; esac\nprintf '%%s\\0' \"$@\" >%s/recorded\n", l.env["LAB_BARMAN"], l.dir))
	options := fmt.Sprintf("command = %q\nconfig = %q\n", l.dir+"/recorder", l.env["LAB_BARMAN_CONF"])
	near, _ := l.withBarman("near", options).serve()
	far, _ := l.withBarman("far", options+fmt.Sprintf("ssh = %q\n", l.env["LAB_SSH_COMMAND"])).serve()
	for _, body := range []string{
		`{"type":"backup","jobs":2,"reuse_backup":"off","wait":true}`, `{"type":"switch_wal","force":true}`, `{"type":"archive_wal"}`, `{"type":"rebuild_xlogdb"}`,
	} {
		var recorded []string
		for _, url := range []string{near, far} {
			c := client{t, url}
			c.mustEnd(c.post("/servers/pg-one/operations", body), "succeeded")
			data, err := os.ReadFile(l.dir + "/recorded")
			if err != nil {
				t.Fatal(err)
			}
			recorded = append(recorded, string(data))
		}
		if recorded[0] != recorded[1] {
			t.Errorf("for %s Barman gets %q, over ssh %q", body, recorded[0], recorded[1])
		}
	}
}

// TestRemoteTrouble: what is wrong with the way to the host is told, with what to try.
func TestRemoteTrouble(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	dead, err := net.Listen("tcp", "127.0.0.1:0") // answers nothing, as a network that died
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dead.Close() }()
	port := "-p " + l.env["LAB_SSH_PORT"]
	stranger := l.dir + "/ssh/stranger"
	l.must(l.command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger))
	l.program("bin.false", "#!/bin/sh\nexit 255\n")
	good := l.env["LAB_SSH_COMMAND"]
	known := l.dir + "/ssh/known"
	line, err := os.ReadFile(stranger + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(known, fmt.Appendf(nil, "[127.0.0.1]:%s %s", l.env["LAB_SSH_PORT"], line), 0o644); err != nil { // #nosec G306 -- user barman reads it
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, ssh, command string
		status             int
		slug, says         string
	}{
		{"nobody listens", strings.Replace(good, port, fmt.Sprintf("-p %d", freePort(t)), 1), "", 502, "barman-host", "Connection refused"},
		{"a host that is not there", strings.Replace(good, "127.0.0.1", "no-such-host.invalid", 1), "", 502, "barman-host", "Could not resolve"},
		{"a key that it does not know", strings.Replace(good, "ssh/key", "ssh/stranger", 1), "", 502, "barman-host", "Permission denied"},
		{"another host's key", strings.NewReplacer("StrictHostKeyChecking=no", "StrictHostKeyChecking=yes", "/dev/null", known, "LogLevel=ERROR", "LogLevel=INFO").Replace(good), "", 502, "barman-host", "Host key verification failed"},
		{"a network that is dead", strings.Replace(good, port, "-o ConnectTimeout=2 -p "+portOf(dead), 1), "", 504, "barman-host", "timed out"},
		{"no ssh here", strings.Replace(good, "ssh ", l.dir+"/no-ssh ", 1), "", 502, "barman-host", "no such file"},
		{"no Barman there", good, "no-barman", 503, "no-barman", "no-barman"},
		{"a Barman that ends with 255", good, l.dir + "/bin.false", 503, "broken-barman", "exit status 255"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			command := tc.command
			if command == "" {
				command = l.env["LAB_BARMAN"]
			}
			of := *l
			of.t = t
			name := strings.ReplaceAll(tc.name, " ", "-")
			far := of.withBarman(name, fmt.Sprintf("command = %q\nconfig = %q\nssh = %q\n", command, l.env["LAB_BARMAN_CONF"], tc.ssh))
			url, _ := far.serve()
			res := client{t, url}.do("GET", "/version", "")
			if res.StatusCode != tc.status || !strings.Contains(string(res.body), "urn:barback:"+tc.slug) || !strings.Contains(string(res.body), tc.says) {
				t.Errorf("GET /version = %d %s, want %d %s with %q", res.StatusCode, res.body, tc.status, tc.slug, tc.says)
			}
			if tc.slug == "barman-host" && !strings.Contains(string(res.body), "-o BatchMode=yes") {
				t.Errorf("the answer %s does not say what to try", res.body)
			}
			for _, path := range []string{"/servers", "/servers/pg-one/backups"} {
				if res := (client{t, url}).do("GET", path, ""); tc.slug == "barman-host" && res.StatusCode != tc.status || res.StatusCode < 500 {
					t.Errorf("GET %s = %d %s, want %d", path, res.StatusCode, res.body, tc.status)
				}
			}
			if left := far.programs(true); len(left) > 0 {
				t.Errorf("runners are at work: %v", left)
			}
		})
	}
}

func portOf(ln net.Listener) string {
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// TestRemoteEnds: how Barman ends on its host is how the operation ends.
func TestRemoteEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	real := l.env["LAB_BARMAN"]
	l.program("ending", fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *\" switch-wal \"*) . %s/ending.sh ;; *) exec %s \"$@\" ;; esac\n", l.dir, real))
	far := l.withBarman("ends", fmt.Sprintf("command = %q\nconfig = %q\nssh = %q\n", l.dir+"/ending", l.env["LAB_BARMAN_CONF"], l.env["LAB_SSH_COMMAND"]))
	url, _ := far.serve()
	c := client{t, url}
	for _, tc := range []struct {
		name, script, state string
		exit                any
		says                string
	}{
		{"well", "exit 0", "succeeded", 0.0, ""},
		{"with ssh's own exit code", "exit 255", "failed", 255.0, "exit code 255"},
		{"by a signal", "kill -KILL $$", "failed", nil, "SIGKILL"},
		{"and leaves something behind", "/usr/bin/python3 -c 'import subprocess; subprocess.Popen([\"sleep\", \"300\"])'; exit 0", "succeeded", 0.0, ""},
		{"with a word of our own", "echo 'barback-host: exit 0' >&2; echo 'barback-host: ready'; exit 1", "failed", 1.0, "exit code 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := os.WriteFile(l.dir+"/ending.sh", []byte(tc.script+"\n"), 0o644); err != nil { // #nosec G306 -- user barman runs it
				t.Fatal(err)
			}
			path := c.post("/servers/pg-one/operations", `{"type":"switch_wal"}`)
			op := c.mustEnd(path, tc.state)
			if op["exit_code"] != tc.exit || !strings.Contains(fmt.Sprint(op["error"]), tc.says) {
				t.Errorf("it ended with exit code %v and %v, want %v and %q", op["exit_code"], op["error"], tc.exit, tc.says)
			}
			mustBeGone(t, path)
		})
	}
	t.Run("as a login shell that runs nothing", func(t *testing.T) {
		l.must(l.command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", l.dir+"/ssh/forced"))
		public, err := os.ReadFile(l.dir + "/ssh/forced.pub")
		if err != nil {
			t.Fatal(err)
		}
		l.must(exec.Command("sh", "-c", `printf '%s' "$1" >> "$0"`, l.dir+"/ssh/authorized", fmt.Sprintf("restrict,command=\"%s/forced\" %s", l.dir, public))) // #nosec G204
		// What reads goes through; an operation ends with 0 at once, without having run.
		l.program("forced", `#!/bin/sh
case $SSH_ORIGINAL_COMMAND in *"'barback-host' 'run'"*) exit 0 ;; esac
eval "$SSH_ORIGINAL_COMMAND"
`)
		forced := l.withBarman("forced-toml", fmt.Sprintf("command = %q\nconfig = %q\nssh = %q\n", real, l.env["LAB_BARMAN_CONF"], strings.Replace(l.env["LAB_SSH_COMMAND"], "ssh/key", "ssh/forced", 1)))
		url, _ := forced.serve()
		c := client{t, url}
		op := c.mustEnd(c.post("/servers/pg-one/operations", `{"type":"switch_wal"}`), "failed")
		if !strings.Contains(fmt.Sprint(op["error"]), "nothing was done") {
			t.Errorf("an operation that never ran ended with %v, want that nothing was done", op["error"])
		}
	})
	if left := slices.DeleteFunc(l.programs(true), func(int) bool { return false }); len(left) > 0 {
		t.Errorf("runners are left: %v", left)
	}
}
