package auth

import "slices"

// Roles are named lists of permissions. What a role leaves out, users.toml can add.
var Roles = map[string]Lists{
	// Looks at everything but at who may what and who did what. What a GET of barmanapi's dialect does
	// besides looking counts as a POST.
	"viewer": {Access: []string{"GET *"}, Deny: []string{"users", "tokens", "audit", "auth", "config"}},
	// Besides, starts operations, cancels them and tries them again. A change of Barman's own
	// configuration is an administrator's, and so is to delete a backup: nothing brings it back.
	"operator": {
		Access: []string{"GET *", "POST servers/*/operations", "POST operations", "POST barman"},
		Deny: []string{"users", "tokens", "audit", "auth", "config", "POST operations/config_update", "POST servers/*/operations/delete",
			"POST barman/config-update", "POST barman/delete"},
	},
	"admin": {Access: []string{"*"}},
}

// Self is the name of the permission to make, see and revoke one's own tokens: see [Rights.MaySelf].
const Self = "tokens/self"

// Administrative reports whether a permission is about who may what. Whoever is not known never
// has it, whatever anonymous is allowed: "*" is meant to open Barman, not barback.
func Administrative(name string) bool {
	return slices.ContainsFunc([]string{"users", "tokens", "audit", "auth", "config"}, func(p string) bool { return covers(p, "", name) })
}

// Rights are what one request may do.
type Rights struct {
	role, own Lists
	known     bool
	scope     []string // of a token: patterns that narrow the rest; nil: all of it
}

// May reports whether the request may do with method what the names stand for, of which one thing may have several:
// to be given one is enough, and so it is to be denied one.
func (r Rights) May(method string, names ...string) bool {
	given := func(list []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return anyCovers(list, method, name) })
	}
	lacks := func(name string) bool { return !r.role.May(method, name) }
	return r.leave(method, names...) && (given(r.own.Access) || !slices.ContainsFunc(names, lacks))
}

// MaySelf reports whether the request may do with method what [Self] stands for. Everybody who is known may, as a token
// can do no more than who makes it; "deny tokens" takes it away. It is not May of that name: there may be a user called self.
func (r Rights) MaySelf(method string) bool { return r.known && r.leave(method, Self) }

// Denied reports whether a list takes away what name stands for.
func (r Rights) Denied(method, name string) bool { return anyCovers(r.own.Deny, method, name) }

// leave reports whether nothing takes away what a role or a list may give.
func (r Rights) leave(method string, names ...string) bool {
	scoped := r.scope == nil
	for _, name := range names {
		if !r.known && Administrative(name) || r.Denied(method, name) {
			return false
		}
		scoped = scoped || anyCovers(r.scope, method, name)
	}
	return scoped
}

// Include reports whether whoever has these rights may do all that the user may, so that to make such a user, or
// to become him, gives nothing more. Where patterns cannot be compared the answer is no.
func (r Rights) Include(user User) bool {
	access := r.own.Access
	if r.role.Deny == nil {
		access = slices.Concat(access, r.role.Access)
	}
	for _, p := range slices.Concat(Roles[user.Role].Access, user.Access) {
		within := func(outer string) bool { return within(p, outer) }
		if !slices.ContainsFunc(access, within) || r.scope != nil && !slices.ContainsFunc(r.scope, within) {
			return false
		}
	}
	denied := func(p string) bool {
		return slices.ContainsFunc(user.Deny, func(outer string) bool { return within(p, outer) })
	}
	return !slices.ContainsFunc(r.own.Deny, func(p string) bool { return !denied(p) })
}
