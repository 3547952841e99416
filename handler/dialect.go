package handler

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"barback/handler/barmanapi"
	"barback/runner/operation"
)

// dialect registers the paths of barmanapi. Any of them may do something by GET, and so there is no HEAD. It knows of one
// Barman, whose servers it calls by the names that they have there: among several hosts that would be another spelling of
// what permissions are about.
func (h *handler) dialect() {
	if h.Barman == nil || h.Barman.Several() {
		return
	}
	single := h.Barman.Clients[0]
	api := &barmanapi.API{Config: h.Dialect, Auth: h.Auth, Barman: single, Records: h.Records, Deadline: h.Deadline,
		BarmanConfig: single, OwnConfig: h.OwnConfig, Mask: maskJSON, MaskText: mask}
	if h.Unmasked {
		api.MaskText = func(s string) string { return s }
		api.Mask = func(raw json.RawMessage) json.RawMessage { return raw }
	}
	for _, route := range api.Routes() {
		e := h.routed(func(w http.ResponseWriter, r *request) error { return h.speak(w, r, api, route) })
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			h.table = append(h.table, method+" "+route.Path)
			h.router.Handle(method, route.Path, e)
		}
	}
}

// speak answers a request in the dialect.
func (h *handler) speak(w http.ResponseWriter, r *request, api *barmanapi.API, route barmanapi.Route) error {
	if !acceptsJSON(r.Header.Get("Accept")) {
		return errNotAcceptable
	}
	text, err := h.limited(r)
	if err != nil {
		return err
	}
	values, err := barmanapi.ReadValues(r.URL.RawQuery, r.Header.Get("Content-Type"), text)
	if err != nil {
		return err
	}
	q := &barmanapi.Request{Context: r.Context(), ID: r.id, Params: r.params, Values: values, Foreign: foreign(r.Request)}
	q.Who, q.Rights, q.Unknown = api.Identify(r.Request, route.Path, values, time.Now())
	r.who, r.rights, r.unknown = q.Who, q.Rights, q.Unknown
	q.Launch = func(op operation.Operation) (operation.Operation, error) { return h.launch(w, r, op) }
	q.Sees = r.follows
	v, err := route.Answer(q)
	r.audited = audited{permission: q.Permission, server: q.Server, target: q.Target, changes: q.Changes}
	if err != nil {
		return err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	write(w, "application/json", http.StatusOK, b.Bytes())
	return nil
}

// foreign says that a page of another site sent what may change something, whatever its method.
func foreign(r *http.Request) error {
	r = r.Clone(r.Context())
	r.Method = http.MethodPost
	if crossOrigin.Check(r) != nil {
		return errCrossOrigin
	}
	return nil
}

// inDialect reports whether whoever asked expects an answer as barmanapi gives it.
func (h *handler) inDialect(r *request) bool {
	below, ok := strings.CutPrefix(r.asked, h.BasePath)
	return ok && barmanapi.Owns(below)
}
