package auth

import "context"

// Peer is the process at the other end of a Unix socket, as the kernel saw it connect
// (SO_PEERCRED, unix(7)).
type Peer struct{ UID, GID uint32 }

type peerKey struct{}

// WithPeer notes who connected. Doors call it, nobody else.
func WithPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// PeerFrom is who connected, if that was over a Unix socket.
func PeerFrom(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(Peer)
	return p, ok
}
