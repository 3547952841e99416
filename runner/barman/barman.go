// Package barman speaks to Barman: it reads Barman's configuration and catalog
// files, or has it tell them where ssh leads to it, checks what a client asks for, and builds the argument vector of the command
// that does it. What it starts itself only reads (Client.Ask, Client.Version); operations
// are started by the runner. No value ever reaches a shell of ours, and none that
// could be taken for an option gets past its check.
package barman

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"time"
)

// Client is one installed Barman.
type Client struct {
	Host    Host
	Command string        // name or path of the barman program
	Config  string        // path of barman.conf, on its host; empty: as Barman finds it
	Cache   string        // directory for what starting Barman told us; empty: none
	Timeout time.Duration // for one run of Barman that a request waits for; 0: a minute
	Policy  Policy
}

// Find is the path of the barman program; on another host its shell will find it.
func (c *Client) Find() (string, error) {
	if c.Host.Remote() {
		return c.Command, nil
	}
	path, err := exec.LookPath(c.Command)
	if err != nil {
		return "", &MissingError{c.Command, err}
	}
	return path, nil
}

// MissingError says that there is no Barman.
type MissingError struct {
	Command string
	Err     error
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("Barman is not installed: %q is not an executable program (%v); install it or set command in [barman]", e.Command, errors.Unwrap(e.Err))
}

func (e *MissingError) Unwrap() error { return e.Err }

// argv is the whole command for args.
func (c *Client) argv(args ...string) ([]string, error) {
	path, err := c.Find()
	if err != nil {
		return nil, err
	}
	conf := c.Config
	if !c.Host.Remote() {
		if conf, err = c.configPath(); err != nil {
			return nil, err
		}
	}
	command := []string{path}
	if conf != "" {
		command = append(command, "-c", conf)
	}
	return append(command, args...), nil
}

// ConfigOf is the configuration that a command of ours names. The runner goes by it: where systemd starts
// it, it has not the environment of whoever accepted the operation.
func ConfigOf(command []string) string {
	if len(command) > 2 && command[1] == "-c" {
		return command[2]
	}
	return ""
}

// configPath finds barman.conf as Barman does, after PG_BACKUP_API_BARMAN_CONF, which
// hosts of pg-backup-api set.
func (c *Client) configPath() (string, error) {
	if p := cmp.Or(c.Config, os.Getenv("PG_BACKUP_API_BARMAN_CONF"), os.Getenv("BARMAN_CONFIG_FILE")); p != "" {
		return filepath.Abs(p) // the runner works in another folder
	}
	candidates := []string{"/etc/barman.conf", "/etc/barman/barman.conf"}
	if u, err := user.Current(); err == nil {
		candidates = append([]string{filepath.Join(u.HomeDir, ".barman.conf")}, candidates...)
	}
	for _, p := range candidates {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", &ConfigError{candidates[len(candidates)-2], errors.New("no configuration of Barman was found")}
}
