package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// cost is what a hash takes: Argon2id with 19 MiB, two passes, one lane, as OWASP's Password Storage
// Cheat Sheet has it.
var cost = params{memory: 19 << 10, time: 2, threads: 1}

type params struct {
	memory, time uint32
	threads      uint8
}

const (
	saltBytes   = 16
	hashBytes   = 32
	maxPassword = 1024
	minPassword = 8
)

// CheckPassword says why a password cannot be one.
func CheckPassword(password string) error {
	switch {
	case utf8.RuneCountInString(password) < minPassword:
		return fmt.Errorf("a password has at least %d characters", minPassword)
	case len(password) > maxPassword:
		return fmt.Errorf("a password has at most %d bytes", maxPassword)
	case !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl):
		return errors.New("a password is text without control characters")
	}
	return nil
}

// NewPassword makes one up: 130 random bits.
func NewPassword() string { return rand.Text() }

// HashPassword is the password as users.toml keeps it: in the PHC string format,
// $argon2id$v=19$m=…,t=…,p=…$salt$hash.
func HashPassword(password string) string {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	hash := cost.hash(password, salt, hashBytes)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, cost.memory, cost.time, cost.threads, b64(salt), b64(hash))
}

func (p params) hash(password string, salt []byte, n uint32) []byte {
	return argon2.IDKey([]byte(password), salt, p.time, p.memory, p.threads, n)
}

// matches reports whether password is what phc was made of. An empty phc is that of nobody: the
// work is done all the same, so that the time tells nothing.
func matches(password, phc string) bool {
	p, salt, want, err := parsePHC(phc)
	if err != nil {
		_ = cost.hash(password, make([]byte, saltBytes), hashBytes)
		return matchesLegacy(password, phc)
	}
	return subtle.ConstantTimeCompare(p.hash(password, salt, uint32(len(want))), want) == 1 // #nosec G115 -- at most maxPHC
}

// maxPHC bounds what a line of users.toml can make a log-in cost.
const (
	maxPHC    = 256
	maxMemory = 1 << 20 // KiB
	maxTime   = 64
)

var errPHC = errors.New("the password is no Argon2id hash ($argon2id$v=19$…): set it with barback user passwd")

func parsePHC(s string) (p params, salt, hash []byte, err error) {
	parts := strings.Split(s, "$")
	if len(s) > maxPHC || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, nil, nil, errPHC
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads); err != nil ||
		parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", p.memory, p.time, p.threads) ||
		p.memory < 8 || p.memory > maxMemory || p.time < 1 || p.time > maxTime || p.threads < 1 {
		return p, nil, nil, errPHC
	}
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	hash, err2 := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if errors.Join(err1, err2) != nil || len(salt) < 8 || len(hash) < 16 {
		return p, nil, nil, errPHC
	}
	return p, salt, hash, nil
}
