// Package gateway is the code half of the doors: it finds out how this process was
// started (CGI, FastCGI, a systemd socket, one accepted connection, or a TCP address) and serves one
// http.Handler there. Each door does four things: recognise, serve, vouch for the
// user, and end when there is nothing left to do. All else is the handler's.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Door is a way in.
type Door string

// The doors.
const (
	CGI        Door = "cgi"        // GATEWAY_INTERFACE (RFC 3875, 4.1.4)
	FastCGI    Door = "fastcgi"    // fd 0 is a listening socket (FastCGI 1.0, 2.2)
	Sockets    Door = "sockets"    // LISTEN_FDS (sd_listen_fds(3)), Accept=no
	Connection Door = "connection" // LISTEN_FDS, Accept=yes
	None       Door = ""
)

// Env is what tells the doors apart.
type Env struct {
	GatewayInterface string
	Passed           []bool // one per passed descriptor: does it listen?
	StdinListens     bool
}

// Detect finds the door. More than one sign of one is settled in favour of the most
// specific: systemd's descriptors are for this process alone (LISTEN_PID).
func Detect(e Env) (Door, error) {
	switch {
	case len(e.Passed) > 0:
		listening := 0
		for _, l := range e.Passed {
			if l {
				listening++
			}
		}
		switch {
		case listening == len(e.Passed):
			return Sockets, nil
		case len(e.Passed) == 1:
			return Connection, nil
		}
		return None, errors.New("systemd passed connections and listening sockets together")
	case e.StdinListens:
		return FastCGI, nil
	case e.GatewayInterface != "":
		return CGI, nil
	}
	return None, nil
}

// Options are how to serve.
type Options struct {
	IdleTimeout time.Duration // a socket-activated process ends after so long without a request
	Drain       time.Duration // what requests in hand get when the process is told to end
	Log         func(msg string)
	Proxy       Proxy // whom HTTP on a Unix socket may come from on behalf of others
}

// Serve finds the door that this process was started through and serves h there until
// there is nothing left to do or ctx ends; requests in hand are finished. ErrNoDoor:
// it was started by hand.
func Serve(ctx context.Context, h http.Handler, o Options) error {
	files := activation.Files(true)
	env := Env{GatewayInterface: os.Getenv("GATEWAY_INTERFACE"), StdinListens: listens(os.Stdin)}
	for _, f := range files {
		env.Passed = append(env.Passed, listens(f))
	}
	door, err := Detect(env)
	if err != nil {
		return err
	}
	h = o.Proxy.vouched(h) // of FastCGI and CGI no peer is known
	switch door {
	case CGI:
		alone()
		return serveCGI(h)
	case FastCGI:
		alone()
		return serveFastCGI(ctx, h)
	case Sockets:
		return serveSockets(ctx, files, h, o)
	case Connection:
		alone()
		return serveConnection(ctx, files[0], h, o)
	}
	return ErrNoDoor
}

// alone is for the doors that bring one request at a time, and a process for each of those that come at once: they
// share the processors as it is, and a second thread in each of them would mostly look for work. GOMAXPROCS in the
// environment says something else.
func alone() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// ErrNoDoor says that nothing was waiting for this process.
var ErrNoDoor = errors.New("started neither by a web server nor by a systemd socket; to listen on an address say: barback serve --listen 127.0.0.1:7480")

// listens reports whether f is a socket that accepts connections (SO_ACCEPTCONN, socket(7)).
func listens(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	var value int
	var optErr error
	err = raw.Control(func(fd uintptr) {
		value, optErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN) // #nosec G115 -- a descriptor
	})
	return err == nil && optErr == nil && value == 1
}

// serveSockets serves all sockets of a unit: FastCGI on those named fcgi, HTTP on the others.
func serveSockets(ctx context.Context, files []*os.File, h http.Handler, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	idle := newIdle(h, o.IdleTimeout, cancel)
	ends := make(chan error, len(files))
	for _, f := range files {
		l, err := net.FileListener(f)
		if err != nil {
			return fmt.Errorf("socket %s: %w", f.Name(), err)
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // the socket is systemd's
		}
		_ = f.Close()
		if f.Name() == "fcgi" {
			go func() { ends <- fastCGI(ctx, l, idle) }()
		} else {
			go func() { ends <- serveHTTP(ctx, l, idle, o.Drain) }()
		}
	}
	var err error
	for range files {
		err = errors.Join(err, <-ends)
		cancel() // one that fails takes the others with it: systemd starts all anew
	}
	return err
}
