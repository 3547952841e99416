package operation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
)

// chain checks that pieces are what was printed, one behind the other, with a line for each gap.
type chain struct {
	at      int64
	omitted int64
	markers int
}

func (c *chain) add(p Piece) error {
	if bytes.IndexByte(p.Bytes, 0) >= 0 {
		return fmt.Errorf("a piece at %d has a NUL", c.at)
	}
	if p.Omitted > 0 {
		if p.End-c.at != p.Omitted || string(p.Bytes) != string(omittedLine(p.Omitted)) {
			return fmt.Errorf("at %d a line says %q of a gap up to %d", c.at, p.Bytes, p.End)
		}
		c.markers++
		c.omitted += p.Omitted
	} else if want := numbered(c.at, int64(len(p.Bytes))); p.End-c.at != int64(len(p.Bytes)) || !bytes.Equal(p.Bytes, want) {
		return fmt.Errorf("at %d a piece up to %d begins with %.40q, want %.40q", c.at, p.End, p.Bytes, want)
	}
	c.at = p.End
	return nil
}

// TestFollowersThatAreOvertaken: a writer frees what followers are just reading. They get what was printed or
// are told what they missed, and never a NUL; so do readers of what there is.
func TestFollowersThatAreOvertaken(t *testing.T) {
	s := newStore(t)
	op, lock, w := capped(t, s, MinOutput)
	punches(t, w)
	if _, err := s.Start(op.ID, ""); err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	half := make(chan struct{}) // closed when half is printed
	chains := make([]chain, 6)
	var all sync.WaitGroup
	for i := range chains {
		all.Go(func() {
			c := &chains[i]
			_, err := s.Follow(ctx, op.ID, 0, i%2 == 1, func(p Piece) error {
				if i < 2 && c.at > 300<<10 {
					select { // overtaken for sure
					case <-half:
					case <-ctx.Done():
					}
				}
				return c.add(p)
			})
			if err != nil {
				t.Errorf("follower %d: %v", i, err)
				cancel()
			}
		})
	}
	done := make(chan struct{})
	var looks, overtaken int
	all.Go(func() {
		for ; ; looks++ {
			select {
			case <-done:
				return
			default:
			}
			if err := lookAtAll(s, op); errors.Is(err, ErrOvertaken) {
				overtaken++
			} else if err != nil {
				t.Errorf("a reader of what there is: %v", err)
				return
			}
		}
	})
	for ctx.Err() == nil && w.size < size {
		printNumbered(t, w, 1<<20)
		if w.size == size/2 {
			close(half)
		}
	}
	close(done)
	if _, err := s.End(op.ID, Succeeded, func(*Operation) {}); err != nil {
		t.Fatal(err)
	}
	closeFile(t, lock)
	all.Wait()
	for i, c := range chains {
		if c.at != size || i < 2 && c.markers == 0 {
			t.Errorf("follower %d ended at %d of %d, and was told %d times that bytes were left out", i, c.at, size, c.markers)
		}
	}
	t.Logf("chains: %+v; %d looks at all, %d of them overtaken", chains, looks, overtaken)
}

// lookAtAll reads what there is: the head, one line, the tail.
func lookAtAll(s *Store, op Operation) error {
	p, err := s.Printed(op, 0, false)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	got, err := io.ReadAll(p)
	if err != nil {
		return err
	}
	g := gapOf(p.End, op.MaxOutput)
	want := numbered(0, p.End)
	if g != (gap{}) {
		want = append(append(numbered(0, g.from), omittedLine(g.bytes())...), numbered(g.to, p.End-g.to)...)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes, %d of them NULs, are not the %d that are there of %d", len(got), bytes.Count(got, []byte{0}), len(want), p.End)
	}
	return nil
}
