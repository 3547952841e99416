package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"strings"
	"testing"
	"time"

	"barback/handler/auth"
)

// asks are what each caller tries; a caller's codes are in this order.
var asks = []struct{ method, path, body, permission string }{
	{"GET", "/servers", "", "servers"},
	{"POST", "/servers/pg-a/operations", `{"type":"backup","queue":true}`, "servers/pg-a/operations/backup"},
	{"GET", "/users", "", "users"},
}

// visitor is one way to come in.
type visitor struct {
	name, header, as, how string
	codes                 [3]int
}

// TestAccessThroughDoors: through each door each kind of identity may what its role says, whoever vouches for it. What
// is refused starts nothing, and the audit log has all of it: who, how known, from where, the request and the permission.
// The whole table of permissions is TestAccess of the handler, which all doors serve.
func TestAccessThroughDoors(t *testing.T) {
	t.Parallel()
	l := newGate(t)
	www, err := user.Lookup("www-data")
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	// Whoever is in www-data's group, such as Apache itself, would be an administrator.
	l.write("barback.toml", "trusted_proxy_header = \"X-Remote-User\"\n"+string(config)+"[auth.peers]\n\"user:root\" = \"olga\"\n\"gid:"+www.Gid+"\" = \"boss\"\n", 0o644)
	l.addUser("olga", "operator")
	l.addUser("boss", "admin")
	token := func(args ...string) string {
		return "Bearer " + l.barback(append([]string{"token", "create"}, args...)...)
	}
	revoked := token("boss", "--name", "revoked")
	for line := range strings.Lines(l.barback("token", "list")) {
		if strings.Contains(line, "revoked") {
			l.barback("token", "revoke", strings.Fields(line)[0])
		}
	}
	expired, _, err := (&auth.Tokens{Dir: l.state + "/auth/tokens"}).Create(auth.Token{User: "boss", ExpiresAt: time.Now().Add(-time.Hour)}, time.Now().Add(-2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	in := func(as, role string, codes [3]int) []visitor {
		return []visitor{{"Basic, " + role, basicAuth(as, annsPassword), as, auth.ByPassword, codes}, {"a token, " + role, token(as), as, auth.ByToken, codes}}
	}
	out := func(name, header string) visitor {
		return visitor{name, header, auth.Anonymous, auth.ByNobody, [3]int{401, 401, 401}}
	}
	all := append(append(in("ann", "viewer", [3]int{200, 403, 403}), in("olga", "operator", [3]int{200, 202, 403})...), in("boss", "admin", [3]int{200, 202, 200})...)
	all = append(all, visitor{"a token for less", token("boss", "--scope", "GET servers"), "boss", auth.ByToken, [3]int{200, 403, 403}},
		out("nobody", ""), out("a wrong password", basicAuth("boss", "guess")), out("an expired token", "Bearer "+expired), out("a revoked token", revoked), out("another scheme", "Negotiate x"))
	// What Apache asks for itself, where the query says so.
	hash := strings.TrimSpace(l.must(l.command("openssl", "passwd", "-apr1", "apaches")))
	l.write("apache.users", fmt.Sprintf("ann:%[1]s\nolga:%[1]s\nboss:%[1]s\nstranger:%[1]s\nanonymous:%[1]s\n", hash), 0o644)
	l.write("apache.extra", "<If \"%{QUERY_STRING} == 'apache'\">\nAuthType Basic\nAuthName x\nAuthBasicProvider file\nAuthUserFile "+l.dir+"/apache.users\nRequire valid-user\n</If>\n", 0o644)
	l.env["LAB_APACHE_EXTRA"] = l.dir + "/apache.extra"
	behind := []visitor{
		{"Apache's ann", basicAuth("ann", "apaches"), "ann", auth.ByApache, [3]int{200, 403, 403}}, {"Apache's olga", basicAuth("olga", "apaches"), "olga", auth.ByApache, [3]int{200, 202, 403}},
		{"Apache's boss", basicAuth("boss", "apaches"), "boss", auth.ByApache, [3]int{200, 202, 200}}, {"Apache's stranger", basicAuth("stranger", "apaches"), "stranger", auth.ByApache, [3]int{403, 403, 403}},
	}
	anonymous := visitor{"Apache's anonymous", basicAuth("anonymous", "apaches"), auth.Anonymous, auth.ByNobody, [3]int{401, 401, 401}}
	local := visitor{"the local root", "", "olga", auth.ByPeer, [3]int{200, 202, 403}}

	for n, d := range append(doors, door{"the Unix socket", func(l *lab) string {
		l.activate(l.dir+"/run/local.sock", "http")
		return "http://localhost"
	}}) {
		t.Run(d.name, func(t *testing.T) {
			l := *l
			l.t = t
			from := fmt.Sprintf("127.0.0.%d", 10+n) // whoever is refused too often from one address is not told each time
			e := &entrance{t: t, l: &l, url: d.open(&l), from: from, remote: from}
			apache := n < 4
			dial := func(ctx context.Context, network, address string) (net.Conn, error) {
				return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(ctx, network, address)
			}
			if n == len(doors) {
				e.remote = "uid:0"
				dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, "unix", l.dir+"/run/local.sock")
				}
			}
			e.http = &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{DialContext: dial}}
			defer e.http.CloseIdleConnections()
			for _, v := range all {
				if v.header == "" && n == len(doors) {
					v = local
				}
				e.visit(v, "")
			}
			if apache {
				for _, v := range append(behind, anonymous) {
					e.visit(v, "?apache")
				}
			}
			l.barback("user", "allow", "anonymous", "*")
			defer l.barback("user", "remove", "anonymous")
			made := [3]int{200, 202, 401} // of users and tokens it never has anything
			if n < len(doors) {
				e.visit(visitor{"anonymous, who may *", "", auth.Anonymous, auth.ByNobody, made}, "")
			}
			e.visit(out("a wrong password, where anonymous may *", basicAuth("olga", "guess")), "")
			if apache {
				e.visit(visitor{"Apache's anonymous, who may *", anonymous.header, auth.Anonymous, auth.ByNobody, made}, "?apache")
			}
		})
	}
}

// entrance is a door with somebody in front of it.
type entrance struct {
	t                 *testing.T
	l                 *lab
	url, from, remote string
	http              *http.Client
	n                 int
}

// visit asks for all, and looks at what was done and what was noted.
func (e *entrance) visit(v visitor, query string) {
	e.t.Helper()
	for i, ask := range asks {
		e.n++
		id := fmt.Sprintf("%s-%d", e.from, e.n)
		before := e.operations()
		req, err := http.NewRequest(ask.method, e.url+ask.path+query, strings.NewReader(ask.body))
		if err != nil {
			e.t.Fatal(err)
		}
		req.Header.Set("X-Request-Id", id)
		if ask.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		if v.header != "" {
			req.Header.Set("Authorization", v.header)
		}
		res, err := e.http.Do(req)
		if err != nil {
			e.t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != v.codes[i] {
			e.t.Errorf("%s: %s %s = %d %s (%v), want %d", v.name, ask.method, ask.path, res.StatusCode, body, err, v.codes[i])
			continue
		}
		wellFormed(e.t, reply{res, body})
		if challenges := strings.Join(res.Header.Values("WWW-Authenticate"), ", "); (res.StatusCode == 401) != (strings.Contains(challenges, "Basic realm=") && strings.Contains(challenges, "Bearer realm=")) {
			e.t.Errorf("%s: %s %s = %d with WWW-Authenticate %q, want Basic and Bearer for a 401 alone", v.name, ask.method, ask.path, res.StatusCode, challenges)
		}
		if began := e.operations() - before; (began == 1) != (res.StatusCode == 202) {
			e.t.Errorf("%s: %s %s = %d, and %d operations were begun", v.name, ask.method, ask.path, res.StatusCode, began)
		}
		e.audited(v, i, id)
	}
}

func (e *entrance) operations() int {
	e.t.Helper()
	list, err := os.ReadDir(e.l.state + "/operations")
	if err != nil && !os.IsNotExist(err) {
		e.t.Fatal(err)
	}
	return len(list)
}

func (e *entrance) audited(v visitor, i int, id string) {
	e.t.Helper()
	var found []auth.Entry
	wanted := v.codes[i] != 200
	for _, entry := range e.l.audited() {
		if entry.RequestID == id {
			found = append(found, entry)
		}
	}
	if len(found) != map[bool]int{true: 1}[wanted] {
		e.t.Errorf("%s: %s %s with %d is in the audit log %d times", v.name, asks[i].method, asks[i].path, v.codes[i], len(found))
		return
	}
	if !wanted {
		return
	}
	if got := found[0]; got.Identity != v.as || got.How != v.how || got.Remote != e.remote || got.Status != v.codes[i] || !strings.HasPrefix(asks[i].permission, got.Permission) || got.Permission == "" ||
		(got.Result == "ok") != (got.Status == 202) || (got.Target != "") != (got.Status == 202) {
		e.t.Errorf("%s: %s %s is in the audit log as %+v, want %s, known as %s, from %s, with %s", v.name, asks[i].method, asks[i].path, got, v.as, v.how, e.remote, asks[i].permission)
	}
}
