// Package auth says who a request comes from and whether it may do what it asks.
//
// An identity is vouched for by a door (Apache's REMOTE_USER in the FastCGI or CGI environment, the
// kernel's word about who connected to a Unix socket; a header only if the kernel says that Apache
// sent it), or it proves itself with a password or a token, or it is anonymous. What an identity may
// do stands in users.toml: a role, and access and deny lists of patterns over permission names. Who
// is not there may nothing, and anonymous is there only if an administrator put it there.
//
// A process may serve one request only, so all that outlives a request is kept in files that many
// processes share: users.toml, and below auth/ the tokens, the failed log-ins and the slots
// that bound how many passwords are hashed at once. A password is not looked at when a limit that
// guards it cannot be: whoever cannot be checked is refused.
package auth

import (
	"context"
	"net"
	"net/http"
)

// Anonymous is the name under which unauthenticated requests are listed in users.toml.
const Anonymous = "anonymous"

// How an identity is known.
const (
	ByNobody   = "anonymous"
	ByApache   = "apache"
	ByPeer     = "peer"
	ByPassword = "basic"
	ByToken    = "token"
)

// Identity is who a request comes from.
type Identity struct {
	Name  string // as in users.toml; "anonymous" if nobody vouched for it
	Known bool   // somebody vouched for it
	How   string // one of the By… constants
}

type identityKey struct{}

// NewContext notes the name that a door vouches for. Doors call it, nobody else.
func NewContext(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, identityKey{}, name)
}

// FromContext is the identity that the door of a request vouches for. A user called anonymous, as Apache's
// mod_authn_anon makes one, is nobody: what anonymous may is for those who are not known.
func FromContext(ctx context.Context) Identity {
	if name := vouched(ctx); name != "" && name != Anonymous {
		return Identity{Name: name, Known: true, How: ByApache}
	}
	return Identity{Name: Anonymous, How: ByNobody}
}

func vouched(ctx context.Context) string {
	name, _ := ctx.Value(identityKey{}).(string)
	return name
}

type remoteKey struct{}

// WithRemote notes the address that a proxy vouches for. Doors call it, nobody else.
func WithRemote(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, remoteKey{}, address)
}

// Remote is where a request comes from, as far as the door knows: an IP address, or the
// user at the other end of a Unix socket.
func Remote(r *http.Request) string {
	if address, _ := r.Context().Value(remoteKey{}).(string); address != "" {
		return address
	}
	if p, ok := PeerFrom(r.Context()); ok {
		return p.String()
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
