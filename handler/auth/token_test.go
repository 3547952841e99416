package auth

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"barback/runner/durable"
)

func newTokens(t testing.TB) *Tokens {
	t.Helper()
	return &Tokens{Dir: filepath.Join(t.TempDir(), "auth", "tokens")}
}

func (s *Tokens) must(t testing.TB, tok Token) (string, Token) {
	t.Helper()
	secret, tok, err := s.Create(tok, noon)
	if err != nil {
		t.Fatal(err)
	}
	return secret, tok
}

func TestTokens(t *testing.T) {
	s := newTokens(t)
	secret, made := s.must(t, Token{User: "ann", Name: "nightly", Scope: []string{"GET servers"}, CreatedBy: "root", ExpiresAt: noon.Add(time.Hour)})
	if !regexp.MustCompile(`^bb_[a-z2-7]{26}$`).MatchString(secret) { // 26 × 5 bits
		t.Errorf("a token is %q, want bb_ and 130 bits", secret)
	}
	found, err := s.Find(secret, noon.Add(59*time.Minute))
	if err != nil || found.User != "ann" || found.Name != "nightly" || found.ID != made.ID || found.CreatedBy != "root" || strings.Join(found.Scope, "") != "GET servers" {
		t.Errorf("Find = %+v, %v, want what was made: %+v", found, err, made)
	}
	for name, tc := range map[string]struct {
		token string
		at    time.Time
	}{
		"one that has expired": {secret, noon.Add(time.Hour)}, "another one": {"bb_" + strings.Repeat("a", 26), noon}, "in other letters": {strings.ToUpper(secret), noon},
		"its hash": {made.ID, noon}, "its file": {TokenPrefix + digest(secret), noon}, "nothing": {"", noon}, "a path": {"bb_../../../../../../../etc/pw", noon}, "a megabyte": {secret + strings.Repeat("a", 1<<20), noon}, "half of it": {secret[:20], noon},
	} {
		if got, err := s.Find(tc.token, tc.at); !errors.Is(err, ErrNoToken) {
			t.Errorf("Find of %s = %+v, %v, want %v", name, got, err, ErrNoToken)
		}
	}
	if never, _ := s.must(t, Token{User: "ann"}); never == secret {
		t.Error("two tokens are the same")
	} else if _, err := s.Find(never, noon.AddDate(50, 0, 0)); err != nil {
		t.Errorf("a token that never expires, after 50 years: %v", err)
	}
}

// Nothing that could be used as a token lies on the disk.
func TestTokensAreNotKept(t *testing.T) {
	s := newTokens(t)
	secret, _ := s.must(t, Token{User: "ann"})
	err := filepath.WalkDir(filepath.Dir(s.Dir), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(path+string(data), secret[3:]) {
			t.Errorf("%s holds the token", path)
		}
		if st, _ := d.Info(); st.Mode() != 0o600 {
			t.Errorf("the mode of %s is %v, want -rw-------", path, st.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRevoke(t *testing.T) {
	s := newTokens(t)
	one, first := s.must(t, Token{User: "ann"})
	two, _ := s.must(t, Token{User: "ann"})
	bobs, _ := s.must(t, Token{User: "bob"})
	elsewhere := &Tokens{Dir: s.Dir} // another process that has seen it already
	if _, err := elsewhere.Find(one, noon); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "a", first.ID[:15], "../" + first.ID, strings.Repeat("0", 16)} {
		if _, err := s.Revoke(id); !errors.Is(err, ErrNoToken) {
			t.Errorf("Revoke(%q) = %v, want %v", id, err, ErrNoToken)
		}
	}
	if got, err := s.Revoke(first.ID); err != nil || got.User != "ann" {
		t.Fatalf("Revoke = %+v, %v", got, err)
	}
	if _, err := elsewhere.Find(one, noon); !errors.Is(err, ErrNoToken) {
		t.Errorf("a revoked token in another process = %v, want %v", err, ErrNoToken)
	}
	if _, err := s.Find(two, noon); err != nil {
		t.Errorf("another token after that = %v, want no error", err)
	}
	if n, err := s.RevokeAll("ann"); n != 1 || err != nil {
		t.Errorf("RevokeAll = %d, %v, want the one that is left", n, err)
	}
	if list, err := s.List(""); err != nil || len(list) != 1 || list[0].User != "bob" {
		t.Errorf("List = %+v, %v, want bob's", list, err)
	}
	if _, err := s.Find(bobs, noon); err != nil {
		t.Errorf("bob's token = %v, want no error", err)
	}
}

func TestLastUse(t *testing.T) {
	s := newTokens(t)
	secret, _ := s.must(t, Token{User: "ann"})
	used := func() time.Time {
		t.Helper()
		list, err := s.List("ann")
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		return list[0].LastUsed
	}
	if got := used(); !got.IsZero() {
		t.Errorf("a new token was last used %v, want never", got)
	}
	for _, step := range []struct{ use, want time.Duration }{{time.Minute, time.Minute}, {90 * time.Second, time.Minute}, {3 * time.Minute, 3 * time.Minute}} {
		if _, err := s.Find(secret, noon.Add(step.use)); err != nil {
			t.Fatal(err)
		}
		if got := used(); !got.Equal(noon.Add(step.want)) {
			t.Errorf("used after %v, the last use is %v, want %v", step.use, got.Sub(noon), step.want)
		}
	}
}

func TestTokensThatCannotBe(t *testing.T) {
	s := newTokens(t)
	for name, tok := range map[string]Token{
		"nobody's": {}, "anonymous": {User: Anonymous}, "a path's": {User: "../x"}, "with a broken scope": {User: "ann", Scope: []string{"servers/["}}, "with an endless name": {User: "ann", Name: strings.Repeat("x", 101)},
		"with a name of two lines": {User: "ann", Name: "a\nb"}, "that has expired": {User: "ann", ExpiresAt: noon}, "with an endless scope": {User: "ann", Scope: make([]string, 101)},
	} {
		if secret, _, err := s.Create(tok, noon); err == nil || secret != "" {
			t.Errorf("Create of a token %s = %q, %v, want it refused", name, secret, err)
		}
	}
	if list, err := s.List(""); err != nil || len(list) != 0 {
		t.Errorf("List = %v, %v, want none", list, err)
	}
	for range MaxTokens {
		s.must(t, Token{User: "ann", ExpiresAt: noon.Add(time.Minute)})
	}
	if _, _, err := s.Create(Token{User: "ann"}, noon); !errors.Is(err, ErrTokens) {
		t.Errorf("one token more than %d = %v, want %v", MaxTokens, err, ErrTokens)
	}
	s.must(t, Token{User: "bob"})
	if _, _, err := s.Create(Token{User: "ann"}, noon.Add(time.Hour)); err != nil {
		t.Errorf("a new one when all have expired = %v, want no error", err)
	}
	if list, _ := s.List("ann"); len(list) != 1 {
		t.Errorf("%d tokens are left, want the new one alone", len(list))
	}
}

// What a process has read of a token holds as long as the file, and not longer.
func TestTokensThatWereSeen(t *testing.T) {
	s := newTokens(t)
	secret, _ := s.must(t, Token{User: "ann"})
	path := filepath.Join(s.Dir, digest(secret))
	find := func(want string) {
		t.Helper()
		tok, err := s.Find(secret, noon.Add(time.Hour))
		if got := tok.User; got != want || (err == nil) != (want != "") {
			t.Errorf("Find = %q, %v, want %q", got, err, want)
		}
	}
	find("ann") // notes its use
	find("ann")
	s.memory.Most, s.memory.Settled = 1, func(durable.Stamp) bool { return true } // as if the file were old
	find("ann")
	s.memory.Keep(path, Token{ID: digest(secret), User: "remembered"}, durable.StampOf(path))
	find("remembered")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte("ann"), []byte("eve"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	find("eve")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	find("")
}

// A damaged file opens nothing and is in nobody's way.
func TestADamagedToken(t *testing.T) {
	s := newTokens(t)
	secret, _ := s.must(t, Token{User: "ann"})
	other, _ := s.must(t, Token{User: "bob"})
	if err := os.WriteFile(filepath.Join(s.Dir, digest(secret)), []byte(`{"user":"ann"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if tok, err := s.Find(secret, noon); err == nil || tok.User != "" {
		t.Errorf("Find = %+v, %v, want an error", tok, err)
	}
	if _, err := s.Find(other, noon); err != nil {
		t.Errorf("Find of another one = %v, want no error", err)
	}
	if list, err := s.List(""); err != nil || len(list) != 1 {
		t.Errorf("List = %+v, %v, want the good one", list, err)
	}
}

func TestParseLifetime(t *testing.T) {
	for s, want := range map[string]time.Duration{"": 90 * 24 * time.Hour, "90d": 90 * 24 * time.Hour, "1d": 24 * time.Hour, "12h": 12 * time.Hour, "90m": 90 * time.Minute} {
		if got, err := ParseLifetime(s, noon); err != nil || !got.Equal(noon.Add(want)) {
			t.Errorf("ParseLifetime(%q) = %v, %v, want %v later", s, got, err, want)
		}
	}
	if got, err := ParseLifetime("never", noon); err != nil || !got.IsZero() {
		t.Errorf("ParseLifetime(never) = %v, %v, want no end", got, err)
	}
	for _, s := range []string{"0", "0d", "-1d", "-1h", "90", "d", "1.5d", "99999999d", "Never", "tomorrow", "1d12h", " 1d"} {
		if got, err := ParseLifetime(s, noon); err == nil {
			t.Errorf("ParseLifetime(%q) = %v, want it refused", s, got)
		}
	}
}
