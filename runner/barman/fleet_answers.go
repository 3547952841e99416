package barman

import (
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"barback/runner/operation"
)

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
