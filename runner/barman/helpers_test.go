package barman

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// box is a folder with a barman.conf, an include directory conf.d, a barman_home and a fake barman.
type box struct {
	dir, home string
	client    *Client
}

// newBox fills a box; files are named relative to it, and DIR in them becomes its path.
func newBox(t testing.TB, files map[string]string) *box {
	t.Helper()
	dir := t.TempDir()
	b := &box{dir: dir, home: filepath.Join(dir, "home"), client: &Client{Command: filepath.Join(dir, "barman"), Config: filepath.Join(dir, "barman.conf")}}
	b.write(t, "barman", "#!/bin/sh\ncase $* in *--help) echo 'usage: barman' ;; *) echo '3.13.3 Barman by EnterpriseDB (www.enterprisedb.com)' ;; esac\n")
	if err := os.Chmod(b.client.Command, 0o755); err != nil {
		t.Fatal(err)
	}
	b.write(t, "barman.conf", plainConfig)
	for name, text := range files {
		b.write(t, name, text)
	}
	return b
}

// plainConfig is a barman.conf with an include directory and nothing else.
const plainConfig = "[barman]\nbarman_home = DIR/home\nconfiguration_files_directory = DIR/conf.d\n"

func (b *box) write(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", b.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load reads the box's configuration.
func (b *box) load(t testing.TB) *config {
	t.Helper()
	cfg, err := b.client.load()
	if err != nil {
		t.Fatalf("load = %v, want no error", err)
	}
	return cfg
}

// request is a Request with a body from JSON.
func request(t testing.TB, server, body string) Request {
	t.Helper()
	r := Request{Server: server}
	if err := json.Unmarshal([]byte(body), &r.Body); err != nil {
		t.Fatalf("the test's body %s is not JSON: %v", body, err)
	}
	return r
}

// wantRefusal fails unless err refuses the member at pointer with these words.
func wantRefusal(t testing.TB, err error, pointer, says string, policy bool) {
	t.Helper()
	e, ok := errors.AsType[*InvalidError](err)
	if !ok || len(e.Fields) != 1 {
		t.Errorf("the error is %v, want a refusal of %s", err, pointer)
		return
	}
	if e.Fields[0].Pointer != pointer || !strings.Contains(fmt.Sprint(e.Summary, ": ", e.Fields[0].Detail), says) || e.Policy != policy {
		t.Errorf("the refusal is of %s, %q %q, policy %v, want %s with %q, policy %v", e.Fields[0].Pointer, e.Summary, e.Fields[0].Detail, e.Policy, pointer, says, policy)
	}
}

// backupInfo is a small backup.info.
func backupInfo(status string, more ...string) string {
	lines := append([]string{"backup_label=None", "begin_time=2026-11-21 20:51:50.359746+00:00", "error=None", "mode=postgres", "size=1", "status=" + status, "tablespaces=None", "version=150018"}, more...)
	return strings.Join(lines, "\n") + "\n"
}

// askVersion is the version of a program.
func askVersion(path string) (string, error) { return (&Client{Command: path}).Version() }
