// Package contract holds answers against handler/openapi.yaml: status, headers and body. Only tests use it. It is stricter
// than the document: clients have to bear new members and headers, our tests must not.
package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// Answer is what a request got. The body of a HEAD does not count.
type Answer struct {
	Method, Path string // without the path that barback is mounted under
	Status       int
	Header       http.Header
	Body         []byte
}

// Document is an OpenAPI 3.1 document, whose schemas are those of JSON Schema 2020-12.
type Document struct {
	root     node
	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

// typ is the type of a problem.
func (a Answer) typ() string {
	var p struct{ Type string }
	_ = json.Unmarshal(a.Body, &p)
	return p.Type
}

const resource = "openapi.json"

// Load reads a document.
func Load(text []byte) (*Document, error) {
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	strict(v)
	d := &Document{root: node{v, "", nil}, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	d.root.d = d
	d.compiler.AssertFormat()
	return d, d.compiler.AddResource(resource, v)
}

// strict lets no object have members that its schema does not name, unless the schema says that it may.
func strict(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			strict(e)
		}
	case map[string]any:
		if _, says := v["additionalProperties"]; v["type"] == "object" && v["properties"] != nil && !says {
			v["additionalProperties"] = false
		}
		for _, e := range v {
			strict(e)
		}
	}
}

// Operations lists the methods and paths: "GET /servers/{server}/operations".
func (d *Document) Operations() []string {
	var list []string
	for path, item := range d.root.at("paths").all() {
		for method := range item.all() {
			if method != "parameters" {
				list = append(list, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(list)
	return list
}

// common are headers that any answer may have: those of the protocol, those of a web server, those that every answer of ours has.
var common = []string{
	"Allow", "Cache-Control", "Connection", "Content-Length", "Content-Security-Policy", "Content-Type", "Cross-Origin-Resource-Policy", "Date",
	"Keep-Alive", "Referrer-Policy", "Server", "Transfer-Encoding", "Upgrade", "Vary", "X-Content-Type-Options",
}

// Check says in what an answer differs from the document.
func (d *Document) Check(a Answer) error {
	media, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if media == "application/problem+json" && (a.Header.Get("X-Request-Id") == "" || a.typ() == "about:blank") {
		return d.body(d.root.at("components", "schemas", "WebServerProblem"), a)
	}
	op, found := d.find(a)
	switch {
	case a.typ() == "urn:barback:bad-path": // what the path looks like decoded does not matter
		return d.body(d.root.at("components", "schemas", "Problem"), a)
	case !found && a.Status >= 400 && media == "application/json": // barmanapi's dialect
		return d.body(d.root.at("components", "responses", "DialectNotFound", "content", media, "schema"), a)
	case !found && a.Status >= 400: // no such path, or it has not this method
		return d.body(d.root.at("components", "schemas", "Problem"), a)
	case !found && a.Method == http.MethodOptions && a.Status == http.StatusNoContent && a.Header.Get("Allow") != "" && len(a.Body) == 0:
		return nil
	case !found:
		return fmt.Errorf("the document has no %s of this path", a.Method)
	}
	res := op.at("responses", strconv.Itoa(a.Status))
	if res.value == nil {
		return fmt.Errorf("the document has no %d of %s", a.Status, op.at("operationId").value)
	}
	if err := d.headers(res.at("headers"), a.Header); err != nil {
		return err
	}
	contents := res.at("content")
	content := contents.at(media)
	switch {
	case contents.value == nil && len(a.Body) > 0:
		return fmt.Errorf("the %d has a body of %d bytes, the document has none", a.Status, len(a.Body))
	case contents.value == nil:
		return nil
	case content.value == nil && a.Method == http.MethodHead && media == "":
		return nil
	case content.value == nil:
		return fmt.Errorf("the %d is %q, which the document does not have", a.Status, media)
	case !strings.HasSuffix(media, "json"):
		return nil
	}
	return d.body(content.at("schema"), a)
}

// find is the operation that an answer is of.
func (d *Document) find(a Answer) (node, bool) {
	method := strings.ToLower(a.Method)
	switch {
	case a.Method != strings.ToUpper(a.Method), !strings.HasPrefix(a.Path, "/"):
		return node{}, false
	case method == "head":
		method = "get"
	}
	parts := strings.Split(strings.TrimSuffix(a.Path, "/"), "/")
	var best node
	literal := -1 // a path that says more of itself wins
	for path, item := range d.root.at("paths").all() {
		n, ok := match(strings.Split(strings.TrimSuffix(path, "/"), "/"), parts)
		if op := item.at(method); ok && n > literal && op.value != nil {
			best, literal = op, n
		}
	}
	return best, literal >= 0
}

func match(pattern, parts []string) (literal int, ok bool) {
	if len(pattern) != len(parts) {
		return 0, false
	}
	for i, p := range pattern {
		switch {
		case p == parts[i]:
			literal++
		case !strings.HasPrefix(p, "{") || parts[i] == "":
			return 0, false
		}
	}
	return literal, true
}

func (d *Document) headers(documented node, got http.Header) error {
	var wrong []error
	known := slices.Clone(common)
	for name, h := range documented.all() {
		known = append(known, http.CanonicalHeaderKey(name))
		values := got.Values(name)
		if len(values) == 0 && h.at("required").value == true {
			wrong = append(wrong, fmt.Errorf("the header %s is missing", name))
		}
		for _, v := range values {
			var value any = v
			if h.at("schema").at("type").value == "integer" {
				value = json.Number(v)
			}
			if err := d.valid(h.at("schema"), value); err != nil {
				wrong = append(wrong, fmt.Errorf("the header %s is %q: %w", name, v, err))
			}
		}
	}
	for name := range got {
		if !slices.Contains(known, name) {
			wrong = append(wrong, fmt.Errorf("the header %s is not in the document", name))
		}
	}
	return errors.Join(wrong...)
}

func (d *Document) body(schema node, a Answer) error {
	if a.Method == http.MethodHead {
		return nil
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.Body))
	if err != nil {
		return fmt.Errorf("the body is no JSON: %w", err)
	}
	return d.valid(schema, v)
}

func (d *Document) valid(schema node, v any) error {
	d.mu.Lock()
	s, ok := d.schemas[schema.pointer]
	if !ok {
		var err error
		if s, err = d.compiler.Compile(resource + "#" + schema.pointer); err != nil {
			d.mu.Unlock()
			return err
		}
		d.schemas[schema.pointer] = s
	}
	d.mu.Unlock()
	return s.Validate(v)
}

// CheckExamples says which examples of the document are not as their schemas have them.
func (d *Document) CheckExamples() error {
	var wrong []error
	check := func(content node) {
		for _, media := range content.all() {
			for _, example := range media.examples() {
				if err := d.valid(media.at("schema"), example.value); err != nil {
					wrong = append(wrong, fmt.Errorf("%s: %w", example.pointer, err))
				}
			}
		}
	}
	for _, item := range d.root.at("paths").all() {
		for _, op := range item.all() {
			check(op.at("requestBody", "content"))
			for _, res := range op.at("responses").all() {
				check(res.at("content"))
			}
		}
	}
	return errors.Join(wrong...)
}

// Examples are the bodies that the document gives as examples for a POST of a path.
func (d *Document) Examples(path string) []any {
	var list []any
	for _, e := range d.root.at("paths", path, "post", "requestBody", "content", "application/json").examples() {
		list = append(list, e.value)
	}
	return list
}

// Enum is the list of values of a schema.
func (d *Document) Enum(name string) []string {
	var list []string
	for _, v := range d.root.at("components", "schemas", name, "enum").value.([]any) {
		list = append(list, fmt.Sprint(v))
	}
	return list
}

// node is a place in the document, references followed.
type node struct {
	value   any
	pointer string // RFC 6901
	d       *Document
}

func (n node) at(names ...string) node {
	for _, name := range names {
		m, _ := n.value.(map[string]any)
		n = node{m[name], n.pointer + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name), n.d}.follow()
	}
	return n
}

func (n node) follow() node {
	if m, ok := n.value.(map[string]any); ok {
		if ref, ok := m["$ref"].(string); ok {
			return n.d.root.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return n
}

// all are the members of an object.
func (n node) all() map[string]node {
	m, _ := n.value.(map[string]any)
	all := map[string]node{}
	for name := range maps.Keys(m) {
		all[name] = n.at(name)
	}
	return all
}

func (n node) examples() []node {
	var list []node
	if e := n.at("example"); e.value != nil {
		list = append(list, e)
	}
	for _, e := range n.at("examples").all() {
		list = append(list, e.at("value"))
	}
	return list
}
