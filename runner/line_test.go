package runner

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus/hooks/test"

	"barback/runner/barman"
	"barback/runner/operation"
)

// elsewhere is a Barman on another host.
type elsewhere struct{ host barman.Host }

func (e elsewhere) Where(operation.Operation) (barman.Host, error)            { return e.host, nil }
func (e elsewhere) Read(barman.Kind, string, []byte) (json.RawMessage, error) { return nil, nil }
func (e elsewhere) Backups(string) ([]barman.Backup, error)                   { return nil, nil }

// throughSSH runs a command as an operation on a host that the script reaches: its last argument is what the host's shell is to do.
func throughSSH(t *testing.T, ctx context.Context, ssh string, command ...string) (e end, out string) {
	t.Helper()
	store, err := operation.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nfor line; do :; done\n"+ssh+"\n"), 0o755); err != nil { // #nosec G306 -- it is run
		t.Fatal(err)
	}
	op, lock, err := store.Create(operation.Operation{Type: "cron", Request: []byte("{}"), Command: command})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	log, _ := test.NewNullLogger()
	c := &Config{Store: store, Log: log, Barman: elsewhere{barman.Host{SSH: []string{path, "host"}}}, StopGrace: 5 * time.Second}
	got, err := c.barman(ctx, op, nil, lock, log)
	if err != nil {
		t.Fatalf("barman = %v, want that it is run", err)
	}
	text, err := os.ReadFile(filepath.Join(store.Slots(), "..", "operations", string(op.ID), "output.log"))
	if err != nil {
		t.Fatal(err)
	}
	return *got, string(text)
}

const there = `exec setsid --wait sh -c "$line"`

func TestLineTellsHowBarmanEnds(t *testing.T) {
	e, out := throughSSH(t, t.Context(), there, "sh", "-c", "echo a; echo b >&2; exit 255")
	if e.code != 255 || e.broken != nil || out != "a\nb\n" {
		t.Errorf("the end is %+v with the output %q, want exit code 255 and both streams", e, out)
	}
	if e, _ := throughSSH(t, t.Context(), there, "sh", "-c", "kill -KILL $$"); e.signal != 9 {
		t.Errorf("the end of what was killed is %+v, want SIGKILL", e)
	}
}

func TestLineEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, errCanceled)
	defer cancel()
	e, _ := throughSSH(t, ctx, there, "sleep", "300")
	if out := judgeEnd(e, errCanceled); out.state != operation.Interrupted || out.unseen {
		t.Errorf("what was canceled ended as %+v, want interrupted, and that it is known", out)
	}
}

func TestLineThatNeverWas(t *testing.T) {
	e, _ := throughSSH(t, t.Context(), "echo 'Permission denied' >&2; exit 255", "true")
	out := judgeEnd(e, nil)
	if out.state != operation.Failed || out.unseen || !strings.Contains(out.failure.Detail, "nothing was done") || !strings.Contains(out.failure.Detail, "Permission denied") {
		t.Errorf("the outcome is %+v with %+v, want failed, nothing done, and ssh's words", out, out.failure)
	}
	if e, _ := throughSSH(t, t.Context(), "exit 0", "true"); judgeEnd(e, nil).state != operation.Failed {
		t.Errorf("an ssh that says that all is well without having run anything is %+v, want failed", e)
	}
}

func TestLineThatBreaks(t *testing.T) {
	// The first call is lost in the middle, the next ones look.
	ssh := `case $line in *"'barback-host' 'run'"*) setsid sh -c "$line" & sleep 1; echo 'Connection reset' >&2; exit 255 ;; esac; ` + there
	e, _ := throughSSH(t, t.Context(), ssh, "sh", "-c", "exit 0")
	out := judgeEnd(e, nil)
	if out.state != operation.Interrupted || out.unseen || !strings.Contains(out.failure.Detail, "nothing of it runs any more") {
		t.Errorf("the outcome is %+v with %+v, want interrupted, and that nothing runs", out, out.failure)
	}
}
