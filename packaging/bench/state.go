package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
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
