package barman

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The catalog of a Barman on another host is what Barman prints as JSON. It does not tell all: of a list the times of
// begin, parents and children, modes and what is wrong with a backup are missing, and nothing says whether somebody
// still works on a backup. Such members are empty.

// namesAge is how long the names of servers are believed. Backups are asked for anew each time.
const namesAge = 10 * time.Second

// treesAge is how long Barman's folders are.
const treesAge = 5 * time.Minute

// told asks Barman for an object and reads it into v.
func (c *Client) told(v any, maxAge time.Duration, args ...string) error {
	a, err := c.Ask(Question{Args: args, MaxAge: maxAge})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(a.Body, v); err != nil {
		return &AskError{Detail: fmt.Sprintf("barman %s printed what is not understood: %v", strings.Join(args, " "), err)}
	}
	return nil
}

// loadThere is the configuration as far as "list-servers" tells: names, and in words behind the description what they are.
func (c *Client) loadThere() (*config, error) {
	var list map[string]json.RawMessage
	if err := c.told(&list, namesAge, "list-servers"); err != nil {
		return nil, err
	}
	cfg := &config{global: section{}, servers: map[string]section{}, models: map[string]section{}, there: true}
	for name, raw := range list {
		var is struct {
			Description string `json:"description"`
		}
		if json.Unmarshal(raw, &is) != nil {
			continue // messages
		}
		s := section{}
		text, passive := strings.CutSuffix(is.Description, " (Passive)")
		if passive {
			s["primary_ssh_command"] = "ssh"
		}
		text, inactive := strings.CutSuffix(text, " (inactive)")
		s["active"] = strconv.FormatBool(!inactive)
		text, disabled := strings.CutSuffix(text, " (WARNING: disabled)")
		s["disabled"], s["description"] = strconv.FormatBool(disabled), text
		cfg.servers[name] = s
	}
	return cfg, nil
}

// settled is load with all that holds for a server that is known.
func (c *Client) settled(server string) (*config, error) {
	cfg, err := c.load()
	if err != nil || !cfg.there {
		return cfg, err
	}
	own, known := cfg.servers[server]
	if !known {
		return cfg, nil
	}
	var list map[string]map[string]any
	if err := c.told(&list, 0, "show-servers", server); err != nil {
		return nil, err
	}
	for option, value := range list[server] {
		if option != "description" {
			own[option] = plain(value)
		}
	}
	return cfg, nil
}

// plain is a value as a configuration has it.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return clean(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	text, _ := json.Marshal(v)
	return string(text)
}

// treesThere lists the folders that are Barman's own; only "diagnose" names barman_home.
func (c *Client) treesThere() ([]string, error) {
	a, err := c.Ask(Question{Args: []string{"diagnose"}, Quoted: true, MaxAge: treesAge})
	if err != nil {
		return nil, err
	}
	type options struct {
		Config map[string]any `json:"config"`
	}
	var all struct {
		Global  options            `json:"global"`
		Servers map[string]options `json:"servers"`
	}
	if err := json.Unmarshal(a.Body, &all); err != nil {
		return nil, &AskError{Detail: fmt.Sprintf("barman diagnose printed what is not understood: %v", err)}
	}
	cfg := &config{global: section{"barman_home": plain(all.Global.Config["barman_home"])}, servers: map[string]section{}}
	for name, s := range all.Servers {
		cfg.servers[name] = section{}
		for option, value := range s.Config {
			cfg.servers[name][option] = plain(value)
		}
	}
	return cfg.trees(), nil
}
