package barmanapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"barback/runner/barman"
	"barback/runner/barman/manual"
)

// call is a command with the values that it was called with.
type call struct {
	manual.Command
	kind   barman.Kind // the type of operation that it is; without a name: none
	values map[string][]string
	more   map[string][]string // members of the type that the command has no parameter for
}

// names are all that the command is called.
func (c *call) names() []string { return append([]string{c.Name}, c.Aliases...) }

// newCall gives a command its values, however its parameters are spelled. None may be left that nobody reads.
func newCall(command manual.Command, v Values) (*call, error) {
	c := &call{Command: command, values: map[string][]string{}, more: map[string][]string{}}
	c.kind, _ = barman.Doing(c.names()...)
	for name, values := range v {
		if name == "token" {
			continue
		}
		p, found := c.Find(name)
		to := c.values
		if !found || p.Name == "help" {
			member, ok := c.kind.Member(name)
			if !ok {
				return nil, errParameters
			}
			p, to = manual.Parameter{Name: member}, c.more
		}
		if to[p.Name] != nil || len(values) == 0 {
			return nil, errParameters
		}
		to[p.Name] = values
	}
	for _, p := range c.Parameters {
		values := c.values[p.Name]
		switch {
		case p.Required && (len(values) == 0 || values[0] == ""):
			return nil, refuse(http.StatusUnauthorized, typeNotFound, "Please send a required parameter.(%s)", p.Name)
		case values == nil:
			continue
		}
		if err := c.check(p, values); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// check lets through values that can be an argument of that parameter.
func (c *call) check(p manual.Parameter, values []string) error {
	if p.Flag() {
		if len(values) != 1 || !is(values[0], "TRUE") && !is(values[0], "FALSE") {
			return wrong(p.Name, "is TRUE or FALSE")
		}
		return nil
	}
	if len(values) > 1 && p.Positional() && !p.Repeats() {
		return errParameters
	}
	for _, s := range values {
		if p.Choices != nil && !slices.Contains(p.Choices, s) {
			return wrong(p.Name, "must be one of "+strings.Join(p.Choices, ", "))
		}
		if err := barman.CheckWord(p.Name, s); err != nil {
			return err
		}
		if s == "" {
			return wrong(p.Name, "is empty")
		}
	}
	return nil
}

func is(value, word string) bool { return strings.EqualFold(value, word) }

func wrong(name, why string) error {
	return refuse(http.StatusForbidden, typeInvalid, "%s %s", name, why)
}

// given reports whether an option is given, and not FALSE.
func (c *call) given(name string) bool {
	values := c.values[name]
	return len(values) > 0 && !is(values[0], "FALSE")
}

// servers are those that the call is about; none: it is about all, or none.
func (c *call) servers() []string {
	for _, p := range c.Parameters {
		if p.Positional() && manual.Key(p.Name) == "servername" {
			return c.values[p.Name]
		}
	}
	return nil
}

// argv are the words of the command. An option and its value are one, so that no value is taken for an option; no
// positional argument begins with a dash.
func (c *call) argv() ([]string, error) {
	words := []string{c.Name}
	var arguments []string
	gap := false
	for _, p := range c.Parameters {
		values := c.values[p.Name]
		switch {
		case p.Positional():
			if gap && values != nil {
				return nil, errParameters // it would take the place of the one before
			}
			gap = gap || values == nil
			arguments = append(arguments, values...)
		case p.Flag():
			if c.given(p.Name) {
				words = append(words, "--"+p.Name)
			}
		case p.Nargs != "" && p.Nargs != "?" && values != nil:
			return nil, refuse(http.StatusUnprocessableEntity, "Not allowed here", "%s takes several words, which barback has no way to give it", p.Name)
		default:
			for _, s := range values {
				words = append(words, "--"+p.Name+"="+s)
			}
		}
	}
	return append(words, arguments...), nil
}

// request asks for the operation that the call is.
func (c *call) request() (barman.Request, json.RawMessage, error) {
	r := barman.Request{Type: c.kind.Name, Body: map[string]json.RawMessage{"type": quote(c.kind.Name)}}
	for _, p := range c.Parameters {
		values := c.values[p.Name]
		if values == nil || p.Flag() && !c.given(p.Name) {
			continue
		}
		if !c.kind.Instance && manual.Key(p.Name) == "servername" {
			if len(values) != 1 || values[0] == "all" {
				return r, nil, refuse(http.StatusUnprocessableEntity, "Not allowed here", "%s is done for one server at a time: each is an operation of its own", c.Name)
			}
			r.Server = values[0]
			continue
		}
		if err := c.member(r.Body, p, values); err != nil {
			return r, nil, err
		}
	}
	for name, values := range c.more {
		if err := c.member(r.Body, manual.Parameter{Name: name}, values); err != nil {
			return r, nil, err
		}
	}
	if c.kind.Command == "recover" && r.Body["remote_ssh_command"] == nil && r.Body["target"] == nil && r.Body["local"] == nil {
		r.Body["local"] = json.RawMessage("true") // as Barman takes it
	}
	raw, err := json.Marshal(r.Body)
	return r, raw, err
}

// member puts one parameter into the body of a request.
func (c *call) member(body map[string]json.RawMessage, p manual.Parameter, values []string) error {
	switch {
	case c.kind.Command == "config-update" && p.Positional() && p.Spellings == nil && manual.Key(p.Name) == "jsonchanges":
		if !json.Valid([]byte(values[0])) {
			return wrong(p.Name, "must be JSON: an array of objects, one per section to change")
		}
		body["changes"] = json.RawMessage(values[0])
		return nil
	case c.kind.Command == "keep" && p.Name == "release":
		if body["target"] != nil {
			return errParameters
		}
		body["target"] = quote("release")
		return nil
	case c.kind.Command == "recover" && p.Name == "tablespace":
		moved := map[string]string{}
		for _, s := range values {
			name, dir, ok := strings.Cut(s, ":")
			if !ok || moved[name] != "" {
				return wrong(p.Name, "must be NAME:FOLDER, once for each")
			}
			moved[name] = dir
		}
		body["tablespaces"], _ = json.Marshal(moved) // texts have no error
		return nil
	}
	name, ok := c.kind.Member(p.Name)
	if !ok {
		return refuse(http.StatusUnprocessableEntity, "Not allowed here", "barback does not do %s with %s", c.Name, p.Name)
	}
	if len(values) != 1 || body[name] != nil {
		return errParameters
	}
	switch s := values[0]; {
	case is(s, "TRUE") || is(s, "FALSE"):
		body[name] = json.RawMessage(strings.ToLower(s))
	case c.kind.Counts(name) && s != "" && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0'):
		body[name] = json.RawMessage(s)
	default:
		body[name] = quote(s)
	}
	return nil
}

func quote(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a text has no error
	return b
}

func quoted(words []string) string { return fmt.Sprintf("%q", words) }
