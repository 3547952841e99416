package auth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// annsPassword is that of ann in newKeeper; bob's is the same, eve has none.
const annsPassword = "correct horse"

func newKeeper(t testing.TB) *Keeper {
	t.Helper()
	k := New(t.TempDir(), nil)
	hash := HashPassword(annsPassword)
	for _, name := range []string{"ann", "bob"} {
		if err := k.Users.Add(name, User{Password: hash, Lists: Lists{Access: []string{"servers"}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Users.Add("eve", User{}); err != nil {
		t.Fatal(err)
	}
	return k
}

// another is the keeper of another process.
func another(k *Keeper) *Keeper { return New(filepath.Dir(k.Users.Path), k.Peers) }

func throttled(err error) bool {
	_, ok := errors.AsType[*ThrottledError](err)
	return ok
}

func busy(err error) bool {
	_, ok := errors.AsType[*BusyError](err)
	return ok
}

func TestLogin(t *testing.T) {
	k := newKeeper(t)
	for _, tc := range []struct {
		name, password string
		want           error
	}{
		{"ann", annsPassword, nil}, {"ann", annsPassword, nil}, {"bob", annsPassword, nil}, {"ann", "x", ErrPassword}, {"ann", "", ErrPassword},
		{"eve", "", ErrPassword}, {"eve", annsPassword, ErrPassword}, {"nobody", annsPassword, ErrPassword}, {"anonymous", "", ErrPassword}, {"Ann", annsPassword, ErrPassword},
	} {
		if err := k.Login(tc.name, tc.password, "192.0.2.1", noon); !errors.Is(err, tc.want) {
			t.Errorf("Login(%s, %q) = %v, want %v", tc.name, tc.password, err, tc.want)
		}
	}
}

// A password that this process remembers is worth nothing once it was changed or its user removed.
func TestAChangedPasswordIsForgottenAtOnce(t *testing.T) {
	k := newKeeper(t)
	if err := k.Login("ann", annsPassword, "", noon); err != nil {
		t.Fatal(err)
	}
	if err := another(k).Users.Update("ann", func(u *User) { u.Password = HashPassword("another one") }); err != nil {
		t.Fatal(err)
	}
	if err := k.Login("ann", annsPassword, "", noon); !errors.Is(err, ErrPassword) {
		t.Errorf("Login with the old password = %v, want %v", err, ErrPassword)
	}
	if err := k.Login("ann", "another one", "", noon); err != nil {
		t.Errorf("Login with the new password = %v, want no error", err)
	}
	if err := another(k).Remove("ann"); err != nil {
		t.Fatal(err)
	}
	if err := k.Login("ann", "another one", "", noon); !errors.Is(err, ErrPassword) {
		t.Errorf("Login of a user that was removed = %v, want %v", err, ErrPassword)
	}
}

// Guessing ends soon, in all processes and for names that do not exist, too; it locks nobody else out.
func TestGuessingIsThrottled(t *testing.T) {
	for _, victim := range []string{"ann", "nobody"} {
		t.Run(victim, func(t *testing.T) {
			k := newKeeper(t)
			guess := func() error { return another(k).Login(victim, "guess", "192.0.2.1", noon) }
			for n := range 5 {
				if err := guess(); !errors.Is(err, ErrPassword) {
					t.Fatalf("guess %d = %v, want %v", n, err, ErrPassword)
				}
			}
			err := guess()
			if e, ok := errors.AsType[*ThrottledError](err); !ok || e.RetryAfter() != time.Second {
				t.Errorf("guess 6 = %v, want to be told to wait a second", err)
			}
			if err := k.Login(victim, annsPassword, "192.0.2.1", noon); !throttled(err) {
				t.Errorf("the right password from where somebody guesses = %v, want a wait, or guessing would go on", err)
			}
			if err := k.Login("ann", annsPassword, "192.0.2.2", noon); err != nil {
				t.Errorf("the same user from elsewhere = %v, want no error", err)
			}
			if err := k.Login("bob", annsPassword, "192.0.2.1", noon); err != nil {
				t.Errorf("another user from there = %v, want no error", err)
			}
			if err := k.Login(victim, annsPassword, "192.0.2.1", noon.Add(2*time.Second)); throttled(err) {
				t.Errorf("after the wait = %v, want the password looked at", err)
			}
		})
	}
}

// A crowd that guesses at the same moment gets hardly more guesses than one who guesses alone.
func TestACrowdIsCounted(t *testing.T) {
	k := newKeeper(t)
	var wrong atomic.Int32
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			err := another(k).Login("ann", fmt.Sprint("guess ", i), "192.0.2.1", noon)
			if errors.Is(err, ErrPassword) {
				wrong.Add(1)
			} else if !throttled(err) && !busy(err) {
				t.Errorf("a guess = %v, want it refused", err)
			}
		})
	}
	all.Wait()
	if n := int(wrong.Load()); n > pairs.free+hashers-1 {
		t.Errorf("%d of 24 guesses at once were looked at, want at most %d", n, pairs.free+hashers-1)
	}
}

// A process looks at a password once: whoever polls with one does not hash it each time.
func TestAPasswordIsRemembered(t *testing.T) {
	k := newKeeper(t)
	if err := k.Login("ann", annsPassword, "192.0.2.1", noon); err != nil {
		t.Fatal(err)
	}
	for _, slot := range []string{"hash.0", "hash.1", "hash.known"} {
		l := flock.New(filepath.Join(k.logins.dir, slot))
		if got, err := l.TryLock(); !got || err != nil {
			t.Fatalf("%s: %v, %v", slot, got, err)
		}
		defer func() { _ = l.Unlock() }()
	}
	if err := k.Login("ann", annsPassword, "192.0.2.1", noon.Add(time.Minute)); err != nil {
		t.Errorf("the same password a minute later = %v, want no error, and nothing hashed", err)
	}
	if err := k.Login("ann", annsPassword, "192.0.2.1", noon.Add(time.Hour)); !busy(err) {
		t.Errorf("the same password an hour later = %v, want it hashed", err)
	}
}

// A state directory that cannot be used lets nobody in, and says so.
func TestLoginNeedsItsState(t *testing.T) {
	k := newKeeper(t)
	if err := os.WriteFile(k.logins.dir, nil, 0o600); err != nil { // where a folder belongs
		t.Fatal(err)
	}
	err := k.Login("ann", annsPassword, "192.0.2.1", noon)
	if e, ok := errors.AsType[*UnreadableError](err); !ok || !strings.Contains(e.Error(), k.logins.dir) {
		t.Errorf("Login = %v, want an error that names %s", err, k.logins.dir)
	}
}

// Whoever tries many names from one address is stopped there; those who have logged in
// from it before are not.
func TestASprayStopsTheAddress(t *testing.T) {
	k := newKeeper(t)
	const here, elsewhere = "2001:db8::1", "2001:db8:0:1::1"
	if err := k.Login("ann", annsPassword, here, noon); err != nil {
		t.Fatal(err)
	}
	k.logins.failures.must(t, noon, func(p *page) error {
		for range 50 {
			if _, err := p.more(&addresses, prefix(here)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, from := range []string{here, "2001:db8::2"} {
		if err := k.Login("bob", annsPassword, from, noon); !throttled(err) {
			t.Errorf("a user that never was there, from %s = %v, want a wait", from, err)
		}
	}
	if err := another(k).Login("ann", annsPassword, here, noon); err != nil {
		t.Errorf("the user that was there before = %v, want no error", err)
	}
	if err := k.Login("bob", annsPassword, elsewhere, noon); err != nil {
		t.Errorf("from elsewhere = %v, want no error", err)
	}
	if err := k.Login("bob", annsPassword, here, noon.Add(time.Minute)); err != nil {
		t.Errorf("a minute later = %v, want no error", err)
	}
}

// So many passwords are hashed at once as there are slots. Who waits in vain is told so, a user that
// does not exist no sooner than one that does; who has been here before has a slot more.
func TestHashingIsBounded(t *testing.T) {
	k := newKeeper(t)
	if err := k.Login("bob", annsPassword, "192.0.2.1", noon); err != nil {
		t.Fatal(err)
	}
	for i := range hashers {
		l := flock.New(filepath.Join(k.logins.dir, fmt.Sprintf("hash.%d", i)))
		if got, err := l.TryLock(); !got || err != nil {
			t.Fatalf("slot %d: %v, %v", i, got, err)
		}
		defer func() { _ = l.Unlock() }()
	}
	var all sync.WaitGroup
	for _, name := range []string{"ann", "nobody", "eve"} {
		all.Go(func() {
			if err := another(k).Login(name, annsPassword, "192.0.2.1", noon); !busy(err) {
				t.Errorf("Login of %s while all slots are taken = %v, want it refused as busy", name, err)
			}
		})
	}
	if err := another(k).Login("bob", annsPassword, "192.0.2.1", noon); err != nil {
		t.Errorf("Login of who has been here before = %v, want no error", err)
	}
	all.Wait()
}

func TestPrefix(t *testing.T) {
	for remote, want := range map[string]string{"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "::ffff:192.0.2.1", "2001:db8::1": "2001:db8::/64", "fe80::1%eth0": "fe80::/64", "uid:33": "uid:33", "": ""} {
		if got := prefix(remote); got != want {
			t.Errorf("prefix(%q) = %q, want %q", remote, got, want)
		}
	}
}

// How long a refusal takes tells nothing about whether there is such a user: compare the three.
func BenchmarkWrongPassword(b *testing.B) {
	for _, name := range []string{"ann", "nobody", "eve"} {
		b.Run(map[string]string{"ann": "known", "nobody": "unknown", "eve": "without password"}[name], func(b *testing.B) {
			k := newKeeper(b)
			for n := 0; b.Loop(); n++ { // each from an address of its own, or it would be throttled
				if err := k.Login(name, "guess", fmt.Sprintf("192.0.%d.%d", n>>8&255, n&255), noon); !errors.Is(err, ErrPassword) {
					b.Fatal(err)
				}
			}
		})
	}
}
