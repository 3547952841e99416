package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"barback/handler/auth"
)

// TestMain is also the program behind the doors: with BARBACK_TEST_DOOR it serves through the one
// that it was started by, as barback does.
func TestMain(m *testing.M) {
	if os.Getenv("BARBACK_TEST_DOOR") == "" {
		os.Exit(m.Run())
	}
	idle, _ := time.ParseDuration(os.Getenv("BARBACK_TEST_IDLE"))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { fmt.Fprintln(os.Stderr, "ending") })
	if err := Serve(ctx, http.HandlerFunc(tell), Options{IdleTimeout: idle, Drain: time.Minute}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// tell answers with what it knows of a request. /slow first waits until somebody writes to
// the pipe BARBACK_TEST_PIPE.
func tell(w http.ResponseWriter, r *http.Request) {
	who := auth.FromContext(r.Context())
	body, _ := io.ReadAll(r.Body)
	if r.URL.Path == "/slow" {
		_, _ = os.ReadFile(os.Getenv("BARBACK_TEST_PIPE"))
	}
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "%s %s?%s %q by %s, known %v; %s", r.Method, r.URL.Path, r.URL.RawQuery, body, who.Name, who.Known, strings.Repeat("x", 100_000))
}

func told(body string) string {
	first, _, _ := strings.Cut(body, ";")
	return first
}

func TestDetect(t *testing.T) {
	const cgi11 = "CGI/1.1"
	for _, tc := range []struct {
		name    string
		env     Env
		want    Door
		refused bool
	}{
		{"started by hand", Env{}, None, false},
		{"CGI", Env{GatewayInterface: cgi11}, CGI, false},
		{"FastCGI", Env{StdinListens: true}, FastCGI, false},
		{"FastCGI by a server that leaves its own variable", Env{StdinListens: true, GatewayInterface: cgi11}, FastCGI, false},
		{"one socket", Env{Passed: []bool{true}}, Sockets, false},
		{"three sockets", Env{Passed: []bool{true, true, true}}, Sockets, false},
		{"one connection", Env{Passed: []bool{false}}, Connection, false},
		{"systemd's descriptors come before all else", Env{Passed: []bool{true}, StdinListens: true, GatewayInterface: cgi11}, Sockets, false},
		{"a connection, too", Env{Passed: []bool{false}, GatewayInterface: cgi11}, Connection, false},
		{"sockets and connections", Env{Passed: []bool{true, false}}, None, true},
		{"two connections", Env{Passed: []bool{false, false}}, None, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := Detect(tc.env); got != tc.want || (err != nil) != tc.refused {
				t.Errorf("Detect(%+v) = %q, %v, want %q", tc.env, got, err, tc.want)
			}
		})
	}
}

// started is the test binary, serving through a door.
type started struct {
	cmd    *exec.Cmd
	stderr *bufio.Reader
}

// start starts it with what distinguishes the door; files become descriptors 3 and on, as systemd
// passes them, if names is given.
func start(t testing.TB, stdin *os.File, names string, files []*os.File, env ...string) *started {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "BARBACK_TEST_DOOR=1")
	if names != "" { // LISTEN_PID is the process's own number
		cmd = exec.Command("/bin/sh", "-c", `export LISTEN_PID=$$; exec "$0"`, os.Args[0])
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "BARBACK_TEST_DOOR=1", fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+names)
	}
	cmd.Env = append(cmd.Env, env...)
	cmd.ExtraFiles = files
	if stdin != nil {
		cmd.Stdin = stdin
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return &started{cmd, bufio.NewReader(stderr)}
}

// line waits for the next line of its standard error.
func (s *started) line(t testing.TB) string {
	t.Helper()
	line, err := s.stderr.ReadString('\n')
	if err != nil {
		t.Fatalf("the process says nothing more: %v", err)
	}
	return strings.TrimSpace(line)
}

// wantEnd waits for its end and fails unless it is exit code 0.
func (s *started) wantEnd(t testing.TB) {
	t.Helper()
	rest, _ := io.ReadAll(s.stderr)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the process ends with %v, want exit code 0\n%s", err, rest)
	}
}

// listenUnix is a listening socket, and its file for a child.
func listenUnix(t testing.TB) (path string, file *os.File) {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw.") //nolint:usetesting // a Unix socket needs a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	file, err = l.File()
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	t.Cleanup(func() { _ = file.Close() })
	return path, file
}

// The records of FastCGI 1.0, section 3.3.
const (
	fcgiBegin  = 1
	fcgiEnd    = 3
	fcgiParams = 4
	fcgiStdin  = 5
	fcgiStdout = 6
	fcgiKeep   = 1
)

func record(kind byte, content []byte) []byte {
	head := []byte{1, kind, 0, 1, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(head[4:], uint16(len(content)))
	return append(head, content...)
}

// fcgiRequest is a whole request as a web server sends it.
func fcgiRequest(flags byte, params map[string]string, body string) []byte {
	var pairs []byte
	for k, v := range params {
		pairs = binary.BigEndian.AppendUint32(pairs, uint32(len(k))|1<<31)
		pairs = binary.BigEndian.AppendUint32(pairs, uint32(len(v))|1<<31)
		pairs = append(append(pairs, k...), v...)
	}
	var b []byte
	for _, r := range [][]byte{record(fcgiBegin, []byte{0, 1, flags, 0, 0, 0, 0, 0}), record(fcgiParams, pairs), record(fcgiParams, nil)} {
		b = append(b, r...)
	}
	for len(body) > 0 {
		n := min(len(body), 60_000)
		b = append(b, record(fcgiStdin, []byte(body[:n]))...)
		body = body[n:]
	}
	return append(b, record(fcgiStdin, nil)...)
}

// fcgiAnswer reads records until the end of the request.
func fcgiAnswer(r io.Reader) (*http.Response, string, error) {
	var out bytes.Buffer
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(r, head); err != nil {
			return nil, "", fmt.Errorf("the answer is cut off after %d bytes: %w", out.Len(), err)
		}
		content := make([]byte, int(binary.BigEndian.Uint16(head[4:]))+int(head[6]))
		if _, err := io.ReadFull(r, content); err != nil {
			return nil, "", fmt.Errorf("the answer is cut off after %d bytes: %w", out.Len(), err)
		}
		switch content = content[:len(content)-int(head[6])]; head[1] {
		case fcgiStdout:
			out.Write(content)
		case fcgiEnd:
			text := strings.Replace(out.String(), "Status: ", "HTTP/1.1 ", 1)
			res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
			if err != nil {
				return nil, "", fmt.Errorf("the answer %q is none: %w", text, err)
			}
			body, err := io.ReadAll(res.Body)
			return res, string(body), err
		}
	}
}

func params(method, uri string, more ...string) map[string]string {
	path, query, _ := strings.Cut(uri, "?")
	p := map[string]string{"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1", "REQUEST_METHOD": method, "REQUEST_URI": uri, "SCRIPT_NAME": "", "PATH_INFO": path,
		"QUERY_STRING": query, "HTTP_HOST": "localhost", "REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "1234"}
	for i := 0; i < len(more); i += 2 {
		p[more[i]] = more[i+1]
	}
	return p
}

func dial(t testing.TB, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// askFCGI sends one request and wants it answered.
func askFCGI(t testing.TB, path string, p map[string]string, body string) string {
	t.Helper()
	conn := dial(t, path)
	if body != "" {
		p["CONTENT_LENGTH"] = fmt.Sprint(len(body))
	}
	if _, err := conn.Write(fcgiRequest(0, p, body)); err != nil {
		t.Fatal(err)
	}
	res, text, err := fcgiAnswer(conn)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("the answer = %v, %v, want 200", res, err)
	}
	return told(text)
}

// Only what the web server puts into the environment is believed; a header of that name is not.
var vouching = []struct {
	name   string
	env    []string // of the request, as the web server sets it
	header []string // as a client sends it
	want   string
}{
	{"nobody", nil, nil, "by anonymous, known false"},
	{"the web server vouches", []string{"REMOTE_USER", "ann"}, nil, "by ann, known true"},
	{"an empty name", []string{"REMOTE_USER", ""}, nil, "by anonymous, known false"},
	{"a header Remote-User", nil, []string{"Remote-User", "root"}, "by anonymous, known false"},
	{"a header REMOTE_USER", nil, []string{"REMOTE_USER", "root"}, "by anonymous, known false"},
	{"a header HTTP_REMOTE_USER", nil, []string{"HTTP_REMOTE_USER", "root"}, "by anonymous, known false"},
	{"a header X-Remote-User", nil, []string{"X-Remote-User", "root"}, "by anonymous, known false"},
	{"a header beside the web server's word", []string{"REMOTE_USER", "ann"}, []string{"Remote-User", "root"}, "by ann, known true"},
}

func TestFastCGI(t *testing.T) {
	for _, tc := range []struct {
		name  string
		start func(t *testing.T) (path string)
	}{
		{"on descriptor 0", func(t *testing.T) string {
			path, file := listenUnix(t)
			start(t, file, "", nil)
			return path
		}},
		{"on a socket of systemd's", func(t *testing.T) string {
			path, file := listenUnix(t)
			start(t, nil, "fcgi", []*os.File{file})
			return path
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := tc.start(t)
			if got, want := askFCGI(t, path, params("POST", "/a/b?x=1"), "hello"), `POST /a/b?x=1 "hello" by anonymous, known false`; got != want {
				t.Errorf("the request arrives as %s, want %s", got, want)
			}
			for _, v := range vouching {
				p := params("GET", "/")
				for i := 0; i < len(v.env); i += 2 {
					p[v.env[i]] = v.env[i+1]
				}
				for i := 0; i < len(v.header); i += 2 { // RFC 3875, 4.1.18
					p["HTTP_"+strings.ToUpper(strings.ReplaceAll(v.header[i], "-", "_"))] = v.header[i+1]
				}
				if got := askFCGI(t, path, p, ""); !strings.HasSuffix(got, v.want) {
					t.Errorf("%s: the request is %s, want it %s", v.name, got, v.want)
				}
			}
			t.Run("a connection that is used again", func(t *testing.T) {
				conn := dial(t, path)
				for _, user := range []string{"ann", "", "bob"} {
					if _, err := conn.Write(fcgiRequest(fcgiKeep, params("GET", "/", "REMOTE_USER", user), "")); err != nil {
						t.Fatal(err)
					}
					_, text, err := fcgiAnswer(conn)
					if want := fmt.Sprintf("known %v", user != ""); err != nil || !strings.HasSuffix(told(text), want) {
						t.Errorf("the request by %q is %s, %v, want it %s", user, told(text), err, want)
					}
				}
			})
		})
	}
}

func TestCGI(t *testing.T) {
	for _, v := range vouching {
		t.Run(v.name, func(t *testing.T) {
			h := &cgi.Handler{Path: os.Args[0], Env: []string{"BARBACK_TEST_DOOR=1", "GORACE=atexit_sleep_ms=0"}, Stderr: os.Stderr}
			for i := 0; i < len(v.env); i += 2 {
				h.Env = append(h.Env, v.env[i]+"="+v.env[i+1])
			}
			r := httptest.NewRequest("POST", "/a/b?x=1", strings.NewReader("hello"))
			for i := 0; i < len(v.header); i += 2 {
				r.Header[v.header[i]] = []string{v.header[i+1]}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got, want := told(w.Body.String()), `POST /a/b?x=1 "hello" `+v.want; w.Code != http.StatusOK || got != want {
				t.Errorf("the answer = %d %s, want %s", w.Code, got, want)
			}
		})
	}
}

// unixClient speaks HTTP to a Unix socket.
func unixClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
}

func get(t testing.TB, c *http.Client, path string, header ...string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header[header[i]] = []string{header[i+1]}
	}
	res, err := c.Do(r)
	if err != nil {
		t.Errorf("GET %s = %v, want an answer", path, err)
		return ""
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || len(body) < 100_000 {
		t.Errorf("the answer to GET %s has %d bytes (%v), want all of it", path, len(body), err)
	}
	return told(string(body))
}

func TestSocketsOfSystemd(t *testing.T) {
	httpPath, httpFile := listenUnix(t)
	fcgiPath, fcgiFile := listenUnix(t)
	morePath, moreFile := listenUnix(t)
	p := start(t, nil, "http:fcgi:http", []*os.File{httpFile, fcgiFile, moreFile}, "BARBACK_TEST_IDLE=1h")
	for _, path := range []string{httpPath, morePath} {
		c := unixClient(path)
		for _, v := range vouching {
			if v.env != nil {
				continue // nobody vouches on an HTTP socket
			}
			if got, want := get(t, c, "/x?y=1", v.header...), `GET /x?y=1 "" `+v.want; got != want {
				t.Errorf("%s: the request is %s, want %s", v.name, got, want)
			}
		}
		c.CloseIdleConnections()
	}
	if got, want := askFCGI(t, fcgiPath, params("GET", "/", "REMOTE_USER", "ann"), ""), `GET /? "" by ann, known true`; got != want {
		t.Errorf("the request over FastCGI is %s, want %s", got, want)
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	p.wantEnd(t)
	for _, path := range []string{httpPath, fcgiPath, morePath} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the socket is gone after the end: %v; it is systemd's and has to stay", err)
		}
	}
}

// A process without a request for the idle timeout ends by itself, with success.
func TestAnIdleProcessEnds(t *testing.T) {
	t.Run("that was never asked", func(t *testing.T) {
		_, file := listenUnix(t)
		start(t, nil, "http", []*os.File{file}, "BARBACK_TEST_IDLE=20ms").wantEnd(t)
	})
	for _, tc := range []struct {
		name string
		ask  bool
		want time.Duration
	}{
		{"though a client keeps its connection", true, time.Minute},
		{"though a client connected and says nothing", false, time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				ctx, cancel := context.WithCancel(t.Context())
				i := newIdle(http.NotFoundHandler(), tc.want, cancel)
				begin := time.Now()
				served := make(chan error, 1)
				go func() { served <- serveHTTP(ctx, listenPipe(theirs), i, time.Minute) }()
				if tc.ask {
					if _, err := io.WriteString(ours, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
						t.Fatal(err)
					}
				}
				gone := make(chan struct{})
				go func() { defer close(gone); _, _ = io.Copy(io.Discard, ours) }()
				if err := <-served; err != nil {
					t.Errorf("serveHTTP = %v, want no error", err)
				}
				if got := time.Since(begin); got < tc.want || got > tc.want+time.Second {
					t.Errorf("the process ends after %v, want %v", got, tc.want)
				}
				<-gone
			})
		})
	}
}

// socketPair is a connection: one end for us, the other as a file for a child.
func socketPair(t testing.TB) (net.Conn, *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	_ = ours.Close()
	t.Cleanup(func() { _ = conn.Close(); _ = theirs.Close() })
	return conn, theirs
}

// One accepted connection: any number of requests on it, and the end when the client closes it.
func TestOneAcceptedConnection(t *testing.T) {
	ours, theirs := socketPair(t)
	p := start(t, nil, "connection", []*os.File{theirs}, "BARBACK_TEST_IDLE=1h")
	_ = theirs.Close()
	r := bufio.NewReader(ours)
	for i := range 3 {
		fmt.Fprintf(ours, "GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n", i)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("request %d = %v, want an answer", i, err)
		}
		body, err := io.ReadAll(res.Body)
		if want := fmt.Sprintf(`GET /%d? "" by anonymous, known false`, i); err != nil || told(string(body)) != want {
			t.Errorf("request %d is %s, %v, want %s", i, told(string(body)), err, want)
		}
	}
	_ = ours.Close()
	p.wantEnd(t)
}

// What is in hand when the process is told to end is answered to its last byte.
func TestRequestsInHandAreFinished(t *testing.T) {
	type door struct {
		name  string
		fcgi  bool
		start func(t *testing.T, env string) (*started, func(uri string) (string, error))
	}
	overHTTP := func(path string) func(string) (string, error) {
		return func(uri string) (string, error) {
			res, err := unixClient(path).Get("http://localhost" + uri)
			if err != nil {
				return "", err
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			return string(body), err
		}
	}
	overFCGI := func(path string) func(string) (string, error) {
		return func(uri string) (string, error) {
			conn, err := net.Dial("unix", path)
			if err != nil {
				return "", err
			}
			defer func() { _ = conn.Close() }()
			if _, err := conn.Write(fcgiRequest(0, params("GET", uri), "")); err != nil {
				return "", err
			}
			_, body, err := fcgiAnswer(conn)
			return body, err
		}
	}
	for _, d := range []door{
		{"HTTP", false, func(t *testing.T, env string) (*started, func(string) (string, error)) {
			path, file := listenUnix(t)
			return start(t, nil, "http", []*os.File{file}, env), overHTTP(path)
		}},
		{"FastCGI on a socket of systemd's", true, func(t *testing.T, env string) (*started, func(string) (string, error)) {
			path, file := listenUnix(t)
			return start(t, nil, "fcgi", []*os.File{file}, env), overFCGI(path)
		}},
		{"FastCGI on descriptor 0", true, func(t *testing.T, env string) (*started, func(string) (string, error)) {
			path, file := listenUnix(t)
			return start(t, file, "", nil, env), overFCGI(path)
		}},
	} {
		t.Run(d.name, func(t *testing.T) {
			if d.fcgi {
				t.Skip(fastCGIBug)
			}
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			p, ask := d.start(t, "BARBACK_TEST_PIPE="+pipe)
			type answer struct {
				body string
				err  error
			}
			got := make(chan answer, 1)
			go func() { body, err := ask("/slow"); got <- answer{body, err} }()
			w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // opens when the request is in hand
			if err != nil {
				t.Fatal(err)
			}
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if line := p.line(t); line != "ending" {
				t.Fatalf("the process says %q, want that it is ending", line)
			}
			_ = w.Close()
			a := <-got
			if a.err != nil || len(a.body) < 100_000 {
				t.Errorf("the request in hand got %d bytes, %v, want its whole answer", len(a.body), a.err)
			}
			p.wantEnd(t)
		})
	}
}

const fastCGIBug = "bug: fastCGI waits for the handler to return, but net/http/fcgi writes what is left of the answer after that: the process may end before"

// slowConn takes a while to write, as a busy web server makes it.
type slowConn struct{ net.Conn }

func (c slowConn) Write(p []byte) (int, error) {
	time.Sleep(10 * time.Millisecond)
	return c.Conn.Write(p)
}

// oneConn is a listener with one connection to give.
type oneConn struct {
	conns  chan net.Conn
	closed chan struct{}
}

func listenPipe(conn net.Conn) *oneConn {
	l := &oneConn{make(chan net.Conn, 1), make(chan struct{})}
	l.conns <- conn
	return l
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error {
	select {
	case <-l.closed:
		return net.ErrClosed
	default:
		close(l.closed)
		return nil
	}
}

func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// When fastCGI returns the process ends: the last byte must have gone out by then.
func TestFastCGIReturnsAfterTheLastByte(t *testing.T) {
	t.Skip(fastCGIBug)
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			<-release
			_, _ = io.WriteString(w, "answer")
		})
		whole := make(chan error, 1)
		go func() {
			go func() { _, _ = ours.Write(fcgiRequest(0, params("GET", "/"), "")) }()
			_, body, err := fcgiAnswer(ours)
			if err == nil && body != "answer" {
				err = fmt.Errorf("the answer is %q", body)
			}
			whole <- err
		}()
		served := make(chan error, 1)
		go func() { served <- fastCGI(ctx, listenPipe(slowConn{theirs}), h) }()
		synctest.Wait()
		cancel()
		time.Sleep(time.Second) // longer than any grace for connections without a request
		close(release)
		if err := <-served; err != nil {
			t.Errorf("fastCGI = %v, want no error", err)
		}
		synctest.Wait()
		select {
		case err := <-whole:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("fastCGI returned while the answer was being written, want it written first")
		}
		time.Sleep(time.Second) // lets the writer go on
		_ = ours.Close()
		_ = theirs.Close()
	})
}

// A FastCGI connection that a web server keeps without a request holds nobody up.
func TestAFastCGIConnectionWithoutARequestHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- fastCGI(ctx, listenPipe(theirs), http.NotFoundHandler()) }()
		synctest.Wait()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("fastCGI = %v, want no error", err)
		}
		_ = ours.Close()
		_ = theirs.Close()
	})
}

func TestAListenerThatFailsIsAnError(t *testing.T) {
	boom := errors.New("boom")
	overHTTP := func(ctx context.Context, l net.Listener, h http.Handler) error {
		return serveHTTP(ctx, l, h, time.Minute)
	}
	for name, serve := range map[string]func(context.Context, net.Listener, http.Handler) error{"fastCGI": fastCGI, "serveHTTP": overHTTP} {
		if err := serve(t.Context(), brokenListener{boom}, http.NotFoundHandler()); !errors.Is(err, boom) {
			t.Errorf("%s with a broken listener = %v, want %v", name, err, boom)
		}
	}
}

type brokenListener struct{ err error }

func (l brokenListener) Accept() (net.Conn, error) { return nil, l.err }
func (l brokenListener) Close() error              { return nil }
func (l brokenListener) Addr() net.Addr            { return &net.UnixAddr{Name: "broken", Net: "unix"} }

func TestIdle(t *testing.T) {
	ask := func(i *idle) { i.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)) }
	t.Run("ends when nothing came", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan time.Time, 1)
			begin := time.Now()
			newIdle(http.NotFoundHandler(), time.Minute, func() { ended <- time.Now() })
			if got := (<-ended).Sub(begin); got != time.Minute {
				t.Errorf("it ends after %v, want a minute", got)
			}
		})
	})
	t.Run("each request begins the time anew", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan time.Time, 1)
			i := newIdle(http.NotFoundHandler(), time.Minute, func() { ended <- time.Now() })
			begin := time.Now()
			for range 3 {
				time.Sleep(50 * time.Second)
				ask(i)
			}
			if got := (<-ended).Sub(begin); got != 150*time.Second+time.Minute {
				t.Errorf("it ends after %v, want a minute after the last request", got)
			}
		})
	})
	t.Run("a request in hand is work, however long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan time.Time, 1)
			hour := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Hour) })
			i := newIdle(hour, time.Minute, func() { ended <- time.Now() })
			begin := time.Now()
			go ask(i)
			time.Sleep(30 * time.Minute)
			go ask(i)
			if got := (<-ended).Sub(begin); got != 91*time.Minute {
				t.Errorf("it ends after %v, want a minute after the second request was done", got)
			}
		})
	})
	t.Run("a request that panics counts as done", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan struct{})
			i := newIdle(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") }), time.Minute, func() { close(ended) })
			func() { defer func() { _ = recover() }(); ask(i) }()
			<-ended
		})
	})
	t.Run("no timeout is no end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := newIdle(http.NotFoundHandler(), 0, func() { t.Error("it ended, want it to stay") })
			ask(i)
			time.Sleep(1000 * time.Hour)
		})
	})
}

// A process that ends, as it was idle or told to, answers whoever was let in: he cannot know.
func TestWhoIsConnectedIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- serveHTTP(ctx, listenPipe(theirs), http.NotFoundHandler(), time.Minute) }()
		synctest.Wait() // it is accepted
		cancel()
		synctest.Wait()
		if _, err := io.WriteString(ours, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(ours), nil)
		if err != nil || res.StatusCode != http.StatusNotFound {
			t.Errorf("who was connected is answered %v, %v, want a 404", res, err)
		}
		_, _ = io.Copy(io.Discard, ours)
		if err := <-served; err != nil {
			t.Errorf("serveHTTP = %v, want no error", err)
		}
	})
}

// Half a request costs one connection, for ten seconds; others are answered meanwhile.
func TestHalfARequestHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, slowServer := net.Pipe()
		quick, quickServer := net.Pipe()
		l := &oneConn{make(chan net.Conn, 2), make(chan struct{})}
		l.conns <- slowServer
		l.conns <- quickServer
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- serveHTTP(ctx, l, http.NotFoundHandler(), time.Minute) }()
		begin := time.Now()
		if _, err := io.WriteString(slow, "GET / HTTP/1.1\r\nHost: x\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(quick, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(quick), nil)
		if err != nil || res.StatusCode != http.StatusNotFound || !time.Now().Equal(begin) {
			t.Errorf("the other request is answered %v, %v after %v, want at once", res, err, time.Since(begin))
		}
		if _, err := io.Copy(io.Discard, slow); err != nil || time.Since(begin) != headerTimeout {
			t.Errorf("the half request is ended after %v (%v), want %v", time.Since(begin), err, headerTimeout)
		}
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serveHTTP = %v, want no error", err)
		}
		_ = quick.Close()
	})
}

func TestListenAndServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address := make(chan net.Addr, 1)
	served := make(chan error, 1)
	go func() {
		served <- ListenAndServe(ctx, "127.0.0.1:0", http.HandlerFunc(tell), time.Minute, func(a net.Addr) { address <- a })
	}()
	a := <-address
	c := &http.Client{Transport: &http.Transport{}}
	res, err := c.Get("http://" + a.String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || told(string(body)) != `GET /? "" by anonymous, known false` {
		t.Errorf("the answer is %s, %v", told(string(body)), err)
	}
	if err := ListenAndServe(ctx, a.String(), http.NotFoundHandler(), time.Minute, func(net.Addr) { t.Error("ready is called for an address in use") }); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second server on the address = %v, want %v", err, syscall.EADDRINUSE)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("ListenAndServe = %v, want no error", err)
	}
}

func TestStartedByHand(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "BARBACK_TEST_DOOR=1", "GATEWAY_INTERFACE=", "LISTEN_FDS=", "LISTEN_PID=")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "barback serve --listen") {
		t.Errorf("started by hand it says %q, %v, want what to do instead", out, err)
	}
}

// systemd's descriptors of another process are none of ours (LISTEN_PID, sd_listen_fds(3)).
func TestDescriptorsOfAnotherProcess(t *testing.T) {
	_, file := listenUnix(t)
	cmd := exec.Command(os.Args[0])
	cmd.ExtraFiles = []*os.File{file}
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "BARBACK_TEST_DOOR=1", "LISTEN_FDS=1", "LISTEN_PID=1")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), ErrNoDoor.Error()) {
		t.Errorf("with another's LISTEN_PID it says %q, %v, want that nothing was waiting for it", out, err)
	}
}
