package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"barback/handler/auth"
)

// serveProxied serves who is asking on a listener, and returns how to ask with raw header lines.
func serveProxied(t *testing.T, network string, p Proxy) func(header string) string {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- serveHTTP(ctx, l, p.vouched(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, auth.FromContext(r.Context()).Name)
		})), time.Minute)
	}()
	t.Cleanup(func() { cancel(); <-served })
	return func(header string) string {
		conn, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+header+"\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
		return body
	}
}

func TestProxyIsBelieved(t *testing.T) {
	const named = "X-Remote-User: alice\r\n"
	me := uint32(os.Getuid()) // #nosec G115 -- an id
	for _, tc := range []struct {
		name, network string
		proxy         Proxy
		header, want  string
	}{
		{"on the Unix socket, if it is the web server", "unix", Proxy{"X-Remote-User", me}, named, "alice"},
		{"in any case of letters", "unix", Proxy{"X-Remote-User", me}, "x-rEMOTE-user: alice\r\n", "alice"},
		{"not if somebody else connected", "unix", Proxy{"X-Remote-User", me + 1}, named, "anonymous"},
		{"not if it is not configured", "unix", Proxy{}, named, "anonymous"},
		{"not over TCP", "tcp", Proxy{"X-Remote-User", me}, named, "anonymous"},
		{"not if there are two names", "unix", Proxy{"X-Remote-User", me}, named + "x-remote-user: root\r\n", "anonymous"},
		{"not if the same name came twice", "unix", Proxy{"X-Remote-User", me}, named + named, "anonymous"},
		{"not in a name with underscores", "unix", Proxy{"X-Remote-User", me}, "X_Remote_User: alice\r\n", "anonymous"},
		{"and underscores take nothing away", "unix", Proxy{"X-Remote-User", me}, "X_Remote_User: root\r\nX-Remote_User: root\r\n" + named, "alice"},
		{"not in another header", "unix", Proxy{"X-Remote-User", me}, "Remote-User: alice\r\nX-Forwarded-User: alice\r\nREMOTE_USER: alice\r\n", "anonymous"},
		{"an empty name is nobody", "unix", Proxy{"X-Remote-User", me}, "X-Remote-User:\r\n", "anonymous"},
		{"a name in UTF-8", "unix", Proxy{"X-Remote-User", me}, "X-Remote-User: Zoë Müller\r\n", "Zoë Müller"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := serveProxied(t, tc.network, tc.proxy)(tc.header); got != tc.want {
				t.Errorf("with %q the user is %q, want %q", tc.header, got, tc.want)
			}
		})
	}
}

func TestTheClientOfAProxy(t *testing.T) {
	for forwarded, want := range map[string]string{
		"": "", "192.0.2.1": "192.0.2.1", "203.0.113.9, 192.0.2.1": "192.0.2.1", "203.0.113.9,2001:db8::1": "2001:db8::1", "unknown": "", "192.0.2.1, ": "", "192.0.2.1:80": "",
	} {
		if got := client(http.Header{"X-Forwarded-For": {forwarded}}); got != want {
			t.Errorf("with X-Forwarded-For: %s the client is %q, want %q", forwarded, got, want)
		}
	}
	if got := client(http.Header{"X-Forwarded-For": {"203.0.113.9", "192.0.2.1"}}); got != "192.0.2.1" {
		t.Errorf("of two headers the client is %q, want the last one's", got)
	}
	asked := func(peer uint32) (remote string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
		h := Proxy{"X-Remote-User", 33}.vouched(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { remote = auth.Remote(r) }))
		h.ServeHTTP(httptest.NewRecorder(), r.WithContext(auth.WithPeer(r.Context(), auth.Peer{UID: peer})))
		return remote
	}
	if got := asked(33); got != "192.0.2.7" {
		t.Errorf("a request through the proxy comes from %q, want 192.0.2.7", got)
	}
	if got := asked(1000); got != "uid:1000" {
		t.Errorf("somebody else's request with that header comes from %q, want uid:1000", got)
	}
}
