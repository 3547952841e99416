package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority is one that signs itself, or one that another signed.
func newAuthority(t testing.TB, name string, by *authority) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	if by == nil {
		by = &authority{t, template, key}
	}
	a.cert = by.sign(template, key)
	return a
}

func (a *authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// client is a certificate for a client; change makes it a wrong one.
func (a *authority) client(name string, change func(*x509.Certificate)) *tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(template)
	}
	return &tls.Certificate{Certificate: [][]byte{a.sign(template, key).Raw, a.cert.Raw}, PrivateKey: key}
}

// write puts certificates, and a key, into PEM files that Apache reads.
func write(t testing.TB, path string, key *ecdsa.PrivateKey, certs ...[]byte) string {
	t.Helper()
	var text []byte
	for _, der := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	if key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// secured is one Apache that wants certificates.
type secured struct {
	t       testing.TB
	address string
	roots   *x509.CertPool
}

// ask sends "GET path" with raw header lines over a connection of its own.
func (s secured) ask(cert *tls.Certificate, version uint16, path, header string) (reply, error) {
	s.t.Helper()
	conf := &tls.Config{RootCAs: s.roots, MinVersion: version, MaxVersion: version,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cert == nil {
				return &tls.Certificate{}, nil
			}
			return cert, nil // whatever authorities the server names
		}}
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = conn.Close() }()
	return exchange(s.t, conn, path, header)
}

func exchange(t testing.TB, conn net.Conn, path, header string) (reply, error) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: barback\r\n%s\r\n", path, header)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil {
		documented(t, http.MethodGet, path, reply{res, body})
	}
	return reply{res, body}, err
}

// as is the user that barback takes whoever asks for: nobody may GET /version, and the refusal names him.
func (s secured) as(cert *tls.Certificate, header string) string {
	s.t.Helper()
	res, err := s.ask(cert, tls.VersionTLS13, "/version", header)
	if err != nil {
		s.t.Fatalf("GET /version with %q = %v, want an answer", header, err)
	}
	detail, _ := res.json(s.t)["detail"].(string)
	name, _, known := strings.Cut(detail, " has no permission")
	switch {
	case res.StatusCode == http.StatusForbidden && known:
		return name
	case res.StatusCode == http.StatusUnauthorized:
		return "anonymous"
	}
	return fmt.Sprintf("%d %s", res.StatusCode, res.body)
}

// forgeries are headers by which a client could try to be root, in the spellings that the programs in
// between take for one another.
var forgeries = []string{
	"X-Remote-User: root", "x-remote-user: root", "X_Remote_User: root", "X_REMOTE_USER: root", "X-Remote_User: root", "X.Remote.User: root",
	"X-Remote-User: root\r\nX-Remote-User: root", "X-Remote-User: root\r\nX_Remote_User: root\r\nx-remote-user: root",
	"Remote-User: root", "Remote_User: root", "REMOTE_USER: root", "HTTP_REMOTE_USER: root", "X-Forwarded-User: root", "X-Auth-Request-User: root",
	"SSL_CLIENT_S_DN_CN: root", "SSL-Client-S-DN-CN: root", "X-SSL-Client-S-DN: CN=root", "SSL_CLIENT_S_DN_CN: root\r\nSSL_CLIENT_VERIFY: SUCCESS", "REDIRECT_REMOTE_USER: root",
	"Connection: X-Remote-User\r\nX-Remote-User: root", "Connection: close, x-remote-user", "X-Remote-User : root", "X-Other: 1\r\n X-Remote-User: root", "X-Remote-User:",
	"Authorization: Basic cm9vdDpyb290",
	"Transfer-Encoding: chunked\r\nTrailer: X-Remote-User\r\n\r\n0\r\nX-Remote-User: root",
}

// TestClientCertificates: behind each recipe who has the authority's certificate comes in under its name, and nobody else.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	l.configure("trusted_proxy_header = \"X-Remote-User\"\n")
	l.must(l.command(l.bin, "user", "remove", "--config", l.config, "anonymous"))
	for _, name := range []string{"alice", "Zoë Müller"} {
		l.must(l.command(l.bin, "user", "allow", "--config", l.config, name, "servers"))
	}
	l.must(l.command(l.bin, "user", "allow", "--config", l.config, "root", "*"))

	ca := newAuthority(t, "backup clients", nil)
	between := newAuthority(t, "in between", ca)
	server := newAuthority(t, "servers", nil)
	own := server.client("localhost", func(c *x509.Certificate) {
		c.IPAddresses, c.ExtKeyUsage = []net.IP{net.IPv4(127, 0, 0, 1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	define := []string{
		"BARBACK_TLS_CERTIFICATE=" + write(t, l.dir+"/server.crt", nil, own.Certificate[0]),
		"BARBACK_TLS_KEY=" + write(t, l.dir+"/server.key", own.PrivateKey.(*ecdsa.PrivateKey)),
		"BARBACK_TLS_CLIENT_CA=" + write(t, l.dir+"/clients.crt", nil, ca.cert.Raw),
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.cert)

	alice := ca.client("alice", nil)
	out := map[string]*tls.Certificate{
		"no certificate":                            nil,
		"one of another authority":                  newAuthority(t, "others", nil).client("alice", nil),
		"one of another authority of the same name": newAuthority(t, "backup clients", nil).client("alice", nil),
		"one that expired": ca.client("alice", func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
		}),
		"one that is not valid yet":                       ca.client("alice", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) }),
		"one for servers":                                 ca.client("alice", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		"one of an authority in between, at a depth of 1": between.client("alice", nil),
		"one that another client signed":                  (&authority{t, mustParse(t, alice), alice.PrivateKey.(*ecdsa.PrivateKey)}).client("root", nil),
	}
	for _, recipe := range []string{"fcgid", "proxy-fcgi", "proxy-http", "cgi"} {
		t.Run(recipe, func(t *testing.T) {
			l := *l
			l.t = t
			if kind, ok := strings.CutPrefix(recipe, "proxy-"); ok {
				l.activate(l.dir+"/run/"+kind+".sock", kind)
			}
			address := strings.TrimPrefix(l.apache(recipe, define...), "https://")
			s := secured{t, address, roots}

			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				res, err := s.ask(alice, version, "/servers", "")
				if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(res.body), `"pg-one"`) {
					t.Errorf("%s: the right certificate gets %v %v %s, want the servers", tls.VersionName(version), err, res.Response, res.body)
				}
				for name, cert := range out {
					if res, err := s.ask(cert, version, "/status", ""); err == nil {
						t.Errorf("%s: %s gets %d %s, want no answer at all", tls.VersionName(version), name, res.StatusCode, res.body)
					}
				}
			}
			for name, cert := range map[string]*tls.Certificate{
				"alice":      alice,
				"Zoë Müller": ca.client("Zoë Müller", nil),
				"stranger":   ca.client("stranger", nil),
				"anonymous":  ca.client("", func(c *x509.Certificate) { c.Subject.Organization = []string{"root"} }), // no name, no user
			} {
				if got := s.as(cert, ""); got != name {
					t.Errorf("the user of the certificate of %q is %q", name, got)
				}
			}
			lines := ca.client("", func(c *x509.Certificate) { c.RawSubject = subject(t, "mallory\r\nX-Remote-User: root\r\nX: ") })
			if got := s.as(lines, ""); got == "root" || strings.HasPrefix(got, "200") {
				t.Errorf("a certificate with lines in its name makes %q of its owner", got)
			}
			for _, header := range forgeries {
				if got := s.as(alice, header+"\r\n"); got != "alice" && !strings.HasPrefix(got, "400 ") && !strings.HasPrefix(got, "411 ") {
					t.Errorf("alice with %q is %s, want alice or a refusal", header, got)
				}
			}
			t.Run("plain HTTP is refused in JSON", func(t *testing.T) {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				res, err := exchange(t, conn, "/servers", "")
				if err != nil || res.StatusCode != http.StatusBadRequest || res.json(t)["status"] != 400.0 {
					t.Errorf("HTTP to the port of HTTPS = %v %s, want a 400 in JSON", err, res.body)
				}
			})
			if recipe == "proxy-http" {
				onlyApache(t, &l)
			}
		})
	}
}

// onlyApache: on the same socket the header is nobody's but Apache's.
func onlyApache(t *testing.T, l *lab) {
	conn, err := net.Dial("unix", l.dir+"/run/http.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	res, err := exchange(t, conn, "/version", "X-Remote-User: root\r\n")
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("X-Remote-User of another local user = %v %s, want a 401", err, res.body)
	}
}

func mustParse(t testing.TB, c *tls.Certificate) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// subject is a name that pkix.Name would not let pass.
func subject(t testing.TB, name string) []byte {
	t.Helper()
	der, err := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: name}}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}
