package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner/operation"
)

// opWait is "barback op wait": it ends as the operation does.
func opWait(c *call) error {
	op, store, err := c.operation()
	if err != nil {
		return err
	}
	return waitFor(c, store, op)
}

// waitFor shows how an operation goes on: one line that is drawn anew on a terminal, else a line
// for each change of its state.
func waitFor(c *call, store *operation.Store, op operation.Operation) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	terminal := isTerminal(c.stderr)
	shown := operation.State("")
	for {
		switch {
		case terminal:
			_, _ = fmt.Fprintf(c.stderr, "\r\x1b[K%s  %s %s  %s%s", op.ID, op.Type, op.Server, op.State, bar(store, op))
		case op.State != shown:
			_, _ = fmt.Fprintf(c.stderr, "%s %s\n", op.ID, op.State)
		}
		shown = op.State
		if op.State.Final() || ctx.Err() != nil {
			break
		}
		tick, cancel := context.WithTimeout(ctx, time.Second)
		var err error
		op, err = store.Wait(tick, op.ID)
		cancel()
		if err != nil {
			return err
		}
	}
	if terminal {
		_, _ = fmt.Fprintln(c.stderr)
	}
	if op.State == operation.Succeeded {
		for _, text := range op.Result.Warnings {
			_, _ = fmt.Fprintf(c.stderr, "warning: %s\n", text)
		}
		return nil
	}
	if op.Error != nil {
		return fmt.Errorf("operation %s %s: %s", op.ID, op.State, op.Error.Detail)
	}
	return fmt.Errorf("operation %s is %s", op.ID, op.State)
}

// bar draws how far the copy is.
func bar(store *operation.Store, op operation.Operation) string {
	p, ok := store.Progress(op.ID)
	if !ok || op.State.Final() {
		return ""
	}
	const width = 24
	text := fmt.Sprintf("  %s  %d MiB", p.Phase, p.BytesDone>>20)
	if percent, ok := p.Percent(); ok {
		full := int(percent / 100 * width)
		text = fmt.Sprintf("  [%s%s] about %.0f %% of %d MiB, %s", strings.Repeat("#", full), strings.Repeat(".", width-full), percent, p.BytesTotal>>20, p.Phase)
	}
	if eta, ok := p.ETA(); ok {
		text += ", until about " + eta.Local().Format("15:04:05")
	}
	return text
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS) // #nosec G115 -- a descriptor
	return err == nil
}
