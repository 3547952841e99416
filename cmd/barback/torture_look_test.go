package main

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The looks at what the deaths in an arena left, and what has to be true of it.

// run does so many rounds in which somebody dies, and says what they came to.
func (a *arena) run(t *testing.T, rounds int) {
	a.t.Helper()
	start := time.Now()
	for struck := 0; struck < rounds; {
		a.round()
		if a.struck {
			struck++
		}
		if a.tidy != nil && a.number%5 == 0 {
			a.tidy()
		}
		if a.t.Failed() {
			a.t.Fatalf("round %d of %d went wrong", a.number, rounds)
		}
	}
	a.t.Logf("%d rounds in %v: killed %v; operations ended %v; the longest look took %v; Barman met another one on its server %d times", a.number, time.Since(start).Round(time.Second), a.deaths, a.ends, a.slowest.Round(time.Millisecond), a.overlaps)
	if len(a.asides) > 0 {
		t.Run("asides", func(t *testing.T) { t.Skip(strings.Join(a.asides, "\n")) })
	}
	if len(a.left) > 0 {
		t.Run("leftovers", func(t *testing.T) {
			t.Skipf("those who died left in the state directory: %v", slices.Sorted(maps.Keys(a.left)))
		})
	}
}

// find completes the round's operations by those whose POST got no answer: each of them is
// there as a whole, or not at all. What was refused must not be there.
func (a *arena) find(posts []*asked) []*asked {
	a.t.Helper()
	var mine []*asked
	known := map[string]bool{}
	for _, s := range a.watched {
		known[s.id] = true
	}
	byRequest := map[string]*asked{}
	for _, s := range posts {
		byRequest[s.request] = s
		if s.id != "" {
			mine, known[s.id] = append(mine, s), true
		}
	}
	c := client{a.t, a.witness}
	start := time.Now()
	list := c.do("GET", "/operations?scope=all", "")
	a.slowest = max(a.slowest, time.Since(start)) // it is the first look
	for _, entry := range list.json(a.t)["operations"].([]any) {
		id := entry.(map[string]any)["id"].(string)
		if known[id] {
			continue
		}
		server, _ := entry.(map[string]any)["server"].(string)
		view := c.do("GET", "/servers/"+server+"/operations/"+id, "").json(a.t)
		s := byRequest[fmt.Sprint(view["request_id"])]
		if s == nil || s.status != 0 {
			a.t.Errorf("there is an operation that nobody was told of: %v\nits POST: %v", view, s)
			continue
		}
		s.id = id
		mine = append(mine, s)
	}
	for _, s := range mine {
		s.hit = a.hits[s.id]
	}
	return mine
}

// look asks for an operation; final reports whether it has ended, and then end is how.
func (a *arena) look(url string, s *asked) (op map[string]any, final bool, end string) {
	a.t.Helper()
	start := time.Now()
	res := client{a.t, url}.do("GET", s.path(), "")
	a.slowest = max(a.slowest, time.Since(start))
	if res.StatusCode != http.StatusOK {
		a.t.Fatalf("GET %s = %d %s, want 200 for %v", s.path(), res.StatusCode, res.body, s)
	}
	op = res.json(a.t)
	return op, op["status"] != "IN_PROGRESS", fmt.Sprint(op["state"], " ", op["exit_code"], " ", op["ended_at"], " ", op["error"], " ", op["result"])
}

// stuckAfter is how long a look may find an operation at work on which nobody works.
const stuckAfter = 5 * time.Second

// lookUntilTheyEnd polls all of them. One that says it is in progress has a process that lives; one
// that says it has ended has none but its runner, which is about to go.
func (a *arena) lookUntilTheyEnd(mine []*asked) {
	a.t.Helper()
	idle := map[*asked]time.Time{}
	open := mine
	for deadline := time.Now().Add(2 * time.Minute); len(open) > 0; time.Sleep(10 * time.Millisecond) {
		var still []*asked
		for _, s := range open {
			op, final, end := a.look(a.witness, s)
			if final {
				s.end = end
				if left := processes(a.t, "BARBACK_OPERATION="+s.id); len(left) > 0 {
					a.t.Errorf("%v is %v, and of it runs %v", s, op["state"], left)
				}
				continue
			}
			still = append(still, s)
			switch since, there := idle[s]; {
			case a.atWork(s.id):
				delete(idle, s)
			case !there:
				idle[s] = time.Now()
			case time.Since(since) > stuckAfter:
				a.t.Fatalf("nobody works on %v for %v, and its state is still %v", s, time.Since(since), op["state"])
			}
		}
		if open = still; len(open) > 0 && time.Now().After(deadline) {
			a.t.Fatalf("%d operations do not end, the first is %v; processes: %v", len(open), open[0], a.cast())
		}
	}
}

func (a *arena) atWork(id string) bool {
	for _, p := range a.cast() {
		if p.id == id {
			return true
		}
	}
	return len(processes(a.t, "BARBACK_OPERATION="+id)) > 0
}

// judge holds the end of an operation against what was done to it.
func (a *arena) judge(s *asked) {
	a.t.Helper()
	op, _, end := a.look("http://"+a.address, s) // the other serving process says the same
	if end != s.end {
		a.t.Errorf("%v ended as %s, and another process says %s", s, s.end, end)
	}
	state := fmt.Sprint(op["state"])
	a.ends[state]++
	if state == "succeeded" && (op["exit_code"] != 0.0 || s.code >= 0 && !a.noted("proof", s.id)) {
		a.t.Errorf("%v is succeeded with exit code %v; Barman noted its success: %v", s, op["exit_code"], a.noted("proof", s.id))
	}
	output := string(client{a.t, a.witness}.do("GET", s.path()+"/output", "").body)
	if state == "failed" && (a.noted("overlap", s.id) || strings.Contains(output, "Another backup")) {
		a.overlaps++
		return // Barman failed because it was let loose on a server where another one worked
	}
	planned := map[bool]string{true: "succeeded", false: "failed"}[s.code <= 0]
	began := a.noted("began", s.id)
	switch {
	case state == planned && (state == "succeeded" || op["exit_code"] == float64(s.code)):
		result, _ := op["result"].(map[string]any)
		if s.code < 0 && len(result) == 0 { // bug: a backup that has the ID of one that was killed in the same second is taken for that
			a.asides = append(a.asides, fmt.Sprintf("%v succeeded, and its result names no backup", s))
		} else if s.code < 0 && result["backup_status"] != "DONE" && result["backup_status"] != "WAITING_FOR_WALS" {
			a.t.Errorf("%v is succeeded, and Barman's catalog says %v; output: %s", s, result, output)
		}
	case s.code < 0 && len(s.hit) == 0 && state == "failed" && op["exit_code"] == 1.0 && strings.Contains(output, "ERROR"):
		a.asides = append(a.asides, fmt.Sprintf("%v failed by itself: %s", s, output)) // Barman said so, and that is what the record says
	case s.hit[partRunner] && (state == "interrupted" || state == "failed"):
	case s.hit[partBarman] && state == "failed":
	case s.hit[partChild] && state == "failed":
	case s.status == 0 && !began && state == "interrupted": // the request died before a runner took it
	default:
		a.t.Errorf("%v is %s, want %s; output: %s\n%v", s, state, planned, output, op)
	}
}

// lookAgain looks three times more at what has ended, in later rounds and by either process, and then
// has it forgotten.
func (a *arena) lookAgain() {
	a.t.Helper()
	var still []*asked
	for _, s := range a.watched {
		if s.looks == 3 {
			if res := (client{a.t, a.witness}).do("DELETE", s.path(), ""); res.StatusCode != http.StatusNoContent {
				a.t.Errorf("DELETE %s = %d %s, want 204 for %v", s.path(), res.StatusCode, res.body, s)
			}
			_, err := os.Stat(filepath.Join(a.state, "operations", s.id))
			if err == nil {
				a.t.Errorf("%v is still there after its DELETE", s)
			}
			continue
		}
		url := []string{a.witness, "http://" + a.address}[s.looks%2]
		if _, _, end := a.look(url, s); end != s.end {
			a.t.Errorf("the final state of %v changed:\n%s\n%s", s, s.end, end)
		}
		s.looks++
		still = append(still, s)
	}
	a.watched = still
}

// oneMore fails if a new operation does not begin at once when nothing else is at work.
func (a *arena) oneMore() {
	a.t.Helper()
	c := client{a.t, a.witness}
	s := a.choose()
	body := `{"type":"backup","name":"0:0:"}`
	if s.code < 0 {
		if a.number%5 > 0 {
			return // it takes seconds
		}
		body = `{"type":"backup"}`
	}
	res := c.do("POST", "/servers/"+s.server+"/operations", body)
	if res.StatusCode != http.StatusAccepted {
		a.t.Fatalf("POST when nothing is at work = %d %s, want 202; left: %v", res.StatusCode, res.body, a.cast())
	}
	s.id, _ = res.json(a.t)["operation_id"].(string)
	var op map[string]any
	eventually(a.t, 5*time.Second, func() string { return fmt.Sprintf("a new operation waits: %v", op) }, func() bool {
		op, _, _ = a.look(a.witness, &s)
		return op["state"] != "queued"
	})
	if op = c.wait(s.path()); op["state"] != "succeeded" {
		a.t.Errorf("an operation that nobody killed is %v, want succeeded: %v", op["state"], op)
	}
	c.do("DELETE", s.path(), "")
}

// nothingHeld fails if a lock of the slots stays taken when no runner is left.
func (a *arena) nothingHeld() {
	a.t.Helper()
	var held string
	eventually(a.t, 10*time.Second, func() string { return "of the slots is taken: " + held }, func() bool {
		paths, _ := filepath.Glob(a.state + "/slots/*")
		held = ""
		for _, p := range paths {
			f, err := os.Open(p)
			if err != nil || syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
				held += " " + filepath.Base(p)
			}
			_ = f.Close()
		}
		return held == "" && !slices.ContainsFunc(a.cast(), func(p actor) bool { return p.part == partRunner })
	})
}

// leftOvers notes what nobody will ever use again: drafts of requests that died, and entries of those
// without an end for operations that have one. Only a death explains them.
func (a *arena) leftOvers() {
	a.t.Helper()
	drafts, _ := filepath.Glob(a.state + "/operations/.*")
	active, _ := filepath.Glob(a.state + "/active/*")
	for _, p := range append(drafts, active...) {
		if name := strings.TrimPrefix(p, a.state+"/"); !a.left[name] {
			a.left[name] = true
			if !a.struck {
				a.t.Errorf("round %d killed nobody, and left %s", a.number, name)
			}
		}
	}
}
