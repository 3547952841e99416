package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"barback/runner/durable"
)

// failures is the memory of log-ins that failed, in one file of a fixed size that all processes
// share under its lock. It is a table of counters in sets of four: whoever needs a counter in a full
// set takes the one that counted least, so that a spray of names cannot make it forget the
// one who is guessing in earnest. What a counter stands for is kept as a hash with a key of the
// file's own, so that nobody outside can choose whose set he shares.
//
// It is written without fsync: a crash may forget the last failures.
type failures struct{ path string }

// counter is one kind of thing that is counted.
type counter struct {
	name   string
	sets   int
	free   int           // so many cost nothing
	base   time.Duration // what the next one costs; each one after it the double ...
	most   time.Duration // ... up to this
	forget time.Duration // and all is forgotten so long after the last
}

var (
	// pairs counts wrong passwords for one user from one address: somebody else's failures elsewhere lock
	// nobody out.
	pairs = counter{"pair", 1024, 5, time.Second, 15 * time.Minute, time.Hour}
	// addresses counts wrong passwords from one address for whatever users. Above its limit only
	// pairs that have succeeded before get their password looked at.
	addresses = counter{"address", 256, 50, time.Second, 5 * time.Minute, 15 * time.Minute}
	// proven remembers pairs that have succeeded.
	proven = counter{name: "proven", sets: 512, forget: 90 * 24 * time.Hour}
	// refusals counts what one address is refused without a login, for the audit log.
	refusals = counter{name: "refusal", sets: 256, forget: 10 * time.Minute}

	counters = []*counter{&pairs, &addresses, &proven, &refusals}
)

const (
	ways      = 4
	entrySize = 16
	setSize   = ways * entrySize
	headSize  = 64
	keySize   = 32

	// clockStep is how far the clock may be set back; what lies further in the future was written by
	// a wrong clock, and would keep people out until then.
	clockStep = time.Minute
)

var magic = []byte("barback failures 1\n")

// cell is one counter's state.
type cell struct {
	tag  uint64
	n    uint32
	last uint32 // seconds since 1970
}

// page is the open table.
type page struct {
	f   *os.File
	key [keySize]byte
	now time.Time
}

// with opens the table under its lock. One that is not there, or is damaged, begins anew.
func (t *failures) with(now time.Time, use func(*page) error) error {
	if err := makeDirs(filepath.Dir(t.path)); err != nil {
		return err
	}
	unlock, err := lockFile(t.path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	f, err := os.OpenFile(t.path, os.O_RDWR|os.O_CREATE, mode) // #nosec G304 -- in our own directory
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	p := &page{f: f, now: now}
	if err := p.open(); err != nil {
		return fmt.Errorf("%s: %w", t.path, err)
	}
	return use(p)
}

func tableSize() (size int64) {
	for _, c := range counters {
		size += int64(c.sets) * setSize
	}
	return headSize + size
}

func (p *page) open() error {
	head := make([]byte, headSize)
	_, err := p.f.ReadAt(head, 0)
	if st, serr := p.f.Stat(); err == nil && serr == nil && st.Size() == tableSize() && bytes.HasPrefix(head, magic) {
		copy(p.key[:], head[headSize-keySize:])
		return nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_, _ = rand.Read(p.key[:]) // never fails (crypto/rand)
	whole := make([]byte, tableSize())
	copy(whole, magic)
	copy(whole[headSize-keySize:], p.key[:])
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	if _, err := p.f.WriteAt(whole, 0); err != nil { // all of it: a full disk is no trouble later
		return err
	}
	return durable.Own(p.f)
}

// find is the cell of a thing in its set, and where it is. A thing that has none gets an empty
// one, in the place of what can best be forgotten.
func (p *page) find(c *counter, what string) (cell, int64, error) {
	sum := sha256.Sum256(append(append(p.key[:len(p.key):len(p.key)], c.name+"\x00"...), what...))
	tag := max(binary.BigEndian.Uint64(sum[:]), 1)
	at := int64(headSize)
	for _, k := range counters {
		if k == c {
			break
		}
		at += int64(k.sets) * setSize
	}
	at += int64(binary.BigEndian.Uint32(sum[8:])%uint32(c.sets)) * setSize // #nosec G115 -- a constant
	set := make([]byte, setSize)
	if _, err := p.f.ReadAt(set, at); err != nil {
		return cell{}, 0, err
	}
	worst, worth := 0, ^uint64(0)
	for i := range ways {
		e := cell{binary.BigEndian.Uint64(set[i*entrySize:]), binary.BigEndian.Uint32(set[i*entrySize+8:]), binary.BigEndian.Uint32(set[i*entrySize+12:])}
		age := p.now.Sub(e.time())
		old := age > c.forget || age < -clockStep
		if e.tag == tag {
			if old {
				e.n = 0
			}
			return e, at + int64(i*entrySize), nil
		}
		w := uint64(e.n)<<32 | uint64(e.last)
		if old {
			w = 0
		}
		if w < worth {
			worst, worth = i, w
		}
	}
	return cell{tag: tag}, at + int64(worst*entrySize), nil
}

func (c cell) time() time.Time { return time.Unix(int64(c.last), 0) }

// wait is how long a cell still keeps what it counts from being tried.
func (c *counter) wait(e cell, now time.Time) time.Duration {
	if int64(e.n) < int64(c.free) {
		return 0
	}
	d := c.most
	if over := int64(e.n) - int64(c.free); over < 30 {
		d = min(c.base<<over, c.most)
	}
	return min(d, max(0, e.time().Add(d).Sub(now)))
}

// look is the state of a thing.
func (p *page) look(c *counter, what string) (cell, error) {
	e, _, err := p.find(c, what)
	return e, err
}

// more adds one to a thing and says how many there are.
func (p *page) more(c *counter, what string) (int, error) {
	e, at, err := p.find(c, what)
	if err != nil {
		return 0, err
	}
	e.n++
	return int(e.n), p.put(e, at)
}

// none sets a thing to 0.
func (p *page) none(c *counter, what string) error {
	e, at, err := p.find(c, what)
	if err != nil || e.n == 0 {
		return err
	}
	e.n = 0
	return p.put(e, at)
}

func (p *page) put(e cell, at int64) error {
	e.last = uint32(p.now.Unix()) // #nosec G115 -- until 2106
	b := make([]byte, entrySize)
	binary.BigEndian.PutUint64(b, e.tag)
	binary.BigEndian.PutUint32(b[8:], e.n)
	binary.BigEndian.PutUint32(b[12:], e.last)
	_, err := p.f.WriteAt(b, at)
	return err
}
