package auth

import (
	"fmt"
	"maps"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

func (p Peer) String() string { return "uid:" + strconv.FormatUint(uint64(p.UID), 10) }

// Peers says which local users are which identities. A key is "user:NAME", "uid:NUMBER",
// "group:NAME" or "gid:NUMBER", of which the first in this order decides; among groups, that of the
// first in the alphabet. There are none by default, not even root: www-data and others connect
// for people whom they speak for, and a name in users.toml may be that of somebody whom Apache knows.
type Peers map[string]string

// Check says what is wrong with the mapping.
func (p Peers) Check() error {
	for _, key := range slices.Sorted(maps.Keys(p)) {
		kind, value, _ := strings.Cut(key, ":")
		_, err := strconv.ParseUint(value, 10, 32)
		switch {
		case value == "" || !slices.Contains([]string{"user", "uid", "group", "gid"}, kind):
			return fmt.Errorf("%q is none of user:NAME, uid:NUMBER, group:NAME, gid:NUMBER", key)
		case (kind == "uid" || kind == "gid") && err != nil:
			return fmt.Errorf("%q: %q is not a number", key, value)
		case !ValidName(p[key]) || p[key] == Anonymous:
			return fmt.Errorf("%q: %q cannot be the name of an identity", key, p[key])
		}
	}
	return nil
}

// identity is whom the mapping makes of a peer. The local user proxy connects for others, who are in none of its
// groups: www-data has to be in the group that may connect. Names are looked up in /etc/passwd and
// /etc/group; those of other directories are given by number.
func (p Peers) identity(peer Peer, proxy string) (string, bool) {
	if len(p) == 0 {
		return "", false
	}
	uid, gid := strconv.FormatUint(uint64(peer.UID), 10), strconv.FormatUint(uint64(peer.GID), 10)
	keys := []string{"uid:" + uid}
	groups := []string{gid}
	if u, err := user.LookupId(uid); err == nil {
		keys = append(keys, "user:"+u.Username)
		if u.Username == proxy {
			groups = nil
		} else if more, err := u.GroupIds(); err == nil {
			groups = append(groups, more...)
		}
	}
	for _, id := range groups {
		keys = append(keys, "gid:"+id)
		if g, err := user.LookupGroupId(id); err == nil {
			keys = append(keys, "group:"+g.Name)
		}
	}
	for _, kind := range []string{"user:", "uid:", "group:", "gid:"} {
		for _, key := range slices.Sorted(maps.Keys(p)) {
			if strings.HasPrefix(key, kind) && slices.Contains(keys, key) {
				return p[key], true
			}
		}
	}
	return "", false
}
