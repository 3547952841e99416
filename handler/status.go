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
	installed, err := h.Barman.Version()
	if err != nil {
		return err
	}
	kinds := []kindView{}
	for _, k := range barman.Kinds {
		v, err := h.kindView(k, installed)
		if err != nil {
			return err
		}
		kinds = append(kinds, v)
	}
	return answer(w, r, http.StatusOK, map[string]any{"barback": h.Version, "barman": installed, "go": runtime.Version(), "operations": kinds})
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

func (h *handler) kindView(k barman.Kind, installed string) (kindView, error) {
	v := kindView{k.Name, "server", k.Supported(installed), k.Since, []memberView{}}
	if k.Instance {
		v.Level = "instance"
	}
	for _, o := range k.Options {
		has, err := h.Barman.Has(k, o)
		if err != nil {
			return v, err
		}
		v.Options = append(v.Options, memberView{o.Name, has && v.Supported, cmp.Or(o.Works, o.Since)})
	}
	return v, nil
}
