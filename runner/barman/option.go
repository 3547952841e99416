package barman

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Option is a member of a request. Most become an option of Barman's command, of the same name with dashes.
type Option struct {
	Name  string
	Since string // first Barman whose command has it; empty: all
	Works string // first Barman in which it does what it is meant to, if that is a later one
	args  reader // nil: the plan reads it
}

// reader makes arguments of a member.
type reader func(r Request, name string) ([]string, error)

// long is a member's name as Barman's command has it.
func long(name string) string { return "--" + strings.ReplaceAll(name, "_", "-") }

// options makes the arguments of those that a request has, in the order of the table.
func (r Request) options(list []Option) ([]string, error) {
	var args []string
	for _, o := range list {
		if o.args == nil {
			continue
		}
		more, err := o.args(r, o.Name)
		if err != nil {
			return nil, err
		}
		args = append(args, more...)
	}
	return args, nil
}

// flag is an option without a value: true gives it.
func flag(r Request, name string) ([]string, error) {
	var on bool
	if _, err := r.get(name, &on); err != nil || !on {
		return nil, err
	}
	return []string{long(name)}, nil
}

// pair is an option that has a counterpart: true is --name, false is --no-name. The counterpart
// may be given by its own name, too.
func pair(r Request, name string) ([]string, error) {
	var on, off bool
	given, err := r.get(name, &on)
	if err != nil {
		return nil, err
	}
	if _, err := r.get("no_"+name, &off); err != nil {
		return nil, err
	}
	switch {
	case off && given:
		return nil, invalid(notMet, "no_"+name, "excludes %s", name)
	case off || given && !on:
		return []string{long("no_" + name)}, nil
	case on:
		return []string{long(name)}, nil
	}
	return nil, nil
}

// count is a whole number of at least least.
func count(least int) reader {
	return func(r Request, name string) ([]string, error) {
		n, ok, err := r.number(name, least)
		if err != nil || !ok {
			return nil, err
		}
		return []string{fmt.Sprintf("%s=%d", long(name), n)}, nil
	}
}

// oneOf is a word of a list.
func oneOf(words ...string) reader {
	return func(r Request, name string) ([]string, error) {
		s, ok, err := r.text(name)
		if err != nil || !ok {
			return nil, err
		}
		if !slices.Contains(words, s) {
			last := len(words) - 1
			return nil, invalid("A value is not allowed", name, "must be %s or %s", strings.Join(words[:last], ", "), words[last])
		}
		return []string{long(name) + "=" + s}, nil
	}
}

// like is a text of a form that is described in words.
func like(form func() *regexp.Regexp, words string) reader {
	return func(r Request, name string) ([]string, error) {
		s, ok, err := r.text(name)
		if err != nil || !ok {
			return nil, err
		}
		if !form().MatchString(s) {
			return nil, invalid("A value is not allowed", name, "must be %s", words)
		}
		return []string{long(name) + "=" + s}, nil
	}
}

// given reports whether the member is there and not null.
func (r Request) given(name string) bool {
	raw := string(bytes.TrimSpace(r.Body[name]))
	return raw != "" && raw != "null"
}

// has reports whether the member is given, and not false.
func (r Request) has(name string) bool {
	return r.given(name) && string(bytes.TrimSpace(r.Body[name])) != "false"
}

// atMostOne refuses a request with two members of which each excludes the others.
func (r Request) atMostOne(names []string) error {
	first := ""
	for _, name := range names {
		switch {
		case !r.has(name):
		case first != "":
			return invalid(notMet, name, "excludes %s", first)
		default:
			first = name
		}
	}
	return nil
}

// unknown refuses members that the type does not have, but for those that every request may have.
func (r Request) unknown(k Kind) error {
	for name := range r.Body {
		if name != "type" && !slices.ContainsFunc(k.Options, func(o Option) bool { return o.Name == name }) {
			return invalid("A member is not known", token(name), "%s has no such member; it has %s", k.Name, strings.Join(k.members(), ", "))
		}
	}
	return nil
}

func (k Kind) members() []string {
	names := []string{"type"}
	for _, o := range k.Options {
		names = append(names, o.Name)
	}
	return names
}

// digits reads a whole number that may be written as a string.
func (r Request) digits(name string) (string, bool, error) {
	if !r.given(name) {
		return "", false, nil
	}
	var n json.Number // takes both
	if err := json.Unmarshal(r.Body[name], &n); err != nil || strings.Trim(string(n), "0123456789") != "" || n == "" || len(n) > 20 {
		return "", true, invalid("A value is not allowed", name, "must be a whole number, 0 or more")
	}
	return string(n), true, nil
}

// copying are options of the commands that copy.
var copying = []Option{
	{Name: "retry_times", args: count(0)}, {Name: "retry_sleep", args: count(0)}, {Name: "no_retry", args: flag},
	{Name: "jobs_start_batch_size", Since: "3.5", args: count(1)}, {Name: "jobs_start_batch_period", Since: "3.5", args: count(1)},
}
