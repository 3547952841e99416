package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// slowBackup takes some seconds, so that it can be killed in mid-copy.
const slowBackup = `{"type":"backup","bwlimit":6000}`

// programs lists the processes of this lab's barback binary: the runners, or the others.
func (l *lab) programs(runners bool) []int {
	l.t.Helper()
	var pids []int
	paths, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, path := range paths {
		if exe, _ := os.Readlink(path); exe != l.bin {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if slices.Contains(strings.Split(string(line), "\x00"), "run") == runners {
			pids = append(pids, pid)
		}
	}
	return pids
}

// kill kills processes, and returns when they are dead: one that is killed may wait for a processor to die, and until then it
// holds what it held.
func kill(t testing.TB, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			t.Fatalf("kill %d: %v", pid, err)
		}
	}
	eventually(t, 10*time.Second, func() string { return fmt.Sprintf("of %v one lives", pids) }, func() bool {
		return !slices.ContainsFunc(pids, func(pid int) bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err == nil && !strings.Contains(string(stat), ") Z ")
		})
	})
}

// copying waits until pg_basebackup of the operation runs, and returns its pid.
func copying(t testing.TB, path string) int {
	t.Helper()
	var pid int
	marker := "BARBACK_OPERATION=" + filepath.Base(path)
	eventually(t, 20*time.Second, func() string { return "no pg_basebackup of " + path }, func() bool {
		for p, line := range processes(t, marker) {
			if strings.Contains(line, "pg_basebackup") && strings.Contains(line, "--pgdata") { // not "pg_basebackup --version", which Barman asks before
				pid = p
			}
		}
		return pid != 0
	})
	return pid
}

// mustBeGone fails if a process of the operation is left.
func mustBeGone(t testing.TB, path string) {
	t.Helper()
	if left := processes(t, "BARBACK_OPERATION="+filepath.Base(path)); len(left) > 0 {
		t.Errorf("processes of %s are left: %v", path, left)
	}
}

// TestServersDeath: whoever accepted an operation may die, the operation goes on.
func TestServersDeath(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	poll, _ := l.serve()
	t.Run("the FastCGI process", func(t *testing.T) {
		known := l.programs(false)
		path := client{t, l.apache("fcgid")}.post("/servers/pg-one/operations", slowBackup)
		copying(t, path)
		fastCGI := slices.DeleteFunc(l.programs(false), func(pid int) bool { return slices.Contains(known, pid) })
		if len(fastCGI) == 0 {
			t.Fatal("there is no FastCGI process to kill")
		}
		inherited(t, fastCGI, l.programs(true))
		kill(t, fastCGI...)
		client{t, poll}.mustEnd(path, "succeeded")
	})
	t.Run("the Apache master and all its children", func(t *testing.T) {
		url := l.apache("cgi")
		path := client{t, url}.post("/servers/pg-one/operations", slowBackup)
		copying(t, path)
		pid, err := os.ReadFile(l.dir + "/apache-cgi/run/apache2.pid")
		if err != nil {
			t.Fatal(err)
		}
		master, _ := strconv.Atoi(strings.TrimSpace(string(pid)))
		children, _ := exec.Command("pgrep", "-P", strconv.Itoa(master)).Output() // #nosec G204
		kill(t, master)
		for _, c := range strings.Fields(string(children)) {
			n, _ := strconv.Atoi(c)
			kill(t, n)
		}
		client{t, poll}.mustEnd(path, "succeeded")
	})
	t.Run("serve", func(t *testing.T) {
		url, cmd := l.serve()
		path := client{t, url}.post("/servers/pg-one/operations", slowBackup)
		copying(t, path)
		kill(t, cmd.Process.Pid)
		client{t, poll}.mustEnd(path, "succeeded")
	})
}

// inherited fails if a runner holds pipes or sockets of the web server's processes.
func inherited(t testing.TB, web, runners []int) {
	t.Helper()
	theirs := map[string]bool{}
	for _, pid := range append(web, parents(t, web)...) {
		for _, target := range descriptors(pid) {
			theirs[target] = strings.HasPrefix(target, "pipe:") || strings.HasPrefix(target, "socket:")
		}
	}
	for _, pid := range runners {
		for fd, target := range descriptors(pid) {
			if theirs[target] {
				t.Errorf("descriptor %s of the runner is the web server's %s", fd, target)
			}
		}
	}
}

func parents(t testing.TB, pids []int) []int {
	var list []int
	for _, pid := range pids {
		list = append(list, parent(t, pid))
	}
	return list
}

// descriptors are the open files of a process: number → target.
func descriptors(pid int) map[string]string {
	open := map[string]string{}
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, p := range paths {
		open[filepath.Base(p)], _ = os.Readlink(p)
	}
	return open
}

// TestRunnersDeath: an operation whose runner or Barman was killed says so at the next
// look, and nothing of it runs on.
func TestRunnersDeath(t *testing.T) {
	l := newLab(t, "bookworm")
	url, _ := l.serve()
	// With no good backup at all Barman throws the WAL away, and then refuses the next backup for want of it.
	client{t, url}.mustEnd(client{t, url}.post("/servers/pg-one/operations", `{"type":"backup","wait":true}`), "succeeded")
	cases := []struct {
		name  string
		kill  func(t *testing.T, copier int)
		state string
		says  string
	}{
		{"the runner", func(t *testing.T, _ int) { kill(t, l.programs(true)...) }, "interrupted", "killed or crashed"},
		{"the runner and Barman at once", func(t *testing.T, copier int) {
			kill(t, append(l.programs(true), parent(t, copier))...)
		}, "interrupted", "killed or crashed"},
		{"Barman", func(t *testing.T, copier int) { kill(t, parent(t, copier)) }, "failed", "SIGKILL"},
		{"the runner, asked to stop", func(_ *testing.T, _ int) {
			for _, pid := range l.programs(true) {
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
		}, "interrupted", "SIGTERM"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := client{t, url}
			path := c.post("/servers/pg-one/operations", slowBackup)
			copier := copying(t, path)
			tc.kill(t, copier)
			var op map[string]any
			eventually(t, 2*time.Second, func() string { return fmt.Sprint(op["state"]) }, func() bool {
				op = c.do("GET", path, "").json(t)
				return op["state"] == tc.state
			})
			if detail := fmt.Sprint(op["error"]); !strings.Contains(detail, tc.says) || op["status"] != "FAILED" {
				t.Errorf("status = %v, error = %s, want FAILED and %q in it", op["status"], detail, tc.says)
			}
			mustBeGone(t, path)
			if again := c.do("GET", path, "").json(t); again["state"] != tc.state || again["ended_at"] != op["ended_at"] {
				t.Errorf("a final state changed: %v, then %v", op, again)
			}
		})
	}
	t.Run("a killed runner leaves no backup STARTED in Barman's catalog", func(t *testing.T) {
		c := client{t, url}
		before := started(l)
		for range 8 {
			path := c.post("/servers/pg-one/operations", slowBackup)
			copying(t, path)
			kill(t, l.programs(true)...)
			if op := c.wait(path); op["state"] != "interrupted" {
				t.Errorf("state = %v, want interrupted", op["state"])
			}
		}
		if now := started(l); now != before {
			t.Errorf("%d backups are STARTED in Barman's catalog and were not before: its clean-up was broken off", now-before)
		}
	})
	t.Run("the next backup works", func(t *testing.T) {
		c := client{t, url}
		c.mustEnd(c.post("/servers/pg-one/operations", `{"type":"backup"}`), "succeeded")
	})
}

// started counts the backups of pg-one that Barman takes for being made.
func started(l *lab) int {
	l.t.Helper()
	return strings.Count(l.must(l.command(l.env["LAB_BARMAN"], "-c", l.env["LAB_BARMAN_CONF"], "list-backups", "pg-one")), "STARTED")
}

// parent is the process that started pid.
func parent(t testing.TB, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	return ppid
}

// TestFiftyAtOnce: 50 processes POST at the same moment. Each gets an ID of its own or a
// clear refusal, every ID has a record and an end, and nobody gets a 5xx.
func TestFiftyAtOnce(t *testing.T) {
	l := newLab(t, "bookworm")
	for _, d := range doors[:3] {
		t.Run(d.name, func(t *testing.T) {
			l := *l
			l.t = t
			c := client{t, d.open(&l)}
			path := "/servers/pg-one/operations"
			var mu sync.Mutex
			codes, ids := map[string]int{}, map[string]bool{}
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					out, err := exec.Command("curl", "-s", "-m", "60", "-o", "-", "-w", "%{http_code}", "-H", "Content-Type: application/json", "-d", `{"type":"backup"}`, c.url+path).Output() // #nosec G204
					body, code := out[:max(0, len(out)-3)], string(out[max(0, len(out)-3):])
					mu.Lock()
					defer mu.Unlock()
					codes[code]++
					if err != nil || code != "202" {
						t.Logf("%s %v: %s", code, err, body)
						return
					}
					id, _ := reply{body: body, Response: &http.Response{}}.json(t)["operation_id"].(string)
					ids[id] = true
				})
			}
			all.Wait()
			for code := range codes {
				if code != "202" && code != "409" && code != "429" {
					t.Errorf("answers: %v, want 202, 409 or 429 alone", codes)
				}
			}
			if len(ids) != codes["202"] {
				t.Errorf("%d answers of 202, but %d different IDs", codes["202"], len(ids))
			}
			done := 0
			for id := range ids {
				op := c.wait(path + "/" + id)
				if op["status"] == "DONE" {
					done++
				}
			}
			if done == 0 {
				t.Error("none of the backups came to a good end")
			}
			t.Logf("answers: %v; %d DONE", codes, done)
		})
	}
}

// TestRunnerSocket: where systemd's socket is there, runners come from it, and the end of
// a killed one is recorded by its unit's ExecStopPost=.
func TestRunnerSocket(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	socket := l.start(l.command("systemd-socket-activate", "--accept", "--listen="+l.dir+"/run/runner.sock",
		"-E", "INVOCATION_ID=0123456789abcdef", l.bin, "run", "--config", l.config), "runner.log")
	eventually(t, 10*time.Second, func() string { return "no runner socket" }, func() bool {
		_, err := os.Stat(l.dir + "/run/runner.sock")
		return err == nil
	})
	url, serve := l.serve()
	c := client{t, url}
	path := c.post("/servers/pg-one/operations", slowBackup)
	copying(t, path)
	runner := int(c.record(l, path)["runner"].(map[string]any)["pid"].(float64))
	if got := parent(t, runner); got != socket.Process.Pid {
		t.Errorf("the runner's parent is %d, want the socket's %d (serve is %d)", got, socket.Process.Pid, serve.Process.Pid)
	}
	kill(t, runner)
	finish := l.command(l.bin, "finish", "--config", l.config)
	finish.Env = append(finish.Env, "INVOCATION_ID=0123456789abcdef", "SERVICE_RESULT=signal", "EXIT_CODE=killed", "EXIT_STATUS=KILL")
	l.must(finish)
	if record := c.record(l, path); record["state"] != "interrupted" || !strings.Contains(fmt.Sprint(record["error"]), "killed KILL") {
		t.Errorf("after finish the record says %v %v, want interrupted, with systemd's reason", record["state"], record["error"])
	}
	mustBeGone(t, path)

	kill(t, socket.Process.Pid)
	eventually(t, 10*time.Second, func() string { return "the socket still answers" }, func() bool {
		return c.do("POST", "/servers/pg-one/operations", `{"type":"backup"}`).StatusCode == http.StatusServiceUnavailable
	})
	before := c.do("GET", "/servers/pg-one/operations", "").body
	res := c.do("POST", "/servers/pg-one/operations", `{"type":"backup"}`)
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(res.body), "barback-runner.socket") || res.Header.Get("Retry-After") == "" {
		t.Errorf("POST with a dead runner socket = %d %s, want 503 that names the unit, and Retry-After", res.StatusCode, res.body)
	}
	if after := c.do("GET", "/servers/pg-one/operations", "").body; string(after) != string(before) {
		t.Errorf("a refused POST left a record:\n%s\n%s", before, after)
	}
}

// record reads an operation's record from disk as it stands there.
func (c client) record(l *lab, path string) map[string]any {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(l.state, "operations", filepath.Base(path), "operation.json"))
	if err != nil {
		c.t.Fatal(err)
	}
	return reply{body: data, Response: &http.Response{}}.json(c.t)
}
