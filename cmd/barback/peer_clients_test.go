package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// oldClient asks as clients of pg-backup-api do: it joins its API's URL with a relative path, never looks at a
// code, parses every body as JSON, knows three words, and POSTs again when an answer has no operation_id.
type oldClient struct {
	t   testing.TB
	api string
}

// call is the body of the answer.
func (c oldClient) call(method, path, body string) any {
	c.t.Helper()
	api, err := url.Parse(c.api)
	if err != nil {
		c.t.Fatal(err)
	}
	full, err := api.Parse(path) // RFC 3986, 5.2: what urljoin does
	if err != nil {
		c.t.Fatal(err)
	}
	res := client{c.t, full.String()}.do(method, "", body)
	var v any
	if err := json.Unmarshal(res.body, &v); err != nil {
		c.t.Fatalf("%s %s = %d %q, want JSON: %v", method, full, res.StatusCode, res.body, err)
	}
	return v
}

// start POSTs until an answer has an operation_id, three times at most; empty: none had one.
func (c oldClient) start(server, body string) string {
	c.t.Helper()
	for range 3 {
		answer, _ := c.call("POST", "servers/"+server+"/operations", body).(map[string]any)
		if id, ok := answer["operation_id"].(string); ok {
			return id
		}
	}
	return ""
}

// word is the status of an operation; empty if the answer has none of the three.
func (c oldClient) word(server, id string) string {
	c.t.Helper()
	answer, _ := c.call("GET", "servers/"+server+"/operations/"+id, "").(map[string]any)
	if word, _ := answer["status"].(string); slices.Contains([]string{"IN_PROGRESS", "DONE", "FAILED"}, word) {
		return word
	}
	return ""
}

// end polls for as long as the word is IN_PROGRESS.
func (c oldClient) end(server, id string) (word string) {
	c.t.Helper()
	eventually(c.t, 90*time.Second, func() string { return id + " is " + word }, func() bool {
		word = c.word(server, id)
		return word != "IN_PROGRESS"
	})
	return word
}

// peerClients are the stories of old clients, with barback at the root of its door.
var peerClients = []peerRow{
	{name: "clients that parse every body and know three words", mark: contract, play: func(p peer) { wordsOnly(p, p.url) }},
	{name: "clients that POST again when operation_id is missing", mark: contract, play: func(p peer) { postAgain(p, p.url) }},
}

// TestPeerClientsBelowAPath plays them through every door with barback below a path, and with the permissions
// that README gives to who comes from pg-backup-api.
func TestPeerClientsBelowAPath(t *testing.T) {
	t.Parallel()
	l := newLab(t, "trixie")
	l.configure(`base_path = "/backup"`)
	readme, err := os.ReadFile(root(t) + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, allow, ok := strings.Cut(string(readme), "    sudo -u barman barback user allow anonymous operations")
	allow, _, _ = strings.Cut(allow, "\n")
	if !ok {
		t.Fatal("README does not say what to allow to clients of pg-backup-api")
	}
	l.must(l.command(l.bin, "user", "remove", "--config", l.config, "anonymous"))
	l.must(l.command(l.bin, append([]string{"user", "allow", "--config", l.config, "anonymous", "operations"}, strings.Fields(strings.ReplaceAll(allow, "'", ""))...)...))
	words := map[string]string{}
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			l := *l
			l.t = t
			p := peer{client{t, d.open(&l)}, &l, words}
			if words["$done"] == "" {
				below := client{t, p.url + "/backup"}
				res := below.do("POST", backups, `{"type":"backup","wait":true}`, "Prefer", "wait=25").json(t)
				words["$done"] = fmt.Sprint(res["operation_id"])
				if word := (oldClient{t, p.url + "/backup/"}).end("pg-one", words["$done"]); word != "DONE" {
					t.Fatalf("the backup ended as %q, want DONE", word)
				}
			}
			wordsOnly(p, p.url+"/backup/")
			postAgain(p, p.url+"/backup/")
			if got, ok := (oldClient{t, p.url + "/backup"}).call("GET", "status", "").(map[string]any); !ok || !strings.Contains(fmt.Sprint(got["error"]), "404 Not Found: ") {
				t.Errorf("without the slash at the end of the API's URL the answer is %v, want a 404 in JSON", got)
			}
		})
	}
}

// wordsOnly switches a model on and off, and looks for what is not there.
func wordsOnly(p peer, api string) {
	p.t.Helper()
	c := oldClient{p.t, api}
	if got := c.call("GET", "status", ""); got != "OK" {
		p.t.Fatalf("GET status = %v, want OK", got)
	}
	for body, want := range map[string]string{
		`{"type":"config_switch","model_name":"pg-one:plain"}`: "DONE", `{"type":"config_switch","reset":true}`: "DONE", `{"type":"config_switch","model_name":"nope"}`: "FAILED",
	} {
		if got := c.end("pg-one", c.start("pg-one", body)); got != want {
			p.t.Errorf("%s ended as %q, want %s", body, got, want)
		}
	}
	if got := c.word("pg-one", p.words["$done"]); got != "DONE" {
		p.t.Errorf("an operation that ended long ago is %q, want DONE", got)
	}
	for _, gone := range [][2]string{{"pg-one", "20200101T000000"}, {"nope", "20200101T000000"}, {"pg-off", p.words["$done"]}, {"pg-one", "a%00b"}, {"..%2f..", "x"}} {
		if got := c.word(gone[0], gone[1]); got != "" {
			p.t.Errorf("the status of %v is %q, want none of the three words", gone, got)
		}
	}
}

// postAgain: what is refused is refused again and starts nothing; what was accepted and whose answer got lost is
// not started a second time.
func postAgain(p peer, api string) {
	p.t.Helper()
	c, records := oldClient{p.t, api}, p.records()
	for _, refused := range [][2]string{
		{"nope", `{"type":"recovery","backup_id":"latest"}`}, {"pg-one", `{"type":"recovery","backup_id":"20200101T000000"}`}, {"pg-one", `{"type":`}, {"pg-one", ``}, {"pg-one", `{}`},
		{"pg-one", `{"type":"config_switch"}`}, {"pg-one", `{"type":"nope"}`}, {"pg-off", `{"type":"backup"}`}, {"pg-one", `{"x":"` + strings.Repeat("x", 9<<20) + `"}`},
		{"pg-one", `{"backup_id":"latest","destination_directory":"/srv/x","remote_ssh_command":"sh -c id"}`},
	} {
		if id := c.start(refused[0], refused[1]); id != "" {
			p.t.Errorf("POST %.80s for %s has the operation_id %q, want none", refused[1], refused[0], id)
		}
	}
	if now := p.records(); !slices.Equal(now, records) {
		p.t.Errorf("requests that were refused left %q, want %q", now, records)
	}

	silent, err := net.Listen("tcp", "127.0.0.1:0") // an sshd that says nothing: the restore hangs until it is canceled
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	body := fmt.Sprintf(`{"type":"recovery","backup_id":"latest","remote_ssh_command":"ssh -p %d nobody@127.0.0.1","destination_directory":"%s/restore/%d"}`,
		silent.Addr().(*net.TCPAddr).Port, p.l.dir, time.Now().UnixNano())
	first := c.start("pg-one", body)
	for range 3 {
		if again := c.start("pg-one", body); again != first || first == "" {
			p.t.Errorf("the same recovery, POSTed again, is operation %q, want the first's ID %q", again, first)
		}
	}
	if n := len(p.records()) - len(records); n != 1 {
		p.t.Errorf("four POSTs of one recovery made %d operations, want one", n)
	}
	c.call("POST", "servers/pg-one/operations/"+first+"/cancel", "")
	if got := c.end("pg-one", first); got != "FAILED" {
		p.t.Errorf("a canceled recovery ended as %q, want FAILED", got)
	}
}

// TestPeerClientsAndApachesErrors: also what Apache answers itself is JSON, and nothing that a client could take
// for an operation.
func TestPeerClientsAndApachesErrors(t *testing.T) {
	t.Parallel()
	l := newLab(t, "trixie")
	l.program("broken", "#!/bin/sh\nexit 1\n")
	if err := os.WriteFile(l.dir+"/htpasswd", nil, 0o644); err != nil { // #nosec G306 -- www-data reads it
		t.Fatal(err)
	}
	locked := fmt.Sprintf("<Location \"/servers/locked\">\nAuthType Basic\nAuthName barback\nAuthUserFile %s/htpasswd\nRequire valid-user\n</Location>\n", l.dir)
	if err := os.WriteFile(l.dir+"/locked.conf", []byte(locked), 0o644); err != nil { // #nosec G306
		t.Fatal(err)
	}
	l.env["LAB_APACHE_EXTRA"] = l.dir + "/locked.conf"
	for _, recipe := range []string{"fcgid", "proxy-fcgi", "proxy-http", "cgi"} {
		t.Run(recipe, func(t *testing.T) {
			l := *l
			l.t, l.bin = t, l.dir+"/broken"
			p := peer{client: client{t, l.apache(recipe)}, l: &l}
			gone := map[string]int{"fcgid": 500, "cgi": 500, "proxy-fcgi": 503, "proxy-http": 503}[recipe]
			want := func(name string, res reply, status int) {
				t.Helper()
				if res.StatusCode != status {
					t.Errorf("%s: %d %s, want %d", name, res.StatusCode, res.body, status)
				}
				wellFormed(t, res)
			}
			want("barback cannot start, or is not there", p.do("GET", "/status", ""), gone)
			want("the same for a POST", p.do("POST", backups, `{"type":"backup"}`), gone)
			want("no password", p.do("POST", "/servers/locked/operations", `{"type":"backup"}`), 401)
			want("a body over Apache's limit", p.raw(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", backups, 64<<20+1)), 413)
			want("a header over Apache's limit", p.do("GET", "/status", "", "X-Long", strings.Repeat("x", 9000)), 400)
			want("a URL over Apache's limit", p.do("GET", "/"+strings.Repeat("x", 9000), ""), 414)
			c := oldClient{t, p.url}
			if id := c.start("pg-one", `{"type":"backup"}`) + c.start("locked", `{"type":"backup"}`); id != "" {
				t.Errorf("an error of Apache's has the operation_id %q", id)
			}
			if word := c.word("pg-one", "20200101T000000"); word != "" {
				t.Errorf("an error of Apache's has the status %q, want none of the three words", word)
			}
			if strings.HasPrefix(recipe, "proxy") { // on a new connection: on a kept one Apache hangs up, too, so that clients ask again
				hangUp(t, filepath.Join(l.dir, "run", map[string]string{"proxy-fcgi": "fcgi.sock", "proxy-http": "http.sock"}[recipe]))
				want("barback hangs up", p.raw("GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), map[string]int{"proxy-fcgi": 503, "proxy-http": 502}[recipe])
			}
		})
	}
}

// hangUp listens on a socket and closes every connection at once.
func hangUp(t *testing.T, socket string) {
	t.Helper()
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	if err := os.Chmod(socket, 0o666); err != nil { // #nosec G302 -- www-data connects
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
}
