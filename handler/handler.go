// Package handler answers one request: route, identity, permission, endpoint. It reads
// records and Barman's files, and starts nothing itself but through the interfaces
// below, so that every door gives the same answers.
package handler

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"
	"github.com/sirupsen/logrus"

	"barback/handler/auth"
	"barback/handler/barmanapi"
	"barback/runner/barman"
	"barback/runner/operation"
)

// Config is what the handler needs of the world.
type Config struct {
	BasePath  string // prefix under which barback is mounted; empty: none
	MaxBody   int64  // bytes of a request body
	Version   string
	Records   *operation.Store
	Barman    *barman.Fleet
	Auth      *auth.Keeper
	Audit     *auth.Audit
	Launcher  launcher
	Checks    func() []Check // what GET /status?deep=1 looks at
	Log       logrus.FieldLogger
	Requests  io.Writer     // gets a line of the log for each request; nil: there are none
	Deadline  time.Duration // how long a request waits for Barman before it gets an operation to poll
	Unmasked  bool          // what Barman tells is passed on as it is
	Broken    error         // the installation cannot work, and why: every answer says so
	Dialect   barmanapi.Config
	OwnConfig barmanapi.OwnConfig
	// Ending is over when this process is to end: whoever only waits gets his answer then. nil: it never is.
	Ending context.Context
}

// launcher accepts operations, asks for their end, and looks at where one would restore to.
type launcher interface {
	Start(ctx context.Context, op operation.Operation) (operation.Operation, error)
	Cancel(id operation.ID, who string) (operation.Operation, error)
	Look(ctx context.Context, op operation.Operation) error
}

// Check is one finding about the installation.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// untilEnding is the context of who follows or waits: requests of that kind do not keep a process that is to end.
func (h *handler) untilEnding(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if h.Ending == nil {
		return ctx, cancel
	}
	stop := context.AfterFunc(h.Ending, cancel)
	return ctx, func() { stop(); cancel() }
}

// launchTimeout bounds how long a request waits for its runner.
const launchTimeout = 30 * time.Second

// handler holds the routes.
type handler struct {
	Config
	router *httprouter.Router
	table  []string // of the routes: "GET /servers"
	ended  keptAnswers
}

// New builds the handler of all requests.
func New(c Config) http.Handler {
	h := &handler{Config: c, router: httprouter.New()}
	h.routes()
	return h
}

// routes is every path there is. A path with a trailing slash is the same one.
func (h *handler) routes() {
	get, post := h.get, h.post
	get("/", h.index)
	get("/openapi.json", h.openAPIAsJSON)
	get("/openapi.yaml", h.openAPIAsYAML)
	h.open("/status", h.status)
	get("/version", h.version)
	get("/diagnose", readable(h.diagnose))
	get("/servers", h.servers)
	get("/servers/:server", h.server)
	get("/servers/:server/backups", h.backups)
	get("/servers/:server/backups/:id", h.backup)
	get("/servers/:server/wals", h.wals)
	for _, k := range barman.Kinds {
		if k.Reports() { // check, status, replication-status
			get("/servers/:server/"+k.Command, readable(h.report(k)))
		}
	}
	for _, at := range []string{"/operations", "/servers/:server/operations"} {
		get(at, h.operations)
		post(at, h.accept)
		get(at+"/:id", h.operation)
		h.delete(at+"/:id", h.forget)
		get(at+"/:id/output", h.output)
		post(at+"/:id/cancel", h.cancel)
		post(at+"/:id/retry", h.retry)
	}

	get("/users", h.users)
	post("/users", h.addUser)
	get("/users/:user", h.user)
	post("/users/:user", h.changeUser)
	h.delete("/users/:user", h.removeUser)
	get("/tokens", h.tokens)
	post("/tokens", h.addToken)
	h.delete("/tokens/:id", h.revokeToken)
	get("/audit", h.auditLog)
	h.dialect()

	// The router's own redirects build a Location from the Host header and repair
	// letter case: both wrong for an API under a prefix.
	h.router.RedirectTrailingSlash, h.router.RedirectFixedPath = false, false
	h.router.HandleOPTIONS = true
	h.router.GlobalOPTIONS = h.plain(func(w http.ResponseWriter, _ *http.Request) error {
		return noContent(w)
	})
	h.router.NotFound = h.plain(func(http.ResponseWriter, *http.Request) error { return errNoRoute })
	h.router.MethodNotAllowed = h.plain(func(_ http.ResponseWriter, r *http.Request) error { return methodError(r.Method) })
}

func (h *handler) get(path string, e endpoint) {
	h.handle(http.MethodGet, path, h.endpoint(e))
}

// open registers what anybody may GET: who asks is not looked at before the endpoint wants to know.
func (h *handler) open(path string, e endpoint) {
	h.handle(http.MethodGet, path, h.routed(e))
}

func (h *handler) delete(path string, e endpoint) {
	h.handle(http.MethodDelete, path, h.endpoint(e))
}

// handle registers a route; what can be had by GET can be by HEAD.
func (h *handler) handle(method, path string, e httprouter.Handle) {
	h.table = append(h.table, method+" "+path)
	h.router.Handle(method, path, e)
	if method == http.MethodGet {
		h.router.Handle(http.MethodHead, path, e)
	}
}

func (h *handler) post(path string, e endpoint) {
	h.handle(http.MethodPost, path, h.endpoint(readable(e)))
}

// readable is for what starts something: that the answer could be read is made sure before.
func readable(e endpoint) endpoint {
	return func(w http.ResponseWriter, r *request) error {
		if !acceptsJSON(r.Header.Get("Accept")) {
			return errNotAcceptable
		}
		return e(w, r)
	}
}
