package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"barback/handler/auth"
)

const annsPassword = "correct horse"

// basicAuth is the header of a password.
func basicAuth(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// newGate is a yard that anonymous has no access to, and ann has by a password. Its doors need root.
func newGate(t testing.TB) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("BARBACK_TEST") == "all" {
			t.Fatal("Apache and its users need root")
		}
		t.Skip("Apache and its users need root: make test")
	}
	l := newYard(t, 4)
	l.barback("user", "remove", "anonymous")
	l.addUser("ann", "viewer")
	return l
}

// barback runs a verb and returns what it prints.
func (l *lab) barback(args ...string) string {
	l.t.Helper()
	return strings.TrimSpace(l.must(l.command(l.bin, append(args, "--config", l.config)...)))
}

func (l *lab) addUser(name, role string) {
	l.t.Helper()
	cmd := l.command(l.bin, "user", "add", name, "--role", role, "--password-stdin", "--config", l.config)
	cmd.Stdin = strings.NewReader(annsPassword + "\n")
	l.must(cmd)
}

// audited reads the audit log, newest first.
func (l *lab) audited() []auth.Entry {
	l.t.Helper()
	list, err := (&auth.Audit{Path: l.dir + "/audit.log"}).Tail(time.Time{}, 100_000)
	if err != nil {
		l.t.Fatal(err)
	}
	return list
}

// forged are names under which web servers, proxies and programs of theirs hand a user on.
var forged = []string{"Remote-User", "REMOTE_USER", "remote_user", "Remote_User", "X-Remote-User", "X-REMOTE_USER", "X_Remote_User", "HTTP_REMOTE_USER", "Http-Remote-User", "REDIRECT_REMOTE_USER", "Redirect-Remote-User",
	"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Auth-Request-User", "X-Authenticated-User", "X-WEBAUTH-USER", "X-User", "User", "From", "Auth-Type", "AUTH_TYPE", "Proxy-Authorization", "X-Authorization", "HTTP_AUTHORIZATION",
	"X-SSL-Client-S-DN", "SSL_CLIENT_S_DN_CN", "SSL-Client-S-DN-CN", "X-SSL-Client-Verify", "X-Client-Cert", "X-Peer-Uid", "Uid", "X-Token", "Cookie"}

// ask sends a request with one header line as it is, and returns the status.
func ask(t *testing.T, base, line string) int {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	_, _ = fmt.Fprintf(conn, "GET /servers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n\r\n", line)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("with %q: %v", line, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("with %q: %v", line, err)
	}
	_ = res.Body.Close()
	documented(t, http.MethodGet, "/servers", reply{res, body})
	return res.StatusCode
}

// TestWhoAsks: through each door a password and a token are what lets somebody in, and nothing else
// that a client sends.
func TestWhoAsks(t *testing.T) {
	t.Parallel()
	l := newGate(t)
	for n, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			l := *l
			l.t = t
			c := client{t, d.open(&l)}
			want := func(status int, header ...string) reply {
				t.Helper()
				res := c.do("GET", "/servers", "", header...)
				if res.StatusCode != status {
					t.Errorf("GET /servers with %v = %d %s, want %d", header, res.StatusCode, res.body, status)
				}
				wellFormed(t, res)
				return res
			}
			challenges := strings.Join(want(401).Header.Values("WWW-Authenticate"), ", ")
			if !strings.Contains(challenges, `Basic realm="barback"`) || !strings.Contains(challenges, `Bearer realm="barback"`) {
				t.Errorf("a 401 says %q, want Basic and Bearer", challenges)
			}
			want(200, "Authorization", basicAuth("ann", annsPassword))
			want(401, "Authorization", basicAuth("ann", "guess"))
			want(401, "Authorization", basicAuth(fmt.Sprint("nobody", n), annsPassword))
			token := l.barback("token", "create", "ann", "--scope", "servers")
			want(200, "Authorization", "Bearer "+token)
			want(401, "Authorization", "Bearer "+token[:len(token)-1]+"0")
			if res := c.do("GET", "/operations", "", "Authorization", "Bearer "+token); res.StatusCode != 403 {
				t.Errorf("GET /operations with a token for servers = %d, want 403", res.StatusCode)
			}
			list := strings.Split(l.barback("token", "list", "--user", "ann"), "\n")
			l.barback("token", "revoke", strings.Fields(list[1])[0])
			want(401, "Authorization", "Bearer "+token)
			for _, name := range forged {
				for _, value := range []string{"ann", basicAuth("ann", annsPassword)} {
					if got := ask(t, c.url, name+": "+value); got != 401 && got != 400 { // Apache refuses some names itself
						t.Errorf("GET /servers with %s: %s = %d, want 401", name, value, got)
					}
				}
			}
			remotes := map[string]bool{}
			for _, e := range l.audited() {
				if e.Status == 401 {
					remotes[e.Remote] = true
				}
			}
			if remotes[""] || len(remotes) == 0 {
				t.Errorf("the audit log has refusals from %v, want where they come from", remotes)
			}
		})
	}
}

// TestLocalUsers: on the Unix socket the kernel says who connects, and the configuration who that is.
func TestLocalUsers(t *testing.T) {
	t.Parallel()
	l := newGate(t)
	config, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	l.write("barback.toml", string(config)+"[auth.peers]\n\"user:root\" = \"ann\"\n", 0o644)
	for name, flags := range map[string][]string{"socket": nil, "connection": {"--accept"}} {
		t.Run(name, func(t *testing.T) {
			l := *l
			l.t = t
			socket := l.dir + "/run/" + name + ".sock"
			l.activate(socket, "http", flags...)
			transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			}}
			defer transport.CloseIdleConnections()
			get := func(header string) (status int) {
				t.Helper()
				req, err := http.NewRequest("GET", "http://localhost/servers", nil)
				if err != nil {
					t.Fatal(err)
				}
				if header != "" {
					req.Header.Set("Authorization", header)
				}
				res, err := (&http.Client{Transport: transport, Timeout: 60 * time.Second}).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
				return res.StatusCode
			}
			if got := get(""); got != 200 {
				t.Errorf("root, who is ann here = %d, want 200", got)
			}
			if got := get(basicAuth("ann", "guess")); got != 401 {
				t.Errorf("root with a wrong password = %d, want 401: who shows one means it", got)
			}
			out := l.must(l.command("curl", "-s", "-o", l.dir+"/out", "-w", "%{http_code}", "-H", "X-Peer-Uid: 0", "--unix-socket", socket, "http://localhost/servers"))
			if out != "401" {
				t.Errorf("another local user = %s, want 401", out)
			}
			told := false
			for _, e := range l.audited() {
				told = told || e.Status == 401 && e.Remote == fmt.Sprintf("uid:%d", l.cred.Uid)
			}
			if !told {
				t.Error("the audit log does not name the local user who was refused")
			}
		})
	}
	t.Run("behind Apache", func(t *testing.T) {
		l := *l
		l.t = t
		l.activate(l.dir+"/run/http.sock", "http")
		url := l.apache("proxy-http")
		if got := ask(t, url, "X-Peer-Uid: 0"); got != 401 {
			t.Errorf("somebody from outside, through www-data's connection = %d, want 401", got)
		}
	})
}
