package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// state is a barback with a state directory of its own, and a token for it.
type state struct {
	*lab
	dir, config, runner, token string
	operation                  string // the path of one of its operations
	filled                     int    // operations that it has
}

const operations = "/servers/pg-one/operations"

// state makes one with n operations that have ended. more stands in its configuration, before the tables.
func (l *lab) state(name string, n int, more string) *state {
	s := &state{lab: l, dir: filepath.Join(l.dir, name), config: filepath.Join(l.dir, name+".toml"), runner: filepath.Join(l.dir, name+".sock")}
	l.run(l.command("mkdir", "-m", "750", s.dir))
	text := fmt.Sprintf("state_dir = %q\n%s\n[barman]\ncommand = %q\nconfig = %q\n[runner]\nsocket = %q\nmax_open = 2000\n[audit]\nfile = %q\n",
		s.dir, more, l.env["LAB_BARMAN"], l.env["LAB_BARMAN_CONF"], s.runner, s.dir+".audit")
	must(os.WriteFile(s.config, []byte(text), 0o644))
	s.verb("user", "allow", "bench", "*")
	s.token = strings.TrimSpace(s.verb("token", "create", "bench", "--name", "bench"))
	s.verb("op", "list")
	s.fill(n)
	return s
}

// verb runs barback on the command line.
func (s *state) verb(args ...string) string {
	return s.run(s.command(s.barback, append(args, "--config", s.config)...))
}

// fill writes records of operations as barback leaves them, until there are n. Their index is made by the first who asks for a list.
func (s *state) fill(n int) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	name := func(i int) string {
		return fmt.Sprintf("%s-%06d", start.Add(time.Duration(i)*time.Second).Format("20060102T150405"), i%1_000_000)
	}
	s.asUser(s.filled, n, func(i int) error {
		at := start.Add(time.Duration(i) * time.Second)
		record := fmt.Sprintf(`{"version":1,"id":%q,"type":"backup","server":"pg-one","state":"succeeded","created_at":%q,"started_at":%q,"ended_at":%q,"requested_by":"ann","request_id":"x","request":{"type":"backup","wait":true},"command":["barman","-c","/etc/barman.conf","backup","pg-one","--wait"],"exit_code":0,"result":{"backup_id":"20260102T030405"}}`,
			name(i), at.Format(time.RFC3339Nano), at.Format(time.RFC3339Nano), at.Add(time.Minute).Format(time.RFC3339Nano))
		return folder(filepath.Join(s.dir, "operations", name(i)), map[string]string{"operation.json": record, "output.log": "Backup completed\n"})
	})
	s.filled, s.operation = n, operations+"/"+name(n-1)
	_ = os.Remove(filepath.Join(s.dir, "index"))
}

// folder makes one with files in it.
func folder(dir string, files map[string]string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// asUser does do for each number from … to-1, on all processors and, for the file system, as the lab's user.
func (l *lab) asUser(from, to int, do func(i int) error) {
	errs := make(chan error)
	for worker := range cpus() {
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread, which is another user's now, ends with the goroutine
			err := errors.Join(syscall.Setfsgid(int(l.cred.Gid)), syscall.Setfsuid(int(l.cred.Uid)))
			for i := from + worker; i < to && err == nil; i += cpus() {
				err = do(i)
			}
			errs <- err
		}()
	}
	var err error
	for range cpus() {
		err = errors.Join(err, <-errs)
	}
	must(err)
}

// configure replaces something in the configuration.
func (s *state) configure(was, is string) {
	text := string(mustHave(os.ReadFile(s.config)))
	if !strings.Contains(text, was) {
		fail("%s has no %s", s.config, was)
	}
	must(os.WriteFile(s.config, []byte(strings.Replace(text, was, is, 1)), 0o644))
}

// hold writes n records of operations that run, as far as anybody can see: this process is their runner. end ends them.
func (s *state) hold(n int) (paths []string, end func()) {
	boot := strings.TrimSpace(string(mustHave(os.ReadFile("/proc/sys/kernel/random/boot_id"))))
	started := stat("/proc/self")[19]
	record := func(dir, state, ended string) {
		text := fmt.Sprintf(`{"version":1,"id":%q,"type":"switch_wal","server":"pg-one","state":%q,"created_at":"2026-01-01T00:00:00Z","started_at":"2026-01-01T00:00:00Z"%s,"request":{"type":"switch_wal"},"command":["barman"],"runner":{"pid":%d,"start_time":%s,"boot_id":%q}}`,
			filepath.Base(dir), state, ended, os.Getpid(), started, boot)
		must(os.WriteFile(filepath.Join(dir, "new"), []byte(text), 0o644))
		must(os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "operation.json")))
	}
	locks := map[string]*os.File{}
	for i := range n {
		id := fmt.Sprintf("20260101T000000-%06d", i)
		dir := filepath.Join(s.dir, "operations", id)
		must(os.Mkdir(dir, 0o755))
		locks[dir] = mustHave(os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644))
		must(unix.Flock(int(locks[dir].Fd()), unix.LOCK_EX))
		for _, name := range []string{filepath.Join(dir, "output.log"), filepath.Join(dir, "state.lock"), filepath.Join(s.dir, "active", id)} {
			must(os.WriteFile(name, nil, 0o644))
		}
		record(dir, "running", "")
		paths = append(paths, operations+"/"+id)
	}
	s.run(exec.Command("chown", "-R", s.env["LAB_USER"], s.dir))
	return paths, func() {
		for dir, lock := range locks {
			record(dir, "succeeded", `,"ended_at":"2026-01-01T00:01:00Z"`)
			must(lock.Close())
		}
	}
}

// open serves it on a socket of 127.0.0.1.
func (s *state) open() *door {
	url, p := s.tcp(s.barback, "--config", s.config)
	return &door{url: url, token: s.token, process: p}
}

// age waits until no file is so young that barback has to read it again for each request: two seconds.
func age() { time.Sleep(2100 * time.Millisecond) }

// forget removes folders: a hundred thousand of them are in the way of what is measured next.
func (l *lab) forget(pattern string) {
	all := mustHave(filepath.Glob(pattern))
	l.asUser(0, len(all), func(i int) error { return os.RemoveAll(all[i]) })
	syscall.Sync()
}

// oneBackup sees to it that a server has a backup.
func (l *lab) oneBackup(server string) {
	if entries, _ := os.ReadDir(l.base(server)); len(entries) == 0 {
		l.run(l.barman("backup", server, "--immediate-checkpoint", "--wait"))
	}
}

func (l *lab) base(server string) string {
	return filepath.Join(l.env["LAB_BARMAN_HOME"], server, "base")
}

// copyBackups multiplies the newest backup of a server in Barman's catalog, without its data, until another, or itself, has n.
func (l *lab) copyBackups(from, server string, n int) {
	entries := mustHave(os.ReadDir(l.base(from)))
	if len(entries) == 0 {
		fail("%s has no backup", from)
	}
	info := string(mustHave(os.ReadFile(filepath.Join(l.base(from), entries[len(entries)-1].Name(), "backup.info"))))
	info = strings.ReplaceAll(info, "server_name="+from, "server_name="+server)
	l.asUser(0, 1, func(int) error { return os.MkdirAll(l.base(server), 0o755) })
	start := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	l.asUser(len(mustHave(os.ReadDir(l.base(server)))), n, func(i int) error {
		return folder(filepath.Join(l.base(server), start.Add(time.Duration(i)*time.Hour).Format("20060102T150405")), map[string]string{"backup.info": info})
	})
}
