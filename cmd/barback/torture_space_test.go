package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// narrow puts a small tmpfs in place of the yard's state directory.
func narrow(t *testing.T, l *lab) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("BARBACK_TEST") == "all" {
			t.Fatal("a small file system can be mounted by root alone")
		}
		t.Skip("a small file system can be mounted by root alone: make test")
	}
	options := fmt.Sprintf("size=4m,nr_inodes=1500,mode=750,uid=%d,gid=%d", l.cred.Uid, l.cred.Gid)
	if err := syscall.Mount("tmpfs", l.state, "tmpfs", 0, options); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	atExit(t, func() {
		l.sweep()
		_ = syscall.Unmount(l.state, 2) // MNT_DETACH: whoever still has it open keeps it
	})
	l.must(l.command(l.bin, "user", "allow", "--config", l.config, "anonymous", "*"))
}

// fill takes all blocks, or all inodes; the path is what to remove again.
func (l *lab) fill(blocks bool) (path string, err error) {
	path = filepath.Join(l.state, "filler")
	if err := os.Mkdir(path, 0o700); err != nil {
		return path, err
	}
	if !blocks {
		for i := 0; err == nil; i++ {
			err = os.WriteFile(fmt.Sprint(path, "/", i), nil, 0o600)
		}
		return path, unlessFull(err)
	}
	f, err := os.Create(path + "/blocks")
	if err != nil {
		return path, unlessFull(err)
	}
	defer func() { _ = f.Close() }()
	page := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(page)
	}
	return path, unlessFull(err)
}

func unlessFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	return err
}

// TestTortureSpace fills up the state directory and empties it at random moments, while operations are
// asked for, run and end. What was answered with 202 is not lost, and ends as its Barman did; all else is
// refused with the reason; when space returns all is well.
func TestTortureSpace(t *testing.T) {
	seed := tortureSeed(t)
	for pass := range times(1, 10) {
		t.Run(fmt.Sprintf("pass %d", pass), func(t *testing.T) { spacePass(t, rand.New(rand.NewPCG(seed, uint64(pass)))) })
	}
}

func spacePass(t *testing.T, rnd *rand.Rand) {
	l := newYard(t, 3)
	narrow(t, l)
	url, _ := l.serve()
	c := client{t, url}
	done := make(chan struct{})
	var filling sync.WaitGroup
	tide := rand.New(rand.NewPCG(rnd.Uint64(), 0))
	filling.Go(func() { ebbAndFlow(t, l, tide, done) })
	codes, want := map[int]int{}, times(20, 50)
	var all []*asked
	for deadline := time.Now().Add(2 * time.Minute); len(all) < want && time.Now().Before(deadline); {
		s := &asked{server: yardServers[rnd.IntN(len(yardServers))], code: rnd.IntN(4) / 3}
		s.body = fmt.Sprintf(`{"type":"backup","name":"0.%02d:%d:","queue":%v}`, rnd.IntN(10), s.code, rnd.IntN(2) == 0)
		res := c.do("POST", "/servers/"+s.server+"/operations", s.body)
		codes[res.StatusCode]++
		if spaceAnswer(t, res) {
			s.id, _ = res.json(t)["operation_id"].(string)
			all = append(all, s)
		}
		if len(all) > 0 {
			glance(t, c, all[rnd.IntN(len(all))])
		}
		<-time.After(time.Duration(rnd.IntN(80)) * time.Millisecond)
	}
	close(done)
	filling.Wait()
	ends := map[string]int{}
	for _, s := range all {
		ends[endAfterFlood(t, l, c, s)]++
	}
	t.Logf("answers: %v; ends: %v", codes, ends)
	if len(all) < want || codes[507] == 0 {
		t.Errorf("%d operations were accepted and %d refused for want of space, want %d and some", len(all), codes[507], want)
	}
	list := c.do("GET", "/operations?scope=all", "").json(t)["operations"].([]any)
	if len(list) != len(all) {
		t.Errorf("there are %d operations, and %d were answered with 202", len(list), len(all))
	}
	c.mustEnd(c.post("/servers/pg-a/operations", `{"type":"backup","name":"0:0:"}`), "succeeded")
	var left []string
	eventually(t, 10*time.Second, func() string { return fmt.Sprintf("left behind: %v", left) }, func() bool {
		left, _ = filepath.Glob(l.state + "/active/*")
		drafts, _ := filepath.Glob(l.state + "/operations/.*")
		left = append(left, drafts...)
		return len(left) == 0
	})
}

// ebbAndFlow fills and empties the state directory until done.
func ebbAndFlow(t *testing.T, l *lab, rnd *rand.Rand, done chan struct{}) {
	pause := func(limit int) bool {
		select {
		case <-done:
			return false
		case <-time.After(time.Duration(rnd.IntN(limit)) * time.Millisecond):
			return true
		}
	}
	for pause(300) {
		path, err := l.fill(rnd.IntN(3) > 0)
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("fill %s: %v", path, err)
		}
		pause(600)
		if err := os.RemoveAll(path); err != nil {
			t.Errorf("empty %s: %v", path, err)
		}
	}
}

// spaceAnswer holds an answer against what a client may be told, and reports whether it was accepted.
func spaceAnswer(t *testing.T, res reply) bool {
	t.Helper()
	body := string(res.body)
	switch res.StatusCode {
	case http.StatusAccepted:
		return true
	case http.StatusConflict:
		return false
	case http.StatusInsufficientStorage:
		if !strings.Contains(body, "no space left on device") {
			t.Errorf("a 507 does not say why: %s", body)
		}
	case http.StatusServiceUnavailable:
		if res.Header.Get("Retry-After") == "" {
			t.Errorf("a 503 says no Retry-After: %s", body)
		}
	default:
		t.Errorf("POST on a full disk = %d %s, want 202, 409, 503 or 507", res.StatusCode, body)
	}
	return false
}

// glance looks at an operation whatever the disk is like: a final state is that for ever.
func glance(t *testing.T, c client, s *asked) {
	t.Helper()
	res := c.do("GET", s.path(), "")
	if res.StatusCode != http.StatusOK {
		t.Errorf("GET of %v = %d %s, want 200", s, res.StatusCode, res.body)
		return
	}
	op := res.json(t)
	now := fmt.Sprint(op["state"], " ", op["exit_code"], " ", op["ended_at"], " ", op["error"])
	if s.end != "" && now != s.end {
		t.Errorf("the final state of %v changed:\n%s\n%s", s, s.end, now)
	}
	if op["status"] != "IN_PROGRESS" {
		s.end = now
	}
}

// endAfterFlood waits for an operation's end and holds it against what its Barman did.
func endAfterFlood(t *testing.T, l *lab, c client, s *asked) string {
	t.Helper()
	op := c.wait(s.path())
	glance(t, c, s)
	state := fmt.Sprint(op["state"])
	began, proof := l.noted("began", s.id), l.noted("proof", s.id)
	failure, _ := op["error"].(map[string]any)
	switch {
	case state == "succeeded" && proof && op["exit_code"] == 0.0:
	case state == "failed" && began && !proof && op["exit_code"] == 1.0:
	case state == "failed" && !began && failure["title"] == "Not started" && strings.Contains(fmt.Sprint(failure["detail"]), "no space left"):
		return "not started"
	default:
		t.Errorf("%v is %s; Barman began: %v, and noted its success: %v\n%v", s, state, began, proof, op)
	}
	return state
}
