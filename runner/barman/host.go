package barman

import (
	"bytes"
	"cmp"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"barback/runner/operation"
	"barback/runner/pattern"
)

// Host is the machine that a Barman works on.
type Host struct {
	Name string   // of several in the configuration; empty: the only one
	SSH  []string // the command that reaches it, as words; nil: this machine
}

// hostScript is what ssh has the host's shell do: Barman, and an end of it when the connection ends.
//
//go:embed host.sh
var hostScript string

// comments are not for the host's list of processes.
var comments = pattern.New(`(?m)^\s*(#.*)?\n`)

// limits keep a connection from hanging: no password is asked for, and a host that does not answer is given up. They
// stand behind the administrator's own words, of which ssh takes the first.
var limits = []string{"-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"}

// connectTime is how long a connection may take on top of what is asked for.
const connectTime = 10 * time.Second

// Heartbeat is how often a runner shows the host that it is there, and Silence after how long without that the host ends
// Barman: a network that died tells neither side.
const (
	Heartbeat = 15 * time.Second
	Silence   = 90 * time.Second
)

// maxLine is what a kernel takes as one argument (MAX_ARG_STRLEN), less what the host's login shell adds.
const maxLine = 128<<10 - 256

// file is the name of a file that each of several hosts has.
func (h Host) file(name string) string {
	if h.Name == "" {
		return name
	}
	return name + "@" + url.QueryEscape(h.Name)
}

// Remote reports whether ssh reaches the host.
func (h Host) Remote() bool { return len(h.SSH) > 0 }

// over is the command that has the script do act for the operation with argv.
func (h Host) over(act string, id operation.ID, grace, silence time.Duration, argv ...string) ([]string, error) {
	words := []string{"/bin/sh", "-c", comments().ReplaceAllString(hostScript, ""), "barback-host", act, string(id), seconds(grace), seconds(silence)}
	line := "exec"
	for _, w := range append(words, argv...) {
		line += " " + quote(w)
	}
	if len(line) > maxLine {
		return nil, invalid("The request is too large", "", "its command has %d bytes, and a shell on another host takes at most %d", len(line), maxLine)
	}
	return slices.Concat(h.SSH, limits, []string{line}), nil
}

// seconds is d in whole seconds, rounded up.
func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// quote makes one word of s for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Run is the command that does an operation on the host; the other end of its standard streams is host.sh's.
func (h Host) Run(id operation.ID, grace time.Duration, argv []string) ([]string, error) {
	return h.over("run", id, grace, Silence, argv...)
}

// Look asks the host how many processes of the operation run there; a keeper ends them.
func (h Host) Look(id operation.ID, timeout time.Duration) (running int, keeper bool, err error) {
	argv, err := h.over("look", id, 0, 0)
	if err != nil {
		return 0, false, err
	}
	p, err := execute(timeout, argv, nil)
	switch {
	case err != nil:
		return 0, false, h.unreached(err.Error(), false)
	case p.late:
		return 0, false, h.unreached(fmt.Sprintf("it did not answer within %v", timeout), true)
	case p.err != nil:
		return 0, false, h.Lost(string(p.stderr.b))
	}
	words := strings.Fields(p.out.buf.String())
	if len(words) > 0 {
		if running, err = strconv.Atoi(words[0]); err == nil {
			return running, len(words) > 1, nil
		}
	}
	return 0, false, h.unreached(fmt.Sprintf("it printed %q where a number belongs: its login shell has to be a POSIX shell and to print nothing of its own", p.out.buf.String()), false)
}

// outputThere is output for a command of another machine. It is killed there when the connection ends.
func (h Host) outputThere(timeout time.Duration, argv []string) ([]byte, error) {
	line, err := h.over("ask", operation.ID("ask-"+rand.Text()), askGrace, 0, argv...)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe() // nobody writes: as long as it is open somebody waits for the answer
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	p, err := execute(timeout, line, r)
	if err != nil {
		return nil, h.unreached(err.Error(), false)
	}
	said, code, told := HostTold(p.stderr.lines())
	p.stderr = &tail{b: said}
	switch {
	case !told && !p.late && !p.out.over:
		return nil, h.Lost(string(said))
	case !told:
		return nil, p.failure(timeout)
	case code == notThere:
		return nil, &MissingError{argv[0], fmt.Errorf("on the Barman host%s: %w", h.label(), errors.New(strings.TrimSpace(string(said))))}
	case code != 0:
		p.err, p.code = fmt.Errorf("exit status %d", code), code
		return p.out.buf.Bytes(), p.failure(timeout)
	}
	return p.out.buf.Bytes(), nil
}

// askGrace is what Barman gets to end by itself when nobody waits for its answer any more.
const askGrace = 2 * time.Second

// notThere is the exit code of env(1) for a program that is not there.
const notThere = 127

// hostWord begins what host.sh says of itself on standard error.
const hostWord = "barback-host: "

// Ready is the line with which it asks for "go".
const Ready = hostWord + "ready\n"

// HostTold takes what host.sh says out of a standard error: the exit code of the command, if it came to its end.
func HostTold(stderr []byte) (rest []byte, code int, told bool) {
	for line := range bytes.Lines(stderr) {
		says, ours := bytes.CutPrefix(line, []byte(hostWord))
		if !ours {
			rest = append(rest, line...)
		} else if n, ok := bytes.CutPrefix(bytes.TrimSpace(says), []byte("exit ")); ok {
			var err error
			code, err = strconv.Atoi(string(n))
			told = err == nil
		}
	}
	return rest, code, told
}

// HostError says that the Barman host could not be asked.
type HostError struct {
	Host    Host
	Detail  string
	Timeout bool
}

func (e *HostError) Error() string {
	return fmt.Sprintf("the Barman host%s cannot be reached: %s; try it by hand as the user that runs barback: %s -o BatchMode=yes true",
		e.Host.label(), e.Detail, strings.Join(e.Host.SSH, " "))
}

// ElsewhereError says that something can only be read or changed on the machine where Barman works, and that is another one.
type ElsewhereError struct{ What string }

func (e *ElsewhereError) Error() string {
	return e.What + " lies on another host, and no command of Barman's tells of it; look there"
}

// Unreached reports whether err is a [HostError], also one that was told by another process, and whether it took too long.
func Unreached(err error) (timeout, unreached bool) {
	if e, ok := errors.AsType[*HostError](err); ok {
		return e.Timeout, true
	}
	e, ok := errors.AsType[*AskError](err)
	return ok && e.Timeout, ok && e.Unreached
}

// label names the host where there are several.
func (h Host) label() string {
	if h.Name == "" {
		return ""
	}
	return " " + h.Name
}

func (h Host) unreached(detail string, timeout bool) *HostError {
	return &HostError{h, cmp.Or(strings.TrimSpace(detail), "ssh says nothing"), timeout}
}

// Lost is what ssh said of a connection that failed or broke off.
func (h Host) Lost(said string) *HostError {
	return h.unreached(said, strings.Contains(said, "timed out"))
}

// Words splits a command as a shell would, without doing anything else that a shell does.
func Words(command string) ([]string, error) {
	var words []string
	var word strings.Builder
	inside := false // a word has begun
	for rest := command; rest != ""; {
		c := rest[0]
		rest = rest[1:]
		switch {
		case c == '\'':
			end := strings.IndexByte(rest, '\'')
			if end < 0 {
				return nil, fmt.Errorf("%q: the quote ' is not closed", command)
			}
			word.WriteString(rest[:end])
			rest, inside = rest[end+1:], true
		case c == '"':
			end := doubleQuoted(&word, rest)
			if end < 0 {
				return nil, fmt.Errorf("%q: the quote \" is not closed", command)
			}
			rest, inside = rest[end:], true
		case c == '\\' && rest == "":
			return nil, fmt.Errorf("%q: nothing stands behind the last backslash", command)
		case c == '\\':
			word.WriteByte(rest[0])
			rest, inside = rest[1:], true
		case strings.IndexByte(" \t\n", c) >= 0:
			if inside {
				words = append(words, word.String())
			}
			word.Reset()
			inside = false
		case strings.IndexByte("|&;<>()$`*?[#~", c) >= 0 && (c != '#' && c != '~' || !inside):
			return nil, fmt.Errorf("%q: no shell reads this, %q means nothing here: put it in quotes if it is meant", command, c)
		default:
			word.WriteByte(c)
			inside = true
		}
	}
	if inside {
		words = append(words, word.String())
	}
	return words, nil
}

// doubleQuoted writes what stands before the closing quote, and returns where the rest begins; -1: there is none.
func doubleQuoted(word *strings.Builder, s string) int {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return i + 1
		case s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\"\\$`", s[i+1]) >= 0:
			i++
			word.WriteByte(s[i])
		default:
			word.WriteByte(s[i])
		}
	}
	return -1
}
