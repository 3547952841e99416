package operation

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// ID names an operation; doc.go has its form. The zero value names none.
type ID string

const (
	idTime   = "20060102T150405"
	idLength = len(idTime) + 1 + 6
	base32   = "0123456789abcdefghjkmnpqrstvwxyz" // Crockford's, without i, l, o, u
)

// newID makes the ID of an operation accepted at t.
func newID(t time.Time) ID {
	t = t.UTC()
	var b [8]byte
	_, _ = rand.Read(b[:])                                                              // never fails (crypto/rand)
	n := uint64(t.Nanosecond())*32768/1e9<<15 | binary.NativeEndian.Uint64(b[:])&0x7fff // #nosec G115 -- not negative
	suffix := make([]byte, 6)
	for i := 5; i >= 0; i-- {
		suffix[i] = base32[n&31]
		n >>= 5
	}
	return ID(t.Format(idTime) + "-" + string(suffix))
}

// ParseID checks what a client sent. What it accepts is safe as a file name.
func ParseID(s string) (ID, error) {
	own, old, imported := strings.Cut(s, "=")
	if !isOwn(own) || imported && !isOld(old) {
		return "", fmt.Errorf("%w: %q", ErrNotFound, s)
	}
	return ID(s), nil
}

func isOwn(s string) bool {
	if len(s) != idLength || s[len(idTime)] != '-' || !isOld(s[:len(idTime)]) {
		return false
	}
	for _, c := range []byte(s[len(idTime)+1:]) {
		if !isBase32(c) {
			return false
		}
	}
	return true
}

// isOld reports whether s is an ID of pg-backup-api: a local time.
func isOld(s string) bool {
	if len(s) != len(idTime) {
		return false
	}
	_, err := time.Parse(idTime, s)
	return err == nil
}

// Name is what clients call the operation: its ID, or the one that it had where it was imported from.
func (id ID) Name() string {
	if _, old, ok := strings.Cut(string(id), "="); ok {
		return old
	}
	return string(id)
}

func isBase32(c byte) bool {
	for i := range len(base32) {
		if base32[i] == c {
			return true
		}
	}
	return false
}

// Time is the second in which the operation was accepted.
func (id ID) Time() time.Time {
	if len(id) < len(idTime) {
		return time.Time{}
	}
	t, _ := time.Parse(idTime, string(id[:len(idTime)]))
	return t
}
