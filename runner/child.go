package runner

import (
	"context"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"barback/runner/barman"
	"barback/runner/operation"
)

// barman runs the operation's command to its end and ends what it left behind. An
// error means that it was not started.
func (c *Config) barman(ctx context.Context, op operation.Operation, before map[string]string, lock *os.File, log logrus.FieldLogger) (*end, error) {
	out, err := c.Store.OutputWriter(op.ID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	if out.Uncapped != nil {
		log.WithError(out.Uncapped).Warn("max_output cannot hold on the file system of the state directory: all that Barman prints is kept")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	cmd := c.command(ctx, op, lock, w)
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return nil, err
	}
	dismiss, err := guard(cmd.Process.Pid)
	if err != nil {
		log.WithError(err).Warn("no guard: should this runner be killed, Barman goes on until somebody looks")
	}
	copied := make(chan struct{})
	keep := &tolerant{w: out}
	go func() { defer close(copied); _, _ = io.Copy(keep, r) }()
	done := make(chan struct{})
	go c.sample(op, before, done)
	_ = cmd.Wait() // how it ended is in ProcessState
	dismiss()
	close(done)
	if !op.EndRemains(0, c.StopGrace) {
		log.Error("processes of the operation could not be ended")
	}
	_ = r.SetReadDeadline(time.Now().Add(time.Second)) // a daemon that Barman started may hold the pipe for ever
	<-copied
	if keep.lost != nil {
		log.WithError(keep.lost).Error("what Barman printed could not be kept")
	}
	return &end{cmd.ProcessState, keep.lost}, nil
}

func (c *Config) command(ctx context.Context, op operation.Operation, lock, out *os.File) *exec.Cmd {
	cmd := exec.CommandContext(ctx, op.Command[0], op.Command[1:]...) // #nosec G204 -- the argv that the request was checked for
	cmd.Dir = "/"
	cmd.Env = append(barman.Environment(), operation.Marker+"="+string(op.ID), "PYTHONUNBUFFERED=1")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{lock}
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGINT) }
	cmd.WaitDelay = c.StopGrace
	return cmd
}

// tolerant keeps Barman going when its output cannot be kept (full disk): a
// backup is worth more than what it printed.
type tolerant struct {
	w    io.Writer
	lost error // why the output is not whole
}

// end is how Barman ended.
type end struct {
	*os.ProcessState
	lost error
}

func (t *tolerant) Write(p []byte) (int, error) {
	if t.lost == nil {
		_, t.lost = t.w.Write(p)
	}
	return len(p), nil
}
