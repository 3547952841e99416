package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// argv is what Barman has to be told for a body, read from the body alone. ok is false for a body
// that no Barman may be started for.
func (p parameter) argv(body map[string]any) (args []string, ok bool) {
	w := &wanted{body: body, ok: true}
	switch body["type"] {
	case "backup":
		w.args = []string{"backup"}
		w.flags("wait", "immediate_checkpoint").numbers("jobs", "wait_timeout", "bwlimit", "retry_times", "retry_sleep").words("name", "reuse_backup")
		return append(w.args, p.server()), w.ok
	case "recovery":
		w.args = []string{"recover"}
		w.numbers("bwlimit", "jobs", "retry_times", "retry_sleep")
		if spaces, _ := body["tablespaces"].(map[string]any); p.kind == "tablespace" && spaces["ts"] != nil {
			w.args = append(w.args, fmt.Sprintf("--tablespace=ts:%v", spaces["ts"]))
		}
		if ssh, _ := body["remote_ssh_command"].(string); ssh != "" {
			w.args = append(w.args, "--remote-ssh-command="+strings.Join(strings.Fields(ssh), " "))
		} else if body["target"] == "prod" {
			w.args = append(w.args, "--remote-ssh-command=ssh postgres@prod")
		}
		id, dest := fmt.Sprint(body["backup_id"]), body["destination_directory"]
		if id == "latest" || id == "all" {
			id = yardBackup
		}
		return append(w.args, p.server(), id, fmt.Sprint(dest)), w.ok && id == yardBackup
	case "config_switch":
		if reset, _ := body["reset"].(bool); reset {
			return []string{"config-switch", "pg-a", "--reset"}, true
		}
		model, ok := body["model_name"].(string)
		return []string{"config-switch", "pg-a", model}, ok
	case "config_update":
		doc, err := json.Marshal(body["changes"])
		return []string{"config-update", string(doc)}, err == nil
	}
	return nil, false
}

// wanted collects the arguments that members stand for.
type wanted struct {
	body map[string]any
	args []string
	ok   bool
}

func (w *wanted) each(names []string, f func(name string, v any) (arg string, ok bool)) *wanted {
	for _, name := range names {
		if v, there := w.body[name]; there && v != nil {
			arg, ok := f("--"+strings.ReplaceAll(name, "_", "-"), v)
			if w.ok = w.ok && ok; arg != "" {
				w.args = append(w.args, arg)
			}
		}
	}
	return w
}

func (w *wanted) flags(names ...string) *wanted {
	return w.each(names, func(name string, v any) (string, bool) {
		on, ok := v.(bool)
		return map[bool]string{true: name}[on], ok
	})
}

func (w *wanted) numbers(names ...string) *wanted {
	return w.each(names, func(name string, v any) (string, bool) {
		number, _ := v.(json.Number)
		n, err := strconv.ParseInt(string(number), 10, 64)
		return fmt.Sprintf("%s=%d", name, n), err == nil
	})
}

func (w *wanted) words(names ...string) *wanted {
	return w.each(names, func(name string, v any) (string, bool) {
		s, ok := v.(string)
		return name + "=" + s, ok
	})
}
