package handler

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"barback/handler/auth"
)

const password = "correct horse"

// hashed is the password with the least work that Argon2id knows: the tests show it thousands of times.
const hashed = "$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$M7jw0GQI4Kfcxf+xPldfNRYttP89scc9XVAYAcaZ0U0"

// addUser makes an identity with the password of the tests.
func (b *bench) addUser(name string, u auth.User) {
	b.t.Helper()
	u.Password = hashed
	if err := b.auth.Users.Change(name, func(now *auth.User) bool { *now = u; return true }); err != nil {
		b.t.Fatal(err)
	}
}

func basic(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// token makes a token of a user.
func (b *bench) token(user string, scope ...string) string {
	b.t.Helper()
	secret, _, err := b.auth.Tokens.Create(auth.Token{User: user, Scope: scope}, time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	return "Bearer " + secret
}

// entries is the audit log, newest first.
func (b *bench) entries() []auth.Entry {
	b.t.Helper()
	list, err := b.cfg.Audit.Tail(time.Time{}, 10_000)
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

// audited is the size of the audit log.
func (b *bench) audited() int64 {
	b.t.Helper()
	st, err := os.Stat(b.cfg.Audit.Path)
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	if err != nil {
		return 0
	}
	return st.Size()
}

func TestCredentials(t *testing.T) {
	b := newBench(t, nil)
	b.allow(map[string]auth.Lists{"anonymous": {Access: []string{"*"}}})
	b.addUser("ann", auth.User{Role: "operator"})
	token := b.token("ann")
	for _, good := range []string{basic("ann", password), token} {
		b.ask("GET", "/servers", "", "Authorization", good).want(200, "pg-one")
		b.ask("POST", "/servers/pg-one/operations", `{"type":"backup","queue":true}`, "Authorization", good).want(202, `"requested_by":"ann"`)
	}
	started := b.start.started()
	for _, bad := range []string{basic("ann", "guess"), basic("nobody", password), "Bearer x", "Bearer " + auth.TokenPrefix + strings.Repeat("a", 26), "x", "Digest username=ann"} {
		// Not even what anonymous may: who shows something wants to be somebody.
		res := b.ask("GET", "/servers", "", "Authorization", bad)
		res.want(401, "bad-credentials")
		challenges := strings.Join(res.Header().Values("WWW-Authenticate"), "\n")
		if !strings.Contains(challenges, `Basic realm="barback"`) || !strings.Contains(challenges, "Bearer ") || strings.Contains(challenges, "invalid_token") != strings.HasPrefix(bad, "Bearer") {
			t.Errorf("the challenges after %q are %q, want Basic and Bearer", bad, challenges)
		}
		b.ask("POST", "/servers/pg-one/operations", `{"type":"backup","queue":true}`, "Authorization", bad).want(401, "")
		b.ask("GET", "/status", "", "Authorization", bad).want(200, `"OK"`) // open to all, and no oracle
	}
	if b.start.started() != started {
		t.Error("a request with wrong credentials started an operation")
	}
	one, two := b.ask("GET", "/servers", "", "Authorization", basic("bob", "guess"), "X-Request-Id", "r"), b.ask("GET", "/servers", "", "Authorization", basic("ann", "guess"), "X-Request-Id", "r")
	if one.Body.String() != two.Body.String() {
		t.Errorf("a wrong password is answered\n%s\nan unknown user\n%s\nwant the same", two.Body, one.Body)
	}
}

// GET /status is for everybody: it looks at no password, and so cannot be used to try some or to lock
// somebody out.
func TestStatusLooksAtNoPassword(t *testing.T) {
	b := newBench(t, nil)
	b.addUser("ann", auth.User{Role: "viewer"})
	for range 20 {
		b.ask("GET", "/status", "", "Authorization", basic("ann", "guess")).want(200, `"OK"`)
	}
	b.ask("GET", "/servers", "", "Authorization", basic("ann", password)).want(200, "")
	b.ask("GET", "/status?deep=1", "", "Authorization", basic("ann", "guess")).want(401, "")
}

func TestThrottled(t *testing.T) {
	b := newBench(t, nil)
	b.addUser("bob", auth.User{Role: "viewer"})
	var res *reply
	for n := 0; res == nil || res.Code == 401 && n < 20; n++ { // a slow machine has waited by itself
		res = b.ask("GET", "/servers", "", "Authorization", basic("ann", "guess"))
		if n < 5 && res.Code != 401 {
			t.Fatalf("guess %d = %d, want 401", n+1, res.Code)
		}
	}
	res.want(429, "too-many-failures")
	if n, err := strconv.Atoi(res.Header().Get("Retry-After")); err != nil || n < 1 {
		t.Errorf("Retry-After = %q, want seconds", res.Header().Get("Retry-After"))
	}
	b.ask("GET", "/servers", "", "Authorization", basic("bob", password)).want(200, "")
	b.ask("GET", "/servers", "", "Authorization", b.token("ann")).want(200, "") // the victim has another way in
}

func TestTokensOverHTTP(t *testing.T) {
	b := newBench(t, nil)
	b.addUser("ann", auth.User{Role: "operator"})
	b.addUser("bob", auth.User{Role: "viewer"})
	b.addUser("root", auth.User{Role: "admin"})
	as := func(user, method, path, body string) *reply {
		t.Helper()
		return b.ask(method, path, body, "Authorization", basic(user, password))
	}
	res := as("ann", "POST", "/tokens", `{"name":"script","scope":["GET servers"],"expires":"12h"}`)
	res.want(201, `"user":"ann"`)
	made := res.json()
	token, id := fmt.Sprint(made["token"]), fmt.Sprint(made["id"])
	expires, err := time.Parse(time.RFC3339, fmt.Sprint(made["expires_at"]))
	if err != nil || time.Until(expires) > 12*time.Hour || time.Until(expires) < 11*time.Hour || res.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the answer is %s with Cache-Control %q, want a token for 12 hours, stored nowhere", res.Body, res.Header().Get("Cache-Control"))
	}
	with := func(method, path, body string) *reply {
		t.Helper()
		return b.ask(method, path, body, "Authorization", "Bearer "+token)
	}
	with("GET", "/servers", "").want(200, "pg-one")
	with("POST", "/servers/pg-one/operations", `{"type":"backup"}`).want(403, "")
	with("GET", "/operations", "").want(403, "")
	with("POST", "/tokens", `{}`).want(403, "a token makes no tokens")
	b.ask("POST", "/tokens", `{}`, "Authorization", b.token("root")).want(403, "a token makes no tokens")

	// One's own are one's own; others' are an administrator's.
	as("ann", "POST", "/tokens", `{"user":"root"}`).want(403, "tokens/root")
	as("root", "POST", "/tokens", `{"user":"bob","expires":"never"}`).want(201, `"expires_at":null`)
	as("root", "POST", "/tokens", `{"user":"nobody"}`).want(400, "/user")
	b.ask("POST", "/tokens", `{}`).want(401, "")
	b.ask("GET", "/tokens", "").want(401, "")
	for user, sees := range map[string]int{"ann": 1, "bob": 1, "root": 3} {
		list := as(user, "GET", "/tokens", "")
		if got := len(list.json()["tokens"].([]any)); got != sees || strings.Contains(list.Body.String(), auth.TokenPrefix) {
			t.Errorf("%s sees %d tokens, want %d, and no token itself: %s", user, got, sees, list.Body)
		}
	}
	as("bob", "DELETE", "/tokens/"+id, "").want(404, "no such token")
	as("bob", "DELETE", "/tokens/0123456789abcdef", "").want(404, "no such token")
	with("GET", "/servers", "").want(200, "")
	as("ann", "DELETE", "/tokens/"+id, "").want(204, "")
	with("GET", "/servers", "").want(401, "not valid")
	as("ann", "DELETE", "/tokens/"+id, "").want(404, "")

	for body, says := range map[string]string{
		`{"scope":[]}`: "/scope", `{"scope":["/x"]}`: "/scope/0", `{"expires":"soon"}`: "/expires", `{"scope":"*"}`: "body", `{"nam":"x"}`: "nam", `{"name":"a\nb"}`: "name", `[]`: "body", `{} {}`: "behind",
	} {
		as("ann", "POST", "/tokens", body).want(400, says)
	}
	as("ann", "POST", "/tokens", "").want(400, "no body")
	if list := as("ann", "GET", "/tokens", "").json()["tokens"].([]any); len(list) != 0 {
		t.Errorf("refused requests left %v", list)
	}
	if err := b.auth.Users.Update("bob", func(u *auth.User) { u.Deny = []string{"tokens"} }); err != nil {
		t.Fatal(err)
	}
	as("bob", "POST", "/tokens", `{}`).want(403, "")
	as("bob", "GET", "/tokens", "").want(403, "")
}

func TestUsersOverHTTP(t *testing.T) {
	b := newBench(t, nil)
	b.addUser("root", auth.User{Role: "admin"})
	as := func(method, path, body string) *reply {
		t.Helper()
		return b.ask(method, path, body, "Authorization", basic("root", password))
	}
	as("POST", "/users", `{"name":"cy","password":"a new password","role":"viewer","deny":["servers/pg-two"]}`).want(201, `"role":"viewer"`)
	b.ask("GET", "/servers", "", "Authorization", basic("cy", "a new password")).want(200, "pg-one")
	as("POST", "/users", `{"name":"cy"}`).want(409, "already")
	as("GET", "/users/cy", "").want(200, `"password":true`)
	as("GET", "/users", "").want(200, `"name":"anonymous"`)
	if body := as("GET", "/users", "").Body.String(); strings.Contains(body, "argon2") {
		t.Errorf("the list of users tells hashes: %s", body)
	}
	as("POST", "/users/cy", `{"role":"","access":["version"]}`).want(200, `"access":["version"]`)
	as("GET", "/users/cy", "").want(200, `"deny":["servers/pg-two"]`) // what was not named stays
	b.ask("GET", "/servers", "", "Authorization", basic("cy", "a new password")).want(403, "")
	as("POST", "/users/cy", `{"password":"another password"}`).want(200, "")
	b.ask("GET", "/version", "", "Authorization", basic("cy", "a new password")).want(401, "")
	token := b.token("cy")
	b.ask("GET", "/version", "", "Authorization", token).want(200, "")
	as("DELETE", "/users/cy", "").want(204, "")
	b.ask("GET", "/version", "", "Authorization", token).want(401, "")
	as("POST", "/users", `{"name":"cy","role":"admin"}`).want(201, "") // a new one of that name
	b.ask("GET", "/version", "", "Authorization", token).want(401, "")
	for _, m := range []string{"GET", "DELETE"} {
		as(m, "/users/nobody", "").want(404, "no such identity")
	}
	as("POST", "/users/nobody", `{"role":"viewer"}`).want(404, "no such identity")
	for body, says := range map[string]string{
		`{"name":"../x"}`: "/name", `{}`: "/name", `{"name":"x","role":"boss"}`: "/role", `{"name":"x","password":"short"}`: "/password", `{"name":"x","access":["/"]}`: "/access/0", `{"name":"x","deny":["HEAD x"]}`: "/deny/0",
		`{"name":"x","Deny":5}`: "body", `{"name":"x","denny":[]}`: "denny", `{"name":"anonymous","password":"long enough"}`: "/password",
	} {
		as("POST", "/users", body).want(400, says)
	}
	as("POST", "/users/root", `{"name":"boss"}`).want(400, "/name")
	if _, known, _ := b.auth.Users.Find("x"); known {
		t.Error("a refused request made a user")
	}
	// Nobody but administrators gets there, whatever anonymous may.
	b.addUser("ann", auth.User{Role: "operator"})
	for _, path := range []string{"/users", "/users/root", "/audit"} {
		b.ask("GET", path, "").want(401, "login")
		b.ask("GET", path, "", "Authorization", basic("ann", password)).want(403, "")
	}
	b.ask("POST", "/users", `{"name":"evil","role":"admin"}`).want(401, "login")
	b.ask("POST", "/users/ann", `{"role":"admin"}`, "Authorization", basic("ann", password)).want(403, "")
}

// A local user of the Unix socket is who the configuration says, and nobody without it.
func TestPeersOverHTTP(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Auth.Peers = auth.Peers{"uid:4242": "ann"} })
	b.allow(map[string]auth.Lists{"ann": {Access: []string{"servers"}}})
	for uid, want := range map[uint32]int{4242: 200, 0: 401, 4243: 401} {
		r := httptest.NewRequest("GET", "/servers", nil)
		b.serve(r.WithContext(auth.WithPeer(r.Context(), auth.Peer{UID: uid, GID: uid}))).want(want, "")
	}
}

func TestAuditOfRequests(t *testing.T) {
	b := newBench(t, nil)
	b.allow(map[string]auth.Lists{"cy": {Access: []string{"version"}}})
	b.addUser("root", auth.User{Role: "admin"})
	b.addUser("ann", auth.User{Role: "operator"})
	ann := []string{"Authorization", basic("ann", password)}
	location := b.ask("POST", "/servers/pg-one/operations", `{"type":"backup"}`, append(ann, "X-Request-Id", "r1")...).Header().Get("Location")
	b.ask("POST", "/servers/pg-one/operations", `{"type":"recovery","backup_id":"latest","destination_directory":"/x","remote_ssh_command":"sh -c id"}`, ann...).want(422, "")
	b.ask("POST", location+"/cancel", "", ann...).want(202, "")
	b.ask("GET", "/servers?token=secret-query", "", ann...).want(200, "") // reads are not noted
	b.ask("GET", "/servers", "").want(401, "")
	b.ask("GET", "/servers", "", "Authorization", basic("ann", "secret-guess")).want(401, "")
	b.ask("GET", "/servers", "", "Authorization", basic("secret-name", "x")).want(401, "")
	b.ask("GET", "/servers", "", "Authorization", "Bearer bb_secret").want(401, "")
	b.askAs("cy", "GET", "/servers?password=secret-query", "").want(403, "")
	b.ask("POST", "/users", `{"name":"new","password":"secret-password"}`, "Authorization", basic("root", password)).want(201, "")
	b.ask("DELETE", "/users/new", "", "Authorization", basic("root", password)).want(204, "")
	id := filepath.Base(location)
	want := []auth.Entry{
		{Identity: "ann", How: "basic", Method: "POST", Path: "/servers/pg-one/operations", Permission: "servers/pg-one/operations/backup", Server: "pg-one", Target: id, Status: 202, Result: "ok", RequestID: "r1"},
		{Identity: "ann", How: "basic", Method: "POST", Path: "/servers/pg-one/operations", Permission: "servers/pg-one/operations/recovery", Server: "pg-one", Status: 422, Result: "not-allowed-here"},
		{Identity: "ann", How: "basic", Method: "POST", Path: location + "/cancel", Permission: "servers/pg-one/operations/backup", Server: "pg-one", Target: id, Status: 202, Result: "ok"},
		{Identity: "anonymous", How: "anonymous", Method: "GET", Path: "/servers", Permission: "servers", Status: 401, Result: "login-needed", Refusals: 1},
		{Identity: "anonymous", How: "anonymous", Method: "GET", Path: "/servers", Permission: "servers", Claimed: "ann", Status: 401, Result: "bad-credentials", Refusals: 2},
		{Identity: "anonymous", How: "anonymous", Method: "GET", Path: "/servers", Permission: "servers", Status: 401, Result: "bad-credentials", Refusals: 3},
		{Identity: "anonymous", How: "anonymous", Method: "GET", Path: "/servers", Permission: "servers", Status: 401, Result: "bad-credentials", Refusals: 4},
		{Identity: "cy", How: "apache", Method: "GET", Path: "/servers", Permission: "servers", Status: 403, Result: "forbidden"},
		{Identity: "root", How: "basic", Method: "POST", Path: "/users", Permission: "users", Target: "new", Status: 201, Result: "ok"},
		{Identity: "root", How: "basic", Method: "DELETE", Path: "/users/new", Permission: "users/new", Target: "new", Status: 204, Result: "ok"},
	}
	got := b.entries()
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d: %+v", len(got), len(want), got)
	}
	for i, w := range want {
		e := got[len(got)-1-i]
		if e.Time.IsZero() || e.RequestID == "" || e.Remote != "192.0.2.1" {
			t.Errorf("entry %d has time %v, request ID %q, remote %q, want all three", i, e.Time, e.RequestID, e.Remote)
		}
		e.Time, e.Remote = time.Time{}, ""
		if w.RequestID == "" {
			e.RequestID = ""
		}
		if e != w {
			t.Errorf("entry %d is\n%+v\nwant\n%+v", i, e, w)
		}
	}
	text, err := os.ReadFile(b.cfg.Audit.Path)
	if err != nil || strings.Contains(string(text), "secret") || strings.Contains(string(text), password) {
		t.Errorf("the audit log tells a secret (%v):\n%s", err, text)
	}
	if strings.Contains(b.log.text(), "secret") {
		t.Errorf("the log tells a secret:\n%s", b.log.text())
	}
	root := []string{"Authorization", basic("root", password)}
	if got := b.ask("GET", "/audit?limit=2", "", root...).json()["entries"].([]any); len(got) != 2 {
		t.Errorf("GET /audit?limit=2 = %v, want the last two", got)
	}
	if got := b.ask("GET", "/audit?since="+time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "", root...).json()["entries"].([]any); len(got) != 0 {
		t.Errorf("GET /audit since a time to come = %v, want nothing", got)
	}
	for query, says := range map[string]string{"limit=0": "?limit", "limit=x": "?limit", "limit=100000": "?limit", "since=yesterday": "?since"} {
		b.ask("GET", "/audit?"+query, "", root...).want(400, says)
	}
}

// A full or missing log stops no backup: what it should hold goes to the log of barback.
func TestAnAuditLogThatCannotBeWritten(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Audit = &auth.Audit{Path: "/nonexistent/audit.log"} })
	b.ask("POST", "/servers/pg-one/operations", `{"type":"backup"}`, "X-Request-Id", "r1").want(202, "")
	for line := range strings.Lines(b.log.text()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["request"] == "r1" && entry["level"] == "error" && strings.Contains(line, "servers/pg-one/operations/backup") {
			return
		}
	}
	t.Errorf("the log holds no error with the entry: %s", b.log.text())
}
