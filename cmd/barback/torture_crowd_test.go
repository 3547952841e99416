package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// crowd are POSTs from so many processes at once.
type crowd struct {
	*lab
	urls  []string
	mu    sync.Mutex
	codes map[string]int
	ids   map[string]string // operation → path
}

// TestTortureCrowd: 200 processes POST at the same moment. All IDs are distinct, each 202 has a record
// and an end, all else is a clear refusal.
func TestTortureCrowd(t *testing.T) {
	seed := tortureSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	l := newYard(t, 4)
	one, _ := l.serve()
	two, _ := l.serve()
	c := &crowd{lab: l, urls: []string{one, two}, codes: map[string]int{}, ids: map[string]string{}}
	for round := range times(2, 50) {
		c.at(rnd, times(50, 200), round%2 == 1)
		c.end()
		if t.Failed() {
			t.Fatalf("round %d went wrong", round)
		}
	}
	t.Logf("answers: %v; %d different IDs", c.codes, len(c.ids))
}

// at sends n POSTs at once: by curl to two serving processes, or each to a barback of its own, started as a
// web server starts a CGI program. A quarter of them wait behind others.
func (c *crowd) at(rnd *rand.Rand, n int, cgi bool) {
	c.t.Helper()
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		server := yardServers[rnd.IntN(len(yardServers))]
		body := fmt.Sprintf(`{"type":"backup","name":"0.%02d:0:","queue":%v}`, rnd.IntN(10), rnd.IntN(4) == 0)
		all.Go(func() {
			cmd := c.curl(c.urls[i%2], server, body)
			if cgi {
				cmd = c.cgi(server, body)
			}
			<-start
			out, err := cmd.Output()
			if err != nil {
				c.t.Errorf("%s: %v %s", cmd.Args[0], err, out)
				return
			}
			c.note(server, string(out))
		})
	}
	close(start)
	all.Wait()
}

func (c *crowd) curl(url, server, body string) *exec.Cmd {
	return c.command("curl", "-s", "-i", "-m", "60", "-H", "Content-Type: application/json", "-d", body, url+"/servers/"+server+"/operations")
}

func (c *crowd) cgi(server, body string) *exec.Cmd {
	cmd := c.command(c.bin, "--config", c.config)
	path := "/servers/" + server + "/operations"
	cmd.Env = append(cmd.Env, "GATEWAY_INTERFACE=CGI/1.1", "SERVER_PROTOCOL=HTTP/1.1", "REQUEST_METHOD=POST", "SCRIPT_NAME=", "PATH_INFO="+path,
		"REQUEST_URI="+path, "CONTENT_TYPE=application/json", "REMOTE_ADDR=127.0.0.1", "HTTP_HOST=localhost", fmt.Sprintf("CONTENT_LENGTH=%d", len(body)))
	cmd.Stdin = strings.NewReader(body)
	return cmd
}

// note takes an answer down: its head has the status in the first line, of HTTP or of CGI.
func (c *crowd) note(server, answer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	head, body, _ := strings.Cut(strings.ReplaceAll(answer, "\r", ""), "\n\n")
	fields := strings.Fields(head)
	code := ""
	if len(fields) > 1 {
		code = fields[1]
	}
	c.codes[code]++
	switch code {
	case "202":
		id, _ := reply{body: []byte(body), Response: &http.Response{}}.json(c.t)["operation_id"].(string)
		if id == "" || c.ids[id] != "" {
			c.t.Errorf("the ID %q was given twice, or none: %s", id, answer)
		}
		c.ids[id] = "/servers/" + server + "/operations/" + id
	case "409":
		if !strings.Contains(body, `"conflicting_operation":"`) {
			c.t.Errorf("a 409 names no operation: %s", answer)
		}
	case "429", "503":
		if !strings.Contains(strings.ToLower(head), "retry-after:") {
			c.t.Errorf("a refusal for now says no Retry-After: %s", answer)
		}
	default:
		c.t.Errorf("the answer is %s, want 202, 409, 429 or 503", answer)
	}
}

// end waits for all ends. The records of the round are what was answered 202, no more and no less.
func (c *crowd) end() {
	c.t.Helper()
	client := client{c.t, c.urls[0]}
	entries, err := os.ReadDir(c.state + "/operations")
	if err != nil {
		c.t.Fatal(err)
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = true
		if c.ids[e.Name()] == "" {
			c.t.Errorf("there is an operation that nobody was told of: %s", e.Name())
		}
	}
	for id, path := range c.ids {
		if !there[id] {
			if path != "ended" {
				c.t.Errorf("operation %s was answered with 202, and has no record", id)
			}
			continue
		}
		if op := client.wait(path); op["state"] != "succeeded" || !c.noted("proof", id) || c.noted("overlap", id) {
			c.t.Errorf("operation %s is %v, want succeeded; Barman noted its success: %v; it met another one: %v", id, op, c.noted("proof", id), c.noted("overlap", id))
		}
		client.do("DELETE", path, "")
		c.ids[id] = "ended"
	}
	eventually(c.t, 10*time.Second, func() string { return "something is left in active" }, func() bool {
		left, _ := filepath.Glob(c.state + "/active/*")
		return len(left) == 0
	})
}
