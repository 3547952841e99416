package runner

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
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
	way, err := c.way(op)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	cmd := c.command(ctx, way.argv(op), op, lock, w)
	if err := way.prepare(cmd); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		way.over()
		return nil, err
	}
	if err := way.begin(cmd); err != nil {
		log.WithError(err).Warn("no guard: should this runner be killed, Barman goes on until somebody looks")
	}
	copied := make(chan struct{})
	keep, warned := &tolerant{w: out}, &warnings{}
	go func() { defer close(copied); _, _ = io.Copy(io.MultiWriter(keep, warned), r) }()
	done := make(chan struct{})
	go c.sample(op, before, done)
	_ = cmd.Wait() // how it ended is in ProcessState
	way.over()
	close(done)
	if !op.EndRemains(0, c.StopGrace) {
		log.Error("processes of the operation could not be ended")
	}
	_ = r.SetReadDeadline(time.Now().Add(time.Second)) // a daemon that Barman started may hold the pipe for ever
	<-copied
	if keep.lost != nil {
		log.WithError(keep.lost).Error("what Barman printed could not be kept")
	}
	e := way.end(ctx, op, cmd.ProcessState)
	e.lost, e.warned = keep.lost, warned.all()
	return &e, nil
}

func (c *Config) command(ctx context.Context, argv []string, op operation.Operation, lock, out *os.File) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) // #nosec G204 -- the argv that the request was checked for
	cmd.Dir = "/"
	cmd.Env = append(barman.Environment(), operation.Marker+"="+string(op.ID), "PYTHONUNBUFFERED=1")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{lock}
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGINT) }
	cmd.WaitDelay = c.StopGrace
	return cmd
}

// way is how a command gets to the machine that Barman works on, and is told to end there.
type way interface {
	argv(op operation.Operation) []string
	prepare(cmd *exec.Cmd) error
	begin(cmd *exec.Cmd) error // it was started: see to it that it does not outlive this runner unseen
	over()                     // it ended, or was not started
	end(ctx context.Context, op operation.Operation, state *os.ProcessState) end
}

func (c *Config) way(op operation.Operation) (way, error) {
	host, err := c.Barman.Where(op)
	if err != nil || !host.Remote() {
		return &here{}, err
	}
	argv, err := host.Run(op.ID, c.StopGrace, op.Command)
	return &line{host: host, words: argv, grace: c.StopGrace}, err
}

// here is the way to a Barman of this machine.
type here struct{ dismiss func() }

func (h *here) argv(op operation.Operation) []string { return op.Command }

func (h *here) prepare(*exec.Cmd) error {
	h.dismiss = func() {}
	return nil
}

func (h *here) begin(cmd *exec.Cmd) (err error) {
	h.dismiss, err = guard(cmd.Process.Pid)
	return err
}

func (h *here) over() { h.dismiss() }

func (h *here) end(_ context.Context, _ operation.Operation, state *os.ProcessState) end {
	if state.Exited() {
		return end{code: state.ExitCode()}
	}
	return end{signal: state.Sys().(syscall.WaitStatus).Signal()}
}

// end is how Barman ended.
type end struct {
	code   int
	signal syscall.Signal // that killed it; 0: none
	broken *breach        // it was not seen to end
	lost   error          // why the output is not whole
	warned []string       // what Barman warned of
}

// tolerant keeps Barman going when its output cannot be kept (full disk): a
// backup is worth more than what it printed.
type tolerant struct {
	w    io.Writer
	lost error // why the output is not whole
}

func (t *tolerant) Write(p []byte) (int, error) {
	if t.lost == nil {
		_, t.lost = t.w.Write(p)
	}
	return len(p), nil
}
