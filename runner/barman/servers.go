package barman

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Server is a configured server.
type Server struct {
	Name        string
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

// Home is barman_home.
func (c *Client) Home() (string, error) {
	cfg, err := c.load()
	if err != nil {
		return "", err
	}
	return cfg.global["barman_home"], nil
}

// Overview is a server with the newest backup of its catalog.
type Overview struct {
	Server
	Last *Backup // nil: none
	Err  error   // the catalog cannot be read
}

// Overview lists what is configured with its newest backup, by name; the configuration is
// read once. A catalog that cannot be read is a finding about its server alone.
func (c *Client) Overview() ([]Overview, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	list := make([]Overview, 0, len(cfg.servers))
	for _, name := range cfg.names() {
		o := Overview{Server: cfg.server(name)}
		backups, err := cfg.backups(name)
		if o.Err = err; len(backups) > 0 {
			o.Last = &backups[len(backups)-1]
		}
		for _, b := range backups {
			if o.Err == nil {
				o.Err = b.Err
			}
		}
		list = append(list, o)
	}
	return list, nil
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
	model, _ := os.ReadFile(filepath.Join(c.directory(name), ".active-model.auto")) // #nosec G304 -- Barman's own file
	return Server{
		Name:        name,
		Description: c.servers[name]["description"],
		Active:      truth(c.servers[name]["active"], true),
		Passive:     c.servers[name]["primary_ssh_command"] != "",
		ActiveModel: strings.TrimSpace(string(model)),
	}
}
