package auth

import (
	"crypto/md5" // #nosec G501 -- it is what barmanapi kept, see MD5
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strings"

	"barback/runner/pattern"
)

// legacyPrefix marks a hash of barmanapi's.
const legacyPrefix = "$md5$"

var legacyHash = pattern.New(`^\$md5\$[0-9a-f]{32}$`)

// barmanapiDefault is what barmanapi kept of the password in its documentation: everybody knows that one.
const barmanapiDefault = "26588e932c7ccfa1df309280702fe1b5"

// ErrKnownPassword says that a password stands in barmanapi's documentation.
var ErrKnownPassword = errors.New("the password is the one of barmanapi's documentation, which everybody knows")

// LegacyPassword is a hash of barmanapi's (MD5 without salt) as users.toml keeps it until its user logs in: see [Keeper.MD5].
func LegacyPassword(hash string) (string, error) {
	hash = strings.ToLower(strings.TrimSpace(hash))
	if hash == barmanapiDefault {
		return "", ErrKnownPassword
	}
	if !legacyHash().MatchString(legacyPrefix + hash) {
		return "", errors.New("the password is no MD5 hash of 32 hexadecimal digits")
	}
	return legacyPrefix + hash, nil
}

// Legacy reports whether the user has not logged in since it was taken over from barmanapi.
func (user *User) Legacy() bool { return strings.HasPrefix(user.Password, legacyPrefix) }

// matchesLegacy compares a password with a hash of barmanapi's, which took off blanks at both ends.
func matchesLegacy(password, hash string) bool {
	sum := md5.Sum([]byte(strings.Trim(password, " "))) // #nosec G401 -- see above
	return subtle.ConstantTimeCompare([]byte(legacyPrefix+hex.EncodeToString(sum[:])), []byte(hash)) == 1
}

// renew puts an Argon2id hash in place of barmanapi's, now that the password is known. If that
// fails the next login tries again.
func (k *Keeper) renew(name, password, old string) {
	hash, err := k.Hash(password)
	if err != nil {
		return
	}
	_ = k.Users.Update(name, func(u *User) {
		if u.Password == old {
			u.Password = hash
		}
	})
}
