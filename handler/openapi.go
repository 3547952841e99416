package handler

import (
	"bytes"
	_ "embed" // the document below
	"encoding/json"
	"net/http"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// openAPI describes every path of this package, in OpenAPI 3.1. Tests hold the routes and every answer against it.
//
//go:embed openapi.yaml
var openAPI []byte

// openAPIAsYAML handles "GET /openapi.yaml".
func (h *handler) openAPIAsYAML(w http.ResponseWriter, r *request) error {
	if err := r.may("version"); err != nil {
		return err
	}
	send(w, r, "application/yaml", http.StatusOK, h.description())
	return nil
}

// openAPIAsJSON handles "GET /openapi.json".
func (h *handler) openAPIAsJSON(w http.ResponseWriter, r *request) error {
	if err := r.may("version"); err != nil {
		return err
	}
	var v any
	if err := yaml.Unmarshal(h.description(), &v); err != nil {
		return err
	}
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	send(w, r, "application/json", http.StatusOK, body)
	return nil
}

// description is the document, with the path under which barback is mounted.
func (h *handler) description() []byte {
	if h.BasePath == "" {
		return openAPI
	}
	return bytes.Replace(openAPI, []byte("\n  - url: /\n"), []byte("\n  - url: "+strconv.Quote(h.BasePath)+"\n"), 1)
}
