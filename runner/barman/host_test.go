package barman

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	for command, want := range map[string][]string{
		"":                        nil,
		"ssh barman@backup":       {"ssh", "barman@backup"},
		"  ssh\t-p 22\nb ":        {"ssh", "-p", "22", "b"},
		`ssh -o "A B" 'c d'e\ f`:  {"ssh", "-o", "A B", "c de f"},
		`ssh "" '' x`:             {"ssh", "", "", "x"},
		`"a\"b\\c\d\$" '\'`:       {`a"b\c\d$`, `\`},
		`ssh -i ~x/a#b '$HOME;|'`: nil, // a shell would look the home up
		`ssh a~b a#b '$HOME;|'`:   {"ssh", "a~b", "a#b", "$HOME;|"},
	} {
		got, err := Words(command)
		if want == nil && command != "" {
			if err == nil {
				t.Errorf("Words(%q) = %q, want an error", command, got)
			}
			continue
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Words(%q) = %q, %v, want %q", command, got, err, want)
		}
	}
	for _, command := range []string{`ssh 'a`, `ssh "a`, `ssh a\`, "ssh a; id", "ssh a | b", "ssh $HOST", "ssh `id`", "ssh a > b", "ssh (a)", "ssh *"} {
		if got, err := Words(command); err == nil {
			t.Errorf("Words(%q) = %q, want an error", command, got)
		}
	}
}

func TestQuotedForEveryShell(t *testing.T) {
	args := []string{"", "-n", "a b", "'", `\`, `'\''`, "$(id)", "`id`", "$HOME", "\n", "a\nb\n", "*", "~", "!x", "é", "\xff", ";", "#"}
	line := "printf '%s\\0'"
	for _, a := range args {
		line += " " + quote(a)
	}
	for _, shell := range []string{"sh", "dash", "bash", "ksh", "zsh"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		out, err := exec.Command(path, "-c", line).Output() // #nosec G204 -- the shells of this machine
		if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); err != nil || !slices.Equal(got, args) {
			t.Errorf("%s makes %q of it, %v, want %q", shell, got, err, args)
		}
	}
}

// onHost runs the script as sshd does, in a session of its own.
func onHost(t testing.TB, act, grace, silence string, command ...string) (cmd *exec.Cmd, stdin *os.File, stderr *bytes.Buffer) {
	t.Helper()
	args := append([]string{"/bin/sh", "-c", hostScript, "barback-host", act, "op-" + t.Name(), grace, silence}, command...)
	cmd = exec.Command("setsid", append([]string{"--wait"}, args...)...) // #nosec G204
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr = &bytes.Buffer{}
	cmd.Stdin, cmd.Stderr = r, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	t.Cleanup(func() { _ = w.Close() })
	return cmd, w, stderr
}

func TestHostEndsACommandWithItsConnection(t *testing.T) {
	for _, tc := range []struct {
		name, grace, silence, script string
		leave                        bool // the connection stays open, and silent
		code                         int
	}{
		{"at the end of the connection", "30", "0", "exec sleep 300", false, 130},
		{"after a silence", "30", "1", "exec sleep 300", true, 130},
		{"one that does not listen", "1", "0", "trap '' INT; sleep 300", false, 137},
		{"which cleans up", "30", "0", "trap 'sleep 0.5; exit 3' INT; while :; do sleep 0.1; done", false, 3},
		{"and what it started", "1", "0", "(trap '' INT; exec sleep 300) & wait", false, 130},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			pidFile := filepath.Join(t.TempDir(), "pid")
			cmd, stdin, stderr := onHost(t, "run", tc.grace, tc.silence, "/bin/sh", "-c", "echo $$ >"+pidFile+".new; mv "+pidFile+".new "+pidFile+"; "+tc.script)
			if _, err := stdin.WriteString("go\n"); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				if _, err := os.Stat(pidFile); err == nil || time.Now().After(end) {
					break
				}
			}
			if !tc.leave {
				_ = stdin.Close()
			}
			if err := cmd.Wait(); err != nil {
				t.Fatalf("the script: %v\n%s", err, stderr)
			}
			if _, code, told := HostTold(stderr.Bytes()); !told || code != tc.code {
				t.Errorf("it tells of exit code %d (%v), want %d: %s", code, told, tc.code, stderr)
			}
			if left, _ := exec.Command("grep", "-lzx", "BARBACK_OPERATION=op-"+t.Name(), "-r", "/proc", "--include=environ", "-s").Output(); len(left) > 0 { // #nosec G204
				t.Errorf("it left %s", left)
			}
		})
	}
}

func TestHostStartsNothingUnasked(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	cmd, stdin, stderr := onHost(t, "run", "1", "0", "touch", mark)
	_ = stdin.Close()
	_ = cmd.Wait() // it fails
	if _, err := os.Stat(mark); err == nil {
		t.Error("the command was run without a word from barback")
	}
	if _, _, told := HostTold(stderr.Bytes()); told || !strings.Contains(stderr.String(), Ready) {
		t.Errorf("it says %q, want that it was ready and nothing else", stderr)
	}
}

func TestTold(t *testing.T) {
	rest, code, told := HostTold([]byte("a warning\nbarback-host: ready\nbarback-host: exit 255\nConnection closed\n"))
	if string(rest) != "a warning\nConnection closed\n" || code != 255 || !told {
		t.Errorf("Told = %q, %d, %v, want the words of others, 255, true", rest, code, told)
	}
	if _, _, told := HostTold([]byte("barback-host: exit \nbarback-host: ready\n")); told {
		t.Error("half a word tells of an end")
	}
}

// fakeSSH is a program that does here what it is to have done elsewhere.
func fakeSSH(t testing.TB) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nfor line; do :; done\nexec setsid --wait sh -c \"$line\"\n"), 0o755); err != nil { // #nosec G306 -- it is run
		t.Fatal(err)
	}
	return []string{path, "host"}
}

func TestOutputOfAnotherHost(t *testing.T) {
	h := Host{SSH: fakeSSH(t)}
	out, err := h.output(20*time.Second, []string{"printf", "%s", "a'b"})
	if err != nil || string(out) != "a'b" {
		t.Errorf("output = %q, %v, want what was printed", out, err)
	}
	_, err = h.output(20*time.Second, []string{"sh", "-c", "echo why >&2; exit 255"})
	if err == nil || !strings.Contains(err.Error(), "255: why") {
		t.Errorf("a command that ends with 255: %v, want its words", err)
	}
	if _, unreached := Unreached(err); unreached {
		t.Error("a command that ends with 255 is taken for ssh's failure")
	}
	_, err = h.output(20*time.Second, []string{"no-such-program"})
	if _, ok := errors.AsType[*MissingError](err); !ok {
		t.Errorf("a program that is not there: %v, want a MissingError", err)
	}
	_, err = h.output(300*time.Millisecond, []string{"sleep", strconv.Itoa(300)})
	if e, ok := errors.AsType[*AskError](err); !ok || !e.Timeout {
		t.Errorf("a command that takes too long: %v, want a time-out", err)
	}
	_, err = Host{SSH: []string{"/bin/sh", "-c", "echo 'Connection refused' >&2; exit 255"}}.output(time.Second, []string{"true"})
	if timeout, unreached := Unreached(err); !unreached || timeout || !strings.Contains(err.Error(), "Connection refused") || !strings.Contains(err.Error(), "by hand") {
		t.Errorf("a host that cannot be reached: %v, want ssh's words and what to try", err)
	}
}

func TestCanonicalNames(t *testing.T) {
	one := newBox(t, map[string]string{"barman.conf": "[barman]\nbarman_home = DIR/home\n[both]\n[own]\n"})
	two := newBox(t, map[string]string{"barman.conf": "[barman]\nbarman_home = DIR/home\n[both]\n"})
	one.client.Host.Name, two.client.Host.Name = "a", "b"
	f := &Fleet{Clients: []*Client{one.client, two.client}}
	all := func(string) bool { return true }
	for name, want := range map[string]string{"own": "a:own", "b:both": "b:both", "a:none": "a:none", "none": "none", "c:both": "c:both", "": ""} {
		if got, err := f.Canonical(name, all); err != nil || got != want {
			t.Errorf("Canonical(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	_, err := f.Canonical("both", all)
	if e, ok := errors.AsType[*AmbiguousError](err); !ok || !slices.Equal(e.Choices, []string{"a:both", "b:both"}) {
		t.Errorf("Canonical of a name that two have: %v, want both", err)
	}
	if got, err := f.Canonical("both", func(name string) bool { return name == "b:both" }); err != nil || got != "b:both" {
		t.Errorf("Canonical of a name of which one may be seen = %q, %v, want that one", got, err)
	}
	if got, err := f.Canonical("own", func(string) bool { return false }); err != nil || got != "own" {
		t.Errorf("Canonical of a name that may not be seen = %q, %v, want it as it was", got, err)
	}
	if s, err := f.Server("a:own"); err != nil || s.Name != "a:own" || s.Host != "a" {
		t.Errorf("Server = %+v, %v, want a:own on a", s, err)
	}
	for _, name := range []string{"own", "b:own", "c:own", ":own", "a:"} {
		if _, err := f.Server(name); !errors.Is(err, ErrUnknown) {
			t.Errorf("Server(%q): %v, want that it is not known", name, err)
		}
	}
}
