package auth

import "slices"

// Roles are named lists of permissions. What a role leaves out, users.toml can add.
var Roles = map[string]Lists{
	// Looks at everything but at who may what and who did what. A GET of barmanapi's dialect runs
	// commands: it is not looking.
	"viewer": {Access: []string{"GET *"}, Deny: []string{"users", "tokens", "audit", "auth", "config", "history", "barman"}},
	// Besides, starts operations, cancels them and tries them again. A change of Barman's own
	// configuration is an administrator's, and so is to delete a backup: nothing brings it back.
	"operator": {
		Access: []string{"GET *", "POST servers/*/operations", "POST operations"},
		Deny:   []string{"users", "tokens", "audit", "auth", "config", "history", "barman", "POST operations/config_update", "POST servers/*/operations/delete"},
	},
	"admin": {Access: []string{"*"}},
}

// Self is the name of the permission to make, see and revoke one's own tokens: see [Rights.MaySelf].
const Self = "tokens/self"

// Administrative reports whether a permission is about who may what. Whoever is not known never
// has it, whatever anonymous is allowed: "*" is meant to open Barman, not barback.
func Administrative(name string) bool {
	return covers("users", "", name) || covers("tokens", "", name) || covers("audit", "", name)
}

// Rights are what one request may do.
type Rights struct {
	role, own Lists
	known     bool
	scope     []string // of a token: patterns that narrow the rest; nil: all of it
}

// May reports whether the request may do with method what name stands for.
func (r Rights) May(method, name string) bool {
	covers := func(pattern string) bool { return covers(pattern, method, name) }
	return r.leave(method, name) && (r.role.May(method, name) || slices.ContainsFunc(r.own.Access, covers))
}

// MaySelf reports whether the request may do with method what [Self] stands for. Everybody who is known may, as a token
// can do no more than who makes it; "deny tokens" takes it away. It is not May of that name: there may be a user called self.
func (r Rights) MaySelf(method string) bool { return r.known && r.leave(method, Self) }

// leave reports whether nothing takes away what a role or a list may give.
func (r Rights) leave(method, name string) bool {
	covers := func(pattern string) bool { return covers(pattern, method, name) }
	return (r.known || !Administrative(name)) && (r.scope == nil || slices.ContainsFunc(r.scope, covers)) && !slices.ContainsFunc(r.own.Deny, covers)
}
