package barman

import "encoding/json"

// planConfigSwitch builds "barman config-switch": exactly one of model_name and reset.
func planConfigSwitch(_ *Client, r Request) (Plan, error) {
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
		return Plan{Command: []string{"config-switch", r.Server, "--reset"}}, nil
	case model == "":
		return Plan{}, invalid(notMet, "model_name", "is missing; to take a model off say \"reset\": true")
	}
	return Plan{Command: []string{"config-switch", r.Server, model}}, nil
}

// planConfigUpdate builds "barman config-update" with the changes as they were sent.
func planConfigUpdate(_ *Client, r Request) (Plan, error) {
	var changes []map[string]json.RawMessage
	ok, err := r.get("changes", &changes)
	if err != nil {
		return Plan{}, err
	}
	if !ok || len(changes) == 0 {
		return Plan{}, invalid(notMet, "changes", "is missing: an array of objects, one per section to change")
	}
	for _, change := range changes {
		if err := checkChange(change); err != nil {
			return Plan{}, err
		}
	}
	doc, err := json.Marshal(changes)
	if err != nil {
		return Plan{}, err
	}
	return Plan{Command: []string{"config-update", string(doc)}}, nil
}

// checkChange makes sure that every value is one that Barman can write down: it takes
// strings for all of them.
func checkChange(change map[string]json.RawMessage) error {
	for name, raw := range change {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return err
		}
		switch v.(type) {
		case string, bool, float64, nil:
		default:
			return invalid("A value has the wrong type", "changes", "the option %s must be a string", name)
		}
	}
	return nil
}
