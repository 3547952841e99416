package barman

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// Server is a configured server.
type Server struct {
	Name        string
	Host        string // where its Barman is, if there are several
	Description string
	Active      bool
	Passive     bool
	ActiveModel string
}

// ErrUnknown is the kind of error for a server or backup that is not there.
var ErrUnknown = errors.New("not known to Barman")

// UnknownError names what Barman does not know.
type UnknownError struct {
	What   string // "server" or "backup"
	Name   string
	Server string // of the backup
}

func (e *UnknownError) Error() string {
	if e.What == "backup" {
		return fmt.Sprintf("Backup '%s' does not exist", e.Name)
	}
	return fmt.Sprintf("Server '%s' does not exist", e.Name)
}

func (e *UnknownError) Unwrap() error { return ErrUnknown }

// Servers lists what is configured, by name. Models are not servers.
func (c *Client) Servers() ([]Server, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	list := make([]Server, 0, len(cfg.servers))
	for _, name := range cfg.names() {
		list = append(list, cfg.server(name))
	}
	return list, nil
}

// Home is barman_home, of a Barman on this host.
func (c *Client) Home() (string, error) {
	if c.Host.Remote() {
		return "", errors.New("barman_home is on another host")
	}
	cfg, err := c.load()
	if err != nil {
		return "", err
	}
	return cfg.global["barman_home"], nil
}

// Overview is a server with the newest backup of its catalog.
type Overview struct {
	Server
	Faults []string // of its configuration, for which Barman disables it
	Last   *Backup  // nil: none
	Err    error    // the catalog cannot be read
}

// Overview lists what is configured with its newest backup, by name; the configuration is
// read once. A catalog that cannot be read is a finding about its server alone.
func (c *Client) Overview() ([]Overview, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	catalogs := cfg.backups
	if cfg.there {
		if catalogs, err = c.backupsThere(); err != nil {
			return nil, err
		}
	}
	list := make([]Overview, 0, len(cfg.servers))
	for _, name := range cfg.names() {
		list = append(list, cfg.overview(name, catalogs))
	}
	return list, nil
}

// Look is the overview of one server, and what its section and its active model set.
func (c *Client) Look(name string) (Overview, map[string]string, error) {
	cfg, err := c.settled(name)
	if err != nil {
		return Overview{}, nil, err
	}
	if _, ok := cfg.servers[name]; !ok {
		return Overview{}, nil, &UnknownError{What: "server", Name: name}
	}
	catalogs := cfg.backups
	if cfg.there {
		catalogs = c.Backups
	}
	o := cfg.overview(name, catalogs)
	return o, cfg.settings(name, o.ActiveModel), nil
}

func (c *config) overview(name string, catalogs func(server string) ([]Backup, error)) Overview {
	o := Overview{Server: c.server(name)}
	o.Faults = c.faults(o.Server)
	backups, err := catalogs(name)
	if o.Err = err; len(backups) > 0 {
		last := backups[len(backups)-1] // without the others, which would stay in memory for it
		o.Last = &last
	}
	for _, b := range backups {
		if o.Err == nil {
			o.Err = b.Err
		}
	}
	return o
}

// Known says whether there is a server of that name, with the error of Server.
func (c *Client) Known(name string) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if _, ok := cfg.servers[name]; !ok {
		return &UnknownError{What: "server", Name: name}
	}
	return nil
}

// Server looks one server up; names are case-sensitive.
func (c *Client) Server(name string) (Server, error) {
	cfg, err := c.load()
	if err != nil {
		return Server{}, err
	}
	if _, ok := cfg.servers[name]; !ok {
		return Server{}, &UnknownError{What: "server", Name: name}
	}
	return cfg.server(name), nil
}

func (c *config) server(name string) Server {
	model := c.activeModel(name)
	return Server{
		Name:        name,
		Description: c.setting(model, name, "description"),
		Active:      truth(c.setting(model, name, "active"), true),
		Passive:     c.optionUnder(model, name, "primary_ssh_command") != "",
		ActiveModel: model,
	}
}

func (c *config) activeModel(name string) string {
	if c.there {
		return c.servers[name]["active_model"]
	}
	model, _ := os.ReadFile(filepath.Join(c.directory(name), ".active-model.auto")) // #nosec G304 -- Barman's own file
	return strings.TrimSpace(string(model))
}

// setting is one of settings.
func (c *config) setting(model, name, option string) string {
	return cmp.Or(c.models[model][option], c.servers[name][option])
}

// settings are the options of a server's section, and over them those of its active model.
func (c *config) settings(name, model string) section {
	s := maps.Clone(c.servers[name])
	for option, value := range c.models[model] {
		if value != "" && option != "model" && option != "cluster" {
			s[option] = value
		}
	}
	return s
}
