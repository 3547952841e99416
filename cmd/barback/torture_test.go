package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The torture tests make the faults happen: death at any moment, failing system calls, crowds, full
// disks. "make test" runs them short; BARBACK_TORTURE=1 runs them long. What is chosen at random
// comes from a seed that a failing test prints and that BARBACK_SEED repeats (what the
// kernel makes of the moments it does not).

// times is how often to do something: short or long.
func times(short, long int) int {
	if os.Getenv("BARBACK_TORTURE") == "1" {
		return long
	}
	return short
}

// tortureSeed is where the test's random choices begin.
func tortureSeed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("BARBACK_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("BARBACK_SEED=%q is not a number", s)
		}
	}
	t.Logf("BARBACK_SEED=%d repeats the choices of this run", seed)
	return seed
}

// fakeBarman does what the backup's name says, WORK:CODE:MANNER: it copies for WORK seconds by a child
// of its own, ends with CODE, and notes its success as its very last act. Manner "leaves" leaves
// a child behind, "stubborn" has one that SIGTERM does not end, "deaf" is not ended by it either. As
// the real one it refuses to work on a server where another one does, and its children do not inherit
// its descriptors.
const fakeBarman = `#!/bin/sh
[ "$1" = --version ] && { echo 3.20.1; exit; }
dir=${0%/*}
plan=0:0:
for server; do case $server in --name=*) plan=${server#--name=} ;; esac; done
work=${plan%%:*} manner=${plan##*:} code=${plan#*:}
code=${code%%:*}
echo "$code" >"$dir/began/$BARBACK_OPERATION"
exec 9>>"$dir/busy/$server"
if ! flock -n 9; then
	echo "ERROR: another backup of $server is in progress"
	: >"$dir/overlap/$BARBACK_OPERATION"
	exit 1
fi
child=
case $manner in
deaf) trap '' TERM ;;
stubborn) trap 'exit 1' TERM ;;
*) trap 'kill $child; exit 1' TERM ;;
esac
echo "Starting backup of $server"
if [ "$manner" = stubborn ]; then
	(trap '' TERM; exec "$dir/pg_basebackup" "$work" 3>&-) &
else
	"$dir/pg_basebackup" "$work" 3>&- &
fi
child=$!
echo "Copying files of $server" >&2
wait "$child" || exit 1
if [ "$manner" = leaves ]; then "$dir/pg_basebackup" 60 3>&- & fi
echo Backup completed
[ "$code" = 0 ] || exit "$code"
trap '' TERM
echo "$BARBACK_OPERATION done" >"$dir/proof/$BARBACK_OPERATION"
`

// yardServers are the servers of a yard.
var yardServers = []string{"pg-a", "pg-b", "pg-c", "pg-d"}

// newYard is a lab without PostgreSQL: the real barback with a Barman that only plays. It needs no
// root; as root it acts as user barman.
func newYard(t testing.TB, maxParallel int) *lab {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv("BARBACK_LABS"), "bb.") //nolint:usetesting // user barman has to get there
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, dir: dir, bin: dir + "/barback", config: dir + "/barback.toml", state: dir + "/state", cred: yardUser(t),
		env: map[string]string{"LAB_BARMAN": dir + "/barman", "LAB_BARMAN_CONF": dir + "/barman.conf"}}
	if err := os.Chown(dir, int(l.cred.Uid), int(l.cred.Gid)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // #nosec G302 -- others pass
		t.Fatal(err)
	}
	atExit(t, func() {
		l.sweep()
		_ = os.RemoveAll(dir)
	})
	l.must(l.command("mkdir", dir+"/began", dir+"/busy", dir+"/overlap", dir+"/proof"))
	l.must(l.command("ln", "-s", "/bin/sleep", dir+"/pg_basebackup"))
	conf := fmt.Sprintf("[barman]\nbarman_home = %s/home\n", dir)
	for _, s := range yardServers {
		conf += fmt.Sprintf("[%s]\ndescription = a server that is not there\n", s)
	}
	l.write("barman", fakeBarman, 0o755)
	l.write("barman.conf", conf, 0o644)
	l.install()
	l.write("barback.toml", fmt.Sprintf("state_dir = %q\n[barman]\ncommand = %q\nconfig = %q\n[runner]\nsocket = %q\nstop_grace = \"1s\"\nmax_parallel = %d\n[audit]\nfile = %q\n",
		l.state, l.env["LAB_BARMAN"], l.env["LAB_BARMAN_CONF"], dir+"/run/runner.sock", maxParallel, dir+"/audit.log"), 0o644)
	return l
}

// yardUser is whom the yard's processes belong to.
func yardUser(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() == 0 {
		if _, err := user.Lookup("barman"); err == nil {
			return credential(t, "barman")
		}
	}
	return &syscall.Credential{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid()), NoSetGroups: true} // #nosec G115 -- ids
}

func (l *lab) write(name, text string, mode os.FileMode) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), mode); err != nil {
		l.t.Fatal(err)
	}
}

// noted reports whether the fake Barman of an operation left a note in a folder of the yard.
func (l *lab) noted(folder, id string) bool {
	_, err := os.Stat(filepath.Join(l.dir, folder, id))
	return err == nil
}

// sweep ends every process of the lab's: those whose program or arguments lie in it.
func (l *lab) sweep() {
	for range 3 { // one may just have started another
		for _, p := range l.cast() {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
}

// The parts that processes play.
const (
	partServe  = "serve"
	partRunner = "runner"
	partFinish = "finish"
	partBarman = "Barman"
	partChild  = "Barman's child"
	partGuard  = "guard" // the runner's own child that tells Barman of its death
)

// actor is one process of a lab's barback.
type actor struct {
	pid  int
	part string
	id   string // of the operation; empty: of none
}

// cast lists the processes that live. A zombie has no command line and is not among them.
func (l *lab) cast() []actor {
	var list []actor
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		line, err := os.ReadFile(path)
		args := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
		guard := slices.Contains(args, "barback-guard") && l.child(filepath.Dir(path))
		if err != nil || !guard && !strings.Contains(string(line), l.dir+"/") {
			continue
		}
		a := actor{part: partChild}
		a.pid, _ = strconv.Atoi(strings.Split(path, "/")[2])
		if a.pid == os.Getpid() {
			continue
		}
		switch {
		case guard:
			a.part = partGuard
		case args[0] == l.bin && len(args) > 1 && args[1] == "run":
			a.part, a.id = partRunner, args[len(args)-1]
		case args[0] == l.bin && len(args) > 1 && args[1] == "finish":
			a.part = partFinish
		case args[0] == l.bin:
			a.part = partServe
		default:
			if a.id = marker(a.pid); a.id == "" {
				continue // PostgreSQL and sshd of a real lab; a clean-up ends them by its own means
			}
			if strings.Contains(string(line), l.env["LAB_BARMAN_CONF"]+"\x00") {
				a.part = partBarman
			}
		}
		list = append(list, a)
	}
	return list
}

// child reports whether the process of a folder of /proc was started by the lab's barback.
func (l *lab) child(proc string) bool {
	stat, _ := os.ReadFile(proc + "/stat")
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 2 {
		return false
	}
	exe, _ := os.Readlink("/proc/" + fields[1] + "/exe")
	return exe == l.bin
}

// marker is the operation that a process carries in its environment; empty: none.
func marker(pid int) string {
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	for v := range strings.SplitSeq(string(env), "\x00") {
		if id, ok := strings.CutPrefix(v, "BARBACK_OPERATION="); ok {
			return id
		}
	}
	return ""
}
