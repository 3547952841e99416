package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// editor asks for /config as an administrator.
type editor struct {
	t          *testing.T
	url, token string
}

// newEditor serves a lab and logs in.
func newEditor(t *testing.T, l *lab) editor {
	t.Helper()
	l.addUser("root", "admin")
	base, _ := l.serve()
	return editor{t, base, l.barback("token", "create", "root")}
}

// change sets options and returns the status and the answer.
func (e editor) change(path string, pairs ...string) (int, string) {
	e.t.Helper()
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return e.send("POST", path, v.Encode())
}

func (e editor) send(method, path, body string) (int, string) {
	e.t.Helper()
	r, err := http.NewRequest(method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+e.token)
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (l *lab) read(name string) string {
	l.t.Helper()
	data, err := os.ReadFile(l.dir + "/" + name) // #nosec G304
	if err != nil {
		l.t.Fatal(err)
	}
	return string(data)
}

// description is what the lab's Barman takes a server's description for.
func (l *lab) description(server string) string {
	l.t.Helper()
	out, err := l.barman("-f", "json", "list-servers").Output()
	var all map[string]struct{ Description string }
	if err != nil || json.Unmarshal(out, &all) != nil {
		l.t.Fatalf("barman list-servers: %v\n%s", err, out)
	}
	return all[server].Description
}

// TestBarmansConfigurationOverHTTP changes the configuration of each real Barman, as its user, and has Barman read it.
func TestBarmansConfigurationOverHTTP(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, suite)
			e := newEditor(t, l)
			if status, body := e.send("GET", "/config/barman", ""); status != 200 || !strings.Contains(body, `"pg-two"`) {
				t.Fatalf("GET /config/barman = %d %s, want the servers", status, body)
			}
			if status, body := e.send("GET", "/config/barman/help", ""); status != 200 || !strings.Contains(body, `"retention_policy":{"description":`) {
				t.Errorf("GET /config/barman/help = %d %.300s, want what Barman's manual knows", status, body)
			}
			want := l.description("pg-two")
			for _, bad := range [][]string{
				{"pg-one.retention_policy", "RECOVERY WINDOW OF 3 BANANAS", "Invalid retention_policy"}, {"pg-one.archiver", "perhaps", "Invalid boolean"}, {"barman.minimum_redundancy", "x", "Invalid minimum_redundancy"},
				{"pg-one.active", "x\npre_backup_script = /bin/sh", "control character"}, {"pg-one.pre_backup_script", "/bin/sh", "allowed_options"},
			} {
				if status, body := e.change("/config/barman/change", "pg-two.description", "new", bad[0], bad[1]); status != 400 && status != 422 || !strings.Contains(body, bad[2]) {
					t.Errorf("%s=%s = %d %s, want a refusal with %s", bad[0], bad[1], status, body, bad[2])
				}
				if got := l.description("pg-two"); got != want {
					t.Fatalf("after a refused change pg-two is %q, want %q", got, want)
				}
			}
			status, body := e.change("/config/barman/change", "pg-two.description", "50% of 'all' %(conninfo)s", "pg-one.retention_policy", "REDUNDANCY 3", "barman.minimum_redundancy", "1")
			if status != 200 || l.description("pg-two") != "50% of 'all' %(conninfo)s" || !strings.Contains(l.read("barman.d/pg-one.conf"), "\nretention_policy = REDUNDANCY 3\n") || !strings.HasSuffix(l.read("barman.conf"), "\nminimum_redundancy = 1\n") {
				t.Errorf("the change = %d %s; pg-two is %q, barman.conf %q, pg-one.conf %q", status, body, l.description("pg-two"), l.read("barman.conf"), l.read("barman.d/pg-one.conf"))
			}
			out, err := l.barman("-f", "json", "show-servers", "pg-one").Output()
			if err != nil || !strings.Contains(string(out), "REDUNDANCY 3") {
				t.Errorf("barman show-servers = %s, %v, want the new policy", out, err)
			}
			// As Debian has it: root's.
			if err := os.Chown(l.dir+"/barman.conf", 0, 0); err != nil {
				t.Fatal(err)
			}
			if status, body := e.change("/config/barman/change", "barman.minimum_redundancy", "0"); status != 409 || !strings.Contains(body, "belongs to root, and barback runs as barman: change it as root; or give it to the user that runs Barman: sudo chown barman") {
				t.Errorf("a change of root's file = %d %s, want 409 with what to do", status, body)
			}
			if status, body := e.change("/config/barmanapi/change", "runner.max_parallel", "3"); status != 409 || !strings.Contains(body, "belongs to root") {
				t.Errorf("a change of root's barback.toml = %d %s, want 409", status, body)
			}
			if suite == "trixie" {
				changeAtOnce(t, l, e.token)
			}
		})
	}
}

// changeAtOnce has twenty CGI processes change Barman's configuration at once, with the real Barman looking at each change.
func changeAtOnce(t *testing.T, l *lab, token string) {
	const n = 20
	commands, outputs := make([]*exec.Cmd, n), make([]strings.Builder, n)
	for i := range commands {
		path := fmt.Sprintf("/config/barman/change?pg-one.parallel_jobs=%d&pg-two.%s=%d", i+1, []string{"basebackup_retry_times", "basebackup_retry_sleep", "check_timeout", "max_incoming_wals_queue", "streaming_archiver_batch_size"}[i%5], i+1)
		cmd := l.command(l.bin, "--config", l.config)
		cmd.Env = append(cmd.Env, "GATEWAY_INTERFACE=CGI/1.1", "SERVER_PROTOCOL=HTTP/1.1", "REQUEST_METHOD=GET", "SCRIPT_NAME=", "PATH_INFO="+strings.Split(path, "?")[0],
			"QUERY_STRING="+strings.Split(path, "?")[1], "REQUEST_URI="+path, "REMOTE_ADDR=127.0.0.1", "HTTP_HOST=localhost", "HTTP_AUTHORIZATION=Bearer "+token)
		cmd.Stdout = &outputs[i]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		commands[i] = cmd
	}
	done := map[int]bool{}
	for i, cmd := range commands {
		err := cmd.Wait()
		_, body, _ := strings.Cut(strings.ReplaceAll(outputs[i].String(), "\r", ""), "\n\n")
		var answer struct {
			StatusCode int                          `json:"status_code"`
			List       map[string]map[string]string `json:"list"`
		}
		switch bad := json.Unmarshal([]byte(body), &answer); {
		case err != nil || bad != nil || answer.StatusCode != 200 && answer.StatusCode != 503:
			t.Errorf("process %d: %v %s", i, err, outputs[i].String())
		case answer.StatusCode == 200:
			done[i+1] = true
		}
	}
	t.Logf("%d of %d changes were made, the others had no time left", len(done), n)
	if len(done) < n/5 {
		t.Errorf("only %d of %d changes were made", len(done), n)
	}
	out, err := l.barman("-f", "json", "show-servers", "all").Output()
	var all map[string]map[string]any
	if err != nil || json.Unmarshal(out, &all) != nil {
		t.Fatalf("barman show-servers: %v\n%s", err, out)
	}
	last := int(all["pg-one"]["parallel_jobs"].(float64))
	if !done[last] {
		t.Errorf("parallel_jobs is %d, which nobody was told is done", last)
	}
	sum := 0
	for i, option := range []string{"basebackup_retry_times", "basebackup_retry_sleep", "check_timeout", "max_incoming_wals_queue", "streaming_archiver_batch_size"} {
		got, _ := all["pg-two"][option].(float64)
		if v := int(got); !done[v] || v%5 != (i+1)%5 {
			t.Errorf("%s is %v, which nobody was told is done", option, all["pg-two"][option])
		}
		sum += int(got)
	}
	if sum == 0 {
		t.Error("nothing was changed")
	}
}
