package barman

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// reporter makes typed JSON of what Barman told of a server, with the same members whatever its version; what a
// version does not tell is left out. told is nil if Barman said nothing of the server but messages.
type reporter func(s Server, told map[string]json.RawMessage, said messages) (any, error)

// Reports tells whether the type only reads: then Barman's answer is its result, and it needs no slot.
func (k Kind) Reports() bool { return k.report != nil }

// Report is what Barman says of the server at this moment, as [Client.Read] gives it. Of the question only how long it
// may take, how old the answer may be and what is cleaned out of it are taken.
func (c *Client) Report(k Kind, server string, q Question) (Answer, error) {
	if _, err := k.plan(c, k, Request{Type: k.Name, Server: server}); err != nil {
		return Answer{}, err
	}
	q.Args, q.Subject, q.Judges = []string{k.Command, server}, server, k.judges
	a, err := c.Ask(q)
	if err != nil {
		return Answer{}, err
	}
	a.Body, err = c.Read(k, server, a.Body)
	return a, err
}

// Read is the report in what a command of the kind printed. Warnings of Python's may stand around it.
func (c *Client) Read(k Kind, server string, printed []byte) (json.RawMessage, error) {
	s, err := c.Server(server)
	if err != nil {
		return nil, err
	}
	doc, ok := document(printed)
	if !ok {
		return nil, &AskError{Detail: "barman -f json " + k.Command + " printed no JSON object"}
	}
	var said messages
	all, err := json.Marshal(doc)
	if err == nil {
		err = json.Unmarshal(all, &said)
	}
	if err != nil {
		return nil, &AskError{Detail: fmt.Sprintf("barman -f json %s printed messages that are none: %v", k.Command, err)}
	}
	var told map[string]json.RawMessage
	if raw, ok := doc[server]; ok {
		err = json.Unmarshal(raw, &told)
	} else if said.Info == nil {
		err = errors.New("it is not there")
	}
	if bad := said.bad(k.judges); err == nil && bad != nil {
		err = errors.New(strings.Join(bad, "\n"))
	}
	if err == nil {
		var report any
		if report, err = k.report(s, told, said); err == nil {
			return json.Marshal(report)
		}
	}
	return nil, &AskError{Detail: fmt.Sprintf("what barman -f json %s told of server '%s' cannot be read: %v", k.Command, server, err)}
}

// document finds the JSON object in what Barman printed. It begins a line.
func document(printed []byte) (doc map[string]json.RawMessage, ok bool) {
	for line := 0; line < len(printed); {
		if printed[line] == '{' && json.NewDecoder(bytes.NewReader(printed[line:])).Decode(&doc) == nil {
			return doc, true
		}
		n := bytes.IndexByte(printed[line:], '\n')
		if n < 0 {
			break
		}
		line += n + 1
	}
	return nil, false
}

// judged reports whether the answer is about the subject, though Barman ended with exit code 1: a check that
// found something does.
func judged(out []byte, subject string) bool {
	var doc map[string]json.RawMessage
	return json.Unmarshal(out, &doc) == nil && bytes.HasPrefix(doc[subject], []byte("{"))
}

// bad are the messages after which nothing that was told is whole. A check says of what it found that it is an error, too.
func (m messages) bad(judges bool) []string {
	if judges {
		return slices.Concat(m.Critical, m.Exception)
	}
	return slices.Concat(m.Critical, m.Exception, m.Error)
}

// planLook builds a command that only reads.
func planLook(c *Client, k Kind, r Request) (Plan, error) {
	_, err := c.Server(r.Server)
	return Plan{Command: []string{r.Server}}, err
}

// planLookAtPrimary builds one that Barman gives only of active servers whose WALs arrive here.
func planLookAtPrimary(c *Client, _ Kind, r Request) (Plan, error) {
	return Plan{Command: []string{r.Server}}, c.primary(r.Server)
}

// checkReport is what "barman check" found.
type checkReport struct {
	Server   string        `json:"server"`
	Active   bool          `json:"active"`
	OK       bool          `json:"ok"`
	Failed   []string      `json:"failed"` // names of the checks
	Checks   []checkResult `json:"checks"`
	Messages []string      `json:"messages,omitempty"`
}

type checkResult struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Hint string `json:"hint,omitempty"`
}

// readCheck reads the results, each a status OK or FAILED and a hint.
func readCheck(s Server, told map[string]json.RawMessage, said messages) (any, error) {
	if told == nil {
		return nil, errors.New("it is not there")
	}
	report := checkReport{Server: s.Name, Active: s.Active, OK: said.Error == nil, Failed: []string{}, Checks: []checkResult{}, Messages: said.all()}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		var result struct{ Status, Hint string }
		if err := json.Unmarshal(told[name], &result); err != nil || result.Status == "" {
			return nil, fmt.Errorf("its %s is %s", name, told[name])
		}
		ok := result.Status == "OK"
		report.Checks = append(report.Checks, checkResult{name, ok, result.Hint})
		if !ok {
			report.OK, report.Failed = false, append(report.Failed, name)
		}
	}
	return report, nil
}

// replicationReport is what "barman replication-status" tells.
type replicationReport struct {
	Server    string           `json:"server"`
	ServerLSN *string          `json:"server_lsn"`
	Clients   []map[string]any `json:"clients"`
	Messages  []string         `json:"messages,omitempty"`
}

// readReplication keeps Barman's members but for sizes in words beside those in bytes, and writes times as all others are.
func readReplication(s Server, told map[string]json.RawMessage, said messages) (any, error) {
	report := replicationReport{Server: s.Name, Clients: []map[string]any{}, Messages: said.all()}
	for member, to := range map[string]any{"server_lsn": &report.ServerLSN, "streaming_clients": &report.Clients} {
		if raw, ok := told[member]; ok {
			if err := decode(raw, to); err != nil {
				return nil, err
			}
		}
	}
	for _, client := range report.Clients {
		for name, value := range client {
			if _, bytes := client[name+"_bytes"]; bytes {
				delete(client, name)
			}
			if text, ok := value.(string); ok && name == "started_at" {
				at, err := parseTime(text)
				if err != nil {
					return nil, fmt.Errorf("its started_at: %w", err)
				}
				client[name] = at
			}
		}
	}
	return report, nil
}

// decode keeps numbers as they are.
func decode(raw json.RawMessage, to any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(to)
}
