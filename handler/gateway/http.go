package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// The limits of an HTTP connection: a client that sends half a request and waits
// costs one connection, for so long.
const (
	headerTimeout    = 10 * time.Second
	bodyTimeout      = 60 * time.Second
	keepAliveTimeout = 30 * time.Second
	maxHeaderBytes   = 32 << 10
)

func newServer(h http.Handler) *http.Server {
	return &http.Server{Handler: arrived(h), ConnContext: func(ctx context.Context, c net.Conn) context.Context { return withConn(withPeer(ctx, c), c) }, ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, IdleTimeout: keepAliveTimeout, MaxHeaderBytes: maxHeaderBytes}
}

// serveHTTP serves l until ctx ends, then finishes the requests in hand within drain. What is
// connected but not accepted stays in the socket, for the next process. What is accepted is served: Go's
// Shutdown drops a request that it has not begun with, so that it comes after the first request of each connection.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, drain time.Duration) error {
	srv, counted := newServer(h), &counting{Listener: l}
	stop := context.AfterFunc(ctx, func() { _ = counted.Close() })
	err := srv.Serve(counted)
	if stop() { // it failed by itself
		return err
	}
	wait(&counted.silent, headerTimeout)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	return srv.Shutdown(end)
}

// ListenAndServe serves h on a TCP address until ctx ends. ready is told the address
// before the first request is served.
func ListenAndServe(ctx context.Context, address string, h http.Handler, drain time.Duration, ready func(net.Addr)) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	ready(l.Addr())
	return serveHTTP(ctx, l, h, drain)
}

// serveConnection serves the one connection of an Accept=yes socket until the client
// closes it or says nothing for the idle timeout.
func serveConnection(ctx context.Context, f *os.File, h http.Handler, o Options) error {
	conn, err := net.FileConn(f)
	if err != nil {
		return err
	}
	_ = f.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return serveHTTP(ctx, &single{conn: conn, closed: make(chan struct{}), done: cancel}, newIdle(h, o.IdleTimeout, cancel), o.Drain)
}

// single is a listener with one connection to give. Its second Accept waits until the
// connection is closed.
type single struct {
	conn   net.Conn
	closed chan struct{}
	once   sync.Once
	done   func()
}

func (s *single) Accept() (net.Conn, error) {
	if c := s.conn; c != nil {
		s.conn = nil
		return &watched{Conn: c, closed: s.done}, nil
	}
	<-s.closed
	return nil, io.EOF
}

func (s *single) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *single) Addr() net.Addr { return &net.UnixAddr{Name: "connection", Net: "unix"} }
