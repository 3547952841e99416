package barmanapi

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
)

// Values are the parameters of a request: those of its query, and over them those of its body.
type Values map[string][]string

// Get is a parameter that is given once.
func (v Values) Get(name string) (string, error) {
	switch len(v[name]) {
	case 0:
		return "", nil
	case 1:
		return v[name][0], nil
	}
	return "", errParameters
}

// Only refuses parameters that nobody reads. What is not known must not be taken for done.
func (v Values) Only(names ...string) error {
	for name := range v {
		if name != "token" && !slices.Contains(names, name) {
			return errParameters
		}
	}
	return nil
}

// ReadValues reads the parameters. A body is a form or a JSON object; text is its bytes.
func ReadValues(query, contentType string, text []byte) (Values, error) {
	bad := func(why string) error {
		return refuse(http.StatusBadRequest, typeInvalid, "The parameters cannot be read: %s", why)
	}
	parsed, err := url.ParseQuery(query)
	if err != nil {
		return nil, bad("the query is not written right")
	}
	v := Values(parsed)
	if len(text) == 0 {
		return v, nil
	}
	media, _, _ := mime.ParseMediaType(contentType)
	var body Values
	switch media {
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(text))
		if err != nil {
			return nil, bad("the form is not written right")
		}
		body = Values(form)
	case "application/json":
		if body, err = fromJSON(text); err != nil {
			return nil, bad(err.Error())
		}
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, typeInvalid, "Send a form (application/x-www-form-urlencoded) or a JSON object (application/json)")
	}
	for name, values := range body {
		if _, twice := v[name]; twice {
			return nil, errParameters
		}
		v[name] = values
	}
	return v, nil
}

// fromJSON reads an object of texts, numbers, truths and lists of them.
func fromJSON(text []byte) (Values, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, fmt.Errorf("the body is no JSON object: %w", err)
	}
	v := Values{}
	for name, raw := range members {
		var many []json.RawMessage
		if json.Unmarshal(raw, &many) != nil || many == nil {
			many = []json.RawMessage{raw}
		} else {
			v[name] = []string{}
		}
		for _, one := range many {
			s, ok := scalar(one)
			if !ok {
				return nil, fmt.Errorf("%q must be a text, a number, true or false, or a list of them", name)
			}
			v[name] = append(v[name], s)
		}
	}
	return v, nil
}

// scalar is a value as a query would have it.
func scalar(raw json.RawMessage) (string, bool) {
	var s string
	var n json.Number
	var b bool
	switch {
	case string(raw) == "null":
		return "", false
	case json.Unmarshal(raw, &b) == nil:
		return map[bool]string{true: "TRUE", false: "FALSE"}[b], true
	case json.Unmarshal(raw, &s) == nil:
		return s, true
	case json.Unmarshal(raw, &n) == nil:
		return n.String(), true
	}
	return "", false
}
