package barman

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Fleet is the Barmans behind one barback. A single one has no name, and nothing is different from it alone. Of several, a
// server's canonical name is HOST:NAME, and so is it everywhere outside of this package: in paths, permissions and records. A
// NAME alone is understood as long as one host has it.
type Fleet struct{ Clients []*Client }

// Several reports whether servers are named by their host, too.
func (f *Fleet) Several() bool {
	return len(f.Clients) > 1 || len(f.Clients) == 1 && f.Clients[0].Host.Name != ""
}

// Hosts lists the names; none of a single one.
func (f *Fleet) Hosts() []string {
	var names []string
	for _, c := range f.Clients {
		if c.Host.Name != "" {
			names = append(names, c.Host.Name)
		}
	}
	return names
}

// AmbiguousError says that a name has to be given with its host.
type AmbiguousError struct {
	Name    string
	Choices []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("several Barman hosts have a server '%s': say which, one of %s", e.Name, strings.Join(e.Choices, ", "))
}

// UnknownHostError names what is no host of the configuration.
type UnknownHostError struct {
	Name  string
	Hosts []string
}

func (e *UnknownHostError) Error() string {
	if len(e.Hosts) == 0 {
		return fmt.Sprintf("there is no Barman host '%s': the configuration has no [[barman.host]]", e.Name)
	}
	if e.Name == "" {
		return "the Barman host is missing: say which, one of " + strings.Join(e.Hosts, ", ")
	}
	return fmt.Sprintf("there is no Barman host '%s': the configuration has %s", e.Name, strings.Join(e.Hosts, ", "))
}

// On is the Barman of a host. Of a single one the name is empty.
func (f *Fleet) On(host string) (*Client, error) {
	for _, c := range f.Clients {
		if c.Host.Name == host {
			return c, nil
		}
	}
	return nil, &UnknownHostError{host, f.Hosts()}
}

// Canonical is the canonical name of what a client calls a server. Only names that pass sees are looked for, so that
// nobody learns of others; a name that stands for none of them stays as it is.
func (f *Fleet) Canonical(server string, sees func(server string) bool) (string, error) {
	host, _, _ := strings.Cut(server, ":")
	if !f.Several() || server == "" || slices.Contains(f.Hosts(), host) {
		return server, nil
	}
	found := make([]string, len(f.Clients))
	err := f.each(func(i int, c *Client) error {
		if !sees(c.full(server)) {
			return nil
		}
		_, err := c.Server(server)
		if err == nil {
			found[i] = c.full(server)
		} else if errors.Is(err, ErrUnknown) {
			err = nil
		}
		return err
	})
	found = slices.DeleteFunc(found, func(s string) bool { return s == "" })
	switch {
	case len(found) > 1:
		return "", &AmbiguousError{server, found}
	case err != nil:
		return "", fmt.Errorf("which host has the server '%s' cannot be found out; write HOST:%s: %w", server, server, err)
	case len(found) == 1:
		return found[0], nil
	}
	return server, nil
}

// each does something with all hosts at once.
func (f *Fleet) each(do func(i int, c *Client) error) error {
	errs := make([]error, len(f.Clients))
	var wait sync.WaitGroup
	for i, c := range f.Clients {
		wait.Go(func() { errs[i] = do(i, c) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// find is the Barman of a server by its canonical name, and the name that it has there.
func (f *Fleet) find(server string) (*Client, string, error) {
	if !f.Several() {
		return f.Clients[0], server, nil
	}
	host, name, _ := strings.Cut(server, ":")
	c, err := f.On(host)
	if err != nil {
		return nil, "", &UnknownError{What: "server", Name: server}
	}
	return c, name, nil
}

// full is the canonical name of a server of c.
func (c *Client) full(server string) string {
	if c.Host.Name == "" {
		return server
	}
	return c.Host.Name + ":" + server
}

func (c *Client) fullServer(s Server) Server {
	s.Name, s.Host = c.full(s.Name), c.Host.Name
	return s
}

// named has an error tell of a server by its canonical name.
func (c *Client) named(err error) error {
	if e, ok := errors.AsType[*UnknownError](err); ok && e.What == "server" {
		return &UnknownError{What: "server", Name: c.full(e.Name)}
	}
	return err
}
