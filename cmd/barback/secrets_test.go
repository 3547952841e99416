package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// secret is what each line of secrets.txt hides in another spelling.
const secret = "topsecret"

// holders are the files below the state directory that others than user barman may read and that hold what was
// asked for as it was: the runner starts Barman with it, and a retry repeats it.
var holders = []string{"operation.json"}

// TestSecrets sends secrets in all places where a client can write text, and looks for them in every answer, every log, and
// every file that others may read. By default it sends a sample of the spellings; BARBACK_TORTURE=1 sends all.
func TestSecrets(t *testing.T) {
	t.Parallel()
	n := newNoting(t)
	boss := n.boss()
	secretsThrough(t, n, n.url, boss, times(2, 1000), false)
	n.secretFiles(n.dir+"/serve.log", n.dir+"/audit.log")
	n.logs()
}

// TestSecretsThroughApache does the same over CGI and FastCGI, and looks into Apache's logs, too.
func TestSecretsThroughApache(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 || os.Getenv("BARBACK_TEST") != "all" {
		t.Skip("Apache needs root: make test")
	}
	n := newNoting(t)
	boss := n.boss()
	for _, recipe := range []string{"cgi", "fcgid"} {
		secretsThrough(t, n, n.apache(recipe), boss, times(1, 10), true)
		logs, _ := filepath.Glob(n.dir + "/apache-" + recipe + "/logs/*")
		if len(logs) < 2 {
			t.Errorf("Apache's logs are %q, want at least two", logs)
		}
		n.secretFiles(append(logs, n.dir+"/audit.log")...)
	}
}

func secretsThrough(t *testing.T, n *noting, door, boss string, most int, apache bool) {
	c := client{t, door}
	list := n.corpus("secrets")
	rnd := rand.New(rand.NewPCG(tortureSeed(t), 0))
	rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	list = list[:min(most, len(list))]
	for _, s := range list {
		for _, r := range secretRequests(s) {
			if path, _, _ := strings.Cut(r.path, "?"); apache && strings.Contains(path, secret) {
				continue // Apache's own logs hold the path of a request as it was sent
			}
			who := boss
			if r.authorization != "" {
				who = r.authorization
			}
			header := append([]string{"Authorization", who, "Prefer", "wait=20"}, r.header...)
			res, err := c.try(r.method, r.path, r.body, header...)
			if err != nil {
				if strings.Contains(err.Error(), "invalid header field value") {
					continue // a newline
				}
				t.Fatalf("%+v: %v", r, err)
			}
			n.untold(t, r, res)
			if at := res.Header.Get("Location"); res.StatusCode == http.StatusAccepted && at != "" {
				n.untold(t, r, c.do("GET", at, "", "Authorization", boss))
				n.untold(t, r, c.do("GET", at+"/output", "", "Authorization", boss))
			}
		}
	}
	for _, path := range []string{"/operations?scope=all&page_size=1&token=" + secret, "/servers", "/servers/pg-a", "/servers/pg-a/backups?token=" + secret, "/servers/pg-a/backups/" + yardBackup, "/tokens", "/audit?limit=1000", "/diagnose", "/version"} {
		n.untold(t, path, c.do("GET", path, "", "Authorization", boss))
	}
	n.ran()
}

func (n *noting) untold(t testing.TB, sent any, res reply) {
	t.Helper()
	if text := fmt.Sprint(res.Header, string(res.body)); strings.Contains(text, secret) {
		t.Errorf("%+v = %d %s, want no word of the secret", sent, res.StatusCode, text)
	}
}

type secretRequest struct {
	method, path, body string
	authorization      string // instead of the administrator's
	header             []string
}

// secretRequests are requests with s in each place.
func secretRequests(s string) (list []secretRequest) {
	const backups = "/servers/pg-a/operations"
	quoted, _ := json.Marshal(s)
	recovery := func(member string) string {
		body := map[string]any{"type": "recovery", "backup_id": yardBackup, "destination_directory": "/nonexistent/a", "local": true}
		if member == "remote_ssh_command" || member == "target" {
			delete(body, "local")
		}
		body[member] = s
		text, _ := json.Marshal(body)
		return string(text)
	}
	for _, body := range []string{
		`{"type":"backup","note":` + string(quoted) + `}`, `{"type":"backup",` + string(quoted) + `:1}`, `{"type":` + string(quoted) + `}`, `{"type":"backup","name":` + string(quoted) + `}`,
		`{"type":"backup","reuse_backup":` + string(quoted) + `}`, `{"type":"config_switch","model_name":` + string(quoted) + `}`, s, `{"type":"backup","note":` + s + `}`,
		recovery("backup_id"), recovery("destination_directory"), recovery("remote_ssh_command"), recovery("target"), recovery("tablespaces"),
	} {
		list = append(list, secretRequest{method: "POST", path: backups, body: body})
	}
	for _, member := range []string{"conninfo", "description", "scope", "server_name", "ssh_command"} {
		change := map[string]string{"scope": "server", "server_name": "pg-a"}
		change[member] = s
		text, _ := json.Marshal(map[string]any{"type": "config_update", "changes": []any{change}})
		list = append(list, secretRequest{method: "POST", path: "/operations", body: string(text)})
	}
	list = append(list, secretRequest{method: "POST", path: "/operations", body: `{"type":"config_update","changes":[{"scope":"server","server_name":"pg-a",` + string(quoted) + `:"x"}]}`})
	list = append(list, secretRequest{method: "POST", path: "/users", body: `{"name":"ann","role":` + string(quoted) + `}`}, secretRequest{method: "POST", path: "/users", body: `{` + string(quoted) + `:"x"}`},
		secretRequest{method: "POST", path: "/tokens", body: `{"name":` + string(quoted) + `}`}, secretRequest{method: "POST", path: "/tokens", body: `{"expires":` + string(quoted) + `}`}, secretRequest{method: "POST", path: "/users/boss", body: `{"name":` + string(quoted) + `}`})
	for _, route := range paths {
		method, path, _ := strings.Cut(route, " ")
		list = append(list, secretRequest{method: method, path: fmt.Sprintf(path, url.PathEscape(s))})
	}
	for path, names := range queries {
		for _, name := range append(slices.Clone(names), "token", "password") {
			list = append(list, secretRequest{method: "GET", path: strings.ReplaceAll(path, "/ID", "/20240101T000000-000000") + "?" + name + "=" + url.QueryEscape(s)})
		}
	}
	for _, name := range []string{"X-Request-Id", "Idempotency-Key", "Prefer", "Accept", "Content-Type", "If-None-Match", "Range", "Last-Event-Id", "Origin", "Referer", "User-Agent", "Cookie", "X-Forwarded-For", "X-Forwarded-User", "Remote-User"} {
		list = append(list, secretRequest{method: "POST", path: backups, body: `{"type":"backup"}`, header: []string{name, s}})
	}
	for _, a := range []string{s, "Bearer " + s, "Basic " + base64.StdEncoding.EncodeToString([]byte(s+":x")), "Digest " + s} {
		list = append(list, secretRequest{method: "POST", path: backups, body: `{"type":"backup"}`, authorization: a})
	}
	return list
}

// secretFiles looks for secrets in the logs, and in what others than its owner may read below the
// state directory.
func (n *noting) secretFiles(logs ...string) {
	n.t.Helper()
	held := 0
	search := func(path string) bool {
		data, err := os.ReadFile(path)
		if err != nil {
			n.t.Error(err)
		}
		return strings.Contains(string(data), secret)
	}
	for _, path := range logs {
		if search(path) {
			n.t.Errorf("the log %s holds the secret", path)
		}
	}
	err := filepath.WalkDir(n.state, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		switch {
		case err != nil:
			return err
		case st.Mode().Perm()&0o007 != 0:
			n.t.Errorf("%s has the mode %v, want nothing for others", path, st.Mode())
		case e.IsDir() || !search(path):
		case slices.Contains(holders, e.Name()):
			held++
		case st.Mode().Perm()&0o077 != 0:
			n.t.Errorf("%s has the mode %v and holds the secret", path, st.Mode())
		}
		return nil
	})
	if err != nil || held == 0 {
		n.t.Errorf("looking through %s found %d records with the secret (%v), want some: the test would test nothing", n.state, held, err)
	}
}
