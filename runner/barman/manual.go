package barman

import (
	"errors"

	"barback/runner/barman/manual"
)

// Commands are the installed Barman's, with all their parameters. The first call for a Barman costs
// a run of it per command; then they are kept until Barman changes, or Reload.
func (c *Client) Commands() (manual.Commands, error) {
	return nil, errors.New("not yet")
}

// Reload asks the installed Barman for its commands anew.
func (c *Client) Reload() (manual.Commands, error) {
	return nil, errors.New("not yet")
}

// Settings are the parameters of the installed Barman's configuration, by name, as its manual page has them.
func (c *Client) Settings() (map[string]manual.Setting, error) {
	return nil, errors.New("not yet")
}
