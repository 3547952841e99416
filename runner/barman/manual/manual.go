// Package manual holds what an installed Barman tells of itself, as data: its commands with their
// parameters, as its help has them (ParseCommands, ParseCommand), and the settings of its configuration, as
// its manual page has them (ParseSettings). It reads text that others fetched and starts nothing. No
// name of a command or a parameter is written in it but in the table of Conduct, which holds what
// no help tells.
//
// A help does not tell the type of a value and its default, whether an option may be given several times (of
// Barman's only --tablespace may), options that hide themselves, the choices of a value that has a name
// of its own, and the name of a positional argument that shows its choices instead. Barman 3.4 to 3.20 have none
// of the latter three.
package manual

import (
	"slices"
	"strings"
)

// Command is one of Barman's commands.
type Command struct {
	Name        string      `json:"name"`
	Aliases     []string    `json:"aliases,omitempty"`
	Description string      `json:"description"`
	Parameters  []Parameter `json:"parameters"` // the positional ones first, in their order; then the options, --help among them
}

// Parameter is one argument or option of a command.
type Parameter struct {
	Name        string   `json:"name"`                // as the help writes it, an option's longest spelling without its dashes: "server_name", "remote-ssh-command"
	Spellings   []string `json:"spellings,omitempty"` // of an option, as the help orders them; none: a positional argument
	Nargs       string   `json:"nargs"`               // as argparse says it: "" one value, "0" none, "?" one or none, "+" one or more, "*" any number
	Required    bool     `json:"required"`
	Choices     []string `json:"choices,omitempty"`
	Metavar     string   `json:"metavar,omitempty"` // what the help calls an option's value, if it gives no choices
	Description string   `json:"description,omitempty"`
}

// Positional reports whether the parameter stands by its place.
func (p Parameter) Positional() bool { return len(p.Spellings) == 0 }

// Flag reports whether the parameter takes no value.
func (p Parameter) Flag() bool { return p.Nargs == "0" }

// Repeats reports whether the parameter takes several values at one place. Whether an option may be
// given several times is not known.
func (p Parameter) Repeats() bool { return p.Nargs == "+" || p.Nargs == "*" }

// Key is what the spellings of one name have in common: SERVERNAME, server_name and --server-name.
func Key(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
}

// Commands are those of one Barman, sorted by name.
type Commands []Command

// Find is the command of this name or alias.
func (list Commands) Find(name string) (Command, bool) {
	i := slices.IndexFunc(list, func(c Command) bool { return c.Name == name || slices.Contains(c.Aliases, name) })
	if i < 0 {
		return Command{}, false
	}
	return list[i], true
}

// Find is the parameter of this name, however it is spelled: Key tells.
func (c Command) Find(name string) (Parameter, bool) {
	i := slices.IndexFunc(c.Parameters, func(p Parameter) bool { return Key(p.Name) == Key(name) })
	if i < 0 {
		return Parameter{}, false
	}
	return c.Parameters[i], true
}

// Setting is a parameter of Barman's configuration.
type Setting struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Scope       Scope  `json:"scope"`
}

// Scope is where a setting may stand.
type Scope struct{ Global, Server, Model bool }

// String is the scope as a manual writes it: "Global/Server".
func (s Scope) String() string {
	var in []string
	for _, at := range []struct {
		name string
		is   bool
	}{{"Global", s.Global}, {"Server", s.Server}, {"Model", s.Model}} {
		if at.is {
			in = append(in, at.name)
		}
	}
	return strings.Join(in, "/")
}

// MarshalText is String.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote, and takes blanks and any case: a manual has them.
func (s *Scope) UnmarshalText(text []byte) error {
	*s = Scope{}
	for word := range strings.SplitSeq(string(text), "/") {
		switch strings.ToLower(strings.TrimSpace(word)) {
		case "global":
			s.Global = true
		case "server":
			s.Server = true
		case "model":
			s.Model = true
		}
	}
	return nil
}
