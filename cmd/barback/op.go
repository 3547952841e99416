package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner"
	"barback/runner/operation"
)

// opList is "barback op list".
func opList(c *call) error {
	server := c.flags.String("server", "", "only of this `server`, HOST:NAME where there are several Barman hosts")
	all := c.flags.Bool("all", false, "finished ones, too")
	limit := c.flags.Int("limit", 0, "the newest `n` alone")
	store, _, err := c.store(0, 0)
	if err != nil {
		return err
	}
	ops, more, err := store.List(operation.Query{Limit: max(*limit, 0), Keep: func(op operation.Summary) bool {
		return (*all || !op.State.Final()) && (*server == "" || op.Server == *server)
	}})
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "ID\tSERVER\tTYPE\tSTATE\tCREATED\tENDED")
	for _, op := range ops {
		ended := ""
		if !op.EndedAt.IsZero() {
			ended = op.EndedAt.Format(time.RFC3339)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", op.ID, op.Server, op.Type, op.State, op.CreatedAt.Format(time.RFC3339), ended)
	}
	if err := t.Flush(); err != nil || !more {
		return err
	}
	_, err = fmt.Fprintln(c.stderr, "there are older ones")
	return err
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

// opOutput is "barback op output". A terminal obeys control characters, and Barman prints names that
// others chose: it gets none, unless somebody asks for them. A file or a pipe gets what was printed.
func opOutput(c *call) error {
	follow := c.flags.Bool("f", false, "go on until the operation has ended")
	raw := c.flags.Bool("raw", false, "control characters as they are, to a terminal, too")
	op, store, err := c.operation()
	if err != nil {
		return err
	}
	text := isTerminal(c.stdout) && !*raw
	if !*follow {
		out, err := store.Printed(op, 0, text)
		if err != nil {
			return err
		}
		defer func() { _ = out.Close() }()
		_, err = io.Copy(c.stdout, out)
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	_, err = store.Follow(ctx, op.ID, 0, text, func(p operation.Piece) error {
		_, err := c.stdout.Write(p.Bytes)
		return err
	})
	return err
}

// opCancel is "barback op cancel".
func opCancel(c *call) error {
	op, store, err := c.operation()
	if err != nil {
		return err
	}
	if op, err = runner.Cancel(store, op.ID, "local:"+c.who); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, op.ID, op.State)
	return err
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
	if err := c.asOwner(cfg); err != nil {
		return nil, cfg, err
	}
	store, err := cfg.store()
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
