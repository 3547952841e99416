package handler

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"barback/handler/auth"
)

// tells makes the bench's Barman a script that notes each of its runs.
func (b *bench) tells(script string) {
	b.t.Helper()
	if err := os.WriteFile(b.cfg.Barman.Clients[0].Command, []byte("#!/bin/sh\necho >> "+b.dir+"/runs\n"+script+"\n"), 0o700); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) runs() int {
	data, _ := os.ReadFile(filepath.Join(b.dir, "runs"))
	return len(data)
}

// quoted is a script that prints doc as "barman -f json diagnose" does.
func quoted(t testing.TB, doc string) string {
	t.Helper()
	said, err := json.Marshal(map[string][]string{"_INFO": {doc}})
	if err != nil {
		t.Fatal(err)
	}
	return "cat <<'EOT'\n" + string(said) + "\nEOT"
}

const secretive = `{
    "global": {"config": {"barman_home": "/x", "conninfo": "host=a password = topsecret"}},
    "servers": {"password-db": {"config": {
        "conninfo": "host=a password='to\"psecret' dbname=d",
        "streaming_conninfo": "postgresql://u:topsecret@h/d",
        "wal_conninfo": "postgresql://h/d?password=topsecret",
        "primary_conninfo": "sslpassword=topsecret",
        "aws_sse_customer_key": "topsecret",
        "post_backup_script": "PGPASSWORD=topsecret curl https://u:topsecret@h/",
        "description": "a <b> & ä"},
        "status": {"current_size": 30882864.0, "big": 12345678901234567890},
        "msg_list": []}}
}`

// The answer is Barman's object, with nothing around it, and without passwords.
func TestDiagnose(t *testing.T) {
	b := newBench(t, nil)
	b.tells(quoted(t, secretive))
	res := b.ask("GET", "/diagnose", "")
	res.want(200, `{"global":{"config":{"barman_home":"/x","conninfo":"host=a password = *REDACTED*"}},"servers":{"password-db":{"config":{`)
	for _, says := range []string{`"msg_list":[]`, `"description":"a <b> & ä"`, `"current_size":30882864.0`, `"big":12345678901234567890`, `"postgresql://u:*REDACTED*@h/d"`, `"aws_sse_customer_key":"*REDACTED*"`} {
		res.want(200, says)
	}
	if strings.Contains(res.Body.String(), "psecret") {
		t.Errorf("GET /diagnose tells a password: %s", res.Body)
	}
	head := res.Header()
	if head.Get("Content-Type") != "application/json" || head.Get("Cache-Control") != "no-store" || head.Get("Age") != "0" || head.Get("ETag") != "" {
		t.Errorf("the headers are %v, want JSON, no-store, an Age and no ETag", head)
	}
	b.ask("GET", "/diagnose?max_age=3600", "").want(200, "REDACTED")
	if b.runs() != 1 {
		t.Errorf("Barman ran %d times, want once: the second client is content with an old answer", b.runs())
	}
	plain := newBench(t, func(c *Config) { c.Unmasked = true })
	plain.tells(quoted(t, secretive))
	plain.ask("GET", "/diagnose", "").want(200, `"streaming_conninfo":"postgresql://u:topsecret@h/d"`)
}

func TestDiagnoseMaxAge(t *testing.T) {
	b := newBench(t, nil)
	b.tells(quoted(t, "{}"))
	for _, value := range []string{"", "-1", "x", "1.5", "1e3", "+1", "99999999999999999999", "0x10", "%20"} {
		res := b.ask("GET", "/diagnose?max_age="+value, "")
		res.want(400, `"pointer":"?max_age"`)
	}
	if b.runs() != 0 {
		t.Errorf("Barman ran %d times for requests that were refused", b.runs())
	}
	for i, query := range []string{"", "?max_age=0", "?max_age=00", ""} {
		b.ask("GET", "/diagnose"+query, "").want(200, "{}")
		if b.runs() != i+1 {
			t.Errorf("GET /diagnose%s: Barman ran %d times, want %d: no answer is older than its request", query, b.runs(), i+1)
		}
	}
	b.ask("GET", "/diagnose?max_age=2147483647", "").want(200, "{}")
	if b.runs() != 4 {
		t.Errorf("Barman ran %d times, want 4: an old answer is good enough", b.runs())
	}
}

// Who may not, or could not read the answer, has nothing started.
func TestDiagnoseRefused(t *testing.T) {
	b := newBench(t, nil)
	b.tells(quoted(t, "{}"))
	b.ask("GET", "/diagnose", "", "Accept", "text/html").want(406, "application/json")
	b.ask("POST", "/diagnose", "{}").want(405, "")
	b.allow(map[string]auth.Lists{"ann": {Access: []string{"servers", "version"}}, "bob": {Access: []string{"GET diagnose"}}})
	b.ask("GET", "/diagnose", "").want(401, `\"diagnose\"`)
	b.askAs("ann", "GET", "/diagnose", "").want(403, `\"diagnose\"`)
	if b.runs() != 0 {
		t.Errorf("Barman ran %d times for requests that were refused", b.runs())
	}
	b.askAs("bob", "GET", "/diagnose", "").want(200, "{}")
}

func TestDiagnoseFails(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		status       int
		says         string
	}{
		{"an error", `echo '{"_EXCEPTION": ["could not connect: password=topsecret"]}'; exit 1`, 502, "barman diagnose failed: exit status 1: could not connect: password=*REDACTED*"},
		{"an error before Barman knows that it should speak JSON", `echo 'no such file: password=topsecret' >&2; exit 1`, 502, "exit status 1: no such file: password=*REDACTED*"},
		{"no JSON", `echo 'postgres://u:topsecret@h'`, 502, "printed no JSON object"},
		{"a hang", `sleep 300`, 504, "did not end within 200ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.Barman.Clients[0].Timeout = 200 * time.Millisecond })
			b.tells(tc.script)
			res := b.ask("GET", "/diagnose", "")
			res.want(tc.status, tc.says)
			if told := res.Body.String() + b.log.text(); strings.Contains(told, "topsecret") {
				t.Errorf("a password is told or logged: %s", told)
			}
		})
	}
	b := newBench(t, func(c *Config) { c.Barman.Clients[0].Command = "/nonexistent/barman" })
	b.ask("GET", "/diagnose", "").want(503, "Barman is not installed")
	b = newBench(t, nil)
	if err := os.WriteFile(b.cfg.Barman.Clients[0].Command, []byte("\x7fELF, but not quite"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.ask("GET", "/diagnose", "").want(503, "Barman does not work")
}

// A client that went away changes nothing: others may wait for the same.
func TestDiagnoseWithoutItsClient(t *testing.T) {
	b := newBench(t, nil)
	b.tells(quoted(t, "{}"))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	b.serve(httptest.NewRequest("GET", "/diagnose", nil).WithContext(gone)).want(200, "{}")
	b.ask("GET", "/diagnose?max_age=3600", "").want(200, "{}")
	if b.runs() != 1 {
		t.Errorf("Barman ran %d times, want once: its answer is there although nobody waited for it", b.runs())
	}
}
