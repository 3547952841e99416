package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"barback/handler/auth"
)

// tokenCreate is "barback token create".
func tokenCreate(c *call) error {
	name := c.flags.String("name", "", "`text` that says what it is for")
	expires := c.flags.String("expires", "90d", "`time` that it holds: 90d, 12h, never")
	var scope patterns
	c.flags.Var(&scope, "scope", "`pattern` of what it may, of what the user may; can be given more than once")
	keeper, err := c.keeper(1, 1)
	if err != nil {
		return err
	}
	if _, known, err := keeper.Users.Find(c.args[0]); err != nil {
		return err
	} else if !known {
		return fmt.Errorf("%w: %q; barback user add makes one", auth.ErrNoUser, c.args[0])
	}
	now := time.Now()
	t := auth.Token{User: c.args[0], Name: *name, Scope: scope, CreatedBy: c.who}
	if t.ExpiresAt, err = auth.ParseLifetime(*expires, now); err != nil {
		return usageError(err.Error())
	}
	if err := t.Check(now); err != nil {
		return usageError(err.Error())
	}
	secret, t, err := keeper.Tokens.Create(t, now)
	return c.tell(secret, c.audited(t.ID, err))
}

// patterns is a flag that can be given more than once.
type patterns []string

func (p *patterns) String() string { return strings.Join(*p, ", ") }

func (p *patterns) Set(s string) error {
	*p = append(*p, s)
	return auth.CheckPattern(s)
}

// tokenList is "barback token list".
func tokenList(c *call) error {
	of := c.flags.String("user", "", "only those of this `identity`")
	keeper, err := c.keeper(0, 0)
	if err != nil {
		return err
	}
	list, err := keeper.Tokens.List(*of)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tUSER\tNAME\tSCOPE\tCREATED\tEXPIRES\tLAST USED")
	for _, t := range list {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.User, t.Name, strings.Join(t.Scope, ", "), t.CreatedAt.Format(time.RFC3339), or(t.ExpiresAt, "never"), or(t.LastUsed, "never"))
	}
	return w.Flush()
}

func or(t time.Time, zero string) string {
	if t.IsZero() {
		return zero
	}
	return t.Format(time.RFC3339)
}

// tokenRevoke is "barback token revoke".
func tokenRevoke(c *call) error {
	keeper, err := c.keeper(1, 1)
	if err != nil {
		return err
	}
	t, err := keeper.Tokens.Revoke(c.args[0])
	if err != nil {
		return fmt.Errorf("%w: %q; barback token list shows them", err, c.args[0])
	}
	return c.audited(t.ID, nil)
}

// tokenRotateKey is "barback token rotate-key".
func tokenRotateKey(c *call) error {
	keeper, err := c.keeper(0, 0)
	if err != nil {
		return err
	}
	return c.audited("", keeper.Keys.Rotate())
}

// audited notes a change that was made, or was not, in the audit log. One that cannot be noted is
// made all the same, and said to be so.
func (c *call) audited(target string, err error) error {
	e := auth.Entry{Time: time.Now().UTC(), Identity: c.who, How: "cli", Command: c.flags.Name(), Target: target, Result: "ok"}
	if err != nil {
		e.Result = err.Error()
	}
	if err := c.audit.Write(e); err != nil {
		_, _ = fmt.Fprintf(c.stderr, "barback: this is not in the audit log: %v\n", err)
	}
	return err
}
