package auth

import (
	"regexp"
	"strings"
	"testing"
)

// phcOfPassword is what the reference implementation of Argon2 makes of "password" and "somesalt".
const phcOfPassword = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

func TestHashPassword(t *testing.T) {
	one, two := HashPassword("correct horse"), HashPassword("correct horse")
	if one == two {
		t.Error("two hashes of one password are the same, want a salt in each")
	}
	if !regexp.MustCompile(`^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`).MatchString(one) {
		t.Errorf("HashPassword = %q, want Argon2id of 19 MiB and two passes, as a PHC string", one)
	}
	for _, tc := range []struct {
		password, phc string
		want          bool
	}{
		{"correct horse", one, true}, {"correct horse", two, true}, {"correct horse ", one, false}, {"Correct horse", one, false}, {"", one, false},
		{"password", phcOfPassword, true}, {"passwore", phcOfPassword, false}, {"password", "", false}, {"", "", false}, {"x", "x", false},
	} {
		if got := matches(tc.password, tc.phc); got != tc.want {
			t.Errorf("matches(%q, %q) = %v, want %v", tc.password, tc.phc, got, tc.want)
		}
	}
}

func TestParsePHC(t *testing.T) {
	if p, salt, hash, err := parsePHC(phcOfPassword); err != nil || p != (params{65536, 2, 1}) || string(salt) != "somesalt" || len(hash) != 32 {
		t.Errorf("parsePHC of a good hash = %+v, %q, %x, %v", p, salt, hash, err)
	}
	for _, edit := range [][2]string{
		{"argon2id", "argon2i"}, {"argon2id", "2b"}, {"v=19", "v=16"}, {"m=65536", "m=1"}, {"m=65536", "m=99999999"}, {"m=65536", "m=-1"}, {"m=65536", "m=65536 "}, {"m=65536", "m=065536"},
		{"t=2", "t=0"}, {"t=2", "t=1000"}, {"p=1", "p=0"}, {"p=1", "p=256"}, {"p=1", "p=1,x=2"}, {"$c29tZXNhbHQ", ""}, {"c29tZXNhbHQ", "c29"}, {"c29tZXNhbHQ", "****"},
		{"CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "CTFh"}, {"CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPd"},
		{"$argon2id", "argon2id"}, {"c29tZXNhbHQ", strings.Repeat("c29t", 100)},
	} {
		if bad := strings.Replace(phcOfPassword, edit[0], edit[1], 1); bad == phcOfPassword {
			t.Errorf("%q is no change", edit)
		} else if _, _, _, err := parsePHC(bad); err == nil {
			t.Errorf("parsePHC(%q) = nil, want it refused", bad)
		}
	}
}

func TestCheckPassword(t *testing.T) {
	for _, p := range []string{"8letters", "größtenteils", "correct horse battery staple", strings.Repeat("x", 1024), "      spaces", NewPassword()} {
		if err := CheckPassword(p); err != nil {
			t.Errorf("CheckPassword(%q) = %v, want no error", p, err)
		}
	}
	for p, says := range map[string]string{"": "at least 8", "7letter": "at least 8", "öööö": "at least 8", strings.Repeat("x", 1025): "at most 1024", "new\nline..": "control", "null\x00....": "control", "\xff\xff\xff\xff\xff\xff\xff\xff": "text"} {
		if err := CheckPassword(p); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("CheckPassword(%q) = %v, want %q in it", p, err, says)
		}
	}
}

// What is taken for a hash costs no more than the bounds, and is that hash's one spelling.
func FuzzParsePHC(f *testing.F) {
	f.Add(phcOfPassword)
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		p, salt, hash, err := parsePHC(s)
		if err == nil && (p.memory > maxMemory || p.time > maxTime || p.time == 0 || p.threads == 0 || len(s) > maxPHC || len(salt) < 8 || len(hash) < 16) {
			t.Errorf("parsePHC(%q) = %+v with %d and %d bytes, want it refused", s, p, len(salt), len(hash))
		}
	})
}

func BenchmarkHashPassword(b *testing.B) {
	for b.Loop() {
		HashPassword("correct horse")
	}
}
