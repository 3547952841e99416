package auth

import (
	"errors"
	"strings"
	"testing"
)

// md5OfSecret is what barmanapi kept of "old secret".
const md5OfSecret = "ef2413644a523a875e9f3a1e194995a4"

// A password of barmanapi's is good if the administrator says so, and from its first login on it is an Argon2id hash.
func TestPasswordsOfBarmanapi(t *testing.T) {
	k := newKeeper(t)
	hash, err := LegacyPassword(" " + strings.ToUpper(md5OfSecret))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Users.Add("old", User{Password: hash}); err != nil {
		t.Fatal(err)
	}
	stored := func() string {
		u, known, err := another(k).Users.Find("old")
		if err != nil || !known {
			t.Fatalf("the user is %v, %v", known, err)
		}
		return u.Password
	}
	for _, password := range []string{"old secret", "$md5$" + md5OfSecret, md5OfSecret, ""} {
		if err := k.Login("old", password, "192.0.2.1", noon); !errors.Is(err, ErrPassword) {
			t.Errorf("Login(%q) = %v though nobody allowed it, want %v", password, err, ErrPassword)
		}
	}
	k.MD5 = true
	for _, password := range []string{"Old secret", md5OfSecret, ""} {
		if err := k.Login("old", password, "192.0.2.2", noon); !errors.Is(err, ErrPassword) {
			t.Errorf("Login(%q) = %v, want %v", password, err, ErrPassword)
		}
	}
	if got := stored(); got != hash {
		t.Errorf("after wrong passwords %q is stored, want %q", got, hash)
	}
	if err := k.Login("old", " old secret ", "192.0.2.2", noon); err != nil { // barmanapi took the blanks off
		t.Fatalf("Login = %v, want no error", err)
	}
	if got := stored(); !strings.HasPrefix(got, "$argon2id$") {
		t.Errorf("after the login %q is stored, want an Argon2id hash", got)
	}
	k = another(k) // which does not allow MD5
	if err := k.Login("old", " old secret ", "192.0.2.2", noon); err != nil {
		t.Errorf("the second Login = %v, want no error", err)
	}
}

func TestLegacyPasswordRefuses(t *testing.T) {
	for _, hash := range []string{"", "x", md5OfSecret[1:], md5OfSecret + "0", "$1$" + md5OfSecret, md5OfSecret[:31] + "g"} {
		if got, err := LegacyPassword(hash); err == nil {
			t.Errorf("LegacyPassword(%q) = %q, want an error", hash, got)
		}
	}
	if _, err := LegacyPassword(barmanapiDefault); !errors.Is(err, ErrKnownPassword) {
		t.Errorf("LegacyPassword of the documented default = %v, want %v", err, ErrKnownPassword)
	}
}
