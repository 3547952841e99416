package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// lab is a private PostgreSQL, Barman and sshd (packaging/lab), with a barback set up on
// it: its binary, its configuration and its state directory, all of user barman.
type lab struct {
	t      testing.TB
	dir    string
	bin    string
	config string
	state  string
	env    map[string]string // what packaging/lab/up says of itself
	cred   *syscall.Credential
}

// root is the top of the tree.
func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// newLab makes a lab with the Barman of a Debian suite, and more words for packaging/lab/up. Labs need root, to act as user
// barman; "make test" sees to that, and to what has to be installed.
func newLab(t testing.TB, suite string, more ...string) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("BARBACK_TEST") == "all" {
			t.Fatal("the real Barman, PostgreSQL and Apache need root")
		}
		t.Skip("the real Barman, PostgreSQL and Apache need root: make test")
	}
	dir, err := os.MkdirTemp(os.Getenv("BARBACK_LABS"), "bb.") //nolint:usetesting // user barman has to get there, and Unix sockets need a short path
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, dir: dir, bin: dir + "/barback", config: dir + "/barback.toml", state: dir + "/state", env: map[string]string{}}
	down := root(t) + "/packaging/lab/down"
	atExit(t, func() {
		if out, err := exec.Command(down, "--quiet", dir).CombinedOutput(); err != nil { // #nosec G204
			fmt.Fprintf(os.Stderr, "%s: %v\n%s", down, err, out)
		}
	})
	l.must(exec.Command(root(t)+"/packaging/lab/up", append([]string{"--quiet", dir, "--barman", suite, "--wal-segsize", "1"}, more...)...)) // #nosec G204
	l.readEnv()
	l.cred = credential(t, l.env["LAB_USER"])
	l.install()
	return l
}

func (l *lab) readEnv() {
	l.t.Helper()
	data, err := os.ReadFile(l.dir + "/env")
	if err != nil {
		l.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		l.env[k] = strings.Trim(v, "'")
	}
}

// install puts the binary under test into the lab and sets barback up there.
func (l *lab) install() {
	l.t.Helper()
	bin := os.Getenv("BARBACK_BIN")
	if bin == "" {
		bin = l.t.TempDir() + "/barback"
		build := exec.Command("go", "build", "-o", bin, ".") // #nosec G204
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		l.must(build)
	}
	l.must(exec.Command("install", "-m", "755", bin, l.bin)) // #nosec G204
	l.must(l.command("mkdir", "-m", "750", l.state))
	l.must(l.command("mkdir", "-m", "755", l.dir+"/run")) // www-data passes to the sockets
	l.configure("")
	l.must(l.command(l.bin, "user", "allow", "--config", l.config, "anonymous", "*"))
}

// configure writes barback.toml; extra stands before the tables. Barman may take long: other tests are at work, too.
func (l *lab) configure(extra string) {
	l.t.Helper()
	text := fmt.Sprintf("state_dir = %q\n%s\n[barman]\ncommand = %q\nconfig = %q\ntimeout = \"5m\"\ndeadline = \"2m\"\n[runner]\nsocket = %q\nstop_grace = \"20s\"\n[audit]\nfile = %q\n",
		l.state, extra, l.env["LAB_BARMAN"], l.env["LAB_BARMAN_CONF"], l.dir+"/run/runner.sock", l.dir+"/audit.log")
	if err := os.WriteFile(l.config, []byte(text), 0o644); err != nil { // #nosec G306 -- user barman reads it
		l.t.Fatal(err)
	}
}

func credential(t testing.TB, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)} // #nosec G115 -- ids
}

// command is a command that runs as user barman, in a process group of its own so
// that an interrupt at the terminal leaves it to our clean-up.
func (l *lab) command(name string, args ...string) *exec.Cmd {
	if l.cred == nil {
		l.cred = credential(l.t, l.env["LAB_USER"])
	}
	cmd := exec.Command(name, args...) // #nosec G204
	cmd.Dir = l.dir
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + l.dir, "LANG=C.UTF-8", "BARBACK_LAB=" + l.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: l.cred, Setpgid: true}
	return cmd
}

func (l *lab) must(cmd *exec.Cmd) string {
	l.t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// start runs cmd in the background until the test ends; its standard error goes to a
// file of the lab.
func (l *lab) start(cmd *exec.Cmd, log string) *exec.Cmd {
	l.t.Helper()
	f, err := os.OpenFile(filepath.Join(l.dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) // #nosec G302 G304
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	cmd.Stderr = f
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	// One that has ended keeps its number until it is waited for: nobody else's process is killed under it.
	atExit(l.t, func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return cmd
}

// lastPort is the last that freePort gave.
var lastPort = func() *atomic.Int32 {
	var port atomic.Int32
	port.Store(10_000 + rand.Int32N(9_000)) // #nosec G404 -- other runs of these tests begin elsewhere
	return &port
}()

// freePort is a TCP port of 127.0.0.1 that nobody listens on. No other test is given it, and neither does the kernel
// give it to a connection: it lies below the ports that are for those.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 10_000 + int(lastPort.Add(1))%10_000
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = ln.Close()
			return port
		}
	}
	t.Fatal("no port is free from 10000 to 20000")
	return 0
}

// eventually waits until ok says yes; it fails the test with what() after limit. It asks less and less often, as asking takes
// the processor from what is waited for.
func eventually(t testing.TB, limit time.Duration, what func() string, ok func() bool) {
	t.Helper()
	pause := 10 * time.Millisecond
	for end := time.Now().Add(limit); !ok(); pause = min(pause*5/4, 150*time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still: %s", limit, what())
		}
		time.Sleep(pause)
	}
}

// client speaks to one barback.
type client struct {
	t   testing.TB
	url string
}

// reply is an answer with its body read.
type reply struct {
	*http.Response
	body []byte
}

// json reads the body into a generic object; every answer has to be one.
func (r reply) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("the body of the %d is not a JSON object: %v\n%s", r.StatusCode, err, r.body)
	}
	return v
}

var httpClient = &http.Client{Timeout: 2 * time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// try sends one request; body "" sends none.
func (c client) try(method, path, body string, header ...string) (reply, error) {
	req, err := http.NewRequest(method, c.url+path, nil)
	if err != nil {
		return reply{}, err
	}
	if body != "" {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := httpClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err == nil {
		documented(c.t, method, req.URL.Path, reply{res, data})
	}
	return reply{res, data}, err
}

func (c client) do(method, path, body string, header ...string) reply {
	c.t.Helper()
	res, err := c.try(method, path, body, header...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res
}

// post asks for an operation and returns the path to poll.
func (c client) post(path, body string) string {
	c.t.Helper()
	res := c.do("POST", path, body)
	if res.StatusCode != http.StatusAccepted {
		c.t.Fatalf("POST %s %s = %d, want 202\n%s", path, body, res.StatusCode, res.body)
	}
	id, _ := res.json(c.t)["operation_id"].(string)
	if id == "" {
		c.t.Fatalf("POST %s: no operation_id in %s", path, res.body)
	}
	if got := res.Header.Get("Location"); !strings.HasSuffix(got, path+"/"+id) {
		c.t.Fatalf("POST %s: Location = %q, want the path of %s", path, got, id)
	}
	return path + "/" + id
}

// wait polls until the operation has ended.
func (c client) wait(path string) map[string]any {
	c.t.Helper()
	var op map[string]any
	eventually(c.t, 90*time.Second, func() string { return fmt.Sprint(op) }, func() bool {
		res := c.do("GET", path, "")
		if res.StatusCode != http.StatusOK {
			c.t.Fatalf("GET %s = %d\n%s", path, res.StatusCode, res.body)
		}
		op = res.json(c.t)
		return op["status"] != "IN_PROGRESS"
	})
	return op
}

// mustEnd is wait for a certain end.
func (c client) mustEnd(path, state string) map[string]any {
	c.t.Helper()
	op := c.wait(path)
	if op["state"] != state {
		c.t.Fatalf("GET %s: state = %v, want %s\n%v\noutput:\n%s", path, op["state"], state, op, c.do("GET", path+"/output", "").body)
	}
	return op
}

// processes lists the pids and command lines whose environment has a line.
func processes(t testing.TB, variable string) map[int]string {
	t.Helper()
	found := map[int]string{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if bytes.Contains(append([]byte{0}, env...), append([]byte{0}, variable...)) {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			found[pid] = string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
		}
	}
	return found
}

// psql asks a cluster of the lab.
func (l *lab) psql(socket, query string) string {
	l.t.Helper()
	cmd := l.command(l.env["LAB_PG_BIN"]+"/psql", "-X", "-A", "-t", "-h", socket, "-U", "postgres", "-d", "postgres", "-c", query)
	return strings.TrimSpace(l.must(cmd))
}
