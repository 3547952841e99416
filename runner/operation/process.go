package operation

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner/durable"
)

// Marker is the environment variable that every process of an operation
// carries: Barman inherits it from the runner, pg_basebackup, rsync and ssh from Barman.
const Marker = "BARBACK_OPERATION"

// Self is this process, as a record names it.
func Self() (*Process, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	st, err := readStat(os.Getpid())
	if err != nil {
		return nil, err
	}
	return &Process{PID: os.Getpid(), StartTime: st.start, BootID: boot}, nil
}

// alive reports whether p still runs: the same pid with another start time, or
// of an earlier boot, is somebody else. One that is exiting is dead: it does nothing any more,
// however long the kernel still takes to close its files.
func (p *Process) alive() bool {
	if boot, err := bootID(); err != nil || boot != p.BootID {
		return false
	}
	st, err := readStat(p.PID)
	return err == nil && st.start == p.StartTime && st.state != 'Z' && st.flags&exiting == 0
}

// Signal sends sig to p if p still runs.
func (p *Process) Signal(sig unix.Signal) {
	if p.alive() {
		_ = unix.Kill(p.PID, sig)
	}
}

// bootID stays the same as long as this process lives.
var bootID = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
})

// stat is what we need of /proc/PID/stat (proc(5)).
type stat struct {
	state   byte
	session int
	flags   uint64
	threads int
	start   uint64
}

// exiting is PF_EXITING of the kernel's include/linux/sched.h.
const exiting = 0x4

// over reports whether the process holds nothing any more: a zombie whose other threads still
// exit has its files, and their locks, until the last of them is through.
func (st stat) over() bool { return st.state == 'X' || st.state == 'Z' && st.threads <= 1 }

func readStat(pid int) (stat, error) {
	b, _, err := durable.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// parseStat reads the fields behind the command's name, which may itself hold
// blanks and brackets: the last ")" ends it.
func parseStat(b []byte) (stat, error) {
	_, rest, ok := cutLast(b, ')')
	f := strings.Fields(string(rest))
	if !ok || len(f) < 20 {
		return stat{}, errors.New("proc stat: too short")
	}
	session, err1 := strconv.Atoi(f[3])
	flags, err2 := strconv.ParseUint(f[6], 10, 64)
	threads, err3 := strconv.Atoi(f[17])
	start, err4 := strconv.ParseUint(f[19], 10, 64)
	return stat{f[0][0], session, flags, threads, start}, errors.Join(err1, err2, err3, err4)
}

func cutLast(b []byte, c byte) (before, after []byte, ok bool) {
	i := bytes.LastIndexByte(b, c)
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+1:], true
}

// Processes lists the living processes of the operation, apart from its runner:
// those in the runner's session that carry the marker. Daemons that Barman
// leaves behind on purpose (receive-wal after config-switch) have made a session
// of their own and are not among them. While a session has members its ID is not
// given to a new process, and the marker tells a later one with the same number apart.
func (op *Operation) Processes() []int {
	if op.Runner == nil {
		return nil
	}
	if boot, err := bootID(); err != nil || boot != op.Runner.BootID {
		return nil
	}
	if st, err := readStat(op.Runner.PID); err == nil && st.start != op.Runner.StartTime {
		return nil // the number was given away, which it is not while the session has members
	}
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || pid == op.Runner.PID {
			continue
		}
		if st, err := readStat(pid); err == nil && st.session == op.Runner.PID && !st.over() && marked(pid, op.ID) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// marked reports whether the process carries the marker of operation id. One whose environment
// cannot be read (ssh with loaded keys hides it, in the middle of execve(2) or exit_group(2) there is none)
// is taken for ours if it is of our user: its session says so already.
func marked(pid int, id ID) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || len(env) == 0 {
		var st unix.Stat_t
		return unix.Stat(fmt.Sprintf("/proc/%d", pid), &st) == nil && (int(st.Uid) == os.Geteuid() || st.Uid == 0)
	}
	want := Marker + "=" + string(id)
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if string(v) == want {
			return true
		}
	}
	return false
}

// EndRemains ends whatever of the operation still runs beside its runner. It first waits
// as long as patience says for what is ending already: Barman, told to by a runner's guard, cleans up
// (it ends its children and notes the backup as FAILED), and a second signal would break
// that off. Then SIGINT, as from a terminal (in the copy of an rsync backup Barman dies of
// SIGTERM without cleaning up), and SIGKILL when the grace is over. It reports whether nothing is left.
func (op *Operation) EndRemains(patience, grace time.Duration) bool {
	if op.waitGone(patience) {
		return true
	}
	op.signalRemains(unix.SIGINT)
	if op.waitGone(grace) {
		return true
	}
	op.signalRemains(unix.SIGKILL)
	return op.waitGone(time.Second)
}

func (op *Operation) signalRemains(sig unix.Signal) {
	for _, pid := range op.Processes() {
		_ = unix.Kill(pid, sig)
	}
}

// waitGone polls: the kernel wakes nobody for the end of a process that is not a child.
func (op *Operation) waitGone(limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if len(op.Processes()) == 0 {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
