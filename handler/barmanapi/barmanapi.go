// Package barmanapi speaks the dialect of barmanapi: /auth, /config, /history and /barman. It translates: users and
// tokens are those of handler/auth, commands and policies those of runner/barman, tickets are operations. It keeps nothing
// of its own, and writes no answer: it returns what the handler writes.
package barmanapi

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"barback/handler/auth"
	"barback/runner/barman"
	"barback/runner/operation"
)

// Config is what an administrator can choose.
type Config struct {
	TokenLifetime time.Duration
	Async         []string // commands that answer with a ticket at once
	Allowed       []string // commands that are refused otherwise
}

// API is what the dialect needs of the world.
type API struct {
	Config
	Auth         *auth.Keeper
	Barman       *barman.Client
	Records      *operation.Store
	Deadline     time.Duration       // how long a request waits for Barman before it gets a ticket
	MaskText     func(string) string // takes out secrets
	BarmanConfig barmanConfig
	OwnConfig    OwnConfig
	Mask         func(json.RawMessage) json.RawMessage // takes out secrets
}

// Route is one path. GET and POST are the same to barmanapi; HEAD is not answered, as a GET may do anything.
type Route struct {
	Path   string
	Answer func(*Request) (any, error)
}

// Routes are the paths of the dialect.
func (a *API) Routes() []Route {
	return append([]Route{
		{"/auth/token", a.token},
		{"/auth/user", a.self},
		{"/auth/user/list", a.users},
		{"/auth/user/change", a.changeUser},
		{"/auth/user/add", a.addUser},
		{"/barman/:command", a.barman},
		{"/barman/:command/:option", a.commandHelp},
		{"/history/list", a.history},
		{"/history/result", a.historyResult},
	}, a.configRoutes()...)
}

// Owns reports whether a path is the dialect's, whether or not there is such a route.
func Owns(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "auth", "barman", "config", "history":
		return true
	}
	return false
}

// Request is one request with what is known of it.
type Request struct {
	Context context.Context
	ID      string // in the log
	Who     auth.Identity
	Rights  auth.Rights
	Unknown error // why there are no rights, if it is not for want of them
	Foreign error // a page of another site sent it
	Params  httprouter.Params
	Values  Values
	// Launch has a runner take an operation, in the name of whoever asks.
	Launch func(operation.Operation) (operation.Operation, error)
	// Sees reports whether whoever asks may see operations of a server and a type.
	Sees func(server, kind string) bool
	// Noted is for the audit log.
	Noted
}

// Noted is what the audit log tells of a request.
type Noted struct {
	Permission, Server, Target string
	Changes                    bool // though it is a GET
}

// List wraps an answer as barmanapi does.
type List struct {
	StatusCode int    `json:"status_code"`
	Message    string `json:"message"`
	List       any    `json:"list"`
}

// list is a good answer.
func list(v any) List { return List{200, "", v} }
