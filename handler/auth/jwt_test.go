package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func newKeys(t testing.TB) *Keys {
	t.Helper()
	return &Keys{Path: filepath.Join(t.TempDir(), "jwt.key")}
}

func (k *Keys) must(t testing.TB, user string, a Audience) string {
	t.Helper()
	s, err := k.Sign(user, "", a, time.Hour, noon)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestJWT(t *testing.T) {
	k := newKeys(t)
	token := k.must(t, "ann", "barmanapi")
	for _, at := range []time.Duration{0, 59 * time.Minute} {
		if user, _, err := (&Keys{Path: k.Path}).Verify(token, "barmanapi", noon.Add(at)); user != "ann" || err != nil {
			t.Errorf("Verify after %v = %q, %v, want ann", at, user, err)
		}
	}
	if st, err := os.Stat(k.Path); err != nil || st.Mode() != 0o600 {
		t.Errorf("the key is %v, %v, want -rw-------", st, err)
	}
	if user, _, err := k.Verify(token, "barmanapi", noon.Add(time.Hour)); user != "" || !errors.Is(err, ErrJWTExpired) {
		t.Errorf("Verify after its end = %q, %v, want %v", user, err, ErrJWTExpired)
	}
	if err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	if user, _, err := k.Verify(token, "barmanapi", noon); user != "" || !errors.Is(err, ErrJWT) {
		t.Errorf("Verify after the key was changed = %q, %v, want %v", user, err, ErrJWT)
	}
	if user, _, err := k.Verify(k.must(t, "ann", "barmanapi"), "barmanapi", noon); user != "ann" || err != nil {
		t.Errorf("Verify with the new key = %q, %v, want ann", user, err)
	}
}

func TestJWTsThatAreRefused(t *testing.T) {
	k := newKeys(t)
	good := k.must(t, "ann", "barmanapi")
	key, err := k.key()
	if err != nil {
		t.Fatal(err)
	}
	file, _ := os.ReadFile(k.Path)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(m jwt.SigningMethod, key any, edit func(jwt.MapClaims)) string {
		t.Helper()
		c := jwt.MapClaims{"iss": "barback", "sub": "ann", "aud": "barmanapi", "iat": noon.Unix(), "exp": noon.Add(time.Hour).Unix()}
		edit(c)
		s, err := jwt.NewWithClaims(m, c).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	plain := func(jwt.MapClaims) {}
	if user, _, err := k.Verify(signed(jwt.SigningMethodHS256, key, plain), "barmanapi", noon); user != "ann" || err != nil {
		t.Fatalf("what the cases change is refused itself: %q, %v", user, err)
	}
	set := func(name string, v any) func(jwt.MapClaims) {
		return func(c jwt.MapClaims) {
			if c[name] = v; v == nil {
				delete(c, name)
			}
		}
	}
	b64 := func(v any) string {
		s, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(s)
	}
	part := strings.Split(good, ".")
	for name, token := range map[string]string{
		"alg none":                         signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, plain),
		"alg none with the signature":      b64(map[string]string{"alg": "none", "typ": "JWT"}) + "." + part[1] + "." + part[2],
		"alg None":                         b64(map[string]string{"alg": "None"}) + "." + part[1] + ".",
		"alg missing":                      b64(map[string]string{"typ": "JWT"}) + "." + part[1] + "." + part[2],
		"another HMAC with the same key":   signed(jwt.SigningMethodHS512, key, plain),
		"a public key's algorithm":         signed(jwt.SigningMethodES256, private, plain),
		"alg HS256 with a public key":      signed(jwt.SigningMethodHS256, elliptic.MarshalCompressed(elliptic.P256(), private.X, private.Y), plain),
		"the key as it stands in the file": signed(jwt.SigningMethodHS256, []byte(strings.TrimSpace(string(file))), plain),
		"an empty key":                     signed(jwt.SigningMethodHS256, []byte{}, plain),
		"another key":                      newKeys(t).must(t, "ann", "barmanapi"),
		"another audience":                 k.must(t, "ann", "page"),
		"no audience":                      signed(jwt.SigningMethodHS256, key, set("aud", nil)),
		"another issuer":                   signed(jwt.SigningMethodHS256, key, set("iss", "x")),
		"no expiry":                        signed(jwt.SigningMethodHS256, key, set("exp", nil)),
		"an expiry that is no number":      signed(jwt.SigningMethodHS256, key, set("exp", "never")),
		"not valid yet":                    signed(jwt.SigningMethodHS256, key, set("nbf", noon.Add(time.Minute).Unix())),
		"issued in the future":             signed(jwt.SigningMethodHS256, key, set("iat", noon.Add(time.Minute).Unix())),
		"no user":                          signed(jwt.SigningMethodHS256, key, set("sub", nil)),
		"a user that is no name":           signed(jwt.SigningMethodHS256, key, set("sub", "../x")),
		"another user's claims":            part[0] + "." + b64(map[string]any{"iss": "barback", "sub": "root", "aud": "barmanapi", "exp": noon.Add(time.Hour).Unix()}) + "." + part[2],
		"no signature":                     part[0] + "." + part[1] + ".",
		"two parts":                        part[0] + "." + part[1],
		"four parts":                       good + ".x",
		"a megabyte of dots":               strings.Repeat(".", 1<<20),
		"a megabyte behind it":             good + strings.Repeat("A", 1<<20),
		"padding":                          good + "=",
		"a space":                          good + " ",
		"nothing":                          "",
		"a token of ours":                  TokenPrefix + strings.Repeat("a", 26),
	} {
		if user, _, err := k.Verify(token, "barmanapi", noon); user != "" || !errors.Is(err, ErrJWT) {
			t.Errorf("Verify of a token with %s = %q, %v, want %v", name, user, err, ErrJWT)
		}
	}
	// Who has not the key learns nothing of what it would have allowed.
	if _, _, err := k.Verify(signed(jwt.SigningMethodHS256, []byte("x"), set("exp", noon.Unix()-1)), "barmanapi", noon); !errors.Is(err, ErrJWT) {
		t.Errorf("an expired token with a wrong signature = %v, want %v", err, ErrJWT)
	}
}

// Processes that need the key at the same moment make one, not several.
func TestTheKeyIsMadeOnce(t *testing.T) {
	path := newKeys(t).Path
	tokens := make([]string, 16)
	var all sync.WaitGroup
	for i := range tokens {
		all.Go(func() { tokens[i], _ = (&Keys{Path: path}).Sign("ann", "", "x", time.Hour, noon) })
	}
	all.Wait()
	for i, token := range tokens {
		if user, _, err := (&Keys{Path: path}).Verify(token, "x", noon); user != "ann" || err != nil {
			t.Errorf("token %d = %q, %v, want ann", i, user, err)
		}
	}
}

func TestADamagedKey(t *testing.T) {
	k := newKeys(t)
	for _, text := range []string{"", "\n", "00", strings.Repeat("x", 128), strings.Repeat("00", 63), strings.Repeat("00", 65)} {
		if err := os.WriteFile(k.Path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := k.Sign("ann", "", "x", time.Hour, noon); err == nil || !strings.Contains(err.Error(), "rotate-key") {
			t.Errorf("Sign with the key %q = %q, %v, want an error that says what to do", text, s, err)
		}
	}
	if err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	k.must(t, "ann", "x")
}
