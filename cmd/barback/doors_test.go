package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"barback/handler/barmanapi"
)

// door is one way in; open starts it and returns its URL.
type door struct {
	name string
	open func(l *lab) string
}

// doors are all of them: the suite of TestDoors runs over each.
var doors = []door{
	{"mod_fcgid", func(l *lab) string { return l.apache("fcgid") }},
	{"mod_proxy_fcgi", func(l *lab) string {
		l.activate(l.dir+"/run/fcgi.sock", "fcgi")
		return l.apache("proxy-fcgi")
	}},
	{"cgi", func(l *lab) string { return l.apache("cgi") }},
	{"proxy to the http socket", func(l *lab) string {
		l.activate(l.dir+"/run/http.sock", "http")
		return l.apache("proxy-http")
	}},
	{"systemd socket", func(l *lab) string {
		address := fmt.Sprintf("127.0.0.1:%d", freePort(l.t))
		l.activate(address, "http")
		return "http://" + address
	}},
	{"one accepted connection", func(l *lab) string {
		address := fmt.Sprintf("127.0.0.1:%d", freePort(l.t))
		l.activate(address, "http", "--accept")
		return "http://" + address
	}},
	{"serve", func(l *lab) string { url, _ := l.serve(); return url }},
}

// apache starts a private Apache with a shipped recipe; define are values for it.
func (l *lab) apache(recipe string, define ...string) string {
	l.t.Helper()
	script, port := root(l.t)+"/packaging/lab/apache", freePort(l.t)
	dir := l.dir + "/apache-" + recipe
	if err := os.Mkdir(dir, 0o755); err != nil { // #nosec G301 -- www-data reads it
		l.t.Fatal(err)
	}
	for _, s := range []string{"fcgi.sock", "http.sock"} {
		l.must(exec.Command("mkdir", "-p", dir+"/run"))                   // #nosec G204
		l.must(exec.Command("ln", "-sf", l.dir+"/run/"+s, dir+"/run/"+s)) // #nosec G204
	}
	atExit(l.t, func() { _ = exec.Command(script, "stop", dir).Run() })         // #nosec G204
	cmd := exec.Command(script, recipe, dir, fmt.Sprint(port), l.bin, l.config) // #nosec G204
	cmd.Env = append(os.Environ(), "LAB_APACHE_DEFINE="+strings.Join(define, " "), "LAB_APACHE_EXTRA="+l.env["LAB_APACHE_EXTRA"])
	out := strings.Fields(l.must(cmd))
	return strings.TrimSuffix(out[len(out)-1], "/")
}

// activate plays systemd: it listens, and starts barback when somebody comes.
func (l *lab) activate(address, name string, flags ...string) *exec.Cmd {
	l.t.Helper()
	args := append([]string{"--listen=" + address}, flags...)
	if len(flags) == 0 {
		args = append(args, "--fdname="+name)
	}
	cmd := l.start(l.command("systemd-socket-activate", append(args, l.bin, "--config", l.config)...), "socket.log")
	eventually(l.t, 10*time.Second, func() string { return "nobody listens on " + address }, func() bool {
		if strings.HasPrefix(address, "/") {
			return os.Chmod(address, 0o666) == nil // #nosec G302 -- www-data connects
		}
		return listening(address)
	})
	return cmd
}

// listening looks into the kernel's table: connecting would activate the socket.
func listening(address string) bool {
	_, port, _ := strings.Cut(address, ":")
	out, err := exec.Command("ss", "-Htln", "sport = :"+port).Output() // #nosec G204
	return err == nil && len(out) > 0
}

// serve starts "barback serve".
func (l *lab) serve() (string, *exec.Cmd) {
	l.t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", freePort(l.t))
	cmd := l.start(l.command(l.bin, "serve", "--config", l.config, "--listen", address), "serve.log")
	eventually(l.t, 10*time.Second, func() string { return "nobody listens on " + address }, func() bool { return listening(address) })
	return "http://" + address, cmd
}

// TestDoors runs one suite through every door: the main job on real input, and the
// answers that any client may get.
func TestDoors(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			l := *l
			l.t = t
			c := client{t, d.open(&l)}
			t.Run("backup and recovery", func(t *testing.T) { mainJob(t, &l, client{t, c.url}) })
			t.Run("answers", func(t *testing.T) { answers(t, client{t, c.url}) })
		})
	}
}

// mainJob is what barback is for: back up, poll, restore over ssh, poll, and the restored
// cluster answers.
func mainJob(t *testing.T, l *lab, c client) {
	mark := fmt.Sprintf("%s %d", t.Name(), time.Now().UnixNano())
	l.psql(l.env["LAB_PG_SOCKET"], fmt.Sprintf("CREATE TABLE IF NOT EXISTS marks (mark text); INSERT INTO marks VALUES ('%s')", mark))
	backup := c.mustEnd(c.post("/servers/pg-one/operations", `{"type":"backup","wait":true}`), "succeeded")
	id, _ := backup["result"].(map[string]any)["backup_id"].(string)
	if backup["status"] != "DONE" || backup["exit_code"] != 0.0 || id == "" {
		t.Fatalf("the backup = %v, want DONE, exit code 0 and a backup_id", backup)
	}
	dest := fmt.Sprintf("%s/restored-%d", l.dir, time.Now().UnixNano())
	body := fmt.Sprintf(`{"backup_id":%q,"destination_directory":%q,"remote_ssh_command":%q}`, id, dest, l.env["LAB_SSH_COMMAND"])
	path := c.post("/servers/pg-one/operations", body)
	recovery := c.mustEnd(path, "succeeded")
	if recovery["type"] != "recovery" {
		t.Errorf("type of a body without one = %v, want recovery", recovery["type"])
	}
	out := c.do("GET", path+"/output", "")
	if !strings.Contains(string(out.body), "recover") || out.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("the output is %q (%s), want what barman recover printed", out.body, out.Header.Get("Content-Type"))
	}
	again := c.wait(c.post("/servers/pg-one/operations", body))
	if detail := fmt.Sprint(again["error"]); again["state"] != "failed" || !strings.Contains(detail, "not empty") {
		t.Errorf("a second restore into the same folder = %v (%s), want failed: not empty", again["state"], detail)
	}
	l.must(exec.Command(root(t)+"/packaging/lab/start-restored", dest, dest+".run")) // #nosec G204
	if got := l.psql(dest+".run", fmt.Sprintf("SELECT count(*) FROM marks WHERE mark = '%s'", mark)); got != "1" {
		t.Errorf("the restored cluster has the row %s times, want once", got)
	}
	l.must(exec.Command(root(t)+"/packaging/lab/stop-restored", dest)) // #nosec G204
}

// answers holds what does not depend on Barman's work.
func answers(t *testing.T, c client) {
	big := `{"type":"backup","x":"` + strings.Repeat("x", 9<<20) + `"}`
	cases := []struct {
		name, method, path, body string
		header                   []string
		want                     int
		says                     string
	}{
		{"status", "GET", "/status", "", nil, 200, `"OK"`},
		{"the description of it all", "GET", "/openapi.json", "", nil, 200, `"openapi":"3.1.0"`},
		{"trailing slash", "GET", "/servers/", "", nil, 200, `"pg-one"`},
		{"a model or nothing is no server", "GET", "/servers/nope/operations", "", nil, 404, "404 Not Found: No barman config found for 'nope'."},
		{"case matters", "GET", "/servers/PG-ONE/operations", "", nil, 404, "PG-ONE"},
		{"inactive servers are servers", "GET", "/servers/pg-off/operations", "", nil, 200, `{"operations":[]}`},
		{"an inactive server makes no backup", "POST", "/servers/pg-off/operations", `{"type":"backup"}`, nil, 409, "inactive"},
		{"no such path", "GET", "/nope", "", nil, 404, "no such path"},
		{"no such operation", "GET", "/servers/pg-one/operations/20200101T000000-000000", "", nil, 404, "Resource not found"},
		{"an odd ID", "GET", "/servers/pg-one/operations/..%2f..%2fetc", "", nil, 0, ""},
		{"dot segments", "GET", "/servers/../status", "", nil, 0, ""},
		{"wrong method", "DELETE", "/status", "", nil, 405, "not allowed"},
		{"unknown server", "POST", "/servers/nope/operations", `{"type":"backup"}`, nil, 404, "404 Not Found: Server 'nope' does not exist"},
		{"unknown backup", "POST", "/servers/pg-one/operations", `{"backup_id":"20200101T000000"}`, nil, 404, "404 Not Found: Backup '20200101T000000' does not exist"},
		{"no body", "POST", "/servers/pg-one/operations", "", nil, 400, "no body"},
		{"broken JSON", "POST", "/servers/pg-one/operations", `{"type":`, nil, 400, "not JSON"},
		{"empty object", "POST", "/servers/pg-one/operations", `{}`, nil, 400, "Minimum barman options not met for server 'pg-one'"},
		{"a list", "POST", "/servers/pg-one/operations", `[1]`, nil, 400, "must be a JSON object"},
		{"wrong type", "POST", "/servers/pg-one/operations", `{"type":"backup","jobs":"2"}`, nil, 400, "/jobs"},
		{"unknown type", "POST", "/servers/pg-one/operations", `{"type":"RECOVERY"}`, nil, 400, "/type"},
		{"type of the other level", "POST", "/servers/pg-one/operations", `{"type":"config_update","changes":[{}]}`, nil, 400, "/operations"},
		{"a form", "POST", "/servers/pg-one/operations", `type=backup`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "application/json"},
		{"too large", "POST", "/servers/pg-one/operations", big, nil, 413, "max_body"},
		{"not in JSON", "GET", "/servers", "", []string{"Accept", "text/html"}, 406, "application/json"},
		{"Barman cannot", "POST", "/servers/pg-one/operations", `{"type":"config_switch","reset":true}`, nil, 501, "3.10"},
		{"a token that is none", "GET", "/servers", "", []string{"Authorization", "Bearer x"}, 401, "not valid"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := client{t, c.url}
			res := c.do(tc.method, tc.path, tc.body, tc.header...)
			if tc.want == 0 { // Apache and barback may refuse it in two ways
				if res.StatusCode != 400 && res.StatusCode != 404 {
					t.Errorf("%s %s = %d, want 400 or 404\n%s", tc.method, tc.path, res.StatusCode, res.body)
				}
			} else if res.StatusCode != tc.want || !strings.Contains(string(res.body), tc.says) {
				t.Errorf("%s %s = %d %s\nwant %d with %q", tc.method, tc.path, res.StatusCode, res.body, tc.want, tc.says)
			}
			wellFormed(t, res)
		})
	}
	t.Run("a body that nobody wants does no harm to the next request", func(t *testing.T) {
		c := client{t, c.url}
		for range 5 {
			if res := c.do("POST", "/nope", big[:3<<20]); res.StatusCode != 404 {
				t.Errorf("POST of 3 MiB to a path that is not there = %d %s, want 404", res.StatusCode, res.body)
			}
			if res := c.do("GET", "/servers/pg-off/operations", ""); res.StatusCode != 200 {
				t.Errorf("the request after it = %d %s, want 200", res.StatusCode, res.body)
			}
		}
	})
	t.Run("HEAD is GET without a body", func(t *testing.T) {
		res := client{t, c.url}.do("HEAD", "/status", "")
		if res.StatusCode != 200 || len(res.body) != 0 {
			t.Errorf("HEAD /status = %d %q, want 200 and nothing", res.StatusCode, res.body)
		}
	})
	t.Run("OPTIONS and 405 name the methods", func(t *testing.T) {
		c := client{t, c.url}
		for _, res := range []reply{c.do("OPTIONS", "/servers/pg-one/operations", ""), c.do("PUT", "/servers/pg-one/operations", "{}")} {
			if allow := res.Header.Get("Allow"); !strings.Contains(allow, "POST") || !strings.Contains(allow, "GET") {
				t.Errorf("%s: Allow = %q, want GET and POST in it", res.Request.Method, allow)
			}
		}
	})
	t.Run("an unchanged answer is a 304", func(t *testing.T) {
		c := client{t, c.url}
		tag := c.do("GET", "/servers/pg-off/operations", "").Header.Get("ETag")
		if res := c.do("GET", "/servers/pg-off/operations", "", "If-None-Match", tag); tag == "" || res.StatusCode != 304 || len(res.body) != 0 {
			t.Errorf("GET with If-None-Match %s = %d %q, want 304", tag, res.StatusCode, res.body)
		}
	})
}

// wellFormed holds for every answer: JSON, a request ID, and errors as RFC 9457 has them.
func wellFormed(t testing.TB, res reply) {
	t.Helper()
	kind := res.Header.Get("Content-Type")
	if res.StatusCode < 400 {
		if kind != "application/json" {
			t.Errorf("Content-Type = %q, want application/json", kind)
		}
		return
	}
	p := res.json(t)
	if barmanapi.Owns(res.Request.URL.Path) && kind == "application/json" { // its dialect: the members alone are the same
		if p["status_code"] == nil || p["type"] == nil || p["message"] == nil {
			t.Errorf("the %d is %s, want status_code, type and message", res.StatusCode, res.body)
		}
		return
	}
	if kind != "application/problem+json" || p["status"] != float64(res.StatusCode) || p["title"] == "" || p["detail"] == "" {
		t.Errorf("the %d is %s %s, want problem+json with status, title and detail", res.StatusCode, kind, res.body)
	}
	if _, ok := p["operation_id"]; ok {
		t.Errorf("an error holds operation_id, which clients take for success: %s", res.body)
	}
	name := http.StatusText(res.StatusCode)
	if p["type"] == "about:blank" { // Apache's, where the title is the name of the code (RFC 9457, 4.2.1)
		name = fmt.Sprint(p["title"])
	}
	if e, _ := p["error"].(string); !strings.HasPrefix(e, fmt.Sprintf("%d %s: ", res.StatusCode, name)) {
		t.Errorf("error = %q, want it to begin as pg-backup-api's does", e)
	}
	if strings.HasPrefix(fmt.Sprint(p["type"]), "urn:barback:") && res.Header.Get("X-Request-Id") != p["request_id"] {
		t.Errorf("X-Request-Id = %q, request_id = %v", res.Header.Get("X-Request-Id"), p["request_id"])
	}
}
