package handler

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"barback/handler/contract"
	"barback/runner/operation"
)

// document is openapi.yaml, for the tests.
var document = func() *contract.Document {
	d, err := contract.Load(openAPI)
	if err != nil {
		panic(err)
	}
	return d
}()

// documented holds every answer that a test gets against openapi.yaml.
type documented struct {
	b *bench
	http.Handler
}

func (d documented) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &noted{ResponseWriter: w, answer: contract.Answer{Method: r.Method, Path: r.URL.Path}}
	if base := d.b.cfg.BasePath; base != "" {
		below, ok := strings.CutPrefix(r.URL.Path, base)
		a.answer.Path = map[bool]string{true: "/" + strings.TrimPrefix(below, "/"), false: "outside"}[ok]
	}
	d.Handler.ServeHTTP(a, r)
	if err := document.Check(a.answer); err != nil {
		d.b.t.Errorf("%s %s = %d %s\nis not as openapi.yaml has it: %v", r.Method, r.URL, a.answer.Status, a.answer.Body, err)
	}
}

// noted keeps an answer.
type noted struct {
	http.ResponseWriter
	answer contract.Answer
}

func (n *noted) WriteHeader(status int) {
	n.answer.Status, n.answer.Header = status, n.Header().Clone()
	n.ResponseWriter.WriteHeader(status)
}

func (n *noted) Write(p []byte) (int, error) {
	n.answer.Body = append(n.answer.Body, p...)
	return n.ResponseWriter.Write(p)
}

func (n *noted) Unwrap() http.ResponseWriter { return n.ResponseWriter }

var parameter = regexp.MustCompile(`:(\w+)`)

func TestOpenAPIHasTheRoutes(t *testing.T) {
	b := newBench(t, nil)
	var routes []string
	for _, r := range b.table() {
		routes = append(routes, parameter.ReplaceAllString(r, "{$1}"))
	}
	for _, r := range routes {
		if !slices.Contains(document.Operations(), r) {
			t.Errorf("openapi.yaml does not have %s", r)
		}
	}
	for _, o := range document.Operations() {
		if !slices.Contains(routes, o) {
			t.Errorf("openapi.yaml has %s, and barback has not", o)
		}
	}
}

func TestOpenAPIHasTheProblems(t *testing.T) {
	source, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	var slugs []string
	for _, m := range regexp.MustCompile(`return http\.Status\w+, "([a-z-]+)"`).FindAllSubmatch(source, -1) {
		slugs = append(slugs, "urn:barback:"+string(m[1]))
	}
	slices.Sort(slugs)
	documented := document.Enum("ProblemType")
	slices.Sort(documented)
	if slugs = slices.Compact(slugs); !slices.Equal(documented, slugs) {
		t.Errorf("openapi.yaml has the problems %q, classify %q", documented, slugs)
	}
}

func TestOpenAPIExamples(t *testing.T) {
	if err := document.CheckExamples(); err != nil {
		t.Error(err)
	}
	for path, examples := range map[string][]any{
		"/operations":                document.Examples("/operations"),
		"/servers/pg-one/operations": document.Examples("/servers/{server}/operations"),
	} {
		for _, e := range examples {
			body, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			newBench(t, nil).ask("POST", path, string(body)).want(202, "")
		}
		if len(examples) == 0 {
			t.Errorf("there is no example of a POST of %s", path)
		}
	}
}

func TestOpenAPIIsServed(t *testing.T) {
	b := newBench(t, func(c *Config) { c.BasePath = "/barback" })
	text := b.ask("GET", "/barback/openapi.yaml", "")
	text.want(200, "openapi: 3.1.0\n")
	text.want(200, "\n  - url: \"/barback\"\n")
	doc := b.ask("GET", b.ask("GET", "/barback", "").json()["links"].(map[string]any)["openapi"].(string), "").json()
	if url := doc["servers"].([]any)[0].(map[string]any)["url"]; url != "/barback" || doc["openapi"] != "3.1.0" {
		t.Errorf("openapi.json is of %v at %v, want 3.1.0 at /barback", doc["openapi"], url)
	}
	for _, path := range []string{"/barback/openapi.yaml", "/barback/openapi.json"} {
		tag := b.ask("GET", path, "").Header().Get("ETag")
		b.ask("GET", path, "", "If-None-Match", tag).want(304, "")
	}
	b.ask("GET", "/barback/openapi.json", "", "Authorization", "Basic eDp5").want(401, "")
}

// The check of the answers finds what it is there for.
func TestContractFindsWhatIsUndocumented(t *testing.T) {
	b := newBench(t, nil)
	op := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Failed, "x")
	path := "/servers/pg-one/operations/" + string(op.ID)
	answer := func(method, path string) contract.Answer {
		res := b.ask(method, path, "")
		return contract.Answer{Method: method, Path: path, Status: res.Code, Header: res.Header(), Body: res.Body.Bytes()}
	}
	for _, tc := range []struct {
		name, method, path string
		spoil              func(*contract.Answer)
		says               string
	}{
		{"nothing", "GET", path, func(*contract.Answer) {}, ""},
		{"a status", "GET", path, func(a *contract.Answer) { a.Status = 201 }, "no 201"},
		{"a header", "GET", path, func(a *contract.Answer) { a.Header.Set("X-New", "1") }, "X-New"},
		{"a header that is missing", "GET", path, func(a *contract.Answer) { a.Header.Del("ETag") }, "ETag is missing"},
		{"a header's value", "GET", path, func(a *contract.Answer) { a.Header.Set("Retry-After", "soon") }, "Retry-After"},
		{"a media type", "GET", path, func(a *contract.Answer) { a.Header.Set("Content-Type", "text/html") }, "text/html"},
		{"a member", "GET", path, func(a *contract.Answer) { a.Body = []byte(strings.Replace(string(a.Body), `{`, `{"new":1,`, 1)) }, "new"},
		{"a member that is missing", "GET", path, func(a *contract.Answer) { a.Body = []byte("{}") }, "operation_id"},
		{"a member of a member", "GET", path, func(a *contract.Answer) {
			a.Body = []byte(strings.Replace(string(a.Body), `"output":{`, `"output":{"new":1,`, 1))
		}, "new"},
		{"a kind of problem", "GET", "/nope", func(a *contract.Answer) {
			a.Body = []byte(strings.Replace(string(a.Body), "no-such-path", "new", 1))
		}, "/type"},
		{"a path", "GET", "/status", func(a *contract.Answer) { a.Path = "/new" }, "no GET"},
		{"a method", "GET", "/status", func(a *contract.Answer) { a.Method = "PUT" }, "no PUT"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := answer(tc.method, tc.path)
			tc.spoil(&a)
			err := document.Check(a)
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Check = %v, want %q", err, tc.says)
			}
		})
	}
}
