package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"barback/handler/auth"
)

// serveFastCGI serves the listening socket that mod_fcgid left on descriptor 0.
func serveFastCGI(ctx context.Context, h http.Handler) error {
	l, err := net.FileListener(os.Stdin)
	if err != nil {
		return err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the socket is Apache's
	}
	return fastCGI(ctx, l, h)
}

// fastCGI serves l until ctx ends, and then the requests in hand to their end: Go would
// die in the middle of an answer.
func fastCGI(ctx context.Context, l net.Listener, h http.Handler) error {
	if os.Getenv("GOGC") == "" { // each request makes 130 KiB of buffers, which would be collected every few requests
		debug.SetGCPercent(200)
	}
	var inHand sync.WaitGroup
	counted := &counting{Listener: l}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	err := fcgi.Serve(counted, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inHand.Add(1)
		defer inHand.Done()
		h.ServeHTTP(w, r.WithContext(vouched(r.Context(), fcgi.ProcessEnv(r))))
	}))
	wait(&counted.open, connectionGrace)
	inHand.Wait()
	wait(&counted.open, connectionGrace) // what a handler wrote last goes out after it has returned
	if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// connectionGrace is what a connection that was accepted last gets to bring its
// request. Those that a web server keeps open without one are left to it.
const connectionGrace = 100 * time.Millisecond

// vouched notes the user that Apache authenticated. It stands in the environment of the
// request, which no client can write to; a header of that name would arrive as HTTP_….
func vouched(ctx context.Context, env map[string]string) context.Context {
	return auth.NewContext(ctx, env["REMOTE_USER"])
}
