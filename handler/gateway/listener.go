package gateway

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// counting knows how many of its connections are open.
type counting struct {
	net.Listener
	open atomic.Int64
}

func (c *counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return &watched{Conn: conn, closed: sync.OnceFunc(func() { c.open.Add(-1) })}, nil
}

// drain waits until no connection is open, for limit at most.
func (c *counting) drain(limit time.Duration) {
	for end := time.Now().Add(limit); c.open.Load() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}

// watched tells when its connection is closed.
type watched struct {
	net.Conn
	closed func()
}

func (w *watched) Close() error {
	defer w.closed()
	return w.Conn.Close()
}
