package handler

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"barback/runner/barman"
	"barback/runner/operation"
)

// serverView is one server as clients see it.
type serverView struct {
	Name        string      `json:"name"`
	Host        string      `json:"host,omitempty"`
	Description string      `json:"description"`
	Active      bool        `json:"active"`
	Disabled    bool        `json:"disabled"`
	Faults      []string    `json:"faults,omitempty"` // why
	Passive     bool        `json:"passive"`
	ActiveModel *string     `json:"active_model"`
	LastBackup  *lastBackup `json:"last_backup"`
	// CatalogError says why last_backup is not known.
	CatalogError string    `json:"catalog_error,omitempty"`
	Running      []string  `json:"running_operations"`
	Links        linksView `json:"links"`
	// Settings are there when one server is asked for.
	Settings json.RawMessage `json:"settings,omitempty"`
}

type lastBackup struct {
	ID      string     `json:"backup_id"`
	Status  string     `json:"status"`
	EndTime *time.Time `json:"end_time"`
}

type linksView map[string]string

// servers handles "GET /servers": those that the caller may see.
func (h *handler) servers(w http.ResponseWriter, r *request) error {
	if err := r.may("servers"); err != nil {
		return err
	}
	list, broken, err := h.Barman.Overview()
	if err != nil {
		return err
	}
	active, err := h.Records.Active()
	if err != nil {
		return err
	}
	views := []serverView{}
	for _, s := range list {
		if !r.sees("servers/" + s.Name) {
			continue
		}
		views = append(views, h.serverView(r, s, active))
	}
	body := map[string]any{"servers": views}
	if h.Barman.Several() {
		body["hosts"] = hostViews(h.Barman.Hosts(), broken)
	}
	return answer(w, r, http.StatusOK, body)
}

// hostView is a Barman host, and why its servers are not listed.
type hostView struct {
	Name  string  `json:"name"`
	Error *string `json:"error"`
}

func hostViews(names []string, broken map[string]error) []hostView {
	var views []hostView
	for _, name := range names {
		v := hostView{Name: name}
		if err := broken[name]; err != nil {
			v.Error = optional(maskMessage(err.Error()))
		}
		views = append(views, v)
	}
	return views
}

// server handles "GET /servers/NAME".
func (h *handler) server(w http.ResponseWriter, r *request) error {
	name := r.params.ByName("server")
	if err := r.may("servers/" + name); err != nil {
		return err
	}
	s, settings, err := h.Barman.Look(name)
	if err != nil {
		return err
	}
	active, err := h.Records.Active()
	if err != nil {
		return err
	}
	raw, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	v := h.serverView(r, s, active)
	v.Settings = maskJSON(raw)
	return answer(w, r, http.StatusOK, v)
}

func (h *handler) serverPath(name string) string {
	return h.BasePath + "/servers/" + url.PathEscape(name)
}

func (h *handler) serverView(r *request, s barman.Overview, active []operation.Operation) serverView {
	v := serverView{Name: s.Name, Host: s.Host, Description: mask(s.Description), Active: s.Active, Disabled: len(s.Faults) > 0, Passive: s.Passive, Running: []string{},
		Links: linksView{"self": h.serverPath(s.Name), "backups": h.serverPath(s.Name) + "/backups", "wals": h.serverPath(s.Name) + "/wals", "check": h.serverPath(s.Name) + "/check",
			"status": h.serverPath(s.Name) + "/status", "replication_status": h.serverPath(s.Name) + "/replication-status", "operations": h.operationsPath(s.Name)}}
	for _, fault := range s.Faults {
		v.Faults = append(v.Faults, maskMessage(fault))
	}
	if s.ActiveModel != "" {
		v.ActiveModel = &s.ActiveModel
	}
	for _, op := range active {
		if op.Server == s.Name && r.follows(op.Server, op.Type) {
			v.Running = append(v.Running, string(op.ID))
		}
	}
	if !r.sees("servers/" + s.Name + "/backups") {
		return v
	}
	if s.Err != nil {
		v.CatalogError = maskMessage(s.Err.Error())
	}
	if s.Last != nil {
		v.LastBackup = &lastBackup{ID: s.Last.ID, Status: s.Last.Status, EndTime: when(s.Last.EndTime)}
	}
	return v
}
