package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner"
	"barback/runner/barman"
	"barback/runner/operation"
)

// opList is "barback op list".
func opList(c *call) error {
	server := c.flags.String("server", "", "only of this `server`")
	all := c.flags.Bool("all", false, "finished ones, too")
	store, _, err := c.store(0, 0)
	if err != nil {
		return err
	}
	list := store.Active
	if *all {
		list = store.All
	}
	ops, err := list()
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "ID\tSERVER\tTYPE\tSTATE\tCREATED\tENDED")
	for _, op := range ops {
		if *server == "" || op.Server == *server {
			ended := ""
			if !op.EndedAt.IsZero() {
				ended = op.EndedAt.Format(time.RFC3339)
			}
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", op.ID, op.Server, op.Type, op.State, op.CreatedAt.Format(time.RFC3339), ended)
		}
	}
	return t.Flush()
}

// opShow is "barback op show".
func opShow(c *call) error {
	op, _, err := c.operation()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(op, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "%s\n", data)
	return err
}

// opOutput is "barback op output".
func opOutput(c *call) error {
	follow := c.flags.Bool("f", false, "go on until the operation has ended")
	op, store, err := c.operation()
	if err != nil {
		return err
	}
	if !*follow {
		f, err := store.Output(op.ID)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		_, err = io.Copy(c.stdout, f)
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	_, err = store.Follow(ctx, op.ID, 0, func(p []byte) error {
		_, err := c.stdout.Write(p)
		return err
	})
	return err
}

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

// opCancel is "barback op cancel".
func opCancel(c *call) error {
	op, store, err := c.operation()
	if err != nil {
		return err
	}
	if op, err = runner.Cancel(store, op.ID, whoami()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, op.ID, op.State)
	return err
}

// opStart is "barback op start": the same checks as a POST, from the command line.
func opStart(c *call) error {
	server := c.flags.String("server", "", "the `server`; none for an operation of the whole instance")
	wait := c.flags.Bool("wait", false, "wait for the end, and end as the operation does")
	store, cfg, err := c.store(1, -1)
	if err != nil {
		return err
	}
	if err := ownState(cfg); err != nil {
		return err
	}
	body, err := members(c.args[1:])
	if err != nil {
		return err
	}
	kind, ok := barman.KindOf(c.args[0], *server == "")
	if !ok {
		return usageError(fmt.Sprintf("%q is none of the types %s; --server names the server, and without it: %s", c.args[0],
			strings.Join(barman.Names(false), ", "), strings.Join(barman.Names(true), ", ")))
	}
	if *server != "" {
		if _, err := cfg.barman().Server(*server); err != nil {
			return err
		}
	}
	op, err := startOperation(cfg, store, kind, *server, body)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(c.stdout, op.ID)
	if *wait {
		return waitFor(c, store, op)
	}
	return nil
}

func startOperation(cfg config, store *operation.Store, kind barman.Kind, server string, body map[string]json.RawMessage) (operation.Operation, error) {
	req := barman.Request{Type: kind.Name, Server: server, Body: body}
	plan, err := cfg.barman().Plan(kind, req)
	if err != nil {
		return operation.Operation{}, err
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return operation.Operation{}, err
	}
	op, err := plan.Operation(req, raw)
	if err != nil {
		return op, err
	}
	op.RequestedBy = whoami()
	return cfg.launcher(store).Start(context.Background(), op)
}

// members reads KEY=VALUE arguments: a value that is JSON is taken as such, any other as a string.
func members(args []string) (map[string]json.RawMessage, error) {
	body := map[string]json.RawMessage{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, usageError(fmt.Sprintf("%q is not KEY=VALUE", arg))
		}
		raw := json.RawMessage(value)
		if !json.Valid(raw) {
			quoted, err := json.Marshal(value)
			if err != nil {
				return nil, err
			}
			raw = quoted
		}
		body[key] = raw
	}
	return body, nil
}

// ownState makes sure that runners and records become those of the state directory's owner.
func ownState(cfg config) error {
	st, err := os.Stat(cfg.StateDir)
	if err != nil {
		return err
	}
	owner := int(st.Sys().(*syscall.Stat_t).Uid)
	if owner == os.Geteuid() {
		return nil
	}
	name := fmt.Sprint(owner)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return fmt.Errorf("operations are started as the owner of %s: sudo -u %s barback op start …", cfg.StateDir, name)
}

func whoami() string {
	if u, err := user.Current(); err == nil {
		return "local:" + u.Username
	}
	return fmt.Sprintf("local:%d", os.Geteuid())
}

// store reads flags and opens the state directory.
func (c *call) store(minArgs, maxArgs int) (*operation.Store, config, error) {
	if err := c.parse(minArgs, maxArgs); err != nil {
		return nil, config{}, err
	}
	cfg, err := loadConfig(*c.configPath)
	if err != nil {
		return nil, cfg, err
	}
	store, err := operation.Open(cfg.StateDir)
	return store, cfg, err
}

// operation finds the operation that the first argument names.
func (c *call) operation() (operation.Operation, *operation.Store, error) {
	store, _, err := c.store(1, 1)
	if err != nil {
		return operation.Operation{}, nil, err
	}
	id, err := operation.ParseID(c.args[0])
	if err != nil {
		return operation.Operation{}, nil, err
	}
	op, err := store.Load(id)
	if errors.Is(err, operation.ErrNotFound) {
		err = fmt.Errorf("%w: %s", err, id)
	}
	return op, store, err
}
