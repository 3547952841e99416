package runner

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner/barman"
	"barback/runner/operation"
)

// line is the way to a Barman on another host: ssh, with host.sh at its other end. What holds Barman there is our end
// of ssh's standard input: whatever becomes of this runner, of ssh or of the network, the host notices and ends it.
type line struct {
	host  barman.Host
	words []string
	grace time.Duration

	input   *os.File // ours, of ssh's standard input
	theirs  []*os.File
	control *os.File // where ssh's standard error comes out
	read    chan struct{}
	ready   bool
	said    []byte
}

func (l *line) argv(operation.Operation) []string { return l.words }

func (l *line) prepare(cmd *exec.Cmd) error {
	in, input, err := os.Pipe()
	if err != nil {
		return err
	}
	control, stderr, err := os.Pipe()
	if err != nil {
		_, _ = in.Close(), input.Close()
		return err
	}
	l.input, l.control, l.theirs, l.read = input, control, []*os.File{in, stderr}, make(chan struct{})
	cmd.Stdin, cmd.Stderr = in, stderr
	cmd.Cancel = input.Close
	cmd.WaitDelay = 2*l.grace + connectionGrace // the host does what has to be done
	return nil
}

// connectionGrace is for the way to the host and back.
const connectionGrace = 20 * time.Second

func (l *line) begin(*exec.Cmd) error {
	l.closeTheirs()
	go l.listen()
	return nil
}

// listen reads what the host says, lets Barman begin when the host is ready, and shows it from then on that we are there.
func (l *line) listen() {
	defer close(l.read)
	gone := make(chan struct{})
	defer close(gone)
	lines := bufio.NewReader(l.control)
	for {
		text, err := lines.ReadString('\n')
		if text == barman.Ready {
			l.ready = true
			go l.beat(gone)
		} else if l.said = append(l.said, text...); len(l.said) > maxSaid {
			l.said = l.said[len(l.said)-maxSaid:]
		}
		if err != nil {
			return
		}
	}
}

// maxSaid bounds what is kept of ssh's and the host's own words.
const maxSaid = 64 << 10

func (l *line) beat(gone <-chan struct{}) {
	tick := time.NewTicker(barman.Heartbeat)
	defer tick.Stop()
	for text := "go\n"; ; text = "\n" {
		if _, err := l.input.WriteString(text); err != nil {
			return
		}
		select {
		case <-gone:
			return
		case <-tick.C:
		}
	}
}

func (l *line) closeTheirs() {
	for _, f := range l.theirs {
		_ = f.Close()
	}
	l.theirs = nil
}

func (l *line) over() {
	l.closeTheirs()
	_ = l.input.Close()
}

// end is what the host said of the command's end. If it could not, it is asked.
func (l *line) end(ctx context.Context, op operation.Operation, _ *os.ProcessState) end {
	_ = l.control.SetReadDeadline(time.Now().Add(time.Second)) // a master connection that ssh left behind may hold the pipe for ever
	<-l.read
	_ = l.control.Close()
	said, code, told := barman.HostTold(l.said)
	switch {
	case told && code > 128 && unix.SignalName(syscall.Signal(code-128)) != "":
		return end{signal: syscall.Signal(code - 128)} // as a shell tells of it
	case told:
		return end{code: code}
	case !l.ready:
		return end{broken: &breach{early: true, why: l.host.Lost(string(said))}}
	}
	b := &breach{why: l.host.Lost(string(said))}
	b.unseen = l.await(ctx, op)
	return end{broken: b}
}

// await waits until nothing of the operation runs on the host any more. The error is why that is not known.
func (l *line) await(ctx context.Context, op operation.Operation) error {
	for end := time.Now().Add(barman.Silence + 2*l.grace + connectionGrace); ; {
		running, keeper, err := l.host.Look(op.ID, lookAtHost)
		switch {
		case err == nil && running == 0 && !keeper:
			return nil
		case err == nil && time.Now().After(end):
			return fmt.Errorf("%d processes of it still run there", running)
		case err != nil && (time.Now().After(end) || ctx.Err() != nil):
			return err
		}
		time.Sleep(time.Second)
	}
}

// lookAtHost bounds one question of what runs on the host.
const lookAtHost = 15 * time.Second

// breach is a connection that broke off before the host said how Barman ended.
type breach struct {
	why    *barman.HostError
	early  bool  // before Barman was started
	unseen error // why nobody knows whether Barman still works; nil: it does not
}

func (b *breach) judge(cause error) outcome {
	out := outcome{state: operation.Interrupted, unseen: b.unseen != nil}
	switch {
	case b.early && cause != nil:
		out.failure = because(cause, "Barman had not been started, nothing was done")
	case b.early:
		out.state = operation.Failed
		out.failure = &operation.Failure{Title: "Barman host not reached", Detail: "Barman was not started, nothing was done: " + b.why.Error()}
	case b.unseen != nil:
		out.failure = &operation.Failure{Title: "Connection lost", Detail: fmt.Sprintf("the connection to the Barman host was lost (%s), and what Barman does there is not known: %v. "+
			"The host ends it by itself when it notices the loss, after %v at the latest", b.what(), b.unseen, barman.Silence)}
	case cause != nil:
		out.failure = because(cause, "nothing of it runs on the Barman host any more")
	default:
		out.failure = &operation.Failure{Title: "Connection lost", Detail: fmt.Sprintf("the connection to the Barman host was lost (%s); "+
			"Barman was ended there with it, and nothing of it runs any more", b.what())}
	}
	return out
}

func (b *breach) what() string { return strings.ReplaceAll(b.why.Detail, "\n", "; ") }
