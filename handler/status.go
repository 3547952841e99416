package handler

import (
	"cmp"
	"net/http"
	"runtime"

	"barback/runner/barman"
)

// index handles "GET /": what there is, for somebody who looks around with curl.
func (h *handler) index(w http.ResponseWriter, r *request) error {
	if err := r.may("version"); err != nil {
		return err
	}
	links := map[string]string{}
	for _, p := range []string{"/status", "/version", "/diagnose", "/servers", "/operations"} {
		links[p[1:]] = h.BasePath + p
	}
	for _, p := range []string{"/users", "/tokens", "/audit"} {
		if r.sees(p[1:]) {
			links[p[1:]] = h.BasePath + p
		}
	}
	links["openapi"] = h.BasePath + "/openapi.json"
	return answer(w, r, http.StatusOK, map[string]any{"service": "barback", "version": h.Version, "links": links})
}

// status handles "GET /status", which is open to all: "OK" says that barback answers.
// With ?deep=1 it looks at the installation, for those who may.
func (h *handler) status(w http.ResponseWriter, r *request) error {
	if deep := r.URL.Query().Get("deep"); deep == "" || deep == "0" {
		write(w, "application/json", http.StatusOK, []byte(`"OK"`)) // pg-backup-api's four bytes
		return nil
	}
	h.identify(r)
	if err := r.may("status/deep"); err != nil {
		return err
	}
	checks, status, word := h.Checks(), http.StatusOK, "OK"
	for i, c := range checks {
		checks[i].Detail = maskMessage(c.Detail)
		if !c.OK {
			status, word = http.StatusServiceUnavailable, "FAILED"
		}
	}
	return answer(w, r, status, map[string]any{"status": word, "checks": checks})
}

// version handles "GET /version".
func (h *handler) version(w http.ResponseWriter, r *request) error {
	if err := r.may("version"); err != nil {
		return err
	}
	body := map[string]any{"barback": h.Version, "go": runtime.Version()}
	if h.Barman.Several() && r.URL.Query().Get("host") == "" {
		body["hosts"] = h.versions()
		return answer(w, r, http.StatusOK, body)
	}
	host, err := h.host(r)
	if err != nil {
		return err
	}
	if body["barman"], body["operations"], err = capabilities(host); err != nil {
		return err
	}
	return answer(w, r, http.StatusOK, body)
}

// versions is the version of each Barman, or why it is not known.
func (h *handler) versions() []map[string]any {
	var list []map[string]any
	for _, name := range h.Barman.Hosts() {
		v := map[string]any{"name": name, "barman": nil, "error": nil}
		if c, err := h.Barman.On(name); err != nil {
			v["error"] = maskMessage(err.Error())
		} else if version, err := c.Version(); err != nil {
			v["error"] = maskMessage(err.Error())
		} else {
			v["barman"] = version
		}
		list = append(list, v)
	}
	return list
}

// capabilities are the version of a Barman, and the types of operations with what it can do of them.
func capabilities(host *barman.Client) (installed string, kinds []kindView, err error) {
	if installed, err = host.Version(); err != nil {
		return "", nil, err
	}
	for _, k := range barman.Kinds {
		v, err := viewKind(host, k, installed)
		if err != nil {
			return "", nil, err
		}
		kinds = append(kinds, v)
	}
	return installed, kinds, nil
}

// kindView is a type of operation, and what the installed Barman can do of it.
type kindView struct {
	Type      string       `json:"type"`
	Level     string       `json:"level"`
	Supported bool         `json:"supported"`
	Since     string       `json:"since,omitempty"`
	Options   []memberView `json:"options"`
}

type memberView struct {
	Name      string `json:"name"`
	Supported bool   `json:"supported"`
	Since     string `json:"since,omitempty"`
}

func viewKind(host *barman.Client, k barman.Kind, installed string) (kindView, error) {
	v := kindView{k.Name, "server", k.Supported(installed), k.Since, []memberView{}}
	if k.Instance {
		v.Level = "instance"
	}
	for _, o := range k.Options {
		has, err := host.Has(k, o)
		if err != nil {
			return v, err
		}
		v.Options = append(v.Options, memberView{o.Name, has && v.Supported, cmp.Or(o.Works, o.Since)})
	}
	return v, nil
}
