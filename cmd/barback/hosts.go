package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"barback/runner/barman"
	"barback/runner/pattern"
)

// host is a table [[barman.host]].
type host struct {
	Name    string `toml:"name"`
	SSH     string `toml:"ssh"`
	Command string `toml:"command"`
	Config  string `toml:"config"`
}

// hostName goes into paths, permissions and names of files.
var hostName = pattern.New(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// checkHosts refuses hosts that could not be told apart, or reached.
func (c *config) checkHosts() error {
	if len(c.Barman.Hosts) > 0 && c.Barman.SSH != "" {
		return errors.New("barman.ssh: is for a single Barman host; with [[barman.host]] each of them has its own")
	}
	if err := checkSSH("barman.ssh", c.Barman.SSH); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, h := range c.Barman.Hosts {
		switch {
		case !hostName().MatchString(h.Name):
			return fmt.Errorf("barman.host: name = %q: letters, digits and _.- are needed, as it stands in paths", h.Name)
		case seen[h.Name]:
			return fmt.Errorf("barman.host: two are called %q", h.Name)
		}
		seen[h.Name] = true
		if err := checkSSH("barman.host "+h.Name+": ssh", h.SSH); err != nil {
			return err
		}
	}
	return nil
}

func checkSSH(key, command string) error {
	words, err := barman.Words(command)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if command != "" && len(words) < 2 {
		return fmt.Errorf("%s: %q names no host: ssh barman@backup", key, command)
	}
	return nil
}

// barman is the Barmans of the configuration.
func (c *config) barman() *barman.Fleet {
	policy := barman.Policy{
		AllowedDestinations: c.Restore.AllowedDestinations, AllowRawSSHCommand: c.Restore.AllowRawSSHCommand, Forbidden: []string{c.StateDir},
		TargetsOnly: c.Restore.TargetsOnly, Targets: map[string]barman.Target{}, ConfigOptions: c.ConfigUpdate.AllowedOptions,
	}
	for name, t := range c.Targets {
		policy.Targets[name] = barman.Target{SSH: t.SSH, Destinations: t.AllowedDestinations}
	}
	hosts := c.Barman.Hosts
	if len(hosts) == 0 {
		hosts = []host{{SSH: c.Barman.SSH, Config: c.Barman.Config}}
	}
	fleet := &barman.Fleet{}
	for _, h := range hosts {
		words, _ := barman.Words(h.SSH) // checked when it was read
		fleet.Clients = append(fleet.Clients, &barman.Client{
			Host: barman.Host{Name: h.Name, SSH: words}, Command: cmp.Or(h.Command, c.Barman.Command), Config: h.Config,
			Cache: c.StateDir, Timeout: time.Duration(c.Barman.Timeout), Policy: policy,
		})
	}
	return fleet
}
