package auth

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"barback/runner/durable"
)

// Keys signs and reads the JSON Web Tokens of dialects whose clients expect some. The key is made
// when it is first needed; a new one ends all that were signed before. One algorithm, an
// expiry and an audience are required of every token.
type Keys struct {
	Path      string
	Algorithm string // HS256, HS384 or HS512; empty: HS256. Those signed with another one end when it changes
}

// Audience is what a token is for; one for another is refused.
type Audience string

// The reasons why a JSON Web Token is refused.
var (
	ErrJWT        = errors.New("the token is not valid")
	ErrJWTExpired = errors.New("the token has expired")
)

const (
	issuer   = "barback"
	maxJWT   = 4096
	keyBytes = 64 // as long as the longest hash (RFC 7518, 3.2)
)

// Algorithms are those that [Keys] can use.
var Algorithms = []string{"HS256", "HS384", "HS512"}

// claims are what a token says. Bound is what it ends with when it changes.
type claims struct {
	jwt.RegisteredClaims
	Bound string `json:"bound"`
}

// Sign makes a token that says who its bearer is, and what it is bound to.
func (k *Keys) Sign(user, bound string, audience Audience, lifetime time.Duration, now time.Time) (string, error) {
	key, err := k.key()
	if err != nil {
		return "", err
	}
	return jwt.NewWithClaims(jwt.GetSigningMethod(k.algorithm()), claims{jwt.RegisteredClaims{
		Issuer: issuer, Subject: user, Audience: jwt.ClaimStrings{string(audience)},
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)), ID: rand.Text(),
	}, bound}).SignedString(key)
}

func (k *Keys) algorithm() string { return cmp.Or(k.Algorithm, Algorithms[0]) }

// Verify is whom a token names, and what it is bound to. What is too long to be one is not parsed.
func (k *Keys) Verify(token string, audience Audience, now time.Time) (user, bound string, err error) {
	if len(token) > maxJWT {
		return "", "", ErrJWT
	}
	key, err := k.key()
	if err != nil {
		return "", "", err
	}
	said := claims{}
	_, err = jwt.ParseWithClaims(token, &said, func(*jwt.Token) (any, error) { return key, nil },
		jwt.WithValidMethods([]string{k.algorithm()}), jwt.WithStrictDecoding(), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithAudience(string(audience)), jwt.WithIssuer(issuer), jwt.WithTimeFunc(func() time.Time { return now }))
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return "", "", ErrJWTExpired
	case err != nil || !ValidName(said.Subject):
		return "", "", ErrJWT
	}
	return said.Subject, said.Bound, nil
}

// Rotate makes a new key.
func (k *Keys) Rotate() error {
	if err := makeDirs(filepath.Dir(k.Path)); err != nil {
		return err
	}
	unlock, err := lockFile(k.Path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	return k.write()
}

func (k *Keys) write() error {
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return durable.WriteFile(k.Path, append(hex.AppendEncode(nil, key), '\n'), mode)
}

// key reads the key, and makes one if there is none.
func (k *Keys) key() ([]byte, error) {
	data, err := os.ReadFile(k.Path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = k.first()
	}
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(string(bytes.TrimSpace(data)))
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("%s is no key: make a new one with barback token rotate-key", k.Path)
	}
	return key, nil
}

// first makes the key, unless another process was faster.
func (k *Keys) first() ([]byte, error) {
	if err := makeDirs(filepath.Dir(k.Path)); err != nil {
		return nil, err
	}
	unlock, err := lockFile(k.Path + ".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := os.Stat(k.Path); errors.Is(err, fs.ErrNotExist) {
		if err := k.write(); err != nil {
			return nil, err
		}
	}
	return os.ReadFile(k.Path)
}
