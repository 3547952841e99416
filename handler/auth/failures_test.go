package auth

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newFailures(t testing.TB) *failures {
	t.Helper()
	return &failures{filepath.Join(t.TempDir(), "auth", "failures")}
}

// must runs use on the table.
func (f *failures) must(t testing.TB, now time.Time, use func(*page) error) {
	t.Helper()
	if err := f.with(now, use); err != nil {
		t.Fatal(err)
	}
}

func (f *failures) waits(t testing.TB, c *counter, what string, now time.Time) (d time.Duration) {
	t.Helper()
	f.must(t, now, func(p *page) error {
		e, err := p.look(c, what)
		d = c.wait(e, now)
		return err
	})
	return d
}

func (f *failures) fail(t testing.TB, c *counter, what string, now time.Time) {
	t.Helper()
	f.must(t, now, func(p *page) error { _, err := p.more(c, what); return err })
}

func TestFailuresCostMoreAndMore(t *testing.T) {
	f := newFailures(t)
	want := []int{0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900} // seconds
	for n, w := range want {
		if got := f.waits(t, &pairs, "ann", noon); int(got.Seconds()) != w {
			t.Errorf("after %d failures the wait is %v, want %d s", n, got, w)
		}
		f.fail(t, &pairs, "ann", noon)
	}
	for range 100 {
		f.fail(t, &pairs, "ann", noon)
	}
	for after, w := range map[time.Duration]time.Duration{0: 15 * time.Minute, time.Minute: 14 * time.Minute, 15 * time.Minute: 0, -time.Second: 15 * time.Minute, -time.Hour: 0} {
		if got := f.waits(t, &pairs, "ann", noon.Add(after)); got != w {
			t.Errorf("%v later the wait is %v, want %v", after, got, w)
		}
	}
	if got := f.waits(t, &pairs, "bob", noon); got != 0 {
		t.Errorf("another one waits %v, want nothing", got)
	}
	if got := f.waits(t, &addresses, "ann", noon); got != 0 {
		t.Errorf("what counts something else waits %v, want nothing", got)
	}
	f.fail(t, &pairs, "ann", noon.Add(2*time.Hour)) // all before is forgotten
	if got := f.waits(t, &pairs, "ann", noon.Add(2*time.Hour)); got != 0 {
		t.Errorf("one failure after two hours of silence waits %v, want nothing", got)
	}
	for range 7 {
		f.fail(t, &pairs, "cy", noon)
	}
	f.must(t, noon, func(p *page) error { return p.none(&pairs, "cy") })
	if got := f.waits(t, &pairs, "cy", noon); got != 0 {
		t.Errorf("after a success the wait is %v, want nothing", got)
	}
}

// A spray of names neither grows the file nor makes it forget whoever guesses in earnest.
func TestASprayIsBounded(t *testing.T) {
	f := newFailures(t)
	for range 10 {
		f.fail(t, &pairs, "the one", noon)
	}
	f.must(t, noon, func(p *page) error {
		for i := range 50_000 {
			if _, err := p.more(&pairs, fmt.Sprint("sprayed ", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if got := f.waits(t, &pairs, "the one", noon); got != 32*time.Second {
		t.Errorf("after 50000 other names the wait is %v, want the 32s of before", got)
	}
	st, err := os.Stat(f.path)
	if err != nil || st.Size() != tableSize() || st.Size() > 256<<10 || st.Mode() != 0o600 {
		t.Errorf("the table is %v, %v, want %d bytes for its owner alone", st, err, tableSize())
	}
}

func TestADamagedTableBeginsAnew(t *testing.T) {
	f := newFailures(t)
	for range 10 {
		f.fail(t, &pairs, "ann", noon)
	}
	good, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"empty": nil, "cut off": good[:len(good)-1], "too long": append(good[:len(good):len(good)], 0), "another file": make([]byte, len(good))} {
		if err := os.WriteFile(f.path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := f.waits(t, &pairs, "ann", noon); got != 0 {
			t.Errorf("a table that is %s still waits %v", name, got)
		}
		f.fail(t, &pairs, "ann", noon)
		if st, _ := os.Stat(f.path); st.Size() != tableSize() {
			t.Errorf("a table that was %s has %d bytes, want %d", name, st.Size(), tableSize())
		}
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(f.path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.with(noon, func(*page) error { return nil }); err == nil {
		t.Error("a table that is a folder = nil, want an error: nobody may guess uncounted")
	}
}

func TestFailuresFromManySidesAreAllCounted(t *testing.T) {
	f := newFailures(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			other := &failures{f.path}
			for range 25 {
				if err := other.with(noon, func(p *page) error { _, err := p.more(&pairs, "ann"); return err }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	f.must(t, noon, func(p *page) error {
		if e, err := p.look(&pairs, "ann"); err != nil || e.n != 200 {
			t.Errorf("%d of 200 failures are counted (%v)", e.n, err)
		}
		return nil
	})
}
