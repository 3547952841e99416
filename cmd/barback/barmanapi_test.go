package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"barback/handler/auth"
)

// script is a client as it was written for barmanapi.
type script struct {
	*lab
	client
	token string
}

// get asks for a path with parameters, the token among them, as scripts do.
func (s *script) get(path string, pairs ...string) map[string]any {
	s.client.t.Helper()
	v := url.Values{"token": {s.token}}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return s.said("GET", path+"?"+v.Encode(), "")
}

// said is the answer, whose status_code is that of HTTP where it is a refusal.
func (s *script) said(method, target, body string, header ...string) map[string]any {
	s.client.t.Helper()
	res := s.do(method, target, body, header...)
	answer := res.json(s.client.t)
	if res.Header.Get("Content-Type") != "application/json" || res.StatusCode != 200 && answer["status_code"] != float64(res.StatusCode) && answer["type"] != float64(res.StatusCode) {
		s.client.t.Errorf("%s %s = %d %s %s, want JSON with that status_code", method, strings.Split(target, "?")[0], res.StatusCode, res.Header.Get("Content-Type"), res.body)
	}
	return answer
}

// login gets a token.
func (s *script) login(name, password string) {
	s.client.t.Helper()
	answer := s.said("GET", "/auth/token", "", "Authorization", basicAuth(name, password))
	if s.token, _ = answer["token"].(string); s.token == "" {
		s.client.t.Fatalf("/auth/token = %v, want a token", answer)
	}
}

// done waits for the result of a ticket.
func (s *script) done(answer map[string]any) (status float64, printed string) {
	s.client.t.Helper()
	list, _ := answer["list"].(map[string]any)
	ticket, _ := list["ticket"].(string)
	if ticket == "" {
		s.client.t.Fatalf("the answer is %v, want a ticket", answer)
	}
	var result map[string]any
	eventually(s.client.t, 2*time.Minute, func() string { return fmt.Sprint("the result is still ", result) }, func() bool {
		result = s.get("/history/result", "ticket", ticket)
		return result["status_code"] != -99.0
	})
	return result["status_code"].(float64), fmt.Sprint(result["list"], result["message"])
}

// TestBarmanapiStory plays what barmanapi's documentation shows, through every door against the newest Barman and through one against
// the oldest, and behind a real sshd against both.
func TestBarmanapiStory(t *testing.T) {
	t.Parallel()
	overSSH := door{"over ssh", func(l *lab) string {
		*l = *l.overSSH()
		l.addUser("memin", "admin")
		url, _ := l.serve()
		return url
	}}
	for suite, ways := range map[string][]door{"bookworm": {doors[len(doors)-1], overSSH}, "sid": append(slices.Clone(doors), overSSH)} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, suite)
			l.addUser("memin", "admin")
			for _, d := range ways {
				t.Run(d.name, func(t *testing.T) {
					l := *l
					l.t = t
					s := &script{lab: &l, client: client{t, d.open(&l)}}
					s.play()
				})
			}
			l.noSecretIn(annsPassword, "another pass phrase", "eyJ")
		})
	}
}

func (s *script) play() {
	t := s.client.t
	says := func(what string, answer map[string]any, words ...string) {
		t.Helper()
		text, _ := json.Marshal(answer)
		for _, w := range words {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s = %s, want %s in it", what, text, w)
			}
		}
	}
	s.login("memin", annsPassword)
	says("/barman/help", s.get("/barman/help"), `"list-server":`, `"show-backup":{`, `"backup":{"description":`)
	says("/barman/backup/help", s.get("/barman/backup/help"), `"required":["server_name"]`, `"immediate-checkpoint":{"description":`, `"values":"TRUE/FALSE"`)
	says("/barman/list-server", s.get("/barman/list-server"), `"status_code":200`, `"pg-one`)
	says("a server that is not there", s.get("/barman/check", "SERVERNAME", "nope"), `"status_code":404`)
	says("no server", s.get("/barman/check"), `Please send a required parameter.(server_name)`)
	says("odd parameters", s.get("/barman/list-server", "config", "/etc/passwd"), `"Some parameters are invalid"`)
	says("no such command", s.get("/barman/rm"), `"Api Not Found"`)

	status, printed := s.done(s.get("/barman/backup", "SERVERNAME", "pg-one", "wait", "TRUE"))
	if status != 200 || !strings.Contains(printed, "Backup completed") {
		t.Fatalf("the backup = %v %s, want 200 and that it was completed", status, printed)
	}
	says("/history/list", s.get("/history/list"), `"command":"backup"`, `"result":{"list":["Starting backup`)
	list := s.get("/barman/list-backup", "SERVER_NAME", "pg-one", "minimal", "TRUE")
	lines, _ := list["list"].([]any)
	if len(lines) == 0 {
		t.Fatalf("/barman/list-backup = %v, want a backup", list)
	}
	says("/barman/show-backup", s.get("/barman/show-backup", "server_name", "pg-one", "backup_id", fmt.Sprint(lines[0])), `"status_code":200`, fmt.Sprint(lines[0]))
	says("/barman/switch-wal", s.get("/barman/switch-wal", "server_name", "pg-one", "force", "TRUE"), `"status_code":200`, "WAL")
	says("/barman/check", s.get("/barman/check", "server_name", "pg-one"), `PostgreSQL: OK`)

	dest := fmt.Sprintf("%s/restored-%d", s.dir, time.Now().UnixNano())
	restore := []string{"server_name", "pg-one", "backup_id", fmt.Sprint(lines[0]), "destination_directory", dest}
	if status, printed := s.done(s.get("/barman/recover", restore...)); status != 200 || !exists(dest+"/PG_VERSION") {
		t.Errorf("the recovery = %v %s, want 200 and a cluster", status, printed)
	}
	if status, printed := s.done(s.get("/barman/recover", restore...)); status == 200 || !strings.Contains(printed, "not empty") {
		t.Errorf("the recovery into what is there = %v %s, want it refused", status, printed)
	}
	says("a restore over a command", s.get("/barman/recover", append(restore, "remote_ssh_command", "touch /tmp/x; ssh a")...), `"status_code":422`)
	says("a shell's words", s.get("/barman/show-backup", "server_name", "pg-one", "backup_id", "$(touch "+s.dir+"/canary)"), `"status_code":`)
	if exists(s.dir + "/canary") {
		t.Error("a value was obeyed by a shell")
	}

	name, password := fmt.Sprintf("user%d", time.Now().UnixNano()), "another pass phrase"
	as := []string{"Authorization", basicAuth("memin", annsPassword)}
	form := func(pairs ...string) string {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v.Encode()
	}
	says("/auth/user", s.said("GET", "/auth/user", "", as...), `"role":"admin"`)
	add := form("username", name, "password", password, "access", "['barman/list','barman/backup','history']", "deny", "['barman/list-files']")
	says("/auth/user/add", s.said("POST", "/auth/user/add", add, append([]string{"Content-Type", "application/x-www-form-urlencoded"}, as...)...), `"access":["barman/list","barman/backup","history"]`)
	says("/auth/user/add again", s.said("GET", "/auth/user/add?"+form("username", name, "password", password), "", as...), `"Registered User"`)
	says("/auth/user/list", s.said("GET", "/auth/user/list", "", as...), `"`+name+`":{`)
	boss := s.token
	s.login(name, password)
	says("what is given", s.get("/barman/list-server"), `"pg-one`)
	says("what is denied", s.get("/barman/list-files", "server_name", "pg-one", "backup_id", fmt.Sprint(lines[0])), `You can not see this rest(barman/list-files)`)
	says("what is not given", s.get("/barman/check", "server_name", "pg-one"), `"Access deny for this rest"`)
	says("users", s.said("GET", "/auth/user/list", "", "Authorization", basicAuth(name, password)), `"Access deny for this rest"`)
	says("a configuration", s.get("/config/barman"), `"Access deny for this rest"`)
	says("/auth/user/change", s.said("GET", "/auth/user/change?"+form("username", name, "deny", "['barman']"), "", as...), `"deny":["barman"]`)
	says("what is denied now", s.get("/barman/list-server"), `You can not see this rest(barman/list-server)`)
	says("/auth/user/change of the password", s.said("POST", "/auth/user/change", form("username", name, "password", password+" 2", "deny", "[]"), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, as...)...), `"deny":[]`)
	says("a token of the old password", s.get("/barman/list-server"), `"Token is not valid"`)
	s.token = boss
	if strings.HasSuffix(s.config, "/ssh.toml") {
		says("/config/barman", s.get("/config/barman"), `"status_code":501`) // no command of Barman's tells of it
	} else {
		says("/config/barman", s.get("/config/barman"), `"pg-one":{`)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// noSecretIn looks for texts in all logs of the lab: barback's, Apache's, those of operations.
func (l *lab) noSecretIn(secrets ...string) {
	l.t.Helper()
	read := 0
	err := filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".log") && !strings.Contains(filepath.Base(path), "log") {
			return nil //nolint:nilerr // what went away meanwhile
		}
		text, err := os.ReadFile(path) // #nosec G304
		if err != nil {
			return nil //nolint:nilerr // the same
		}
		read++
		for _, s := range secrets {
			if strings.Contains(string(text), s) {
				l.t.Errorf("%s holds %q", path, s)
			}
		}
		return nil
	})
	if err != nil || read < 5 {
		l.t.Errorf("only %d logs were read: %v", read, err)
	}
}

// TestUsersChangedByProcesses: fifty processes, each of which changes a user through the door CGI, lose nothing of each other, and
// whoever reads meanwhile reads a whole file.
func TestUsersChangedByProcesses(t *testing.T) {
	l := newYard(t, 4)
	l.must(l.command(l.bin, "user", "allow", "--config", l.config, "root", "*"))
	users := &auth.Users{Path: l.state + "/users.toml"}
	cgi := func(query string) string {
		cmd := l.command(l.bin, "--config", l.config)
		cmd.Env = append(cmd.Env, "GATEWAY_INTERFACE=CGI/1.1", "SERVER_PROTOCOL=HTTP/1.1", "REQUEST_METHOD=GET", "SCRIPT_NAME=", "PATH_INFO="+strings.Split(query, "?")[0],
			"REQUEST_URI="+query, "QUERY_STRING="+strings.SplitN(query+"?", "?", 3)[1], "SERVER_NAME=localhost", "SERVER_PORT=80", "REMOTE_ADDR=127.0.0.1", "REMOTE_USER=root")
		out, err := cmd.Output()
		if err != nil {
			return err.Error()
		}
		return string(out)
	}
	const processes = 50
	for i := range processes {
		l.must(l.command(l.bin, "user", "allow", "--config", l.config, fmt.Sprint("u", i), "version"))
	}
	stop := make(chan struct{})
	var reader, all sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n, err := (&auth.Users{Path: users.Path}).All(); err != nil || len(n) < processes {
				t.Errorf("a reader finds %d users: %v", len(n), err)
				return
			}
		}
	})
	for i := range processes {
		all.Go(func() {
			if out := cgi(fmt.Sprintf("/auth/user/change?username=u%d&access=%s", i, url.QueryEscape(fmt.Sprintf("['barman/c%d']", i)))); !strings.Contains(out, fmt.Sprintf(`"access":["barman/c%d"]`, i)) {
				t.Errorf("process %d: %s", i, out)
			}
		})
	}
	all.Wait()
	close(stop)
	reader.Wait()
	list, err := users.All()
	for i := range processes {
		if u := list[fmt.Sprint("u", i)]; err != nil || len(u.Access) != 1 || u.Access[0] != fmt.Sprintf("barman/c%d*", i) {
			t.Errorf("u%d is %+v (%v): its change was lost", i, u, err)
		}
	}
}
