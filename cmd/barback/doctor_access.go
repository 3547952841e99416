package main

import (
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"barback/handler/auth"
)

// expiresSoon is how long before its end a token is told of.
const expiresSoon = 14 * day

func (x *exam) lookIdentities() []finding {
	const check = "identities"
	keeper := x.cfg.auth()
	path := keeper.Users.Path
	users, err := keeper.Users.All()
	if err != nil {
		return x.denied(check, edit(path), err)
	}
	if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o077 != 0 {
		return x.bad(check, "chmod 600 "+quote(path), "%s holds what passwords are made into, and others can read it", path)
	}
	if len(users) == 0 {
		return x.warn(check, x.us("user add admin --role admin --generate"), "nobody may do anything but GET /status yet")
	}
	n, err := keeper.CanLogIn()
	if err != nil {
		return x.denied(check, "", err)
	}
	admin := ""
	for _, name := range slices.Sorted(maps.Keys(users)) {
		u := users[name]
		if r := u.Rights(); name != auth.Anonymous && (u.Role == "admin" || r.May("POST", "operations/config_update") && r.May("POST", "servers/x/operations/delete")) {
			admin = name
			break
		}
	}
	say := fmt.Sprintf("%d in %s, of which %d can log in to barback itself", len(users), path, n)
	switch {
	case admin == "":
		return append(x.warn(check, x.us("user add admin --role admin --generate"), "%s; none of them is an admin", say), x.lookPeers(users)...)
	case n == 0 && len(x.apache.uses) == 0:
		return append(x.warn(check, x.us("user passwd "+quote(admin)), "%s, and no web server vouches for others", say), x.lookPeers(users)...)
	}
	return append(x.ok(check, "%s; %s is an admin", say, admin), x.lookPeers(users)...)
}

// lookPeers finds local users in [auth.peers] that are not there, or become nobody.
func (x *exam) lookPeers(users map[string]auth.User) (list []finding) {
	for _, key := range slices.Sorted(maps.Keys(x.cfg.Auth.Peers)) {
		kind, value, _ := strings.Cut(key, ":")
		var err error
		switch kind {
		case "user":
			_, err = user.Lookup(value)
		case "group":
			_, err = user.LookupGroup(value)
		}
		name := x.cfg.Auth.Peers[key]
		if _, known := users[name]; err != nil {
			list = append(list, x.warn("identities", edit(x.cfg.path), "%q in [auth.peers]: %v", key, err)...)
		} else if !known {
			list = append(list, x.warn("identities", x.us("user role "+quote(name)+" viewer"), "%q in [auth.peers] is identity %s, which nothing is allowed", key, name)...)
		}
	}
	return list
}

// samples are permissions that tell what somebody may, the worst first.
var samples = []struct{ method, permission, says string }{
	{"POST", "operations/config_update", "change Barman's configuration"},
	{"POST", "servers/x/operations/delete", "delete backups"},
	{"POST", "servers/x/operations/recovery", "write restores to any host that Barman reaches"},
	{"POST", "servers/x/operations/backup", "take backups"},
	{"POST", "servers/x/operations/cancel", "cancel operations"},
	{"GET", "diagnose", "read Barman's configuration"},
	{"GET", "servers/x/operations", "read operations and their output"},
	{"GET", "servers", "read the servers and their backups"},
}

func (x *exam) lookAnonymous() []finding {
	const check = "anonymous"
	u, known, err := x.cfg.auth().Users.Find(auth.Anonymous)
	if err != nil {
		return x.denied(check, "", err)
	}
	if !known {
		return x.ok(check, "who does not log in may do nothing but GET /status")
	}
	var may []string
	rights := u.Rights()
	for _, s := range samples {
		if rights.May(s.method, s.permission) {
			may = append(may, s.says)
		}
	}
	if len(may) == 0 {
		may = append(u.Access, u.Role)
	}
	return x.warn(check, x.us("user remove anonymous"), "EVERYBODY who reaches a port of barback may, without any login: %s", strings.Join(may, "; "))
}

func (x *exam) lookTokens() []finding {
	const check = "tokens"
	keeper := x.cfg.auth()
	tokens, err := keeper.Tokens.All()
	if err != nil {
		return x.denied(check, "", err)
	}
	users, err := keeper.Users.All()
	if err != nil {
		return x.denied(check, "", err)
	}
	var list []finding
	now := time.Now()
	for _, t := range tokens {
		named := t.User
		if t.Name != "" {
			named += " called " + t.Name
		}
		renew := "token create " + quote(t.User)
		if t.Name != "" {
			renew += " --name " + quote(t.Name)
		}
		for _, s := range t.Scope {
			renew += " --scope " + quote(s)
		}
		id := t.ID[:min(16, len(t.ID))]
		renew = x.us(renew) + " && " + x.us("token revoke "+id)
		switch _, known := users[t.User]; {
		case !known:
			list = append(list, x.warn(check, x.us("token revoke "+id), "%s is of %s, who is no identity any more: it lets nobody in", id, named)...)
		case t.ExpiresAt.IsZero() || t.ExpiresAt.After(now.Add(expiresSoon)):
		case t.ExpiresAt.After(now):
			list = append(list, x.warn(check, renew, "%s of %s expires on %s", id, named, t.ExpiresAt.UTC().Format(time.DateTime))...)
		default:
			list = append(list, x.warn(check, x.us("token revoke "+id), "%s of %s has expired on %s", id, named, t.ExpiresAt.UTC().Format(time.DateTime))...)
		}
	}
	if len(list) == 0 {
		return x.ok(check, "%d, of which none expires within %d days", len(tokens), expiresSoon/day)
	}
	return list
}
