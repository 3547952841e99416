package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"barback/handler/auth"
)

// userAllow is "barback user allow".
func userAllow(c *call) error {
	return c.addPatterns(func(l *auth.Lists) *[]string { return &l.Access })
}

// userDeny is "barback user deny".
func userDeny(c *call) error {
	return c.addPatterns(func(l *auth.Lists) *[]string { return &l.Deny })
}

// addPatterns adds patterns to one list of an identity, each once.
func (c *call) addPatterns(list func(*auth.Lists) *[]string) error {
	users, err := c.users(2, -1)
	if err != nil {
		return err
	}
	for _, p := range c.args[1:] {
		if err := auth.CheckPattern(p); err != nil {
			return usageError(err.Error())
		}
	}
	return users.Change(c.args[0], func(l *auth.Lists) bool {
		into := list(l)
		for _, p := range c.args[1:] {
			if !slices.Contains(*into, p) {
				*into = append(*into, p)
			}
		}
		return true
	})
}

// userRemove is "barback user remove".
func userRemove(c *call) error {
	users, err := c.users(1, 1)
	if err != nil {
		return err
	}
	all, err := users.All()
	if err != nil {
		return err
	}
	if _, ok := all[c.args[0]]; !ok {
		return fmt.Errorf("there is no identity %q", c.args[0])
	}
	return users.Change(c.args[0], func(*auth.Lists) bool { return false })
}

// userList is "barback user list".
func userList(c *call) error {
	users, err := c.users(0, 0)
	if err != nil {
		return err
	}
	all, err := users.All()
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "NAME\tACCESS\tDENY")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", name, strings.Join(all[name].Access, ", "), strings.Join(all[name].Deny, ", "))
	}
	return t.Flush()
}

func (c *call) users(minArgs, maxArgs int) (auth.Users, error) {
	if err := c.parse(minArgs, maxArgs); err != nil {
		return auth.Users{}, err
	}
	if minArgs > 0 && !auth.ValidName(c.args[0]) {
		return auth.Users{}, usageError(fmt.Sprintf("%q is not a name: letters, digits and @._=,+ -", c.args[0]))
	}
	cfg, err := loadConfig(*c.configPath)
	return cfg.users(), err
}
