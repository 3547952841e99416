package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"
)

// logins checks passwords, within bounds that hold for all processes together: of memory and CPU,
// by slots; of guesses, by the table of failures.
type logins struct {
	dir      string
	failures failures
	mu       sync.Mutex
	right    map[[sha256.Size]byte]time.Time // passwords that this process found right, hashed
	key      [32]byte                        // of that hash
	tidy     *time.Timer                     // gives the memory of hashing back, when there was none for a while
}

const (
	// hashers is how many passwords are hashed at once, for whom nothing is known of. One more slot is
	// kept for those who have logged in from their address before.
	hashers = 2
	// hashWait is how long a request waits for its turn.
	hashWait = 3 * time.Second
	// rightFor and maxRight bound what a process remembers. A changed password has another hash, and is not remembered.
	rightFor = 5 * time.Minute
	maxRight = 256
	// quiet is how long after the last password its 19 MiB go back to the system.
	quiet = time.Second
)

// ErrPassword says no more than this, whatever was wrong.
var ErrPassword = errors.New("the user name or the password is wrong")

// ThrottledError refuses to look at a password, as too many were wrong.
type ThrottledError struct {
	Wait time.Duration
	who  string
}

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("too many wrong passwords %s: try again in %v", e.who, e.RetryAfter())
}

// RetryAfter is when to try again.
func (e *ThrottledError) RetryAfter() time.Duration {
	return max(time.Second, (e.Wait + time.Second - 1).Truncate(time.Second))
}

func newLogins(dir string) *logins {
	l := &logins{dir: dir, failures: failures{filepath.Join(dir, "failures")}, right: map[[sha256.Size]byte]time.Time{}}
	_, _ = rand.Read(l.key[:]) // never fails (crypto/rand)
	return l
}

// check compares a password with the hash of the user, which is empty if there is no such user. Nothing
// in its way depends on which it is. Failures are looked up a second time when the turn to hash has
// come: of a crowd that guesses together at most as many as there are slots are not counted yet.
func (l *logins) check(name, remote, password, phc string, now time.Time) error {
	err := l.look(name, remote, password, phc, now)
	if _, throttled := errors.AsType[*ThrottledError](err); throttled || err == nil || errors.Is(err, ErrPassword) {
		return err
	}
	if _, busy := errors.AsType[*BusyError](err); busy {
		return err
	}
	return &UnreadableError{err}
}

func (l *logins) look(name, remote, password, phc string, now time.Time) error {
	address := prefix(remote)
	pair := name + "\x00" + address
	known, err := l.admit(pair, address, now)
	if err != nil {
		return err
	}
	sum := l.sum(name, password, phc)
	if l.remembered(sum, now) {
		return nil
	}
	leave, err := l.slot(known)
	if err != nil {
		return err
	}
	defer leave()
	if _, err := l.admit(pair, address, now); err != nil {
		return err
	}
	ok := matches(password, phc)
	if err := l.note(pair, address, ok, now); err != nil {
		return err
	}
	if !ok {
		return ErrPassword
	}
	l.remember(sum, now)
	return nil
}

// slot waits for room to hash a password.
func (l *logins) slot(known bool) (leave func(), err error) {
	slots := make([]string, 0, hashers+1)
	for i := range hashers {
		slots = append(slots, filepath.Join(l.dir, fmt.Sprintf("hash.%d", i)))
	}
	if known {
		slots = append(slots, filepath.Join(l.dir, "hash.known"))
	}
	unlock, err := lockOneOf(slots, hashWait, 5*time.Millisecond)
	if err != nil {
		return nil, err
	}
	return func() {
		unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.tidy == nil {
			l.tidy = time.AfterFunc(quiet, debug.FreeOSMemory)
		}
		l.tidy.Reset(quiet)
	}, nil
}

// admit refuses whoever has failed too often, and says who has succeeded before.
func (l *logins) admit(pair, address string, now time.Time) (known bool, err error) {
	err = l.failures.with(now, func(p *page) error {
		old, err1 := p.look(&proven, pair)
		failed, err2 := p.look(&pairs, pair)
		spray, err3 := p.look(&addresses, address)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		known = old.n > 0
		if wait := pairs.wait(failed, now); wait > 0 {
			return &ThrottledError{wait, "for this user from this address"}
		}
		if wait := addresses.wait(spray, now); wait > 0 && !known {
			return &ThrottledError{wait, "from this address"}
		}
		return nil
	})
	return known, err
}

// note writes down how it ended.
func (l *logins) note(pair, address string, ok bool, now time.Time) error {
	return l.failures.with(now, func(p *page) error {
		if ok {
			_, err := p.more(&proven, pair)
			return errors.Join(err, p.none(&pairs, pair))
		}
		_, err1 := p.more(&pairs, pair)
		_, err2 := p.more(&addresses, address)
		return errors.Join(err1, err2)
	})
}

func (l *logins) sum(name, password, phc string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, l.key[:])
	_, _ = fmt.Fprintf(mac, "%q %q %q", name, phc, password)
	return [sha256.Size]byte(mac.Sum(nil))
}

func (l *logins) remembered(sum [sha256.Size]byte, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.right[sum]) < rightFor
}

func (l *logins) remember(sum [sha256.Size]byte, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.right) >= maxRight {
		clear(l.right)
	}
	l.right[sum] = now
}

// prefix is what is counted as one address: of IPv6 the network, as its hosts are free to
// choose the rest.
func prefix(remote string) string {
	a, err := netip.ParseAddr(remote)
	if err != nil || a.Unmap().Is4() {
		return remote
	}
	p, err := a.Prefix(64)
	if err != nil {
		return remote
	}
	return p.String()
}
