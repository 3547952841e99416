package gateway

import (
	"net/http"
	"sync"
	"time"
)

// idle ends a process that has had no request for a while. It counts requests, not
// connections: an open connection without a request is not work.
type idle struct {
	handler http.Handler
	timeout time.Duration
	timer   *time.Timer
	mu      sync.Mutex
	busy    int
}

// newIdle calls end when no request was in hand for timeout; 0 means never.
func newIdle(h http.Handler, timeout time.Duration, end func()) *idle {
	i := &idle{handler: h, timeout: timeout}
	if timeout > 0 {
		i.timer = time.AfterFunc(timeout, func() {
			if i.quiet() {
				end()
			}
		})
	}
	return i
}

func (i *idle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.count(1)
	defer i.count(-1)
	i.handler.ServeHTTP(w, r)
}

func (i *idle) count(n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.busy += n
	if i.timer == nil {
		return
	}
	if i.busy == 0 {
		i.timer.Reset(i.timeout)
	} else {
		i.timer.Stop()
	}
}

func (i *idle) quiet() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.busy == 0
}
