package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// state is a barback with a state directory of its own, and a token for it.
type state struct {
	*lab
	dir, config, runner, token string
	operation                  string // the path of one of its operations
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

// fill writes n records of operations as barback leaves them. Their index is made by the first who asks for a list.
func (s *state) fill(n int) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range n {
		at := start.Add(time.Duration(i) * time.Second)
		id := fmt.Sprintf("%s-%06d", at.Format("20060102T150405"), i%1_000_000)
		dir := filepath.Join(s.dir, "operations", id)
		must(os.Mkdir(dir, 0o755))
		record := fmt.Sprintf(`{"version":1,"id":%q,"type":"backup","server":"pg-one","state":"succeeded","created_at":%q,"started_at":%q,"ended_at":%q,"requested_by":"ann","request_id":"x","request":{"type":"backup","wait":true},"command":["barman","-c","/etc/barman.conf","backup","pg-one","--wait"],"exit_code":0,"result":{"backup_id":"20260102T030405"}}`,
			id, at.Format(time.RFC3339Nano), at.Format(time.RFC3339Nano), at.Add(time.Minute).Format(time.RFC3339Nano))
		must(os.WriteFile(filepath.Join(dir, "operation.json"), []byte(record), 0o644))
		must(os.WriteFile(filepath.Join(dir, "output.log"), []byte("Backup completed\n"), 0o644))
		s.operation = operations + "/" + id
	}
	s.run(exec.Command("chown", "-R", s.env["LAB_USER"], s.dir))
	_ = os.Remove(filepath.Join(s.dir, "index"))
}

// hold writes n records of operations that run, as far as anybody can see: this process is their runner. end ends them.
func (s *state) hold(n int) (paths []string, end func()) {
	boot := strings.TrimSpace(string(mustHave(os.ReadFile("/proc/sys/kernel/random/boot_id"))))
	_, stat, _ := strings.Cut(string(mustHave(os.ReadFile("/proc/self/stat"))), ") ")
	record := func(dir, state, ended string) {
		text := fmt.Sprintf(`{"version":1,"id":%q,"type":"switch_wal","server":"pg-one","state":%q,"created_at":"2026-01-01T00:00:00Z","started_at":"2026-01-01T00:00:00Z"%s,"request":{"type":"switch_wal"},"command":["barman"],"runner":{"pid":%d,"start_time":%s,"boot_id":%q}}`,
			filepath.Base(dir), state, ended, os.Getpid(), strings.Fields(stat)[19], boot)
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

// forget removes the records: a hundred thousand of them are in the way of what is measured next.
func (s *state) forget() { must(os.RemoveAll(filepath.Join(s.dir, "operations"))) }

// copyBackups multiplies the newest backup of a server in Barman's catalog, without its data, until there are n.
func (l *lab) copyBackups(server string, n int) {
	base := filepath.Join(l.env["LAB_BARMAN_HOME"], server, "base")
	entries := mustHave(os.ReadDir(base))
	if len(entries) == 0 {
		fail("%s has no backup", server)
	}
	newest := entries[len(entries)-1].Name()
	info := string(mustHave(os.ReadFile(filepath.Join(base, newest, "backup.info"))))
	start := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := len(entries); i < n; i++ {
		dir := filepath.Join(base, start.Add(time.Duration(i)*time.Hour).Format("20060102T150405"))
		must(os.Mkdir(dir, 0o755))
		must(os.WriteFile(filepath.Join(dir, "backup.info"), []byte(info), 0o644))
	}
}
