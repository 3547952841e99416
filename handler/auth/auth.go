// Package auth says who a request comes from and whether it may do what it asks.
//
// An identity comes from a door that can vouch for it (Apache's REMOTE_USER in the
// FastCGI or CGI environment; a header only if the kernel says that Apache sent it), or it is anonymous. What an
// identity may do stands in users.toml: access and deny lists of patterns over
// permission names. Who is not there may nothing, and anonymous is there only if an
// administrator put it there.
package auth

import "context"

// Anonymous is the name under which unauthenticated requests are listed in users.toml.
const Anonymous = "anonymous"

// Identity is who a request comes from.
type Identity struct {
	Name  string // as in users.toml; "anonymous" if nobody vouched for it
	Known bool   // somebody vouched for it
}

type identityKey struct{}

// NewContext notes the name that a door vouches for. Doors call it, nobody else.
func NewContext(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, identityKey{}, name)
}

// FromContext is the identity of a request.
func FromContext(ctx context.Context) Identity {
	if name, _ := ctx.Value(identityKey{}).(string); name != "" {
		return Identity{Name: name, Known: true}
	}
	return Identity{Name: Anonymous}
}
