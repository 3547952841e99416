package handler

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"barback/handler/auth"
	"barback/handler/barmanapi"
	"barback/runner/barman"
	"barback/runner/operation"
)

// The columns of the table: what an identity is to users.toml.
const (
	nobody    = iota // and anonymous is not there
	anonymous        // nobody, and anonymous may "*"
	stranger         // vouched for, and not in users.toml
	viewer
	operator
	admin
	narrow // an operator's token for the backups of pg-one
	columns
)

// access says who may what: a row for each route, and for each type of operation where a route is about one. "+" is
// let through, "-" is refused, "." sees nothing of it, as if it were not there.
var access = append([]row{
	//                                                  nobody, anonymous "*", stranger, viewer, operator, admin, narrow
	{"GET /status", "+++++++"},
	{"GET /", "-+-+++-"},
	{"GET /version", "-+-+++-"},
	{"GET /openapi.json", "-+-+++-"},
	{"GET /openapi.yaml", "-+-+++-"},
	{"GET /diagnose", "-+-+++-"},
	{"GET /servers", "-+-+++-"},
	{"GET /servers/:server", "-+-+++-"},
	{"GET /servers/:server/backups", "-+-+++-"},
	{"GET /servers/:server/backups/:id", "-+-+++-"},
	{"GET /servers/:server/wals", "-+-+++-"},
	{"GET /servers/:server/check", "-+-+++-"},
	{"GET /servers/:server/status", "-+-+++-"},
	{"GET /servers/:server/replication-status", "-+-+++-"},

	{"GET /operations config_update", "-+-+++-"},
	{"POST /operations config_update", "-+---+-"},
	{"GET /operations/:id config_update", "-+-+++-"},
	{"DELETE /operations/:id config_update", "-+---+-"},
	{"GET /operations/:id/output config_update", "-+-+++-"},
	{"POST /operations/:id/cancel config_update", "-+---+-"},
	{"POST /operations/:id/retry config_update", "-+---+-"},

	{"GET /servers/:server/operations backup", "-+-++++"},
	{"POST /servers/:server/operations backup", "-+--+++"},
	{"GET /servers/:server/operations/:id backup", "-+-++++"},
	{"DELETE /servers/:server/operations/:id backup", "-+---+-"},
	{"GET /servers/:server/operations/:id/output backup", "-+-++++"},
	{"POST /servers/:server/operations/:id/cancel backup", "-+--+++"},
	{"POST /servers/:server/operations/:id/retry backup", "-+--+++"},

	{"GET /servers/:server/operations recovery", "-+-+++."},
	{"POST /servers/:server/operations recovery", "-+--++-"},
	{"GET /servers/:server/operations/:id recovery", "-+-+++."},
	{"DELETE /servers/:server/operations/:id recovery", "-+---+-"},
	{"GET /servers/:server/operations/:id/output recovery", "-+-+++."},
	{"POST /servers/:server/operations/:id/cancel recovery", "-+--++."},
	{"POST /servers/:server/operations/:id/retry recovery", "-+--++."},

	{"GET /servers/:server/operations config_switch", "-+-+++."},
	{"POST /servers/:server/operations config_switch", "-+--++-"},
	{"GET /servers/:server/operations/:id config_switch", "-+-+++."},
	{"DELETE /servers/:server/operations/:id config_switch", "-+---+-"},
	{"GET /servers/:server/operations/:id/output config_switch", "-+-+++."},
	{"POST /servers/:server/operations/:id/cancel config_switch", "-+--++."},
	{"POST /servers/:server/operations/:id/retry config_switch", "-+--++."},

	{"GET /users", "-----+-"},
	{"POST /users", "-----+-"},
	{"GET /users/:user", "-----+-"},
	{"POST /users/:user", "-----+-"},
	{"DELETE /users/:user", "-----+-"},
	{"GET /tokens", "--++++-"},          // one's own
	{"POST /tokens", "---+++-"},         // a stranger has nothing that a token could allow
	{"DELETE /tokens/:id", "--...+-"},   // another's
	{"POST /tokens another", "-----+-"}, // for another
	{"GET /audit", "-----+-"},
}, others()...)

type row struct{ what, who string }

// others are the rows of the types of operations that are like config_switch, but for who may start, cancel and retry
// them: what deletes backups is an administrator's.
func others() (rows []row) {
	for _, kind := range []string{"delete", "keep", "verify_backup", "generate_manifest", "check_backup", "switch_wal", "archive_wal", "rebuild_xlogdb", "sync_backup", "sync_wals",
		"check", "status", "replication_status", "cron"} {
		at, does := "/servers/:server/operations", "-+--++"
		if kind == "delete" {
			does = "-+---+"
		}
		hidden := "."
		if kind == "cron" {
			at, hidden = "/operations", "-" // nothing at all is there for a token of pg-one
		}
		if strings.HasPrefix(kind, "sync_") { // of another server
			hidden = "-"
		}
		rows = append(rows,
			row{"GET " + at + " " + kind, "-+-+++" + hidden},
			row{"POST " + at + " " + kind, does + "-"},
			row{"GET " + at + "/:id " + kind, "-+-+++" + hidden},
			row{"DELETE " + at + "/:id " + kind, "-+---+-"},
			row{"GET " + at + "/:id/output " + kind, "-+-+++" + hidden},
			row{"POST " + at + "/:id/cancel " + kind, does + hidden},
			row{"POST " + at + "/:id/retry " + kind, does + hidden},
		)
	}
	return rows
}

// extra are rows beyond one for each route and type.
var extra = []string{"POST /tokens another"}

// needed are the rows that the routes and the types of operations ask for.
func needed(routes []string) (rows []string) {
	for _, route := range routes {
		if _, path, _ := strings.Cut(route, " "); barmanapi.Owns(path) {
			continue // dialectAccess
		}
		if !strings.Contains(route, "/operations") {
			rows = append(rows, route)
			continue
		}
		for _, kind := range barman.Names(!strings.Contains(route, "/servers/")) {
			rows = append(rows, route+" "+kind)
		}
	}
	return append(rows, extra...)
}

// caller is one way to be somebody.
type caller struct {
	name   string
	column int
	as     string // in the audit log
	how    string
	send   func(*http.Request) *http.Request
}

// header is a caller who shows these values of Authorization.
func header(values ...string) func(*http.Request) *http.Request {
	return func(r *http.Request) *http.Request {
		r.Header["Authorization"] = values
		return r
	}
}

// callers makes the users, and all ways to be one of them or none.
func (b *bench) callers() []caller {
	none := func(r *http.Request) *http.Request { return r }
	apache := func(name string) func(*http.Request) *http.Request {
		return func(r *http.Request) *http.Request { return r.WithContext(auth.NewContext(r.Context(), name)) }
	}
	peer := func(uid uint32) func(*http.Request) *http.Request {
		return func(r *http.Request) *http.Request {
			return r.WithContext(auth.WithPeer(r.Context(), auth.Peer{UID: uid, GID: uid}))
		}
	}
	var list []caller
	out := func(name string, send func(*http.Request) *http.Request) {
		list = append(list, caller{name, nobody, auth.Anonymous, auth.ByNobody, send})
	}
	b.allow(nil)
	b.auth.Peers = auth.Peers{}
	for column, role := range map[int]string{viewer: "viewer", operator: "operator", admin: "admin"} {
		b.addUser(role, auth.User{Role: role})
		b.addUser("CN="+role+", O=Example", auth.User{Role: role})
		b.auth.Peers[fmt.Sprint("uid:", 4000+column)] = role
		token := b.token(role)
		list = append(list,
			caller{"Basic, " + role, column, role, auth.ByPassword, header(basic(role, password))},
			caller{"a token, " + role, column, role, auth.ByToken, header(token)},
			caller{"a token before Apache's word, " + role, column, role, auth.ByToken, func(r *http.Request) *http.Request { return apache("stranger")(header(token)(r)) }},
			caller{"REMOTE_USER, " + role, column, role, auth.ByApache, apache(role)},
			caller{"REMOTE_USER and a password that is Apache's, " + role, column, role, auth.ByApache, func(r *http.Request) *http.Request { return apache(role)(header(basic("admin", "x"))(r)) }},
			caller{"the name in a certificate, " + role, column, "CN=" + role + ", O=Example", auth.ByApache, apache("CN=" + role + ", O=Example")},
			caller{"a local user, " + role, column, role, auth.ByPeer, peer(4000 + uint32(column))},
		)
	}
	b.addUser("plain", auth.User{})
	list = append(list,
		caller{"a token of the operator for backups", narrow, "operator", auth.ByToken, header(b.token("operator", "servers/pg-one/operations/backup"))},
		caller{"REMOTE_USER that nobody listed", stranger, "stranger", auth.ByApache, apache("stranger")},
		caller{"REMOTE_USER that is no name", stranger, "(null)\n", auth.ByApache, apache("(null)\n")},
	)
	old, _, err := b.auth.Tokens.Create(auth.Token{User: "admin", ExpiresAt: time.Now().Add(-time.Minute)}, time.Now().Add(-time.Hour))
	if err != nil {
		b.t.Fatal(err)
	}
	gone := b.token("gone")
	revoked, t, err := b.auth.Tokens.Create(auth.Token{User: "admin"}, time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.auth.Tokens.Revoke(t.ID); err != nil {
		b.t.Fatal(err)
	}
	out("nobody", none)
	out("a wrong password", header(basic("admin", "guess")))
	out("a user without a name", header(basic("", password)))
	out("a token that has expired", header("Bearer "+old))
	out("a token that was revoked", header("Bearer "+revoked))
	out("a token of a user that is gone", header(gone))
	out("a token that expired, before Apache's word", func(r *http.Request) *http.Request { return apache("admin")(header("Bearer " + old)(r)) })
	out("two headers", header(basic("admin", password), basic("admin", password)))
	out("another scheme", header("Digest username=admin"))
	out("REMOTE_USER anonymous", apache("anonymous"))
	uid := uint32(100_000)
	out("a local user whom nobody mapped", func(r *http.Request) *http.Request { uid++; return peer(uid)(r) })
	out("forged headers", func(r *http.Request) *http.Request {
		for _, name := range []string{"Remote-User", "REMOTE_USER", "X-Remote-User", "X-Forwarded-User", "HTTP_REMOTE_USER", "X-Peer-Uid", "X-Http-Method-Override"} {
			r.Header[name] = []string{"admin"}
		}
		return r
	})
	return list
}

// deed is one request of a row, and how to see that it was let through.
type deed struct {
	method, target, body string
	permission           string
	id                   string // of the operation that a GET shows
}

// bodies ask for an operation of each type; a new type needs one.
var bodies = map[string]string{
	"backup":        `{"type":"backup","queue":true}`,
	"recovery":      `{"type":"recovery","backup_id":"latest","destination_directory":"/srv/x%d","remote_ssh_command":"ssh postgres@db%[1]d"}`,
	"config_switch": `{"type":"config_switch","reset":true}`,
	"config_update": `{"type":"config_update","changes":[{"scope":"server","server_name":"pg-one","description":"%d"}]}`,

	"delete":            `{"type":"delete","backup_id":"latest"}`,
	"keep":              `{"type":"keep","backup_id":"latest","target":"full"}`,
	"verify_backup":     `{"type":"verify_backup","backup_id":"20251201T000000"}`,
	"generate_manifest": `{"type":"generate_manifest","backup_id":"latest"}`,
	"check_backup":      `{"type":"check_backup","backup_id":"latest"}`,
	"switch_wal":        `{"type":"switch_wal"}`,
	"archive_wal":       `{"type":"archive_wal"}`,
	"rebuild_xlogdb":    `{"type":"rebuild_xlogdb"}`,
	"sync_backup":       `{"type":"sync_backup","backup_id":"20260101T000000"}`,
	"sync_wals":         `{"type":"sync_wals"}`,
	"cron":              `{"type":"cron"}`,

	"check":              `{"type":"check"}`,
	"status":             `{"type":"status"}`,
	"replication_status": `{"type":"replication_status"}`,
}

// copies adds a passive server, and a backup with a manifest.
func (b *bench) copies() {
	b.t.Helper()
	conf, err := os.ReadFile(b.cfg.Barman.Clients[0].Config)
	if err != nil {
		b.t.Fatal(err)
	}
	const old = "/home/pg-one/base/20251201T000000"
	for path, text := range map[string]string{
		"/barman.conf": string(conf) + "[pg-copy]\nprimary_ssh_command = ssh x\n", old + "/backup.info": "status=DONE\nversion=150018\n", old + "/data/backup_manifest": "{}",
	} {
		if err := os.MkdirAll(filepath.Dir(b.dir+path), 0o700); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(b.dir+path, []byte(text), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}

// endAll ends what is at work: the same asked for again would be the same operation.
func (b *bench) endAll() {
	b.t.Helper()
	active, err := b.store.Active()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, op := range active {
		if _, err := b.store.End(op.ID, operation.Failed, func(*operation.Operation) {}); err != nil {
			b.t.Fatal(err)
		}
	}
}

// deed prepares the nth request.
func (b *bench) deed(what string, n int) deed {
	b.t.Helper()
	method, rest, _ := strings.Cut(what, " ")
	route, kind, _ := strings.Cut(rest, " ")
	server := "pg-one"
	if strings.HasPrefix(kind, "sync_") {
		server = "pg-copy"
	}
	d := deed{method: method, target: strings.ReplaceAll(route, ":server", server), permission: strings.TrimPrefix(strings.TrimSuffix(strings.ReplaceAll(route, ":server", server), "/:id"), "/")}
	if strings.Contains(route, "/operations") {
		b.endAll()
		body, ok := bodies[kind]
		if !ok {
			b.t.Fatalf("no request for an operation of the type %s", kind)
		}
		if strings.Contains(body, "%") {
			body = fmt.Sprintf(body, n)
		}
		op := operation.Operation{Type: kind, Request: []byte(body)}
		d.permission = permission("", kind)
		if strings.HasPrefix(route, "/servers") {
			op.Server, d.permission = server, permission(server, kind)
		}
		switch {
		case method == "POST" && strings.HasSuffix(route, "/operations"):
			d.body = body
		case strings.HasSuffix(route, "/cancel"):
			op, _ = b.operation(op)
		default:
			op = b.ended(op, operation.Failed, "printed")
		}
		d.id, d.target = string(op.ID), strings.ReplaceAll(d.target, ":id", string(op.ID))
		return d
	}
	switch what {
	case "GET /", "GET /openapi.json", "GET /openapi.yaml":
		d.permission = "version"
	case "POST /users":
		d.body = fmt.Sprintf(`{"name":"new%d","role":"viewer","password":"long enough"}`, n)
	case "GET /users/:user", "POST /users/:user", "DELETE /users/:user":
		name := fmt.Sprint("victim", n)
		if err := b.auth.Users.Add(name, auth.User{Role: "viewer"}); err != nil {
			b.t.Fatal(err)
		}
		d.target, d.permission = "/users/"+name, "users/"+name
		if method == "POST" {
			d.body = `{"role":"admin"}`
		}
	case "GET /servers/:server/backups/:id":
		d.target = "/servers/pg-one/backups/latest"
	case "POST /tokens":
		d.body, d.permission = `{"name":"x"}`, ""
	case "POST /tokens another":
		d.body, d.permission = `{"user":"plain"}`, ""
	case "DELETE /tokens/:id":
		_, t, err := b.auth.Tokens.Create(auth.Token{User: "plain"}, time.Now())
		if err != nil {
			b.t.Fatal(err)
		}
		d.target, d.permission = "/tokens/"+t.ID, ""
	}
	return d
}

// noting are the files in which log-ins and reads leave a mark.
var noting = regexp.MustCompile(`^auth/(failures|hash)|\.lock$|^barman-(version|help)|^answer-`)

// state is what a refused request must leave alone: all files but those that are there to note it.
func (b *bench) state() string {
	b.t.Helper()
	var text strings.Builder
	root := filepath.Join(b.dir, "state")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		record := filepath.Dir(name) == "operations" && d.IsDir() // a file that is replaced changes the folder
		if err != nil || d.IsDir() && !record || noting.MatchString(name) {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&text, name, st.Size())
		if !strings.HasPrefix(name, "auth/tokens") { // whose time is that of the last use
			fmt.Fprintln(&text, st.ModTime().UnixNano())
		}
		if record {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return text.String()
}

// TestAccess holds identity × role × permission, over the handler that every door serves; what the doors add to it,
// TestAccessThroughDoors of the binary does. A route or a type of operation without a row fails.
func TestAccess(t *testing.T) {
	b := newBench(t, nil)
	var rows []string
	for _, row := range access {
		if rows = append(rows, row.what); len(row.who) != columns {
			t.Fatalf("the row %s has %d columns, want %d", row.what, len(row.who), columns)
		}
	}
	want := needed(b.table())
	for _, what := range want {
		if !slices.Contains(rows, what) {
			t.Errorf("%s is not in the table: who may do that?", what)
		}
	}
	for i, what := range rows {
		if !slices.Contains(want, what) || slices.Contains(rows[:i], what) {
			t.Errorf("%s is in the table, and there is no such thing, or twice", what)
		}
	}
	if t.Failed() {
		return
	}
	b.copies()
	callers := b.callers()
	open := newBench(t, nil) // anonymous may "*"
	open.allow(map[string]auth.Lists{"anonymous": {Access: []string{"*"}}})
	open.addUser("plain", auth.User{})
	open.copies()
	n, shared := 0, deed{}
	for i, row := range access {
		callers := callers
		if i >= len(access)-len(others()) { // the ways to be somebody do not depend on the type
			callers = slices.CompactFunc(slices.SortedFunc(slices.Values(callers), func(a, b caller) int { return a.column - b.column }), func(a, b caller) bool { return a.column == b.column })
		}
		t.Run(row.what, func(t *testing.T) {
			n++
			b.t = t
			shared = b.deed(row.what, n)
			for _, c := range callers {
				n++
				mark := row.who[c.column]
				if strings.HasPrefix(row.what, "POST /tokens") && c.how == auth.ByToken {
					mark = '-' // it would outlive itself
				}
				d := shared
				if mark == '+' && d.method != "GET" {
					d = b.deed(row.what, n) // it can be done once
				}
				b.check(d, c, mark, n)
			}
			open.t = t
			n++
			open.check(open.deed(row.what, n), caller{"anonymous, who may *", anonymous, auth.Anonymous, auth.ByNobody, func(r *http.Request) *http.Request { return r }}, row.who[anonymous], n)
		})
	}
}

// check sends one request and looks at all that it must and must not do.
func (b *bench) check(d deed, c caller, mark byte, n int) {
	t := b.t
	t.Helper()
	var body *strings.Reader
	r := httptest.NewRequest(d.method, d.target, nil)
	if d.body != "" {
		body = strings.NewReader(d.body)
		r = httptest.NewRequest(d.method, d.target, body)
		r.Header.Set("Content-Type", "application/json")
	}
	remote := fmt.Sprintf("10.%d.%d.1", n/250, n%250) // each from elsewhere: nobody is throttled
	r.RemoteAddr = remote + ":1234"
	r.Header.Set("X-Request-Id", fmt.Sprint("r", n))
	if err := os.Truncate(b.cfg.Audit.Path, 0); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	before, started := b.state(), b.start.started()
	res := b.serve(c.send(r))
	says := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s: %s %s %s = %d %s: %s", c.name, d.method, d.target, d.body, res.Code, res.Body, fmt.Sprintf(format, args...))
	}
	after := b.state()
	changed := after != before || b.start.started() != started
	shows := strings.Contains(res.Body.String(), d.id) || strings.Contains(res.Body.String(), "printed")
	switch {
	case mark == '+' && (res.Code < 200 || res.Code > 299):
		says("want it let through")
	case mark == '+' && d.method == "GET" && d.id != "" && !shows:
		says("want %s shown", d.id)
	case mark == '+' && d.method != "GET" && !changed:
		says("want something done")
	case mark == '.' && (res.Code != http.StatusNotFound && res.Code != http.StatusOK || d.id != "" && shows && res.Code == http.StatusOK):
		says("want it hidden")
	case mark == '-' && c.as == auth.Anonymous && res.Code != http.StatusUnauthorized:
		says("want 401")
	case mark == '-' && c.as != auth.Anonymous && res.Code != http.StatusForbidden && (c.column != stranger || res.Code != http.StatusBadRequest):
		says("want 403")
	case (mark != '+' || d.method == "GET") && changed:
		says("want nothing changed:\n%s\nwas\n%s", after, before)
	}
	if challenges := strings.Join(res.Header().Values("WWW-Authenticate"), "\n"); res.Code == http.StatusUnauthorized && (!strings.Contains(challenges, "Basic realm=") || !strings.Contains(challenges, "Bearer realm=")) {
		says("WWW-Authenticate is %q, want Basic and Bearer", challenges)
	}
	lines, err := os.ReadFile(b.cfg.Audit.Path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if d.method == "GET" && mark != '-' {
		if len(lines) > 0 {
			says("the audit log has %s, want nothing of what is only read", lines)
		}
		return
	}
	var e auth.Entry
	if err := json.Unmarshal(lines, &e); err != nil {
		says("the audit log has %q (%v), want one entry", lines, err)
		return
	}
	if e.Identity != c.as || e.How != c.how || e.RequestID != fmt.Sprint("r", n) || e.Remote != remote && e.Remote != "uid:"+strings.TrimPrefix(e.Remote, "uid:") ||
		e.Method != d.method || e.Path != d.target || e.Status != res.Code || (e.Result == "ok") != (mark == '+') {
		says("the audit log has %+v", e)
	}
	if e.Permission == "" || d.permission != "" && mark != '.' && e.Permission != d.permission && !strings.HasPrefix(d.permission, e.Permission) {
		says("the permission in the audit log is %q, want %q", e.Permission, d.permission)
	}
	if mark == '+' && e.Target == "" {
		says("the audit log has no target")
	}
}
