package manual

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"barback/runner/pattern"
)

var (
	aliased = pattern.New(`^(\S+) \((.+)\)$`)
	closed  = pattern.New(`^\[?\{(.*)\}\]?$`)
)

// ParseCommands reads "barman --help": the names of all commands, with their aliases and what is said of them.
func ParseCommands(help string) (Commands, error) {
	p, err := parsePage(help)
	if err != nil {
		return nil, err
	}
	var all []string
	var list Commands
	for _, e := range p.entries {
		m := aliased().FindStringSubmatch(e.title)
		switch {
		case e.section != positionals:
		case closed().MatchString(e.title):
			all = append(all, choices(e.title)...)
		case m != nil:
			c := Command{Name: m[1], Description: e.text}
			for alias := range strings.SplitSeq(m[2], ", ") {
				if alias != c.Name { // Barman has such a one
					c.Aliases = append(c.Aliases, alias)
				}
			}
			list = append(list, c)
		default:
			list = append(list, Command{Name: e.title, Description: e.text})
		}
	}
	for _, name := range all { // one of which nothing is said stands here alone
		if _, ok := list.Find(name); !ok {
			list = append(list, Command{Name: name})
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("names no commands in its help")
	}
	slices.SortFunc(list, func(a, b Command) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// Describe adds what "barman COMMAND --help" says.
func (c *Command) Describe(help string) error {
	p, err := parsePage(help)
	if err != nil {
		return err
	}
	c.Description = cmp.Or(p.description, c.Description)
	c.Parameters = make([]Parameter, 0, len(p.entries))
	for _, e := range p.entries {
		if e.title[0] == '-' {
			c.Parameters = append(c.Parameters, option(e))
		} else {
			c.Parameters = append(c.Parameters, Parameter{Name: e.title, Choices: choices(e.title), Description: e.text})
		}
	}
	c.readUsage(p.usage)
	return nil
}

// option is one from its entry: "-o DIR, --output DIR", "-o, --output DIR" since Python 3.13, "--reuse [{a,b}]".
func option(e entry) Parameter {
	o := Parameter{Description: e.text}
	var value string
	for i, part := range strings.Split(e.title, ", -") {
		if i > 0 {
			part = "-" + part
		}
		var spelling string
		spelling, value, _ = strings.Cut(part, " ")
		o.Spellings = append(o.Spellings, spelling)
		if len(strings.TrimLeft(spelling, "-")) > len(o.Name) {
			o.Name = strings.TrimLeft(spelling, "-")
		}
	}
	if value == "" {
		o.Nargs = "0"
		return o
	}
	o.Metavar, _, _ = strings.Cut(strings.Trim(value, "[]"), " ")
	o.Nargs = nargs(value, o.Metavar)
	if o.Choices = choices(o.Metavar); o.Choices != nil {
		o.Metavar = ""
	}
	return o
}

// nargs tells how often a value is taken from how argparse writes it down.
func nargs(written, name string) string {
	switch written {
	case name:
		return ""
	case "[" + name + "]":
		return "?"
	case name + " [" + name + " ...]":
		return "+"
	case "[" + name + " ...]", "[" + name + " [" + name + " ...]]":
		return "*"
	}
	return strconv.Itoa(len(strings.Fields(written)))
}

func choices(title string) []string {
	if m := closed().FindStringSubmatch(title); m != nil {
		return strings.Split(m[1], ",")
	}
	return nil
}

// readUsage takes from the usage what is only there: how often a positional argument is taken, and which options must be given.
func (c *Command) readUsage(usage string) {
	for i := range slices.Backward(c.Parameters) {
		p := &c.Parameters[i]
		if !p.Positional() {
			continue
		}
		for _, written := range []string{p.Name + " [" + p.Name + " ...]", "[" + p.Name + " [" + p.Name + " ...]]", "[" + p.Name + " ...]", "[" + p.Name + "]", p.Name} {
			if before, ok := strings.CutSuffix(usage, " "+written); ok {
				usage, p.Nargs = before, nargs(written, p.Name)
				break
			}
		}
		p.Required = p.Nargs != "?" && p.Nargs != "*"
	}
	given := strings.Fields(outside(usage))
	for i := range c.Parameters {
		p := &c.Parameters[i]
		p.Required = p.Required || slices.ContainsFunc(p.Spellings, func(s string) bool { return slices.Contains(given, s) })
	}
}

// outside is what stands in no brackets: what is in square ones may be left away, and in
// round ones is a choice.
func outside(usage string) string {
	depth := 0
	return strings.Map(func(r rune) rune {
		switch r {
		case '[', '(':
			depth++
		case ']', ')':
			depth--
			return ' '
		}
		if depth > 0 {
			return -1
		}
		return r
	}, usage)
}
