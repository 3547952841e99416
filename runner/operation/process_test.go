package operation

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseStat(t *testing.T) {
	fields := "S 1 4242 4243 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654321 1000 200 18446744073709551615"
	want := stat{state: 'S', session: 4243, flags: 4194560, threads: 1, start: 987654321}
	for _, tc := range []struct{ name, command string }{
		{"a plain name", "barman"},
		{"blanks", "tmux: server"},
		{"brackets", "((sd-pam))"},
		{"a bracket and what looks like the fields", "x) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 ("},
		{"a newline", "a\nb)\nR 1 2"},
		{"nothing", ""},
		{"not UTF-8", "\xff\xfe"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := parseStat([]byte("4242 (" + tc.command + ") " + fields + "\n")); err != nil || got != want {
				t.Errorf("parseStat with the name %q = %+v, %v, want %+v", tc.command, got, err, want)
			}
		})
	}
	for _, tc := range []struct{ name, data string }{
		{"nothing", ""},
		{"no bracket", "4242 barman " + fields},
		{"cut off", "4242 (barman) S 1 4242 4243"},
		{"cut off before the start time", "4242 (barman) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18"},
		{"letters for the flags", "4242 (barman) " + strings.Replace(fields, "4194560", "x", 1)},
		{"letters for the session", "4242 (barman) " + strings.Replace(fields, "4243", "x", 1)},
		{"a negative start time", "4242 (barman) " + strings.Replace(fields, "987654321", "-1", 1)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := parseStat([]byte(tc.data)); err == nil {
				t.Errorf("parseStat(%q) = %+v, want an error", tc.data, got)
			}
		})
	}
}

func TestProcessAlive(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	if self.PID != os.Getpid() || !self.alive() {
		t.Errorf("Self = %+v, alive = %v, want this process, alive", self, self.alive())
	}
	for _, tc := range []struct {
		name   string
		change func(*Process)
	}{
		{"the pid was given to another process", func(p *Process) { p.StartTime++ }},
		{"of an earlier boot", func(p *Process) { p.BootID = "00000000-0000-0000-0000-000000000000" }},
		{"no boot is known", func(p *Process) { p.BootID = "" }},
		{"no such pid", func(p *Process) { p.PID = 1 << 30 }},
		{"pid 0", func(p *Process) { p.PID = 0 }},
		{"a negative pid", func(p *Process) { p.PID = -1 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := *self
			tc.change(&p)
			if p.alive() {
				t.Errorf("alive of %+v = true, want false: this process is %+v", p, *self)
			}
		})
	}
}

func TestAZombieIsDead(t *testing.T) {
	p := startSession(t, "20260102T030405-0az9kx", "echo $$; exec sleep 300", nil)
	rec := p.record(t)
	if !rec.alive() {
		t.Fatalf("alive of the running child %+v = false, want true", rec)
	}
	p.kill(t)
	p.waitZombie(t)
	if rec.alive() {
		t.Errorf("alive of a zombie = true, want false")
	}
}

// session is a program that leads a session of its own, as a runner does.
type session struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

// startSession starts a shell script as the leader of a session that carries the marker of
// id; extra files are inherited. Everything in its process group is killed when the test ends.
func startSession(t testing.TB, id ID, script string, extra []*os.File) *session {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Env = append(os.Environ(), Marker+"="+string(id))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.ExtraFiles = extra
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		_ = cmd.Wait()
	})
	return &session{cmd, bufio.NewReader(out)}
}

// pid reads the number that the script printed next.
func (s *session) pid(t testing.TB) int {
	t.Helper()
	line, err := s.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// record names the leader as an operation's record does.
func (s *session) record(t testing.TB) *Process {
	t.Helper()
	st, err := readStat(s.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := bootID()
	if err != nil {
		t.Fatal(err)
	}
	return &Process{PID: s.cmd.Process.Pid, StartTime: st.start, BootID: boot}
}

func (s *session) kill(t testing.TB) {
	t.Helper()
	if err := unix.Kill(s.cmd.Process.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// waitZombie waits until the leader is dead and its parent was not told yet.
func (s *session) waitZombie(t testing.TB) {
	t.Helper()
	if err := unix.Waitid(unix.P_PID, s.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
}

func running(pid int) bool {
	st, err := readStat(pid)
	return err == nil && st.state != 'Z' && st.state != 'X'
}

func TestRemains(t *testing.T) {
	const id = ID("20260102T030405-0az9kx")
	sleeper := `sh -c 'echo $0 $$; exec sleep 300' `
	p := startSession(t, id, sleeper+`ours &
		env -u `+Marker+` `+sleeper+`unmarked &
		`+Marker+`=20260102T030405-zzzzzz `+sleeper+`another &
		`+Marker+`=20260102T030405-0az9kx0 `+sleeper+`longer &
		wait`, nil)
	pids := map[string]int{}
	for range 4 { // each says so itself, when it has its own environment
		var name string
		var pid int
		if _, err := fmt.Fscanln(p.out, &name, &pid); err != nil {
			t.Fatal(err)
		}
		pids[name] = pid
	}
	for name, pid := range pids { // in the middle of its exec a process has no environment, and counts as ours
		for comm := ""; comm != "sleep\n"; {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if comm = string(data); err != nil {
				t.Fatalf("the process %q is gone: %v", name, err)
			}
		}
		for env := []byte(nil); len(env) == 0; {
			env, _ = os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		}
	}
	ours, unmarked, another, longer := pids["ours"], pids["unmarked"], pids["another"], pids["longer"]
	daemon := startSession(t, id, "echo $$; exec sleep 300", nil) // receive-wal makes a session of its own
	op := Operation{ID: id, Runner: p.record(t)}
	if got := op.Processes(); !slices.Equal(got, []int{ours}) {
		t.Errorf("Processes = %v, want %d alone, without the runner %d, the unmarked %d, those of other operations %d and %d, and the daemon %d",
			got, ours, op.Runner.PID, unmarked, another, longer, daemon.pid(t))
	}
	if !op.EndRemains(0, 50*time.Millisecond) {
		t.Error("EndRemains = false, want all ended")
	}
	if running(ours) {
		t.Errorf("process %d of the operation runs after EndRemains, want it ended", ours)
	}
	for _, pid := range []int{op.Runner.PID, unmarked, another, longer, daemon.cmd.Process.Pid} {
		if !running(pid) {
			t.Errorf("process %d, which is none of its remains, was ended", pid)
		}
	}
	for _, tc := range []struct {
		name   string
		change func(*Operation)
	}{
		{"of a queued operation", func(op *Operation) { op.Runner = nil }},
		{"of an earlier boot", func(op *Operation) { op.Runner.BootID = "x" }},
		{"of another operation in a session of that number", func(op *Operation) { op.ID = "20260102T030405-aaaaaa" }},
	} {
		op := Operation{ID: "20260102T030405-zzzzzz", Runner: p.record(t)}
		if got := op.Processes(); !slices.Equal(got, []int{another}) {
			t.Fatalf("Processes = %v, want %d", got, another)
		}
		if tc.change(&op); len(op.Processes()) != 0 {
			t.Errorf("Processes %s = %v, want none", tc.name, op.Processes())
		}
	}
}

// init makes this binary a process whose first thread is gone and another lives, where the environment says so.
func init() {
	if os.Getenv("BARBACK_TEST_HEADLESS") == "" {
		return
	}
	go func() {
		for { // until the first thread is a zombie
			if st, err := readStat(os.Getpid()); err == nil && st.state == 'Z' {
				break
			}
		}
		fmt.Println(os.Getpid())
		select {}
	}()
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0) // of this thread alone; inits run on the first
}

// A process that is killed is a zombie before its last thread has closed its files: it is not over before that.
func TestAZombieWithLivingThreadsIsNotOver(t *testing.T) {
	const id = ID("20260102T030405-0az9kx")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := startSession(t, id, "BARBACK_TEST_HEADLESS=1 '"+exe+"' & wait", nil)
	headless := p.pid(t)
	op := Operation{ID: id, Runner: p.record(t)}
	if got := op.Processes(); !slices.Equal(got, []int{headless}) {
		t.Errorf("Processes = %v, want %d", got, headless)
	}
	if !op.EndRemains(0, 50*time.Millisecond) {
		t.Error("EndRemains = false, want it ended")
	}
	if st, err := readStat(headless); err == nil && !st.over() {
		t.Errorf("the process is %+v after EndRemains, want it over", st)
	}
}

func TestEndRemainsKillsWhatIgnoresSignals(t *testing.T) {
	const id = ID("20260102T030405-0az9kx")
	p := startSession(t, id, `(trap "" INT TERM; sleep 300 & echo $!; wait) & wait`, nil)
	stubborn := p.pid(t)
	op := Operation{ID: id, Runner: p.record(t)}
	if !op.EndRemains(0, 20*time.Millisecond) {
		t.Error("EndRemains = false, want all killed")
	}
	if running(stubborn) {
		t.Errorf("process %d runs after EndRemains, want it killed", stubborn)
	}
}

// The runner was killed; what it started goes on and even holds the lock: it is ended, and
// then the operation is interrupted, not before.
func TestAKilledRunnersRemainsAreEnded(t *testing.T) {
	for _, tc := range []struct{ name, script string }{
		{"Barman holds the lock", "sleep 300 & echo $!; wait"},
		{"Barman has closed the lock", "sleep 300 3>&- & echo $!; wait"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStore(t)
			op, lock := create(t, s, backupOf("pg-one"))
			p := startSession(t, op.ID, tc.script, []*os.File{lock})
			barman := p.pid(t)
			closeFile(t, lock)
			op.State, op.Runner = Running, p.record(t)
			write(t, s, op)
			wantState(t, s, op.ID, Running)
			p.kill(t)
			p.waitZombie(t)
			got := wantState(t, s, op.ID, Interrupted)
			if running(barman) {
				t.Errorf("process %d of an interrupted operation runs, want it ended", barman)
			}
			if !strings.Contains(got.Error.Detail, strconv.Itoa(p.cmd.Process.Pid)) {
				t.Errorf("the detail is %q, want the runner's number %d in it", got.Error.Detail, p.cmd.Process.Pid)
			}
		})
	}
}

// Somebody who is none of the operation's remains holds the lock: nothing is claimed.
func TestAnOrphanThatCannotBeFoundKeepsTheOperationRunning(t *testing.T) {
	s := newStore(t)
	op, lock := create(t, s, backupOf("pg-one"))
	p := startSession(t, op.ID, "echo $$; exec sleep 300", []*os.File{lock})
	stranger := startSession(t, "20260102T030405-zzzzzz", "echo $$; exec sleep 300", []*os.File{lock})
	closeFile(t, lock)
	op.State, op.Runner = Running, p.record(t)
	write(t, s, op)
	p.kill(t)
	p.waitZombie(t)
	wantState(t, s, op.ID, Running)
	stranger.kill(t)
	stranger.waitZombie(t)
	wantState(t, s, op.ID, Interrupted)
}
