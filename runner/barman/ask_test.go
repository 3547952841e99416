package barman

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// diagnose is a question.
var diagnose = Question{Args: []string{"diagnose"}}

// script makes the box's barman a shell script that notes each of its runs; DIR in it becomes the box's path.
func (b *box) script(t testing.TB, text string) {
	t.Helper()
	b.write(t, "barman", "#!/bin/sh\necho $$ >> DIR/runs\n"+text+"\n")
	if err := os.Chmod(b.client.Command, 0o700); err != nil {
		t.Fatal(err)
	}
}

// numbers are the lines of a file that a script wrote.
func (b *box) numbers(t testing.TB, name string) (list []int) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(string(data)) {
		n, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

func eventually(t testing.TB, what func() string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still: %s", what())
		}
	}
}

// wantGone fails unless the processes end; a zombie has.
func wantGone(t testing.TB, pids []int) {
	t.Helper()
	for _, pid := range pids {
		eventually(t, func() string { return fmt.Sprintf("process %d runs", pid) }, func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(stat), ") Z ")
		})
	}
}

func TestAsk(t *testing.T) {
	for _, tc := range []struct{ name, script, body, detail string }{
		{"an object", `printf '{\n  "b": 1.0,\n  "a": "\\u00e4 <x>"\n}\n'`, `{"b":1.0,"a":"\u00e4 <x>"}` + "\n", ""},
		{"warnings beside it", `echo 'WARNING: x' >&2; echo '{}'`, "{}\n", ""},
		{"what it was called with", `printf '{"args": "%s"}' "$*"`, `{"args":"-c DIR/barman.conf -f json diagnose"}` + "\n", ""},
		{"a daemon that keeps its output open", `echo '{}'; setsid sleep 300 & echo $! > DIR/daemon`, "{}\n", ""},
		{"an error", `echo 'ERROR: no such thing' >&2; exit 1`, "", "barman diagnose failed: exit status 1: ERROR: no such thing"},
		{"an error after much ado", `seq 100000 >&2; echo 'ERROR: at last' >&2; exit 3`, "", "ERROR: at last"},
		{"an error in JSON", `echo '{"_ERROR": ["one", "two"], "_EXCEPTION": ["three"]}'; exit 1`, "", "exit status 1: three\none\ntwo"},
		{"an error without a word", `exit 2`, "", "exit status 2: it did not say why"},
		{"a signal", `kill -9 $$`, "", "signal: killed"},
		{"an object and an error", `echo '{}'; exit 1`, "", "exit status 1"},
		{"nothing", `:`, "", `printed no JSON object, but ""`},
		{"no JSON", `echo hello`, "", `printed no JSON object, but "hello\n"`},
		{"half of it", `printf '{"a": '`, "", "printed no JSON object"},
		{"two objects", `echo '{} {}'`, "", "printed no JSON object"},
		{"a list", `echo '[1]'`, "", "printed no JSON object"},
		{"no end of it", `cat /dev/zero`, "", "printed more than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBox(t, nil)
			b.script(t, tc.script)
			a, err := b.client.Ask(diagnose)
			for _, pid := range b.numbers(t, "daemon") {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			if tc.detail == "" {
				if want := strings.ReplaceAll(tc.body, "DIR", b.dir); err != nil || string(a.Body) != want {
					t.Errorf("Ask = %s, %v, want %s", a.Body, err, want)
				}
				return
			}
			failed, ok := errors.AsType[*AskError](err)
			if !ok || failed.Timeout || !strings.Contains(failed.Detail, tc.detail) || len(failed.Detail) > 2*maxComplaint {
				t.Errorf("Ask = %v, want an AskError with %q", err, tc.detail)
			}
		})
	}
}

// "barman -f json diagnose" prints its document as a string among its messages.
func TestAskForWhatIsQuoted(t *testing.T) {
	for _, tc := range []struct{ name, script, body, detail string }{
		{"the last message", `printf %s '{"_INFO": ["something", "{\"a\": \"\\u00e4\"}"], "_WARNING": ["x"]}'`, `{"a":"\u00e4"}` + "\n", ""},
		{"no object", `echo '{"_INFO": ["something"]}'`, "", `but "something"`},
		{"no message", `echo '{"_INFO": []}'`, "", `but "{\"_INFO\": []}\n"`},
		{"not JSON", `echo something`, "", `but "something\n"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBox(t, nil)
			b.script(t, tc.script)
			a, err := b.client.Ask(Question{Args: []string{"diagnose"}, Quoted: true})
			if string(a.Body) != tc.body || (err == nil) != (tc.detail == "") || err != nil && !strings.Contains(err.Error(), tc.detail) {
				t.Errorf("Ask = %s, %v, want %s, %s", a.Body, err, tc.body, tc.detail)
			}
		})
	}
}

func TestAskWithoutABarman(t *testing.T) {
	b := newBox(t, nil)
	b.write(t, "barman", "\x7fELF, but not quite")
	if err := os.Chmod(b.client.Command, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.Ask(diagnose); !as[*BrokenError](err) || as[*AskError](err) {
		t.Errorf("Ask of what is no program = %v, want a BrokenError", err)
	}
	b.client.Command = "/nonexistent/barman"
	if _, err := b.client.Ask(diagnose); !as[*MissingError](err) {
		t.Errorf("Ask of what is not there = %v, want a MissingError", err)
	}
}

func as[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// At the end of its time Barman is ended, with what it started.
func TestAskEndsWhatHangs(t *testing.T) {
	b := newBox(t, nil)
	b.client.Timeout = 500 * time.Millisecond
	b.script(t, "trap '' TERM INT HUP\nsleep 300 & echo $! >> DIR/runs\n(trap '' TERM; sleep 300) & echo $! >> DIR/runs\nwait")
	_, err := b.client.Ask(diagnose)
	if failed, ok := errors.AsType[*AskError](err); !ok || !failed.Timeout || failed.Detail != "barman diagnose did not end within 500ms" {
		t.Errorf("Ask of a Barman that hangs = %v, want an AskError that says so", err)
	}
	pids := b.numbers(t, "runs")
	if len(pids) != 3 {
		t.Errorf("%d processes ran, want Barman and two children", len(pids))
	}
	wantGone(t, pids)
}

func TestAskPassesNothingOn(t *testing.T) {
	b := newBox(t, nil)
	for _, name := range []string{"HTTP_PROXY", "LD_PRELOAD_X", "PGPASSWORD", "REMOTE_USER"} {
		t.Setenv(name, "hostile")
	}
	b.script(t, `printf '{"environment": "%s", "folder": "%s"}' "$(env | tr '\n"' '  ')" "$PWD"`)
	a, err := b.client.Ask(diagnose)
	if err != nil || strings.Contains(string(a.Body), "hostile") || !strings.Contains(string(a.Body), "HOME=") || !strings.Contains(string(a.Body), `"folder":"/"`) {
		t.Errorf("Barman ran with %s, %v, want / and the environment of a runner", a.Body, err)
	}
}

// What is to be hidden is neither told nor written, in answers and in errors, and cutting an error
// does not cut off what a secret is known by.
func TestAskCleans(t *testing.T) {
	long := strings.Repeat("x", 195)
	for _, tc := range []struct{ name, script, want string }{
		{"an answer", `echo '{"a": "secret"}'`, `{"a":"hidden"}`},
		{"an error", `echo 'ERROR: secret' >&2; exit 1`, "ERROR: hidden"},
		{"no JSON", `echo secret`, "hidden"},
		{"no JSON, cut", `echo ` + long + `secret`, "x"},
		{"an error, cut", `echo secret` + strings.Repeat("y", maxComplaint-2) + ` >&2; echo more >&2; exit 1`, "more"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBox(t, nil)
			b.client.Cache = filepath.Join(b.dir, "state")
			b.write(t, "state/x", "")
			b.script(t, tc.script)
			q := diagnose
			q.Clean = func(s string) string { return strings.ReplaceAll(s, "secret", "hidden") }
			a, err := b.client.Ask(q)
			told := fmt.Sprintf("%s%v", a.Body, err)
			if !strings.Contains(told, tc.want) {
				t.Errorf("Ask = %s, want %q in it", told, tc.want)
			}
			for name, text := range files(t, b.client.Cache) {
				told += "\n" + name + ": " + text
			}
			if strings.Contains(told, "secr") || strings.Contains(told, "cret") {
				t.Errorf("the secret is told or written: %s", told)
			}
		})
	}
}

// files is what lies in a folder.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(data)
	}
	return all
}
