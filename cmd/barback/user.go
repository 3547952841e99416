package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"barback/handler/auth"
)

// userAdd is "barback user add".
func userAdd(c *call) error {
	role := c.flags.String("role", "", "`name` of a role: viewer, operator, admin")
	password := c.passwordFlags()
	keeper, err := c.keeper(1, 1)
	if err != nil {
		return err
	}
	if err := auth.CheckRole(*role); err != nil {
		return usageError(err.Error())
	}
	name := c.args[0]
	if _, known, err := keeper.Users.Find(name); err != nil {
		return err
	} else if known {
		return fmt.Errorf("%w: %s; see barback user list, passwd, role, allow", auth.ErrUserExists, name)
	}
	hash, made, err := password(keeper, name)
	if err != nil {
		return err
	}
	return c.tell(made, c.audited(name, keeper.Users.Add(name, auth.User{Password: hash, Role: *role})))
}

// userPasswd is "barback user passwd".
func userPasswd(c *call) error {
	password := c.passwordFlags()
	keeper, err := c.keeper(1, 1)
	if err != nil {
		return err
	}
	name := c.args[0]
	if _, known, err := keeper.Users.Find(name); err != nil {
		return err
	} else if !known {
		return fmt.Errorf("%w: %q; barback user add makes one", auth.ErrNoUser, name)
	}
	hash, made, err := password(keeper, name)
	if err != nil {
		return err
	}
	return c.tell(made, c.audited(name, keeper.Users.Update(name, func(u *auth.User) { u.Password = hash })))
}

// tell prints a secret that was made up, unless what it is for went wrong.
func (c *call) tell(secret string, err error) error {
	if err == nil && secret != "" {
		_, err = fmt.Fprintln(c.stdout, secret)
	}
	return err
}

// userRole is "barback user role".
func userRole(c *call) error {
	keeper, err := c.keeper(2, 2)
	if err != nil {
		return err
	}
	name, role := c.args[0], c.args[1]
	if role == "none" {
		role = ""
	}
	if err := auth.CheckRole(role); err != nil {
		return usageError(err.Error() + ", none")
	}
	return c.audited(name, keeper.Users.Change(name, func(u *auth.User) bool { u.Role = role; return true }))
}

// userAllow is "barback user allow".
func userAllow(c *call) error {
	return c.addPatterns(func(u *auth.User) *[]string { return &u.Access })
}

// userDeny is "barback user deny".
func userDeny(c *call) error {
	return c.addPatterns(func(u *auth.User) *[]string { return &u.Deny })
}

// addPatterns adds patterns to one list of an identity, each once.
func (c *call) addPatterns(list func(*auth.User) *[]string) error {
	keeper, err := c.keeper(2, -1)
	if err != nil {
		return err
	}
	for _, p := range c.args[1:] {
		if err := auth.CheckPattern(p); err != nil {
			return usageError(err.Error())
		}
	}
	return c.audited(c.args[0], keeper.Users.Change(c.args[0], func(u *auth.User) bool {
		into := list(u)
		for _, p := range c.args[1:] {
			if !slices.Contains(*into, p) {
				*into = append(*into, p)
			}
		}
		return true
	}))
}

// userRemove is "barback user remove".
func userRemove(c *call) error {
	keeper, err := c.keeper(1, 1)
	if err != nil {
		return err
	}
	err = keeper.Remove(c.args[0])
	if errors.Is(err, auth.ErrNoUser) {
		return fmt.Errorf("there is no identity %q", c.args[0])
	}
	return c.audited(c.args[0], err)
}

// userList is "barback user list".
func userList(c *call) error {
	keeper, err := c.keeper(0, 0)
	if err != nil {
		return err
	}
	all, err := keeper.Users.All()
	if err != nil {
		return err
	}
	tokens, err := keeper.Tokens.List("")
	if err != nil {
		return err
	}
	count := map[string]int{}
	for _, t := range tokens {
		count[t.User]++
	}
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "NAME\tACCESS\tDENY\tROLE\tPASSWORD\tTOKENS")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		u, password := all[name], "no"
		if u.Password != "" {
			password = "yes"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\n", name, strings.Join(u.Access, ", "), strings.Join(u.Deny, ", "), u.Role, password, count[name])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if n, err := keeper.CanLogIn(); err != nil || n > 0 {
		return err
	}
	_, err = fmt.Fprintln(c.stderr, "Nobody can log in to barback itself: barback user add NAME --role admin")
	return err
}

// keeper reads the arguments, of which the first is an identity, and the configuration.
func (c *call) keeper(minArgs, maxArgs int) (*auth.Keeper, error) {
	if err := c.parse(minArgs, maxArgs); err != nil {
		return nil, err
	}
	if minArgs > 0 && !auth.ValidName(c.args[0]) {
		return nil, usageError(fmt.Sprintf("%q is not a name: letters, digits and @._=,+ -", c.args[0]))
	}
	cfg, err := loadConfig(*c.configPath)
	if err != nil {
		return nil, err
	}
	c.audit = cfg.audit()
	return cfg.auth(), c.asOwner(cfg)
}

// passwordFlags are the ways to a new password; the function that comes back goes the one that
// was chosen, and gives its hash, and the password itself if it was made up.
func (c *call) passwordFlags() func(k *auth.Keeper, name string) (hash, made string, err error) {
	stdin := c.flags.Bool("password-stdin", false, "read the password from standard input: its first line")
	generate := c.flags.Bool("generate", false, "make a password up and print it, once")
	return func(k *auth.Keeper, name string) (hash, made string, err error) {
		var password string
		switch {
		case name == auth.Anonymous:
			return "", "", usageError("anonymous is who gives no password; barback user allow says what they may")
		case *stdin && *generate:
			return "", "", usageError("--password-stdin and --generate exclude each other")
		case *generate:
			made = auth.NewPassword()
			password = made
		case *stdin:
			password, err = firstLine(os.Stdin)
		case term.IsTerminal(int(os.Stdin.Fd())): // #nosec G115 -- a descriptor
			password, err = c.typed(name)
		default:
			return "", "", usageError("there is no terminal to type a password at: --password-stdin reads it, --generate makes one up")
		}
		if err != nil {
			return "", "", err
		}
		if err := auth.CheckPassword(password); err != nil {
			return "", "", usageError(err.Error())
		}
		hash, err = k.Hash(password)
		return hash, made, err
	}
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 8192)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// typed asks for a password, twice.
func (c *call) typed(name string) (string, error) {
	var twice [2]string
	for i, prompt := range []string{"Password for " + name + ": ", "Once more: "} {
		_, _ = fmt.Fprint(c.stderr, prompt)
		b, err := term.ReadPassword(int(os.Stdin.Fd())) // #nosec G115 -- a descriptor
		_, _ = fmt.Fprintln(c.stderr)
		if err != nil {
			return "", err
		}
		twice[i] = string(b)
	}
	if twice[0] != twice[1] {
		return "", errors.New("the two are not the same; nothing was changed")
	}
	return twice[0], nil
}
