package main

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// begun waits until the fake Barman of an operation copies.
func (l *lab) begun(id string) {
	l.t.Helper()
	eventually(l.t, 10*time.Second, func() string { return "Barman of " + id + " does not copy" }, func() bool {
		for _, p := range l.cast() {
			if p.part == partChild && p.id == id {
				return true
			}
		}
		return false
	})
}

// widow kills the runners of operations.
func (l *lab) widow(ids ...string) {
	l.t.Helper()
	var pids []int
	for _, p := range l.cast() {
		if p.part == partRunner && slices.Contains(ids, p.id) {
			pids = append(pids, p.pid)
		}
	}
	if len(pids) != len(ids) {
		l.t.Fatalf("%d operations have %d runners", len(ids), len(pids))
	}
	kill(l.t, pids...)
}

// TestTortureOrphans: runners are killed whose Barmans do not hear SIGTERM.
func TestTortureOrphans(t *testing.T) {
	post := func(c client, server, name string) *asked {
		res := c.do("POST", "/servers/"+server+"/operations", fmt.Sprintf(`{"type":"backup","name":%q,"queue":true}`, name))
		if res.StatusCode != http.StatusAccepted {
			c.t.Fatalf("POST = %d %s, want 202", res.StatusCode, res.body)
		}
		id, _ := res.json(c.t)["operation_id"].(string)
		return &asked{server: server, id: id}
	}
	t.Run("the next in the queue waits for what is left", func(t *testing.T) {
		l := newYard(t, 4)
		url, _ := l.serve()
		c := client{t, url}
		first := post(c, "pg-a", "60:0:deaf")
		l.begun(first.id)
		second := post(c, "pg-a", "0:0:")
		l.widow(first.id)
		op := c.wait(second.path())
		c.mustEnd(first.path(), "interrupted")
		if l.noted("overlap", second.id) {
			t.Errorf("the lock of %q was free as soon as its runner was dead, and the next Barman met the one that was left: %v", "backup pg-a", op["error"])
		}
		if op["state"] != "succeeded" {
			t.Errorf("the operation behind one that died is %v, want succeeded", op)
		}
	})
	t.Run("all at once", func(t *testing.T) {
		l := newYard(t, 4)
		url, _ := l.serve()
		c := client{t, url}
		var all []*asked
		var ids []string
		for _, server := range yardServers {
			s := post(c, server, "60:0:deaf")
			all, ids = append(all, s), append(ids, s.id)
			l.begun(s.id)
		}
		l.widow(ids...)
		start := time.Now()
		var looking sync.WaitGroup
		for _, s := range all { // each by a client of its own, and one asks for all
			looking.Go(func() { _, _ = c.try("GET", s.path(), "") })
		}
		looking.Go(func() { _, _ = c.try("GET", "/operations?scope=all", "") })
		looking.Wait()
		for _, s := range all {
			if op := c.wait(s.path()); op["state"] != "interrupted" {
				t.Errorf("an operation whose runner was killed is %v, want interrupted", op["state"])
			}
			mustBeGone(t, s.path())
		}
		if d := time.Since(start); d > stuckAfter {
			t.Errorf("4 operations whose runners were killed are settled after %v, want it within %v", d, stuckAfter)
		} else {
			t.Logf("4 operations were settled within %v", d.Round(time.Millisecond))
		}
	})
	t.Run("one look at all", func(t *testing.T) {
		l := newYard(t, 4)
		url, _ := l.serve()
		c := client{t, url}
		var ids []string
		for _, server := range yardServers {
			s := post(c, server, "60:0:deaf")
			ids = append(ids, s.id)
			l.begun(s.id)
		}
		l.widow(ids...)
		start := time.Now()
		list := c.do("GET", "/operations?scope=all", "").json(t)["operations"].([]any)
		d := time.Since(start)
		for _, op := range list {
			if state := op.(map[string]any)["state"]; state != "interrupted" {
				t.Errorf("an operation whose runner was killed is %v at the first look, want interrupted", state)
			}
		}
		if d > stuckAfter {
			t.Errorf("4 operations whose runners are dead took a list %v, want it within %v", d.Round(time.Millisecond), stuckAfter)
		}
	})
}
