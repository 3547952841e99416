package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// newHeld makes a lab whose Barman, when told to diagnose, notes its pid and waits while DIR/hold is
// there; then it tells the number of its run. One answer lies there already.
func newHeld(t *testing.T) (l *lab, url string, server *exec.Cmd) {
	t.Helper()
	l = newLab(t, "bookworm")
	l.program("held", fmt.Sprintf(`#!/bin/sh
test "$5" = diagnose || exec %s "$@"
echo $$ >> %[2]s/runs
sleep 300 & echo $! >> %[2]s/children
while test -e %[2]s/hold; do sleep 0.02; done
kill $!
printf '{"_INFO": ["{\\"run\\": %%d}"]}' $(wc -l < %[2]s/runs)
`, l.env["LAB_BARMAN"], l.dir))
	for _, name := range []string{"runs", "children"} {
		l.must(l.command("touch", l.dir+"/"+name))
	}
	if err := os.WriteFile(l.config, []byte(l.text(l.state, l.dir+"/held", l.env["LAB_BARMAN_CONF"])), 0o644); err != nil { // #nosec G306 -- user barman reads it
		t.Fatal(err)
	}
	url, server = l.serve()
	if res := (client{t, url}).do("GET", "/diagnose", ""); string(res.body) != "{\"run\":1}\n" {
		t.Fatalf("GET /diagnose = %d %s, want the first run's answer", res.StatusCode, res.body)
	}
	l.hold()
	return l, url, server
}

func (l *lab) hold()    { l.must(l.command("touch", l.dir+"/hold")) }
func (l *lab) release() { l.must(l.command("rm", l.dir+"/hold")) }

// pids are the numbers in a file of the lab.
func (l *lab) pids(name string) (list []int) {
	data, err := os.ReadFile(l.dir + "/" + name)
	if err != nil {
		l.t.Fatal(err)
	}
	for word := range strings.FieldsSeq(string(data)) {
		if n, err := strconv.Atoi(word); err == nil {
			list = append(list, n)
		}
	}
	return list
}

// runs waits until Barman was started so often.
func (l *lab) runs(n int) {
	l.t.Helper()
	eventually(l.t, 30*time.Second, func() string { return fmt.Sprintf("Barman ran %d times, not %d", len(l.pids("runs")), n) }, func() bool { return len(l.pids("runs")) == n })
}

// waiters waits until so many processes of barback wait for the run of another: these read
// the answer that lies there again and again, while all others sleep.
func (l *lab) waiters(n int) {
	l.t.Helper()
	reads := func() map[int]int {
		counts := map[int]int{}
		for _, pid := range l.programs(false) {
			io, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
			if _, rest, ok := bytes.Cut(io, []byte("syscr: ")); ok {
				line, _, _ := bytes.Cut(rest, []byte("\n"))
				counts[pid], _ = strconv.Atoi(string(line))
			}
		}
		return counts
	}
	before, now := reads(), 0
	eventually(l.t, 90*time.Second, func() string { return fmt.Sprintf("%d processes wait, not %d", now, n) }, func() bool {
		time.Sleep(200 * time.Millisecond) // long enough for several looks of each
		after := reads()
		now = 0
		for pid, count := range after {
			if was, ok := before[pid]; ok && count >= was+5 {
				now++
			}
		}
		before = after
		return now == n
	})
}

// cgiGet asks a barback that is started as a web server starts a CGI program.
func (l *lab) cgiGet(path string) (status int, body string) {
	cmd := l.command(l.bin, "--config", l.config)
	cmd.Env = append(cmd.Env, "GATEWAY_INTERFACE=CGI/1.1", "SERVER_PROTOCOL=HTTP/1.1", "REQUEST_METHOD=GET", "SCRIPT_NAME=", "PATH_INFO="+path,
		"REQUEST_URI="+path, "REMOTE_ADDR=127.0.0.1", "HTTP_HOST=localhost")
	out, err := cmd.Output()
	if err != nil {
		return 0, err.Error()
	}
	head, body, _ := strings.Cut(strings.ReplaceAll(string(out), "\r", ""), "\n\n")
	_, _ = fmt.Sscanf(head, "Status: %d", &status)
	return status, body
}

// told is the answers to GET /diagnose that are still to come.
type told struct {
	t testing.TB
	sync.WaitGroup
	mu      sync.Mutex
	answers []string
}

func (a *told) ask(get func() (int, string)) {
	a.Go(func() {
		status, body := get()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.answers = append(a.answers, fmt.Sprintf("%d %s", status, strings.TrimSpace(body)))
	})
}

func (a *told) url(url string) {
	a.ask(func() (int, string) {
		res, err := client{a.t, url}.try("GET", "/diagnose", "")
		if err != nil {
			return 0, err.Error()
		}
		return res.StatusCode, string(res.body)
	})
}

// want fails unless n answers come, and all are this one.
func (a *told) want(t *testing.T, n int, answer string) {
	t.Helper()
	a.Wait()
	if len(a.answers) != n {
		t.Errorf("%d answers came, want %d", len(a.answers), n)
	}
	for _, got := range a.answers {
		if got != answer {
			t.Errorf("GET /diagnose = %s, want %s", got, answer)
		}
	}
}

// TestDiagnoseOnce: ten requests to as many processes, by CGI, FastCGI and several servers, are one run
// of Barman, and everything else is answered meanwhile.
func TestDiagnoseOnce(t *testing.T) {
	t.Parallel()
	l, url, _ := newHeld(t)
	fcgid := l.apache("fcgid")
	urls := []string{url, fcgid}
	a := told{t: t}
	a.url(url)
	l.runs(2)
	for range 3 {
		a.ask(func() (int, string) { return l.cgiGet("/diagnose") })
		other, _ := l.serve()
		a.url(other)
		a.url(fcgid)
		urls = append(urls, other)
	}
	l.waiters(9)
	for _, url := range urls {
		for _, path := range []string{"/status", "/version", "/servers", "/operations?scope=all", "/servers/pg-one/operations"} {
			if res := (client{t, url}).do("GET", path, ""); res.StatusCode != http.StatusOK {
				t.Errorf("GET %s while Barman diagnoses = %d %s, want 200", path, res.StatusCode, res.body)
			}
		}
	}
	if res := (client{t, url}).do("GET", "/diagnose?max_age=3600", ""); string(res.body) != "{\"run\":1}\n" || res.Header.Get("Age") == "" {
		t.Errorf("GET /diagnose?max_age=3600 while Barman diagnoses = %d %s, want the answer that lies there, and its Age", res.StatusCode, res.body)
	}
	l.release()
	a.want(t, 10, `200 {"run":2}`)
	if n := len(l.pids("runs")); n != 2 {
		t.Errorf("Barman ran %d times, want twice", n)
	}
}

// TestDiagnoseLeaderKilled: a process that is killed while its Barman works takes Barman with it, and
// one of those who wait begins anew.
func TestDiagnoseLeaderKilled(t *testing.T) {
	t.Parallel()
	l, url, server := newHeld(t)
	other, _ := l.serve()
	dead, a := told{t: t}, told{t: t}
	dead.url(url)
	l.runs(2)
	a.url(other)
	a.ask(func() (int, string) { return l.cgiGet("/diagnose") })
	l.waiters(2)
	kill(t, server.Process.Pid)
	dead.Wait()
	l.runs(3)
	l.gone("runs", 2)
	l.waiters(1)
	l.release()
	a.want(t, 2, `200 {"run":3}`)
}

// gone waits until the n-th process of a file has ended.
func (l *lab) gone(name string, n int) {
	l.t.Helper()
	pid := l.pids(name)[n-1]
	eventually(l.t, 10*time.Second, func() string { return fmt.Sprintf("process %d of %s runs", pid, name) }, func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// TestDiagnoseClientGone: the run that a client began who went away goes on for those who wait.
func TestDiagnoseClientGone(t *testing.T) {
	t.Parallel()
	l, url, _ := newHeld(t)
	other, _ := l.serve()
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+"/diagnose", nil)
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
		}
	}()
	l.runs(2)
	a := told{t: t}
	a.url(other)
	l.waiters(1)
	leave()
	<-left
	l.release()
	a.want(t, 1, `200 {"run":2}`)
	if n := len(l.pids("runs")); n != 2 {
		t.Errorf("Barman ran %d times, want twice", n)
	}
}

// TestDiagnoseDeadline: a Barman that hangs is ended with what it started, everybody who waits for it is
// told, and the next request has its own.
func TestDiagnoseDeadline(t *testing.T) {
	t.Parallel()
	l, _, _ := newHeld(t)
	text := strings.Replace(l.text(l.state, l.dir+"/held", l.env["LAB_BARMAN_CONF"]), "[barman]\n", "[barman]\ntimeout = \"2s\"\n", 1)
	if err := os.WriteFile(l.config, []byte(text), 0o644); err != nil { // #nosec G306 -- user barman reads it
		t.Fatal(err)
	}
	for i, d := range []struct {
		name string
		get  func() (int, string)
	}{
		{"cgi", func() (int, string) { return l.cgiGet("/diagnose") }},
		{"mod_fcgid", func() func() (int, string) {
			c := client{t, l.apache("fcgid")}
			return func() (int, string) { res := c.do("GET", "/diagnose", ""); return res.StatusCode, string(res.body) }
		}()},
	} {
		status, body := d.get()
		if status != http.StatusGatewayTimeout || !strings.Contains(body, "barman diagnose did not end within 2s") || !json.Valid([]byte(body)) {
			t.Errorf("%s: GET /diagnose of a Barman that hangs = %d %s, want a 504 that says so", d.name, status, body)
		}
		l.gone("runs", i+2)
		l.gone("children", i+2)
	}
	l.release()
	if status, body := l.cgiGet("/diagnose"); status != http.StatusOK || body != "{\"run\":4}\n" {
		t.Errorf("GET /diagnose after that = %d %s, want a new run's answer", status, body)
	}
	if err := syscall.Access(l.state+"/answer-diagnose.new", 0); err == nil {
		t.Error("a draft lies there")
	}
}
