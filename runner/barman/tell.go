package barman

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"barback/runner/operation"
)

// Told is what a command of Barman's that only reads printed for people.
type Told struct {
	Exit   int
	Text   string
	Stderr string // what it complained of when it failed
}

// Tell runs a command that only reads, and that ends by itself. One that fails has told something, too.
func (c *Client) Tell(timeout time.Duration, args ...string) (Told, error) {
	argv, err := c.argv(args...)
	if err != nil {
		return Told{}, err
	}
	out, err := c.Host.output(timeout, argv)
	told := Told{Text: string(out)}
	e, asked := errors.AsType[*AskError](err)
	switch {
	case asked && e.exit > 0:
		told.Exit, told.Stderr = e.exit, e.stderr
	case asked:
		e.Detail = "barman " + args[0] + " " + e.Detail
		return told, e
	case err != nil:
		return told, &BrokenError{err}
	}
	return told, nil
}

// CommandType is the type of an operation that has no [Kind]: a command of Barman's as it stands. Nobody can ask for
// one by its name; barmanapi's dialect starts some.
const CommandType = "command"

// PlanCommand is the plan of a command as it stands. Whoever makes one has checked every word of it.
func (c *Client) PlanCommand(server string, args ...string) (Plan, Request, json.RawMessage, error) {
	argv, err := c.argv(args...)
	if err != nil {
		return Plan{}, Request{}, nil, err
	}
	raw, err := json.Marshal(map[string]any{"type": CommandType, "command": args})
	return Plan{Command: argv}, Request{Type: CommandType, Server: server}, raw, err
}

// CommandOf is the command of an operation, as Barman calls it.
func CommandOf(op operation.Operation) string {
	for _, k := range Kinds {
		if k.Name == op.Type {
			return k.Command
		}
	}
	words := op.Command
	for i := 1; i < len(words); i++ {
		switch word := words[i]; {
		case word == "-c" || word == "-f":
			i++
		case !strings.HasPrefix(word, "-"):
			return word
		}
	}
	return strings.ReplaceAll(op.Type, "_", "-")
}

// CheckWord says why a text cannot be an argument.
func CheckWord(member, s string) error { return checkWord(member, s) }

// Doing is the type of operation that a command of Barman's stands for, by one of its names.
func Doing(names ...string) (Kind, bool) {
	for _, k := range Kinds {
		for _, name := range names {
			if k.Command == name && !k.Reports() {
				return k, true
			}
		}
	}
	return Kind{}, false
}

// Member is the name of the type's member that is an option of that name: dashes and underscores are the
// same; "no-" in front is the opposite of a member that has one.
func (k Kind) Member(name string) (string, bool) {
	name = strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	for _, o := range k.Options {
		if strings.ReplaceAll(o.Name, "_", "") == strings.ReplaceAll(name, "_", "") {
			return o.Name, true
		}
	}
	for _, o := range k.Options {
		if "no_"+o.Name == name && o.pairs() {
			return name, true
		}
	}
	return "", false
}

// pairs reports whether the option has a counterpart.
func (o Option) pairs() bool {
	if o.args == nil {
		return false
	}
	args, err := o.args(Request{Body: map[string]json.RawMessage{"no_" + o.Name: json.RawMessage("true")}}, o.Name)
	return err == nil && len(args) == 1
}

// Counts reports whether the member is a number.
func (k Kind) Counts(member string) bool {
	for _, o := range k.Options {
		if o.Name == member && o.args != nil {
			args, err := o.args(Request{Body: map[string]json.RawMessage{member: json.RawMessage("1")}}, member)
			return err == nil && len(args) == 1
		}
	}
	return false
}
