package barman

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// held makes a box whose barman answers with the number of its run, when DIR/hold is gone.
func held(t testing.TB) *box {
	t.Helper()
	b := newBox(t, map[string]string{"state/x": ""})
	b.client.Cache = filepath.Join(b.dir, "state")
	b.script(t, "while test -e DIR/hold; do sleep 0.01; done\ntest ! -e DIR/fail || { echo fail $(wc -l < DIR/runs) >&2; exit 1; }\nprintf '{\"run\": %d}' $(wc -l < DIR/runs)")
	return b
}

func (b *box) remove(t testing.TB, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(b.dir, name)); err != nil {
		t.Fatal(err)
	}
}

func (b *box) shelf() string { return filepath.Join(b.client.Cache, "answer-diagnose") }

// want asks and fails unless the answer is the one of the run with this number.
func (b *box) want(t testing.TB, q Question, run int) Answer {
	t.Helper()
	a, err := b.client.Ask(q)
	if want := fmt.Sprintf("{\"run\":%d}\n", run); err != nil || string(a.Body) != want {
		t.Errorf("Ask = %s, %v, want %s", a.Body, err, want)
	}
	return a
}

// crowd has n ask at once and lets Barman go on when all of them wait; each asks as a process of its own
// would: locks belong to open files.
func (b *box) crowd(t testing.TB, n int) (told []string) {
	t.Helper()
	b.write(t, "hold", "")
	var all sync.WaitGroup
	told = make([]string, n)
	for i := range n {
		all.Go(func() {
			c := *b.client
			a, err := c.Ask(diagnose)
			told[i] = fmt.Sprintf("%s%v", a.Body, err)
		})
	}
	eventually(t, func() string { return fmt.Sprintf("%d wait, of %d", waiting(), n-1) }, func() bool { return waiting() == n-1 })
	b.remove(t, "hold")
	all.Wait()
	return told
}

// waiting counts the goroutines that wait for the run of another.
func waiting() int { return sleeping("time.Sleep", ".Ask(") }

// sleeping counts the goroutines that are in both functions.
func sleeping(in, of string) (n int) {
	stacks := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(stack, in) && strings.Contains(stack, of) {
			n++
		}
	}
	return n
}

func TestTenAtOnceAreOneRun(t *testing.T) {
	b := held(t)
	for round := range 3 {
		for _, told := range b.crowd(t, 10) {
			if want := fmt.Sprintf("{\"run\":%d}\n<nil>", round+1); told != want {
				t.Errorf("round %d: Ask = %s, want %s", round, told, want)
			}
		}
		if runs := b.numbers(t, "runs"); len(runs) != round+1 {
			t.Errorf("round %d: Barman ran %d times, want once each", round, len(runs))
		}
	}
}

// An error is for those who waited; who comes later asks anew.
func TestErrorsAreSharedNotKept(t *testing.T) {
	b := held(t)
	b.write(t, "fail", "")
	for _, told := range b.crowd(t, 5) {
		if !strings.Contains(told, "exit status 1: fail 1") {
			t.Errorf("Ask = %s, want the error of the one run", told)
		}
	}
	b.remove(t, "fail")
	b.want(t, Question{Args: diagnose.Args, MaxAge: time.Hour}, 2)
}

func TestMaxAge(t *testing.T) {
	b := held(t)
	hour := Question{Args: diagnose.Args, MaxAge: time.Hour}
	b.want(t, hour, 1) // there was none
	if a := b.want(t, hour, 1); a.Age < 0 || a.Age > time.Hour {
		t.Errorf("the age is %v, want what has gone since", a.Age)
	}
	b.want(t, diagnose, 2)
	b.want(t, Question{Args: diagnose.Args, MaxAge: 1}, 3) // a nanosecond is over
	for i, tc := range []struct {
		name   string
		change func(*answer)
	}{
		{"it is too old", func(a *answer) { a.At, a.Up = a.At.Add(-2*time.Hour), a.Up-2*time.Hour }},
		{"the clock was set back since", func(a *answer) { a.At = a.At.Add(time.Minute) }},
		{"the clock was set forward, then", func(a *answer) { a.At = a.At.Add(-2 * time.Hour) }},
		{"the machine was started since", func(a *answer) { a.Up += time.Hour }},
		{"the machine sleeps much", func(a *answer) { a.Up -= 2 * time.Hour }},
		{"it answers another question", func(a *answer) { a.Asked = "something else" }},
		{"it is an error", func(a *answer) { a.Error = &AskError{Detail: "x"} }},
		{"it is damaged", func(a *answer) { a.body = a.body[:3] }},
		{"it is empty", func(a *answer) { a.body = nil }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b.rewrite(t, tc.change)
			b.want(t, hour, 4+i)
			b.want(t, hour, 4+i)
		})
	}
	for _, text := range []string{"", "x", "{}\n", "{}", "\n\n", `{"id":5}` + "\n{}\n"} {
		if err := os.WriteFile(b.shelf(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b.want(t, hour, len(b.numbers(t, "runs"))+1)
	}
}

// rewrite changes the answer that lies there.
func (b *box) rewrite(t testing.TB, change func(*answer)) {
	t.Helper()
	data, err := os.ReadFile(b.shelf())
	if err != nil {
		t.Fatal(err)
	}
	first, body, _ := strings.Cut(string(data), "\n")
	a := answer{body: []byte(body)}
	if err := json.Unmarshal([]byte(first), &a); err != nil {
		t.Fatal(err)
	}
	change(&a)
	shelf{path: b.shelf()}.put(a)
}

// Answers to other questions, or of another Barman, are not taken for ours.
func TestOtherQuestionsAreOthers(t *testing.T) {
	b := held(t)
	b.write(t, "other.conf", plainConfig)
	hour := Question{Args: diagnose.Args, MaxAge: time.Hour}
	b.want(t, hour, 1)
	cleaned := hour
	cleaned.Clean = strings.TrimSpace
	if a, err := b.client.Ask(cleaned); err != nil || string(a.Body) != "{\"run\":2}\n" {
		t.Errorf("Ask for a cleaned answer = %s, %v, want a second run", a.Body, err)
	}
	b.want(t, hour, 3)
	b.client.Config = filepath.Join(b.dir, "other.conf")
	b.want(t, hour, 4)
	b.want(t, Question{Args: []string{"check", "s 7/x"}, MaxAge: time.Hour}, 5)
	b.want(t, hour, 4)
}

// What lies on the disk is for user barman alone.
func TestAnswersAreNobodyElses(t *testing.T) {
	b := held(t)
	b.want(t, diagnose, 1)
	paths, err := filepath.Glob(b.shelf() + "*")
	if err != nil || len(paths) != 2 {
		t.Errorf("%v, %v lie there, want an answer and its lock", paths, err)
	}
	for _, path := range paths {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v, %v, want 0600", path, st.Mode(), err)
		}
	}
}

// Where nothing can be written each one asks for itself, and gets its answer.
func TestNothingCanBeWritten(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prepare func(*box) error
	}{
		{"no folder for it", func(b *box) error { b.client.Cache = ""; return nil }},
		{"the folder is not there", func(b *box) error { b.client.Cache += "/nope"; return nil }},
		{"the lock cannot be made", func(b *box) error { return os.Symlink("/nonexistent/x", b.shelf()+".lock") }},
		{"the disk is full", func(b *box) error { return os.Symlink("/dev/full", b.shelf()+".new") }},
		{"the answer cannot be put in place", func(b *box) error { return os.MkdirAll(b.shelf()+"/x", 0o700) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := held(t)
			if err := tc.prepare(b); err != nil {
				t.Fatal(err)
			}
			b.want(t, diagnose, 1)
			if st, err := os.Stat(b.shelf()); err == nil && !st.IsDir() {
				t.Errorf("%s is there, want nothing half written", b.shelf())
			}
			b.want(t, Question{Args: diagnose.Args, MaxAge: time.Hour}, 2)
		})
	}
}

// leads takes the lock as another process would that runs Barman.
func (b *box) leads(t testing.TB) (end func()) {
	t.Helper()
	lock := flock.New(b.shelf() + ".lock")
	if got, err := lock.TryLock(); !got || err != nil {
		t.Fatalf("TryLock = %v, %v, want the lock", got, err)
	}
	return func() { _ = lock.Unlock() }
}

// Who waited for a process that died begins anew, even though an old answer is there.
func TestALeaderThatDies(t *testing.T) {
	b := held(t)
	b.want(t, diagnose, 1)
	die := b.leads(t)
	done := make(chan struct{})
	go func() { defer close(done); b.want(t, diagnose, 2) }()
	eventually(t, func() string { return "nobody waits" }, func() bool { return waiting() == 1 })
	die()
	<-done
}

// An answer that comes while somebody waits is taken, whoever has the lock then.
func TestAnAnswerIsTakenAsItComes(t *testing.T) {
	b := held(t)
	b.want(t, diagnose, 1)
	defer b.leads(t)()
	done := make(chan struct{})
	go func() { defer close(done); b.want(t, diagnose, 1) }()
	eventually(t, func() string { return "nobody waits" }, func() bool { return waiting() == 1 })
	b.rewrite(t, func(a *answer) { a.ID = "another" })
	<-done
}

// Nobody waits longer for another's run than for one of his own.
func TestALeaderThatHangs(t *testing.T) {
	b := held(t)
	b.client.Timeout = 100 * time.Millisecond
	defer b.leads(t)()
	_, err := b.client.Ask(diagnose)
	if failed, ok := errors.AsType[*AskError](err); !ok || !failed.Timeout || !strings.Contains(failed.Detail, "another request's barman diagnose did not end within 100ms") {
		t.Errorf("Ask behind one that hangs = %v, want an AskError that says so", err)
	}
	if runs := b.numbers(t, "runs"); len(runs) != 0 {
		t.Errorf("Barman ran %d times beside the run that hangs, want never", len(runs))
	}
}
