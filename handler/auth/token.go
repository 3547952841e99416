package auth

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"barback/runner/durable"
	"barback/runner/pattern"
)

// Tokens are the tokens that were given out, one file for each, named by its SHA-256: a token is looked
// up by opening one file, and revoked in every process at once by removing it. Its time of last use is
// the time of the file, which needs neither a lock nor a write that could fail halfway.
type Tokens struct {
	Dir    string
	memory durable.Kept[Token]
}

// Token is what is known of a token. The token itself is known to whom it was given alone.
type Token struct {
	ID        string    `json:"id"`
	User      string    `json:"user"`
	Name      string    `json:"name"`
	Scope     []string  `json:"scope,omitempty"` // patterns that narrow what User may; none: all of it
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: never
	LastUsed  time.Time `json:"-"`
}

const (
	// TokenPrefix begins every token, so that people and scanners see what it is.
	TokenPrefix = "bb_"
	// TokenLifetime is how long a token holds if nobody says otherwise.
	TokenLifetime = 90 * 24 * time.Hour
	// MaxTokens is how many one identity can have.
	MaxTokens = 100

	usedEvery = time.Minute // how exact LastUsed is
)

// The reasons why a token is refused, or is not made.
var (
	ErrTokens  = fmt.Errorf("there are %d tokens of this identity already: revoke some", MaxTokens)
	ErrNoToken = errors.New("there is no such token")
)

// Create makes a token of t.User, and returns it: it is nowhere else.
func (s *Tokens) Create(t Token, now time.Time) (string, Token, error) {
	if err := t.Check(now); err != nil {
		return "", t, err
	}
	if err := makeDirs(filepath.Dir(s.Dir), s.Dir); err != nil {
		return "", t, err
	}
	unlock, err := lockFile(s.Dir + ".lock")
	if err != nil {
		return "", t, err
	}
	defer unlock()
	all, err := s.All()
	if err != nil {
		return "", t, err
	}
	mine := 0
	for _, old := range all {
		if old.User == t.User && old.expired(now) {
			_ = os.Remove(s.path(old))
		} else if old.User == t.User {
			mine++
		}
	}
	if mine >= MaxTokens {
		return "", t, ErrTokens
	}
	secret := TokenPrefix + strings.ToLower(rand.Text())
	t.CreatedAt, t.ID = now.UTC().Truncate(time.Second), digest(secret)
	data, err := json.Marshal(t)
	if err != nil {
		return "", t, err
	}
	if err := durable.WriteFile(s.path(t), append(data, '\n'), mode); err != nil {
		return "", t, err
	}
	return secret, t.public(), os.Chtimes(s.path(t), time.Time{}, t.CreatedAt) // not used yet
}

// Check says why there can be no such token.
func (t Token) Check(now time.Time) error {
	switch {
	case !ValidName(t.User) || t.User == Anonymous:
		return fmt.Errorf("%q cannot have a token", t.User)
	case len(t.Name) > 100 || strings.ContainsFunc(t.Name, unicode.IsControl):
		return errors.New("the name of a token is a text of at most 100 bytes")
	case len(t.Scope) > 100:
		return errors.New("a scope has at most 100 patterns")
	case t.expired(now):
		return errors.New("the token would have expired already")
	}
	for _, p := range t.Scope {
		if err := CheckPattern(p); err != nil {
			return err
		}
	}
	return nil
}

func (t Token) expired(now time.Time) bool { return !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt) }

// Find is what is known of a token that somebody shows. One that has expired or was revoked is
// not known any more.
func (s *Tokens) Find(secret string, now time.Time) (Token, error) {
	if !isToken(secret) {
		return Token{}, ErrNoToken
	}
	path := s.Dir + "/" + digest(secret)
	t, err := s.look(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && t.expired(now) {
		return Token{}, ErrNoToken
	}
	if err != nil {
		return Token{}, &UnreadableError{err}
	}
	if now.Sub(t.LastUsed) > usedEvery {
		_ = os.Chtimes(path, time.Time{}, now) // for people to look at: no reason to refuse a request
	}
	return t.public(), nil
}

// isToken reports whether s looks like what Create gives out.
func isToken(s string) bool {
	text, ok := strings.CutPrefix(s, TokenPrefix)
	return ok && len(text) == 26 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

var goodFile = pattern.New(`^[0-9a-f]{64}$`)

func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// public shortens the ID to what people type: 64 bits of the hash.
func (t Token) public() Token {
	t.ID = t.ID[:16]
	return t
}

const seenTokens = 1024

// look is load for those who come again and again.
func (s *Tokens) look(path string) (Token, error) {
	if t, ok := s.memory.Recall(path); ok {
		return t, nil
	}
	stamp := durable.StampOf(path)
	t, err := load(path)
	if err == nil {
		s.memory.Keep(path, t, stamp)
	}
	return t, err
}

func load(path string) (Token, error) {
	var t Token
	st, err := os.Stat(path)
	if err != nil {
		return t, err
	}
	data, err := os.ReadFile(path) // #nosec G304 -- named by a hash
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(data, &t); err != nil {
		return t, fmt.Errorf("%s: %w", path, err)
	}
	t.ID = filepath.Base(path)
	if used := st.ModTime(); !used.Equal(t.CreatedAt) {
		t.LastUsed = used.UTC().Truncate(time.Second)
	}
	return t, nil
}

// List is every token of a user, or of all if user is empty, the newest first.
func (s *Tokens) List(user string) ([]Token, error) {
	all, err := s.All()
	list := []Token{}
	for _, t := range all {
		if user == "" || t.User == user {
			list = append(list, t.public())
		}
	}
	slices.SortFunc(list, func(a, b Token) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return list, err
}

// All reads all files. What is damaged is passed over: it opens nothing.
func (s *Tokens) All() ([]Token, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []Token
	for _, e := range entries {
		if !goodFile().MatchString(e.Name()) {
			continue
		}
		if t, err := load(filepath.Join(s.Dir, e.Name())); err == nil {
			list = append(list, t)
		}
	}
	return list, err
}

// Revoke ends a token; id is as List has it.
func (s *Tokens) Revoke(id string) (Token, error) {
	all, err := s.All()
	if err != nil {
		return Token{}, err
	}
	for _, t := range all {
		if len(id) >= 16 && strings.HasPrefix(t.ID, id) {
			return t.public(), s.remove(t)
		}
	}
	return Token{}, ErrNoToken
}

// RevokeAll ends all tokens of a user.
func (s *Tokens) RevokeAll(user string) (n int, err error) {
	all, err := s.All()
	for _, t := range all {
		if t.User == user {
			n, err = n+1, errors.Join(err, s.remove(t))
		}
	}
	return n, err
}

func (s *Tokens) path(t Token) string { return filepath.Join(s.Dir, t.ID) }

func (s *Tokens) remove(t Token) error {
	if err := os.Remove(s.path(t)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncDir(s.Dir)
}

// ParseLifetime reads how long a token holds: "90d", "12h", "never"; empty is the default.
func ParseLifetime(s string, now time.Time) (expires time.Time, err error) {
	if s == "never" {
		return time.Time{}, nil
	}
	d := TokenLifetime
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return time.Time{}, lifetimeError(s)
		}
		d = time.Duration(n) * 24 * time.Hour // #nosec G115 -- 16 bits
	} else if s != "" {
		if d, err = time.ParseDuration(s); err != nil {
			return time.Time{}, lifetimeError(s)
		}
	}
	if d <= 0 {
		return time.Time{}, lifetimeError(s)
	}
	return now.Add(d).UTC().Truncate(time.Second), nil
}

func lifetimeError(s string) error {
	return fmt.Errorf("%q is not a lifetime such as 90d, 12h or never", s)
}
