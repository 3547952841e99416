package handler

import (
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"
	"github.com/sirupsen/logrus"

	"barback/handler/auth"
)

// endpoint answers one kind of request. An error that it returns becomes the
// answer (problem.go); it must not have written anything then.
type endpoint func(w http.ResponseWriter, r *request) error

// request is a request with what the handler found out about it.
type request struct {
	*http.Request
	id      string
	asked   string // the path as it was asked for
	who     auth.Identity
	rights  auth.Rights
	unknown error // why there are no rights, if it is not for want of them
	params  httprouter.Params
	audited // what the audit log tells of it
}

// crossOrigin keeps pages of other sites from using what a browser sends by itself: a password that
// it remembers, a client certificate, the address of this host. Programs are no browsers and are let through.
var crossOrigin = http.NewCrossOriginProtection()

// may refuses what the identity must not do. Anonymous is told to log in, others that they may not.
func (r *request) may(permission string) error {
	r.permission = permission
	if r.rights.May(r.Method, permission) {
		return nil
	}
	if r.unknown != nil {
		return r.unknown
	}
	return &deniedError{r.who, permission}
}

// sees reports whether the identity may GET what permission stands for.
func (r *request) sees(permission string) bool { return r.rights.May(http.MethodGet, permission) }

// ServeHTTP is the frame around every answer: request ID, path rules, log line, and
// a panic's end.
func (h *handler) ServeHTTP(w http.ResponseWriter, raw *http.Request) {
	start := time.Now()
	r := &request{Request: raw, id: requestID(raw), asked: raw.URL.EscapedPath(), who: auth.FromContext(raw.Context())}
	rec := &recorder{ResponseWriter: w, request: r, body: raw.Body}
	maps.Copy(rec.Header(), frame)
	rec.Header().Set("X-Request-Id", r.id)
	defer func() {
		if p := recover(); p != nil {
			h.Log.WithFields(logrus.Fields{"request": r.id, "panic": fmt.Sprint(p), "stack": string(debug.Stack())}).Error("request panicked")
			h.problem(rec, r, fmt.Errorf("panic: %v", p))
		}
		h.note(r, rec.status, start)
		h.audit(r, rec.status)
	}()
	path, err := h.path(r)
	if err == nil && h.Broken != nil {
		err = &brokenError{h.Broken}
	}
	if err == nil && crossOrigin.Check(raw) != nil {
		err = errCrossOrigin
	}
	if err != nil {
		h.problem(rec, r, err)
		return
	}
	if path != raw.URL.Path || raw.URL.RawPath != "" {
		url := *raw.URL
		url.Path, url.RawPath = path, ""
		r.Request = raw.WithContext(raw.Context()) // a copy: the door's own stays as it is
		r.URL = &url
	}
	h.router.ServeHTTP(rec, r.Request)
}

// frame are the headers of every answer, as far as it says nothing else.
var frame = http.Header{
	"X-Content-Type-Options":       {"nosniff"},
	"Content-Security-Policy":      {"default-src 'none'; frame-ancestors 'none'"}, // nothing here is a page
	"Cross-Origin-Resource-Policy": {"same-origin"},
	"Referrer-Policy":              {"no-referrer"},
	"Cache-Control":                {"no-store"},
}

// endpoint makes a route of e, for which it is known who asks.
func (h *handler) endpoint(e endpoint) httprouter.Handle {
	return h.routed(func(w http.ResponseWriter, r *request) error {
		h.identify(r)
		if err := h.canonical(r); err != nil {
			return err
		}
		return e(w, r)
	})
}

// canonical puts the server of the path under the one name that permissions and records know.
func (h *handler) canonical(r *request) error {
	if !h.Barman.Several() {
		return nil
	}
	for i, p := range r.params {
		if p.Key != "server" {
			continue
		}
		name, err := h.Barman.Canonical(p.Value, r.reaches)
		if err != nil {
			return err
		}
		r.params[i].Value = name
	}
	return nil
}

// routed makes a route of e.
func (h *handler) routed(e endpoint) httprouter.Handle {
	return func(w http.ResponseWriter, _ *http.Request, p httprouter.Params) {
		r := w.(*recorder).request
		r.params = p
		if err := e(w, r); err != nil {
			h.problem(w, r, err)
		}
	}
}

// plain makes a handler of a function that needs neither identity nor parameters.
func (h *handler) plain(f func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, raw *http.Request) {
		if err := f(w, raw); err != nil {
			h.problem(w, w.(*recorder).request, err)
		}
	})
}

// identify finds out who asks and what they may do. What is wrong with it, an endpoint tells
// that asks for a permission: GET /status asks for none, and has no password looked at.
func (h *handler) identify(r *request) {
	if h.Auth == nil {
		return
	}
	r.who, r.rights, r.unknown = h.Auth.Identify(r.Request, time.Now())
}

// path is the request's path below the mount point, without a trailing slash. What
// Apache and we could read differently is refused: rules that a web server attaches to a
// path would otherwise not hold. An encoded slash is a slash to us; to a web server it is one, none or a reason to
// refuse, as it was told.
func (h *handler) path(r *request) (string, error) {
	p := r.URL.Path
	if p == "*" && r.Method == http.MethodOptions {
		return "/", nil
	}
	if !strings.HasPrefix(p, "/") || strings.Contains(r.asked, "%2f") || strings.Contains(r.asked, "%2F") || strings.ContainsFunc(p, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return "", errBadPath
	}
	if strings.Contains(p, "//") {
		return "", errBadPath
	}
	for s := range strings.SplitSeq(p, "/") {
		if s == "." || s == ".." {
			return "", errBadPath
		}
	}
	if h.BasePath != "" {
		rest, ok := strings.CutPrefix(p, h.BasePath)
		if !ok || rest != "" && rest[0] != '/' {
			return "", errNoRoute
		}
		p = rest
	}
	if p == "" || p == "/" {
		return "/", nil
	}
	return strings.TrimSuffix(p, "/"), nil
}

// requestID takes a client's ID if it is harmless in a log and no token, else makes one.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); isRequestID(id) && mask(id) == id {
		return id
	}
	return strings.ToLower(rand.Text()[:16])
}

// isRequestID reports whether id is 1 to 64 letters and digits, and what joins them in such names.
func isRequestID(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._@-", c)
	})
}

// recorder remembers the status for the log, and lets no answer begin before the
// request was read.
type recorder struct {
	http.ResponseWriter
	request *request
	body    io.ReadCloser // of the request as it came
	status  int
}

// drainLimit bounds what is read of a body that nobody wants; Apache's recipes let no larger one through.
const drainLimit = 64 << 20

// WriteHeader reads the rest of the body first: a web server that still sends when we have
// answered and gone reports that as a failure of its own, and on a connection that it uses
// again Go's FastCGI takes the rest for the next request. Who asked whether to send
// (Expect: 100-continue) is told without.
func (r *recorder) WriteHeader(status int) {
	if r.status != 0 {
		return
	}
	r.status = status
	if r.body != nil && r.body != http.NoBody && r.request.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.body, drainLimit)
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
