package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"barback/runner/operation"
)

// probeID stands where the ID of an operation does, if a runner is only tried: no ID looks like it. Whoever sends it makes
// no record, and the runner that reads it says who it is and ends.
const probeID operation.ID = "probe"

// Proof is what a runner says of itself when it is tried.
type Proof struct {
	UID      int    `json:"uid"`
	StateDir string `json:"state_dir"`
	Version  string `json:"version"`
}

// Try starts a runner as [Launcher.Start] does, up to its first word, and leaves nothing behind.
func (l *Launcher) Try(ctx context.Context) (Proof, error) {
	var p Proof
	null, err := os.Open(os.DevNull) // in the place of an operation's lock
	if err != nil {
		return p, err
	}
	defer func() { _ = null.Close() }()
	fd, err := unix.MemfdCreate("runner.log", unix.MFD_CLOEXEC)
	if err != nil {
		return p, fmt.Errorf("memfd_create: %w", err)
	}
	log := os.NewFile(uintptr(fd), "runner.log") // #nosec G115 -- a descriptor
	defer func() { _ = log.Close() }()
	answer, err := l.send(ctx, probeID, null, log)
	if err == nil && json.Unmarshal([]byte(answer), &p) != nil {
		err = fmt.Errorf("it said %q", answer)
	}
	return p, err
}

// Tried reports whether the launcher only wants to know whether runners start: [Task.Prove] is the answer.
func (t *Task) Tried() bool { return t.ID == probeID }

// Prove answers a launcher that tries a runner.
func (t *Task) Prove(stateDir, version string) error {
	if err := operation.At(stateDir).Check(); err != nil {
		t.refuse(err)
		return err
	}
	line, err := json.Marshal(Proof{os.Geteuid(), stateDir, version})
	if err != nil {
		return err
	}
	_, _ = t.conn.Write(append(line, '\n'))
	_ = t.lock.Close()
	return t.conn.Close()
}

// parseID reads the first line that a launcher sends.
func parseID(line string) (operation.ID, error) {
	line = strings.TrimSpace(line)
	if line == string(probeID) {
		return probeID, nil
	}
	return operation.ParseID(line)
}
