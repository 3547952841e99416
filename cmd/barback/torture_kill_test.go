package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asked is one POST, and what became of it.
type asked struct {
	request, server, body string // request: its X-Request-Id
	moment                time.Duration
	code                  int // that Barman is to end with; -1: who knows

	status int // of the answer; 0: none came
	id     string
	hit    map[string]bool // what of it was killed
	end    string          // the final state, in the words of the first look that saw it
	looks  int             // since then
}

func (s *asked) path() string { return "/servers/" + s.server + "/operations/" + s.id }

func (s *asked) String() string {
	return fmt.Sprintf("operation %s (POST %s %s = %d, killed of it: %v)", s.id, s.server, s.body, s.status, s.hit)
}

// strike is one death: at its moment, counted from the start of the round or from when a process
// of that part is there.
type strike struct {
	part   string
	moment time.Duration
	await  bool
	all    bool // of its kind, not one of them
	pause  time.Duration
}

// arena is a lab in which processes are killed: POSTs go to the serving process that is, looks to a witness, too.
type arena struct {
	*lab
	rnd      *rand.Rand
	choose   func() asked  // what to POST
	most     int           // POSTs in a round at most
	span     time.Duration // in which the deaths of a round come
	tidy     func()        // between rounds; nil: nothing to do
	asides   []string      // what is odd and not wrong
	witness  string
	address  string
	mu       sync.Mutex
	serving  *exec.Cmd
	hits     map[string]map[string]bool // operation → parts
	deaths   map[string]int
	watched  []*asked
	ends     map[string]int
	left     map[string]bool // what killed processes left in the state directory
	slowest  time.Duration
	overlaps int // operations whose Barman found another one on its server
	number   int
	struck   bool // somebody died in this round
}

// invocation is the INVOCATION_ID of all runners of an arena, by which "barback finish" knows them.
const invocation = "0123456789abcdef0123456789abcdef"

func newArena(t *testing.T, l *lab, rnd *rand.Rand, choose func() asked) *arena {
	t.Helper()
	a := &arena{lab: l, rnd: rnd, choose: choose, most: 5, span: 400 * time.Millisecond, hits: map[string]map[string]bool{}, deaths: map[string]int{}, ends: map[string]int{}, left: map[string]bool{}}
	a.witness, _ = l.serve()
	// Another address than the clients' own: a client that dials a free port there may be given
	// that port itself, and then speaks to itself.
	a.address = fmt.Sprintf("127.0.0.2:%d", freePort(t))
	a.serveAgain()
	atExit(t, func() {
		_ = a.serving.Process.Kill()
		_ = a.serving.Wait()
		if t.Failed() {
			for _, name := range []string{"serve.log", "barman.log"} {
				log, _ := os.ReadFile(filepath.Join(l.dir, name))
				t.Logf("the end of %s:\n%s", name, log[max(0, len(log)-4000):])
			}
		}
	})
	return a
}

// serveAgain starts the serving process that is there to be killed.
func (a *arena) serveAgain() {
	a.t.Helper()
	cmd := a.command(a.bin, "serve", "--config", a.config, "--listen", a.address)
	cmd.Env = append(cmd.Env, "INVOCATION_ID="+invocation)
	log, err := os.OpenFile(a.dir+"/serve.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	a.mu.Lock()
	a.serving = cmd
	a.mu.Unlock()
	eventually(a.t, 20*time.Second, func() string { return "nobody listens on " + a.address }, func() bool { return listening(a.address) })
}

// round asks for some operations at once, kills some of what works on them, and looks.
func (a *arena) round() {
	a.t.Helper()
	a.number++
	posts, strikes := a.draw()
	clear(a.hits)
	a.struck = false
	before := a.deaths[partServe]
	var posting, striking sync.WaitGroup
	start := time.Now()
	for _, s := range posts {
		posting.Go(func() { a.post(s, start) })
	}
	for _, k := range strikes {
		striking.Go(func() { a.strike(k, start) })
	}
	striking.Wait()
	posting.Wait()
	served := a.deaths[partServe] > before
	if served {
		_ = a.serving.Wait()
		a.serveAgain()
	}
	mine := a.find(posts)
	a.lookUntilTheyEnd(mine)
	for _, s := range mine {
		a.judge(s)
	}
	a.lookAgain()
	a.watched = append(a.watched, mine...)
	a.nothingHeld()
	a.leftOvers()
	a.oneMore()
}

// draw makes all random choices of a round.
func (a *arena) draw() ([]*asked, []strike) {
	var posts []*asked
	for i := range 1 + a.rnd.IntN(a.most) {
		s := a.choose()
		s.request, s.hit = fmt.Sprintf("round-%d-%d", a.number, i), map[string]bool{}
		s.moment = time.Duration(a.rnd.IntN(40)) * time.Millisecond
		posts = append(posts, &s)
	}
	var strikes []strike
	parts := []string{partRunner, partRunner, partRunner, partBarman, partBarman, partServe, partServe, partChild, partFinish, partGuard}
	for range 1 + a.rnd.IntN(3) {
		k := strike{part: parts[a.rnd.IntN(len(parts))], await: a.rnd.IntN(4) > 0, all: a.rnd.IntN(5) == 0}
		k.moment = time.Duration(a.rnd.Int64N(int64(a.span)))
		if k.await {
			k.moment /= 10
		}
		if a.rnd.IntN(8) == 0 && k.part != partServe {
			k.pause = time.Duration(1+a.rnd.IntN(400)) * time.Millisecond
		}
		strikes = append(strikes, k)
	}
	return posts, strikes
}

func (a *arena) post(s *asked, start time.Time) {
	<-time.After(time.Until(start.Add(s.moment)))
	res, err := client{a.t, "http://" + a.address}.try("POST", "/servers/"+s.server+"/operations", s.body, "X-Request-Id", s.request)
	if err != nil || len(res.body) == 0 {
		return // it died before it answered
	}
	s.status = res.StatusCode
	body := res.json(a.t)
	switch res.StatusCode {
	case http.StatusAccepted:
		s.id, _ = body["operation_id"].(string)
	case http.StatusConflict:
		if body["conflicting_operation"] == "" {
			a.t.Errorf("a 409 names no conflicting_operation: %s", res.body)
		}
	case http.StatusServiceUnavailable:
		if res.Header.Get("Retry-After") == "" {
			a.t.Errorf("a 503 says no Retry-After: %s", res.body)
		}
	default:
		a.t.Errorf("POST %s = %d %s, want 202, 409 or 503", s.body, res.StatusCode, res.body)
	}
}

// strike kills, or stops for a while.
func (a *arena) strike(k strike, start time.Time) {
	if k.part == partFinish {
		<-time.After(time.Until(start.Add(k.moment)))
		a.finish(k)
		return
	}
	if !k.await {
		<-time.After(time.Until(start.Add(k.moment)))
	}
	var victims []actor
	for end := time.Now().Add(a.span); ; time.Sleep(2 * time.Millisecond) {
		victims = slices.DeleteFunc(a.cast(), func(p actor) bool { return p.part != k.part || k.part == partServe && p.pid != a.servingPid() })
		if len(victims) > 0 || !k.await || time.Now().After(end) {
			break
		}
	}
	if k.await {
		<-time.After(k.moment)
	}
	for i, v := range victims {
		if !k.all && i != int(k.moment)%len(victims) {
			continue
		}
		if k.pause > 0 {
			a.pause(v, k.pause)
			continue
		}
		a.kill(v)
	}
}

func (a *arena) servingPid() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.serving.Process.Pid
}

func (a *arena) kill(v actor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if v.id != "" {
		if a.hits[v.id] == nil {
			a.hits[v.id] = map[string]bool{}
		}
		a.hits[v.id][v.part] = true
	}
	if syscall.Kill(v.pid, syscall.SIGKILL) == nil {
		a.deaths[v.part]++
		a.struck = true
	}
}

// pause stops a process for a while: it is alive, and does nothing.
func (a *arena) pause(v actor, d time.Duration) {
	if syscall.Kill(v.pid, syscall.SIGSTOP) == nil {
		<-time.After(d)
		_ = syscall.Kill(v.pid, syscall.SIGCONT)
		a.mu.Lock()
		a.deaths["paused "+v.part]++
		a.mu.Unlock()
	}
}

// finish starts "barback finish", the ExecStopPost of a runner that died, and kills it, too.
func (a *arena) finish(k strike) {
	cmd := a.command(a.bin, "finish", "--config", a.config)
	cmd.Env = append(cmd.Env, "INVOCATION_ID="+invocation, "SERVICE_RESULT=signal", "EXIT_CODE=killed", "EXIT_STATUS=KILL")
	if err := cmd.Start(); err != nil {
		a.t.Errorf("barback finish: %v", err)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			a.t.Errorf("barback finish, left alone: %v", err)
		}
	case <-time.After(k.moment % (30 * time.Millisecond)):
		a.kill(actor{pid: cmd.Process.Pid, part: partFinish})
		<-ended
	}
}

func TestTortureKill(t *testing.T) {
	seed := tortureSeed(t)
	for lane := range times(2, 4) {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, uint64(lane)))
			manners := []string{"", "", "", "", "leaves", "stubborn", "deaf"}
			a := newArena(t, newYard(t, 3), rnd, func() asked {
				code := rnd.IntN(4) / 3
				name := fmt.Sprintf("%.3f:%d:%s", float64(rnd.IntN(300))/1000, code, manners[rnd.IntN(len(manners))])
				return asked{server: yardServers[rnd.IntN(3)], code: code, body: fmt.Sprintf(`{"type":"backup","name":%q,"queue":%v}`, name, rnd.IntN(4) > 0)}
			})
			a.run(t, times(15, 250))
		})
	}
}
