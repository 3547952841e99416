package barman

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Question is a command of Barman's that changes nothing. It is asked for JSON: as text Barman
// masks passwords by itself, and takes out all up to the last apostrophe if one stands in quotes.
type Question struct {
	Args    []string            // behind "barman -c FILE -f json"
	Quoted  bool                // the object is the last message of _INFO, as a string: "diagnose"
	Subject string              // the server that it is about, if it is about one
	Judges  bool                // what is told of the subject is an answer even if Barman ends with exit code 1
	MaxAge  time.Duration       // how old an answer may be that others were given; 0: none that was there before the question
	Timeout time.Duration       // how long it may take; 0: as long as all that the client asks
	Clean   func(string) string // takes out what must be neither told nor written down; nil: nothing
}

// command is how people would ask it.
func (q Question) command() string {
	words := append([]string{"barman"}, q.Args...)
	if q.Subject != "" {
		words = slices.Insert(words, 1, "-f", "json") // and the name of a long command does not look like a token of barmanapi
	}
	return strings.Join(words, " ")
}

// Answer is what Barman printed: one JSON object, in one line.
type Answer struct {
	Body []byte
	Age  time.Duration
}

// AskError says that Barman was asked and gave no answer.
type AskError struct {
	Detail    string `json:"detail"`
	Timeout   bool   `json:"timeout"`
	Unreached bool   `json:"unreached,omitempty"` // it was not: see [HostError]
	exit      int    // code; 0: it is not that
	stderr    string // the end of it
}

func (e *AskError) Error() string { return e.Detail }

const (
	defaultTimeout = time.Minute
	maxAnswer      = 64 << 20 // bytes; thousands of backups stay far below
	maxComplaint   = 2048     // bytes of the end of standard error
)

// answer runs Barman for q. How Barman failed is part of the answer; that it could not be started is not.
func (c *Client) answer(q Question, argv []string) (answer, error) {
	clean := q.Clean
	if clean == nil {
		clean = func(s string) string { return s }
	}
	var a answer
	out, err := c.Host.output(c.timeout(q), argv)
	if failed, ok := errors.AsType[*AskError](err); ok && failed.exit == 1 && q.Judges && judged(out, q.Subject) {
		err = nil
	}
	if err == nil {
		a.body, err = q.object(clean, out)
	}
	if e, ok := errors.AsType[*HostError](err); ok {
		a.Error = &AskError{Detail: clean(e.Error()), Timeout: e.Timeout, Unreached: true}
		err = nil
	}
	failed, ok := errors.AsType[*AskError](err)
	if err != nil && !ok {
		return a, &BrokenError{err}
	}
	if ok {
		a.Error = &AskError{Detail: clean(q.command() + " " + failed.Detail), Timeout: failed.Timeout}
	}
	a.ID, a.At, a.Up = rand.Text(), time.Now(), uptime()
	return a, nil
}

func (c *Client) timeout(q Question) time.Duration {
	return cmp.Or(q.Timeout, c.Timeout, defaultTimeout)
}

// object is what Barman printed, cleaned, in one line.
func (q Question) object(clean func(string) string, out []byte) ([]byte, error) {
	if q.Quoted {
		var said messages
		if json.Unmarshal(out, &said) != nil || len(said.Info) == 0 {
			return nil, noObject(clean, out)
		}
		out = []byte(said.Info[len(said.Info)-1])
	}
	var b bytes.Buffer
	if json.Compact(&b, out) != nil || b.Bytes()[0] != '{' {
		return nil, noObject(clean, out)
	}
	return []byte(clean(b.String()) + "\n"), nil
}

func noObject(clean func(string) string, out []byte) error {
	text := clean(string(out)) // before it is cut: half a secret is not found
	return &AskError{Detail: fmt.Sprintf("printed no JSON object, but %q", text[:min(len(text), 200)])}
}

// messages are what Barman says in JSON.
type messages struct {
	Info      []string `json:"_INFO"`
	Warning   []string `json:"_WARNING"`
	Error     []string `json:"_ERROR"`
	Exception []string `json:"_EXCEPTION"`
	Critical  []string `json:"_CRITICAL"`
}

// complaint is why Barman failed: it says so in JSON, unless it came to its end before it knew that it should.
func complaint(out, stderr []byte) string {
	var said messages
	if json.Unmarshal(out, &said) != nil {
		said = messages{}
	}
	text := strings.Join(slices.Concat(said.Critical, said.Exception, said.Error), "\n")
	return strings.ToValidUTF8(cmp.Or(text, strings.TrimSpace(string(stderr)), "it did not say why"), "")
}

// output runs a command that only reads on the host and returns what it printed, also when it fails. At the end of its time it is
// killed with all that it started, as it is when this process dies: an answer that
// nobody waits for is worth nothing. An error that is no [AskError] means that it was not started.
func (h Host) output(timeout time.Duration, argv []string) ([]byte, error) {
	if h.Remote() {
		return h.outputThere(timeout, argv)
	}
	p, err := execute(timeout, argv, nil)
	switch {
	case err != nil:
		return nil, err
	case p.err != nil:
		return p.out.buf.Bytes(), p.failure(timeout)
	}
	return p.out.buf.Bytes(), nil
}

// ended is a process that came to its end.
type ended struct {
	out    *head
	stderr *tail
	late   bool // it was killed for its time
	code   int
	err    error
}

// execute runs a command of this machine. The kernel kills it when this process dies.
func execute(timeout time.Duration, argv []string, stdin *os.File) (*ended, error) {
	runtime.LockOSThread() // the kernel's signal comes when the thread dies that started the command
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) // #nosec G204 G702 -- the configured program, and words of ours
	cmd.Dir, cmd.Env = "/", Environment()
	if stdin != nil {
		cmd.Stdin = stdin
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a daemon that it started may hold the pipe for ever
	p := &ended{out: &head{full: cancel}, stderr: &tail{}}
	cmd.Stdout, cmd.Stderr = p.out, p.stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if p.err = cmd.Wait(); errors.Is(p.err, exec.ErrWaitDelay) {
		p.err = nil
	}
	p.late = p.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded)
	p.code = cmd.ProcessState.ExitCode()
	return p, nil
}

// failure says why there is no answer.
func (p *ended) failure(timeout time.Duration) error {
	switch {
	case p.out.over:
		return &AskError{Detail: fmt.Sprintf("printed more than %d bytes", maxAnswer)}
	case p.late:
		return &AskError{Detail: fmt.Sprintf("did not end within %v", timeout), Timeout: true}
	}
	return &AskError{Detail: fmt.Sprintf("failed: %v: %s", p.err, complaint(p.out.buf.Bytes(), p.stderr.lines())), exit: p.code, stderr: strings.TrimSpace(strings.ToValidUTF8(string(p.stderr.lines()), ""))}
}

// head keeps what is written to it, up to maxAnswer; then it says so.
type head struct {
	buf  bytes.Buffer
	over bool
	full func()
}

func (h *head) Write(p []byte) (int, error) {
	if h.buf.Len()+len(p) > maxAnswer {
		h.over = true
		h.full()
		return 0, errors.New("too much")
	}
	return h.buf.Write(p)
}

// tail keeps the end of what is written to it: there a program says what it died of.
type tail struct {
	b   []byte
	cut bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - maxComplaint; over > 0 {
		t.b, t.cut = t.b[over:], true
	}
	return len(p), nil
}

// lines is what is whole of it: of half a line nobody could tell what secret it holds.
func (t *tail) lines() []byte {
	if !t.cut {
		return t.b
	}
	_, whole, _ := bytes.Cut(t.b, []byte("\n"))
	return whole
}
