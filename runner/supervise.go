package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"barback/runner/barman"
	"barback/runner/operation"
)

// The causes of a context's end.
var (
	errStopped  = errors.New("the runner was told to stop")
	errCanceled = errors.New("the operation was canceled")
)

// Run carries the operation to its end: steps 3 to 8 of the package comment. It
// returns an error if the operation could not be taken or its end not be recorded; how
// Barman fared is in the record alone.
func (c *Config) Run(task *Task) error {
	ctx, stop := c.signalled(task.ID)
	defer stop()
	log := c.Log.WithField("operation", string(task.ID))
	if err := task.accept(c.Store); err != nil {
		task.refuse(err)
		return fmt.Errorf("take operation %s: %w", task.ID, err)
	}
	defer func() { _ = task.lock.Close() }() // not before the end is recorded
	go Rest(ctx.Done())
	release, end, err := c.work(ctx, task, log)
	defer release()
	if err != nil {
		log.WithError(err).Error("operation could not be run")
		end = outcome{state: operation.Failed, failure: &operation.Failure{Title: "Not started", Detail: err.Error()}}
	}
	return c.record(ctx, task.ID, end, log)
}

// record writes the end down, and tries again while it cannot: as long as this
// process holds the lock the operation is in progress, which is true, whereas a
// backup that succeeded and then says "interrupted" because of a full disk is not.
func (c *Config) record(ctx context.Context, id operation.ID, end outcome, log logrus.FieldLogger) error {
	for pause := time.Second; ; {
		_, err := c.Store.End(id, end.state, end.apply)
		if err == nil {
			log.WithField("state", end.state).Info("operation ended")
			return nil
		}
		if errors.Is(err, operation.ErrNotFound) {
			return fmt.Errorf("record the end (%s) of operation %s: %w", end.state, id, err)
		}
		log.WithError(err).WithField("state", end.state).Error("the end of the operation cannot be recorded yet")
		select {
		case <-ctx.Done():
			return fmt.Errorf("record the end (%s) of operation %s: %w", end.state, id, err)
		case <-time.After(pause):
			pause = min(2*pause, time.Minute)
		}
	}
}

// outcome is how an operation ended, before it is recorded.
type outcome struct {
	state   operation.State
	exit    *int
	failure *operation.Failure
	result  operation.Result // the backup that was made, if any, and warnings
	lost    bool             // not all that Barman printed could be kept
	unseen  bool             // nobody knows whether Barman still works
}

func (o outcome) apply(op *operation.Operation) {
	op.ExitCode, op.Error, op.OutputLost, op.Unseen = o.exit, o.failure, o.lost, o.unseen
	if o.result.BackupID != "" || o.result.Report != nil {
		op.Result = o.result
	}
	op.Result.Warnings = o.result.Warnings
}

// signalled turns what asks a runner to end into a context: signals, and a cancel that stands in
// its record. That is looked for each second, should the one who wrote it have
// died before he sent SIGUSR1. Catching signals also makes Barman start with their default
// action: a web server that ignores SIGPIPE or SIGINT would pass that on (execve(2)).
func (c *Config) signalled(id operation.ID) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE, unix.SIGUSR1)
	tick := time.NewTicker(time.Second)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-ch:
				if s != unix.SIGPIPE && s != unix.SIGUSR1 {
					cancel(fmt.Errorf("%w (%s)", errStopped, unix.SignalName(s.(syscall.Signal))))
				}
			case <-tick.C:
			}
			if c.Store.CancelAsked(id) {
				cancel(errCanceled)
			}
		}
	}()
	return ctx, func() { signal.Stop(ch); tick.Stop(); cancel(nil) }
}

// work waits for its turn and does what is to be done.
// What it waited for stays taken until release is called.
func (c *Config) work(ctx context.Context, task *Task, log logrus.FieldLogger) (release func(), end outcome, err error) {
	release, err = c.queue(ctx, task.ID)
	switch {
	case ctx.Err() != nil:
		return release, stopped(ctx), nil //nolint:nilerr // the context's cause is the outcome
	case err != nil:
		return release, outcome{}, err
	}
	end, err = c.perform(ctx, task, log)
	return release, end, err
}

// perform marks the operation running, looks at its destination and runs Barman.
func (c *Config) perform(ctx context.Context, task *Task, log logrus.FieldLogger) (outcome, error) {
	op, err := c.begin(ctx, task.ID, log)
	if ctx.Err() != nil {
		return stopped(ctx), nil //nolint:nilerr // the context's cause is the outcome
	}
	if err != nil {
		return outcome{}, err
	}
	log.WithField("command", op.Command[0]).Info("operation started")
	if op.State.Final() {
		return outcome{state: op.State}, nil // somebody ended it while it waited
	}
	host, err := c.Barman.Where(op)
	if err != nil {
		return outcome{}, err
	}
	if err := inspect(ctx, host, op); ctx.Err() != nil {
		return stopped(ctx), nil //nolint:nilerr // the context's cause is the outcome
	} else if err != nil {
		return outcome{state: operation.Failed, failure: &operation.Failure{Title: "Destination refused", Detail: err.Error()}}, nil //nolint:nilerr // it is the outcome
	}
	before := c.backups(op)
	state, err := c.barman(ctx, op, before, task.lock, log)
	if err != nil {
		return outcome{}, err
	}
	out := judgeEnd(*state, context.Cause(ctx))
	if op.Type == "config_update" && out.failure != nil {
		out.failure.Detail += "; changes that Barman could not make it keeps in cfg_changes.queue in its home, and makes them with the next config_update"
	}
	out.result, out.lost = c.madeBackup(op, before), state.lost != nil
	if kind, _ := barman.KindOf(op.Type, op.Server == ""); kind.Reports() && out.state != operation.Interrupted {
		out = c.reported(kind, op, out)
	} else if out.state == operation.Succeeded {
		out.result.Warnings = state.warned
		lacks, err := lacking(ctx, host, op)
		if err != nil {
			log.WithError(err).Warn("what was restored could not be looked at")
		}
		if lacks != "" {
			out.result.Warnings = append([]string{lacks}, state.warned...)
		}
	}
	return out, nil
}

// queue waits for what the operation must have alone, and then for a slot.
func (c *Config) queue(ctx context.Context, id operation.ID) (release func(), err error) {
	nothing := func() {}
	op, err := c.Store.Load(id)
	if err != nil {
		return nothing, err
	}
	own, err := alone(ctx, c.Store.Slots(), op.Resource())
	if err != nil {
		return nothing, fmt.Errorf("wait for other operations: %w", err)
	}
	if err := c.predecessors(ctx, op); err != nil {
		return own, fmt.Errorf("wait for other operations: %w", err)
	}
	if kind, _ := barman.KindOf(op.Type, op.Server == ""); kind.Reports() {
		return own, nil // somebody waits for it, and backups may take hours
	}
	leave, err := slot(ctx, c.Store.Slots(), c.MaxParallel)
	if err != nil {
		return own, fmt.Errorf("wait for a slot: %w", err)
	}
	return func() { leave(); own() }, nil
}

// begin marks the operation running. A disk that is full at this moment is waited for: a
// nightly backup must not be lost to a second without space.
func (c *Config) begin(ctx context.Context, id operation.ID, log logrus.FieldLogger) (operation.Operation, error) {
	for {
		op, err := c.Store.Start(id, os.Getenv("INVOCATION_ID"))
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
			return op, err
		}
		log.WithError(err).Error("the operation waits for space to record its start")
		select {
		case <-ctx.Done():
			return op, err
		case <-time.After(time.Second):
		}
	}
}

// predecessors waits for what killed runners left: the kernel gave the lock of their resource
// back at once, but their Barman may still be cleaning up. Reading them settles them.
func (c *Config) predecessors(ctx context.Context, op operation.Operation) error {
	for op.Resource() != "" {
		active, err := c.Store.Active()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(active, func(o operation.Operation) bool {
			return o.ID != op.ID && o.Resource() == op.Resource() && !o.StartedAt.IsZero()
		}) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// judgeEnd decides what Barman's end means. Only exit code 0 is a success, also
// when somebody wanted to stop it too late.
func judgeEnd(e end, cause error) outcome {
	out := outcome{state: operation.Failed}
	switch {
	case e.broken != nil:
		return e.broken.judge(cause)
	case e.signal != 0:
		out.failure = &operation.Failure{Title: "Barman was killed", Detail: "barman was ended by " + unix.SignalName(e.signal) + " from outside; what it had started was ended"}
	case e.code == 0:
		return outcome{state: operation.Succeeded, exit: &e.code}
	default:
		out.exit = &e.code
		out.failure = &operation.Failure{Title: "Barman failed", Detail: fmt.Sprintf("barman ended with exit code %d; its output says why", e.code)}
	}
	if cause != nil {
		out.state = operation.Interrupted // "canceled" if that stands in the record
		out.failure = because(cause, "Barman was ended with it, and nothing of it runs any more")
	}
	return out
}

func stopped(ctx context.Context) outcome {
	return outcome{state: operation.Interrupted, failure: because(context.Cause(ctx), "Barman had not been started, nothing was done")}
}

func because(cause error, effect string) *operation.Failure {
	title := "Interrupted"
	if errors.Is(cause, errCanceled) {
		title = "Canceled"
	}
	return &operation.Failure{Title: title, Detail: cause.Error() + "; " + effect}
}

// Finish records the end of the operation whose runner was the main process
// of systemd's unit invocation (ExecStopPost=, systemd.service(5)); result, code
// and status are SERVICE_RESULT, EXIT_CODE and EXIT_STATUS. What Barman still does
// gets grace to be wound up. It does nothing if the runner recorded its end itself.
func Finish(store *operation.Store, invocation, result, code, status string, grace time.Duration) error {
	ops, err := store.Unsettled()
	if err != nil {
		return err
	}
	for _, op := range ops {
		if op.Invocation == invocation && invocation != "" {
			cause := fmt.Sprintf("its runner's unit ended with result %q (%s %s); what it had started was ended, and Barman's work is not complete", result, code, status)
			if _, err := store.Settle(op.ID, grace, grace, cause); err != nil {
				return err
			}
		}
	}
	return nil
}
