package barmanapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"barback/runner/barman"
	"barback/runner/barman/manual"
)

// commandView is a command as barmanapi's help shows it.
type commandView struct {
	Description string                `json:"description"`
	Required    []string              `json:"required"`
	Optional    map[string]optionView `json:"optional"`
}

type optionView struct {
	Description string `json:"description"`
	Values      string `json:"values"`
}

func viewCommand(c manual.Command) commandView {
	v := commandView{c.Description, []string{}, map[string]optionView{}}
	for _, p := range c.Parameters {
		switch {
		case p.Name == "help":
		case p.Required:
			v.Required = append(v.Required, p.Name)
		default:
			v.Optional[p.Name] = optionView{p.Description, valuesOf(p)}
		}
	}
	return v
}

// valuesOf is what a parameter takes, in words.
func valuesOf(p manual.Parameter) string {
	switch {
	case p.Flag():
		return "TRUE/FALSE"
	case p.Choices != nil:
		return strings.Join(p.Choices, "/")
	case p.Metavar != "":
		return p.Metavar
	}
	return strings.ToUpper(p.Name)
}

// help lists all commands, each under every name that it has.
func help(all manual.Commands) map[string]commandView {
	views := map[string]commandView{}
	for _, c := range all {
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			views[name] = viewCommand(c)
		}
	}
	return views
}

// barman handles /barman/help, /barman/reload and /barman/COMMAND.
func (a *API) barman(r *Request) (any, error) {
	switch name := r.Params.ByName("command"); name {
	case "help", "reload":
		if err := r.May("barman/"+name, false); err != nil {
			return nil, err
		}
		if err := r.Values.Only(); err != nil {
			return nil, err
		}
		read := a.Barman.Commands
		if name == "reload" {
			read = a.Barman.Reload
		}
		all, err := read()
		return list(help(all)), err
	}
	command, err := a.named(r)
	if err != nil {
		return nil, err
	}
	c, err := newCall(command, r.Values)
	if err != nil {
		if late := a.mayCall(r, &call{Command: command}, "GET", "POST"); late != nil {
			err = late // who may nothing here learns nothing of its parameters
		}
		return nil, err
	}
	return a.call(r, c)
}

// commandHelp handles /barman/COMMAND/help.
func (a *API) commandHelp(r *Request) (any, error) {
	command, err := a.named(r)
	if err != nil {
		return nil, err
	}
	if r.Params.ByName("option") != "help" {
		return nil, ErrNoRoute
	}
	if err := r.Values.Only(); err != nil {
		return nil, err
	}
	return list(viewCommand(command)), a.mayCall(r, &call{Command: command}, "GET", "POST")
}

// named is the command that the path names. To ask Barman for it takes a second: not for everybody.
func (a *API) named(r *Request) (manual.Command, error) {
	name := r.Params.ByName("command")
	r.Permission = "barman/" + name
	if !r.Who.Known && !r.Rights.May(http.MethodGet, r.Permission) && !r.Rights.May(http.MethodPost, r.Permission) {
		return manual.Command{}, r.denied(r.Permission)
	}
	command, found, err := a.Barman.CommandNamed(name)
	if err == nil && !found {
		err = ErrNoRoute
	}
	return command, err
}

// mayCall refuses what whoever asks must not do, by any of the methods: all the command's names count, and so does what
// is denied of its servers.
func (a *API) mayCall(r *Request, c *call, methods ...string) error {
	var names []string
	for _, name := range c.names() {
		names = append(names, "barman/"+name)
	}
	may := func(method string) bool { return r.Rights.May(method, names...) }
	if !slices.ContainsFunc(methods, may) {
		return r.denied(r.Permission)
	}
	servers := c.servers()
	if slices.Contains(servers, "all") {
		known, err := a.Barman.Servers()
		if err != nil {
			return err
		}
		servers = nil
		for _, s := range known {
			servers = append(servers, s.Name)
		}
	}
	places := []string{}
	for _, s := range servers {
		places = append(places, placesOf(s, c)...)
	}
	if c.kind.Instance {
		places = append(places, "operations/"+c.kind.Name)
	}
	for _, place := range places {
		if slices.ContainsFunc(methods, func(method string) bool { return r.Rights.Denied(method, place) }) {
			return r.denied(place)
		}
	}
	return nil
}

// placesOf are the names that the rest of barback has for what a call does or shows of a server.
func placesOf(server string, c *call) []string {
	at := "servers/" + server
	switch {
	case c.kind.Name != "":
		return []string{at + "/operations/" + c.kind.Name}
	case strings.Contains(c.Name, "backup") || c.Name == "list-files":
		return []string{at + "/backups"}
	case strings.Contains(c.Name, "wal"):
		return []string{at + "/wals"}
	}
	return []string{at + "/" + c.Name, at + "/operations/" + barman.CommandType}
}

// call does what was asked for, as long as whoever asks may.
func (a *API) call(r *Request, c *call) (any, error) {
	if servers := c.servers(); len(servers) > 0 {
		r.Server = strings.Join(servers, " ")
	}
	if c.kind.Name != "" {
		if err := a.permit(r, c, true); err != nil {
			return nil, err
		}
		req, raw, err := c.request()
		if err != nil {
			return nil, err
		}
		plan, err := a.Barman.Plan(c.kind, req)
		if err != nil {
			return nil, err
		}
		return a.start(r, c, plan, req, raw)
	}
	how, err := a.conductOf(c.Command, c.given)
	if late := a.permit(r, c, !how.looks); late != nil {
		return nil, late
	}
	if err != nil {
		return nil, err
	}
	words, err := c.argv()
	if err != nil {
		return nil, err
	}
	if err := a.exist(c.servers(), how); err != nil {
		return nil, err
	}
	if how.looks && !a.async(c) {
		told, err := a.Barman.Tell(a.Deadline, words...)
		if e, slow := errors.AsType[*barman.AskError](err); !slow || !e.Timeout {
			return a.result(told.Exit, told.Text, told.Stderr), err
		}
	}
	server := ""
	if servers := c.servers(); len(servers) == 1 && servers[0] != "all" {
		server = servers[0]
	}
	plan, req, raw, err := a.Barman.PlanCommand(server, words...)
	if err != nil {
		return nil, err
	}
	return a.start(r, c, plan, req, raw)
}

// permit is mayCall for what will be done.
func (a *API) permit(r *Request, c *call, changes bool) error {
	method := http.MethodGet
	if r.Changes = changes; changes {
		method = http.MethodPost
	}
	if err := a.mayCall(r, c, method); err != nil {
		return err
	}
	if changes && r.Foreign != nil {
		return r.Foreign
	}
	return nil
}

// exist makes sure that Barman has the servers, without asking it.
func (a *API) exist(servers []string, how conduct) error {
	for _, s := range servers {
		if s == "all" && how.looks {
			continue
		}
		if _, err := a.Barman.Server(s); err != nil {
			return err
		}
	}
	return nil
}

// async reports whether the answer is a ticket whatever time the command takes.
func (a *API) async(c *call) bool {
	return slices.ContainsFunc(c.names(), func(name string) bool { return slices.Contains(a.Async, name) })
}

// start begins an operation. What ends in time answers with its result, as if it had been waited for.
func (a *API) start(r *Request, c *call, plan barman.Plan, req barman.Request, raw []byte) (any, error) {
	op, err := plan.Operation(req, raw)
	if err != nil {
		return nil, err
	}
	if op, err = r.Launch(op); err != nil {
		return nil, err
	}
	r.Target = string(op.ID)
	if !a.async(c) {
		ctx, cancel := context.WithTimeout(r.Context, a.Deadline)
		defer cancel()
		if op, err = a.Records.Wait(ctx, op.ID); err != nil {
			return nil, err
		}
		if op.State.Final() {
			return a.told(op, true)
		}
	}
	return list(map[string]string{"ticket": string(op.ID), "message": "For result /history/result?ticket=" + string(op.ID)}), nil
}

// result is what a command printed, as barmanapi gives it: lines without tabs.
func (a *API) result(exit int, text, stderr string) List {
	if exit == 0 {
		exit = http.StatusOK
	}
	text, stderr = a.MaskText(text), a.MaskText(stderr)
	lines := strings.Split(strings.TrimSuffix(strings.ReplaceAll(text, "\t", ""), "\n"), "\n")
	return List{exit, stderr, lines}
}
