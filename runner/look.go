package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"barback/runner/barman"
	"barback/runner/operation"
)

// lookTimeout bounds the look at a destination on another host.
const lookTimeout = time.Minute

// Look is the look at a destination that a runner takes before it starts Barman.
func (l *Launcher) Look(ctx context.Context, op operation.Operation) error {
	host, err := l.Where(op)
	if err != nil {
		return err
	}
	return inspect(ctx, host, op)
}

// inspect makes sure that a restore overwrites nothing that the client did not give up:
// "barman recover" empties its destination without a word, here and over ssh.
func inspect(ctx context.Context, host barman.Host, op operation.Operation) error {
	t := op.Target
	if t == nil || t.Overwrite {
		return nil
	}
	for _, dir := range t.Folders() {
		first, err := firstEntry(ctx, host, op, dir)
		if err != nil {
			return fmt.Errorf("the destination %s could not be looked at, nothing was restored: %w", dir, err)
		}
		if first != "" {
			return fmt.Errorf("the destination %s is not empty (it holds %q), and Barman would delete what is there; choose another one or say \"overwrite\": true", dir, first)
		}
	}
	return nil
}

func firstEntry(ctx context.Context, host barman.Host, op operation.Operation, dir string) (string, error) {
	script := fmt.Sprintf("if test -e %[1]s; then ls -A %[1]s; fi", dir) // the path was checked to mean nothing to shells
	if op.Target.SSH == "" && !host.Remote() {
		return localEntry(dir)
	}
	out, err := shell(ctx, host, op, script)
	first, _, _ := strings.Cut(out, "\n")
	return first, err
}

func localEntry(dir string) (string, error) {
	d, err := os.Open(dir) // #nosec G304 -- the destination, which is Barman's to write
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.Join(names, ""), err
}

// shell runs a script without quotes where the operation restores to. It goes through the shells that Barman's own commands
// go through.
func shell(ctx context.Context, host barman.Host, op operation.Operation, script string) (string, error) {
	if op.Target.SSH != "" {
		script = fmt.Sprintf("exec %s '%s'", op.Target.SSH, script)
	}
	if host.Remote() {
		return host.Shell(lookTimeout, script)
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script) // #nosec G204 -- words that barman.checkSSH let through, or the administrator allowed
	cmd.Dir = "/"
	cmd.Env = append(barman.Environment(), operation.Marker+"="+string(op.ID))
	cmd.WaitDelay = time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
