package gateway

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"barback/handler/auth"
)

// Proxy is a web server on this host that is believed when it names the user in a header. Anybody can
// send a header: what tells the web server from others is the kernel's word about who connected to
// the Unix socket.
type Proxy struct {
	Header string // that names the user; empty: nobody is believed
	UID    uint32 // of the web server's processes
}

// vouched notes the user that the proxy names. Of a name that came twice, one may be a client's own:
// neither is believed. It is believed as to where a request comes from, too.
func (p Proxy) vouched(h http.Handler) http.Handler {
	if p.Header == "" {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if peer, ok := auth.PeerFrom(r.Context()); ok && peer.UID == p.UID {
			ctx := auth.WithRemote(r.Context(), client(r.Header))
			if names := r.Header.Values(p.Header); len(names) == 1 {
				ctx = auth.NewContext(ctx, names[0])
			}
			r = r.WithContext(ctx)
		}
		h.ServeHTTP(w, r)
	})
}

// client is the address that the proxy saw: it puts it behind what a client may have sent itself.
func client(h http.Header) string {
	list := strings.Split(strings.Join(h.Values("X-Forwarded-For"), ","), ",")
	a, err := netip.ParseAddr(strings.TrimSpace(list[len(list)-1]))
	if err != nil {
		return ""
	}
	return a.String()
}

// withPeer notes who connected, where the kernel knows it (http.Server.ConnContext).
func withPeer(ctx context.Context, c net.Conn) context.Context {
	for w, ok := c.(*watched); ok; w, ok = c.(*watched) {
		c = w.Conn
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if ctlErr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) // #nosec G115 -- a descriptor
	}); ctlErr != nil || err != nil {
		return ctx
	}
	return auth.WithPeer(ctx, auth.Peer{UID: cred.Uid, GID: cred.Gid})
}
