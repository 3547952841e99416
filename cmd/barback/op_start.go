package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"barback/runner/barman"
	"barback/runner/operation"
)

// opStart is "barback op start": the same checks as a POST, from the command line.
func opStart(c *call) error {
	server := c.flags.String("server", "", "the `server`, HOST:NAME where there are several Barman hosts; none for an operation of the whole instance")
	wait := c.flags.Bool("wait", false, "wait for the end, and end as the operation does")
	store, cfg, err := c.store(1, -1)
	if err != nil {
		return err
	}
	if err := ownState(cfg, "op start"); err != nil {
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
		fleet := cfg.barman()
		if *server, err = fleet.Canonical(*server, func(string) bool { return true }); err != nil {
			return err
		}
		if _, err := fleet.Server(*server); err != nil {
			return err
		}
	}
	op, err := startOperation(cfg, store, kind, *server, body, c.who)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(c.stdout, op.ID)
	if *wait {
		return waitFor(c, store, op)
	}
	return nil
}

func startOperation(cfg config, store *operation.Store, kind barman.Kind, server string, body map[string]json.RawMessage, who string) (operation.Operation, error) {
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
	op.RequestedBy = "local:" + who
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
