package main

import (
	"errors"
	"flag"
	"fmt"

	"barback/runner/operation"
)

// peerStatus is "pg-backup-api status": its words on standard output, the reason on standard error.
func peerStatus(c *call) error {
	err := status(c)
	if usage := usageError(""); err == nil || errors.Is(err, flag.ErrHelp) || errors.As(err, &usage) {
		return err
	}
	_, _ = fmt.Fprintln(c.stdout, "The Postgres Backup API does not appear to be available.")
	return err
}

// peerWait is "pg-backup-api recovery" and its like. pg-backup-api calls itself by them to run what a
// POST recorded, and they last until its end. Here an operation has a runner from the moment of its
// 202 on, so that running it from here would run it twice. What is left is to wait for the end,
// and to end as the operation did.
func peerWait(kind string) func(*call) error {
	return func(c *call) error {
		id := c.flags.String("operation-id", "", "`ID` of the operation")
		server := new(string)
		if kind != "config_update" {
			server = c.flags.String("server-name", "", "`name` of the server")
		}
		if err := c.parse(0, 0); err != nil {
			return err
		}
		if *id == "" || kind != "config_update" && *server == "" {
			return usageError("an option is missing")
		}
		store, _, err := c.store(0, 0)
		if err != nil {
			return err
		}
		op, err := peerFind(store, kind, *server, *id)
		if err != nil {
			return err
		}
		return waitFor(c, store, op)
	}
}

// peerFind says what is wrong with an operation that is not the one meant.
func peerFind(store *operation.Store, kind, server, name string) (operation.Operation, error) {
	op, err := store.Find(server, name)
	switch {
	case errors.Is(err, operation.ErrNotFound):
		return op, fmt.Errorf("%w: %s; \"barback op list --all\" lists them", operation.ErrNotFound, name)
	case err != nil:
		return op, err
	case op.Type != kind && op.State != operation.Damaged:
		return op, fmt.Errorf("operation %s is a %s, not a %s", name, op.Type, kind)
	case op.Server != server && op.State != operation.Damaged:
		return op, fmt.Errorf("operation %s is one of server %q, not of %q", name, op.Server, server)
	}
	return op, nil
}
