package gateway

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// counting knows how many of its connections are open, and on how many of them no request has come yet.
type counting struct {
	net.Listener
	open, silent atomic.Int64
	once         sync.Once
	err          error
}

func (c *counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	c.silent.Add(1)
	arrived := sync.OnceFunc(func() { c.silent.Add(-1) })
	return &watched{Conn: conn, arrived: arrived, closed: sync.OnceFunc(func() { arrived(); c.open.Add(-1) })}, nil
}

// Close can be called again, as a server does.
func (c *counting) Close() error {
	c.once.Do(func() { c.err = c.Listener.Close() })
	return c.err
}

// wait waits until n connections are none, for limit at most.
func wait(n *atomic.Int64, limit time.Duration) {
	for end := time.Now().Add(limit); n.Load() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}

// watched tells when its first request arrives, and when it is closed.
type watched struct {
	net.Conn
	arrived, closed func()
}

func (w *watched) Close() error {
	defer w.closed()
	return w.Conn.Close()
}

type connKey struct{}

// withConn notes the connection of a request, for arrived.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// arrived tells a connection that it has brought a request.
func arrived(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*watched); ok {
			c.arrived()
		}
		h.ServeHTTP(w, r)
	})
}
