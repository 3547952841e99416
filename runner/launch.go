package runner

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner/barman"
	"barback/runner/operation"
)

// Launcher starts runners. It is the request's end of the conversation whose
// other end is [Receive].
type Launcher struct {
	Store   *operation.Store
	Socket  string // systemd's runner socket; used if it exists
	Program string // barback itself, for a host without it
	Config  string // path of the configuration to hand on; empty: the default
	Timeout time.Duration
	Where   func(op operation.Operation) (barman.Host, error)
	// MaxOutput is the cap of what is kept of Barman's output. It stands in the record, as what was left out
	// follows from it; a later change of the configuration says nothing of what is on the disk.
	MaxOutput int64
}

// Start records op and starts its runner; when it returns without an error the runner
// holds the operation's lock. Otherwise the record is taken back. If the same was asked for
// before, the operation that there is comes back (see [operation.Store.Admit]).
func (l *Launcher) Start(ctx context.Context, op operation.Operation) (operation.Operation, error) {
	op.MaxOutput = l.MaxOutput
	op, lock, err := l.admit(ctx, op)
	if err != nil || lock == nil {
		return op, err
	}
	defer func() { _ = lock.Close() }()
	launchErr := l.launch(ctx, op.ID, lock)
	if launchErr == nil {
		return op, nil
	}
	// Whoever claims first wins: a runner that took the operation just now keeps it.
	if err := l.Store.Withdraw(op.ID); errors.Is(err, operation.ErrClaimed) {
		return op, nil
	} else if err != nil {
		return operation.Operation{}, fmt.Errorf("take back operation %s (%w) after: %w", op.ID, err, launchErr)
	}
	return operation.Operation{}, &operation.LaunchError{Err: launchErr}
}

// admit waits while the same recovery is being accepted for another request. Who sent a key
// is told at once instead (the Idempotency-Key draft, 2.6: 409).
func (l *Launcher) admit(ctx context.Context, op operation.Operation) (operation.Operation, *os.File, error) {
	for end := time.Now().Add(l.Timeout); ; {
		admitted, lock, err := l.Store.Admit(op)
		_, accepting := errors.AsType[*operation.AcceptingError](err)
		if !accepting || op.Key != "" || time.Now().After(end) {
			return admitted, lock, err
		}
		select {
		case <-ctx.Done():
			return admitted, lock, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Cancel is [Cancel] on the launcher's store.
func (l *Launcher) Cancel(id operation.ID, who string) (operation.Operation, error) {
	return Cancel(l.Store, id, who)
}

// launch reaches a runner, hands it the operation and waits for its "ok".
func (l *Launcher) launch(ctx context.Context, id operation.ID, lock *os.File) error {
	log, err := l.Store.RunnerLog(id)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	answer, err := l.send(ctx, id, lock, log)
	if err == nil && answer != "ok" {
		err = errors.New(answer)
	}
	return err
}

// send reaches a runner, hands it id and lock and returns what it answers: one line, not empty.
func (l *Launcher) send(ctx context.Context, id operation.ID, lock, log *os.File) (string, error) {
	conn, err := l.connect(id, log)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	_ = conn.SetDeadline(time.Now().Add(l.Timeout))
	if _, _, err := conn.WriteMsgUnix([]byte(id+"\n"), unix.UnixRights(int(lock.Fd())), nil); err != nil { // #nosec G115 -- a descriptor
		return "", fmt.Errorf("send the operation to its runner: %w", err)
	}
	answer, err := bufio.NewReader(io.LimitReader(conn, 4096)).ReadString('\n')
	switch answer = strings.TrimSpace(answer); {
	case answer != "":
		return answer, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", fmt.Errorf("it did not answer within %v", l.Timeout)
	}
	return "", fmt.Errorf("it ended before it took the operation%s", tail(log))
}

// connect reaches a runner: systemd's, in a cgroup of its own that an Apache
// restart leaves alone, or else a child in a session of its own. If systemd's socket is
// there but refuses, that is an error: a child would be killed with its web server.
func (l *Launcher) connect(id operation.ID, log *os.File) (*net.UnixConn, error) {
	if l.Socket != "" {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: l.Socket, Net: "unix"})
		if err == nil {
			return conn, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w (see: systemctl status barback-runner.socket)", err)
		}
	}
	return l.fork(id, log)
}

func (l *Launcher) fork(id operation.ID, log *os.File) (*net.UnixConn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "runner"), os.NewFile(uintptr(fds[1]), "launcher") // #nosec G115 -- descriptors
	defer func() { _, _ = ours.Close(), theirs.Close() }()
	cmd := l.command(id)
	cmd.Stdin, cmd.Stderr = theirs, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = cmd.Wait() }() // a long-lived server must not keep zombies
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// command is the child's start: own session, cwd /, and an environment from
// an allow-list, so that nothing of the web server's (HTTP_*, httpoxy) reaches Barman.
func (l *Launcher) command(id operation.ID) *exec.Cmd {
	args := []string{"run"}
	if l.Config != "" {
		args = append(args, "--config", l.Config)
	}
	cmd := exec.Command(l.Program, append(args, string(id))...) //nolint:noctx,gosec // it outlives every context; and it is ourselves
	cmd.Dir = "/"
	cmd.Env = barman.Environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

func tail(log *os.File) string {
	b := make([]byte, 1024)
	st, err := log.Stat()
	if err != nil {
		return ""
	}
	n, _ := log.ReadAt(b, max(0, st.Size()-int64(len(b))))
	if s := strings.TrimSpace(string(b[:n])); s != "" {
		return ": " + s
	}
	return ""
}

// Program is the path of the running binary. After a package upgrade the kernel
// shows the old file as deleted; the new one under the same name is meant then.
func Program() (string, error) {
	p, err := os.Executable()
	return strings.TrimSuffix(p, " (deleted)"), err
}
