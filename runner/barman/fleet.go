package barman

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"barback/runner/operation"
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

// Server is [Client.Server].
func (f *Fleet) Server(server string) (Server, error) {
	c, name, err := f.find(server)
	if err != nil {
		return Server{}, err
	}
	s, err := c.Server(name)
	return c.fullServer(s), c.named(err)
}

// Known says whether there is a server of that name, with the error of Server.
func (f *Fleet) Known(server string) error {
	c, name, err := f.find(server)
	if err != nil {
		return err
	}
	return c.named(c.Known(name))
}

// Servers are those of all hosts. An error names hosts that could not be asked; those of the others come with it.
func (f *Fleet) Servers() ([]Server, error) {
	lists := make([][]Server, len(f.Clients))
	err := f.each(func(i int, c *Client) error {
		list, err := c.Servers()
		for _, s := range list {
			lists[i] = append(lists[i], c.fullServer(s))
		}
		return err
	})
	return slices.Concat(lists...), err
}

// Overview is [Client.Overview] of all hosts, and what is wrong with a host, by its name. With a single one
// that is the error.
func (f *Fleet) Overview() (list []Overview, broken map[string]error, err error) {
	lists, errs := make([][]Overview, len(f.Clients)), make([]error, len(f.Clients))
	_ = f.each(func(i int, c *Client) error {
		lists[i], errs[i] = c.Overview()
		for j := range lists[i] {
			lists[i][j].Server = c.fullServer(lists[i][j].Server)
		}
		return nil
	})
	if !f.Several() {
		return lists[0], nil, errs[0]
	}
	broken = map[string]error{}
	for i, err := range errs {
		if err != nil {
			broken[f.Clients[i].Host.Name] = err
		}
	}
	return slices.Concat(lists...), broken, nil
}

// Look is [Client.Look].
func (f *Fleet) Look(server string) (Overview, map[string]string, error) {
	c, name, err := f.find(server)
	if err != nil {
		return Overview{}, nil, err
	}
	o, settings, err := c.Look(name)
	o.Server = c.fullServer(o.Server)
	return o, settings, c.named(err)
}

// Backups is [Client.Backups].
func (f *Fleet) Backups(server string) ([]Backup, error) {
	c, name, err := f.find(server)
	if err != nil {
		return nil, err
	}
	list, err := c.Backups(name)
	return list, c.named(err)
}

// Catalog is [Client.Catalog].
func (f *Fleet) Catalog(server string) ([]Entry, error) {
	c, name, err := f.find(server)
	if err != nil {
		return nil, err
	}
	list, err := c.Catalog(name)
	return list, c.named(err)
}

// Entry is [Client.Entry].
func (f *Fleet) Entry(server, id string) (Entry, error) {
	c, name, err := f.find(server)
	if err != nil {
		return Entry{}, err
	}
	e, err := c.Entry(name, id)
	return e, c.named(err)
}

// Auto is [Client.Auto].
func (f *Fleet) Auto(server string, parameters url.Values) (string, error) {
	c, name, err := f.find(server)
	if err != nil {
		return "", err
	}
	id, err := c.Auto(name, parameters)
	return id, c.named(err)
}

// Report is [Client.Report].
func (f *Fleet) Report(k Kind, server string, q Question) (Answer, error) {
	c, name, err := f.find(server)
	if err != nil {
		return Answer{}, err
	}
	a, err := c.Report(k, name, q)
	if err == nil {
		a.Body, err = c.rename(a.Body)
	}
	return a, c.named(err)
}

// Read is [Client.Read].
func (f *Fleet) Read(k Kind, server string, printed []byte) (json.RawMessage, error) {
	c, name, err := f.find(server)
	if err != nil {
		return nil, err
	}
	report, err := c.Read(k, name, printed)
	if err == nil {
		report, err = c.rename(report)
	}
	return report, c.named(err)
}

// rename has a report tell of its server by the canonical name.
func (c *Client) rename(report []byte) (json.RawMessage, error) {
	if c.Host.Name == "" {
		return report, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(report, &members); err != nil {
		return nil, err
	}
	var name string
	if json.Unmarshal(members["server"], &name) == nil {
		members["server"], _ = json.Marshal(c.full(name))
	}
	return json.Marshal(members)
}

// WALs is [Client.WALs].
func (f *Fleet) WALs(server string) (Archive, error) {
	c, name, err := f.find(server)
	if err != nil {
		return Archive{}, err
	}
	a, err := c.WALs(name)
	a.Server = server
	return a, c.named(err)
}

// Plan is [Client.Plan]. One for a whole instance names the host in its member "host".
func (f *Fleet) Plan(k Kind, r Request) (Plan, error) {
	c, name, err := f.planner(r)
	if err != nil {
		return Plan{}, err
	}
	r.Server = name
	plan, err := c.Plan(k, r)
	plan.Host = c.Host.Name
	if plan.Target != nil && plan.Target.SSH == "" {
		plan.Target.Host = c.Host.Name // a folder there is none here
	}
	return plan, c.named(err)
}

func (f *Fleet) planner(r Request) (*Client, string, error) {
	if r.Server != "" {
		return f.find(r.Server)
	}
	host, given, err := r.text("host")
	if err != nil {
		return nil, "", err
	}
	if !f.Several() && !given {
		return f.Clients[0], "", nil
	}
	c, err := f.On(host)
	if err != nil {
		err = invalid(notMet, "host", "%v", err)
	}
	return c, "", err
}

// Where is the host of an operation.
func (f *Fleet) Where(op operation.Operation) (Host, error) {
	c, err := f.On(op.Host)
	if err != nil {
		return Host{}, err
	}
	return c.Host, nil
}

// Elsewhere waits until nothing of an operation runs any more on a host that ssh leads to, but not longer than limit. An
// error says why that is not known. It is what [operation.Store] asks before it writes an operation off.
func (f *Fleet) Elsewhere(op operation.Operation, limit time.Duration) (running bool, err error) {
	host, err := f.Where(op)
	if err != nil || !host.Remote() {
		return false, err
	}
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		n, keeper, err := host.Look(op.ID, connectTime)
		if err != nil || n == 0 && !keeper {
			return false, err
		}
		if time.Now().After(end) {
			return true, nil
		}
	}
}
