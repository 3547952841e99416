package barman

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// planConfigSwitch builds "barman config-switch": exactly one of model_name and reset.
func planConfigSwitch(_ *Client, _ Kind, r Request) (Plan, error) {
	model, hasModel, err := r.text("model_name")
	if err != nil {
		return Plan{}, err
	}
	var reset bool
	hasReset, err := r.get("reset", &reset)
	switch {
	case err != nil:
		return Plan{}, err
	case hasModel && hasReset:
		return Plan{}, invalid(notMet, "reset", "excludes model_name")
	case hasReset && !reset:
		return Plan{}, invalid(notMet, "reset", "can only be true")
	case hasReset:
		return Plan{Command: []string{r.Server, "--reset"}}, nil
	case model == "":
		return Plan{}, invalid(notMet, "model_name", "is missing; to take a model off say \"reset\": true")
	}
	return Plan{Command: []string{r.Server, model}}, nil
}

// planConfigUpdate builds "barman config-update" with the changes as they were sent.
func planConfigUpdate(c *Client, _ Kind, r Request) (Plan, error) {
	var changes []map[string]json.RawMessage
	ok, err := r.get("changes", &changes)
	if err != nil {
		return Plan{}, err
	}
	if !ok || len(changes) == 0 {
		return Plan{}, invalid(notMet, "changes", "is missing: an array of objects, one per section to change")
	}
	cfg, err := c.load()
	if err != nil {
		return Plan{}, err
	}
	for i, change := range changes {
		if err := c.Policy.checkChange(cfg, i, change); err != nil {
			return Plan{}, err
		}
	}
	doc, err := json.Marshal(changes)
	if err != nil {
		return Plan{}, err
	}
	return Plan{Command: []string{string(doc)}}, nil
}

// checkChange lets through what Barman can do: it takes a value that is no string into its queue,
// fails on it, and then fails on every later change, too; one whose scope it does not know it
// ignores, with exit code 0; one for a server that is not there makes a new one.
func (p *Policy) checkChange(c *config, i int, change map[string]json.RawMessage) error {
	member := fmt.Sprintf("changes/%d", i)
	text := map[string]string{}
	for name, raw := range change {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return err
		}
		s, ok := v.(string)
		if !ok {
			return invalid("A value has the wrong type", member+"/"+token(name), "must be a string")
		}
		text[name] = s
	}
	switch text["scope"] {
	case "server":
		if _, ok := c.servers[text["server_name"]]; !ok {
			return invalid(notMet, member+"/server_name", "must be a server that Barman knows")
		}
	case "model":
		if text["model_name"] == "" {
			return invalid(notMet, member+"/model_name", "is missing")
		}
	default:
		return invalid(notMet, member+"/scope", "must be server or model")
	}
	for _, name := range slices.Sorted(maps.Keys(text)) {
		if name == "scope" || name == text["scope"]+"_name" {
			continue
		}
		if err := p.checkOption(member+"/"+token(name), name); err != nil {
			return err
		}
	}
	return nil
}
