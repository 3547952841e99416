package operation

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIDsSortByTime(t *testing.T) {
	at := time.Date(2026, 12, 31, 23, 59, 58, 0, time.UTC)
	for _, tc := range []struct {
		name string
		step time.Duration
	}{
		{"within a second", 40 * time.Microsecond},
		{"over seconds", 300 * time.Millisecond},
		{"over years", 10*time.Hour + 7*time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var ids []ID
			for i := range 20_000 {
				ids = append(ids, newID(at.Add(time.Duration(i)*tc.step)))
			}
			if !slices.IsSorted(ids) {
				t.Error("the IDs of later and later operations are not in order, want them sorted")
			}
		})
	}
}

func TestIDIsInUTC(t *testing.T) {
	zone := time.FixedZone("far east", 14*3600)
	if got := newID(time.Date(2026, 1, 1, 10, 0, 0, 0, zone)); !strings.HasPrefix(string(got), "20251231T200000-") {
		t.Errorf("newID of 10:00 at +14:00 = %s, want 20251231T200000-…", got)
	}
}

// 100,000 operations, one in each slice of time that an ID can tell apart, have as many IDs.
func TestIDsAreDistinct(t *testing.T) {
	seen := map[ID]bool{}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 100_000 {
		id := newID(at.Add(time.Duration(i) * (time.Second/32768 + 1)))
		if seen[id] {
			t.Fatalf("newID gave %s twice within %d operations", id, i)
		}
		seen[id] = true
		if back, err := ParseID(string(id)); err != nil || back != id {
			t.Fatalf("ParseID(%q) = %q, %v, want it back", id, back, err)
		}
	}
}

// Those of the same moment differ by chance: 15 bits of it.
func TestIDsOfOneMomentAreRandom(t *testing.T) {
	seen := map[ID]bool{}
	at := time.Date(2026, 1, 1, 0, 0, 0, 999_999_999, time.UTC)
	for range 1000 {
		seen[newID(at)] = true
	}
	if len(seen) < 900 {
		t.Errorf("1000 IDs of one moment hold %d different ones, want nearly all to differ", len(seen))
	}
}

func TestParseID(t *testing.T) {
	good := "20260102T030405-0az9kx"
	if id, err := ParseID(good); err != nil || string(id) != good {
		t.Fatalf("ParseID(%q) = %q, %v, want it back", good, id, err)
	}
	if got, want := ID(good).Time(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC); !got.Equal(want) {
		t.Errorf("Time of %s = %v, want %v", good, got, want)
	}
	imported := good + "=20260102T040405"
	if id, err := ParseID(imported); err != nil || string(id) != imported || id.Name() != "20260102T040405" || !id.Time().Equal(ID(good).Time()) {
		t.Errorf("ParseID(%q) = %q, %v, called %q, of %v; want it back, called by what stands behind the =, and the time before it", imported, id, err, id.Name(), id.Time())
	}
	if name := ID(good).Name(); name != good {
		t.Errorf("Name of %s = %s, want the same", good, name)
	}
	for _, tc := range []struct{ name, id string }{
		{"nothing", ""},
		{"an old ID that is none", good + "=20260102T04040"},
		{"a way out of an old ID", good + "=../../etc/pass"},
		{"two old IDs", good + "=20260102T040405=20260102T040405"},
		{"an old ID with nothing before it", "=20260102T040405"},
		{"a dot", "."},
		{"two dots", ".."},
		{"two dots of the right length", strings.Repeat(".", idLength)},
		{"a way out", "../../../../etc/passwd"},
		{"a way out of the right length", "../../../../etc/passwd"[:idLength]},
		{"a slash in front", "/20260102T030405-0az9k"},
		{"a slash in the suffix", "20260102T030405-0a/9kx"},
		{"a backslash", `20260102T030405-0a\9kx`},
		{"a NUL", "20260102T030405-0az9k\x00"},
		{"a NUL behind", good + "\x00"},
		{"a newline behind", good + "\n"},
		{"a newline in the suffix", "20260102T030405-0az9k\n"},
		{"a blank", "20260102T030405-0az9k "},
		{"a blank in front", " " + good},
		{"upper case", "20260102T030405-0AZ9KX"},
		{"a lower-case T", "20260102t030405-0az9kx"},
		{"letters that Crockford leaves out", "20260102T030405-ilou00"},
		{"no month", "20260002T030405-0az9kx"},
		{"the 13th month", "20261302T030405-0az9kx"},
		{"the 30th of February", "20260230T030405-0az9kx"},
		{"the 29th of February of another year", "20270229T030405-0az9kx"},
		{"the hour 24", "20260102T240405-0az9kx"},
		{"second 60", "20260102T030460-0az9kx"},
		{"a fraction", "20260102T03045.5-0az9k"},
		{"letters in the date", "2026O102T030405-0az9kx"},
		{"an Arabic digit", "2026010٢T030405-0az9k"},
		{"no dash", "20260102T0304050az9kxx"},
		{"another dash", "20260102T030405–0az9"},
		{"a temporary record", ".new-20260102T030405-0a"},
		{"one letter less", good[:idLength-1]},
		{"one letter more", good + "0"},
		{"an ID of pg-backup-api", "20260102T030405"},
		{"300 letters", strings.Repeat("a", 300)},
		{"not UTF-8", "20260102T030405-0az9k\xff"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if id, err := ParseID(tc.id); !errors.Is(err, ErrNotFound) || id != "" {
				t.Errorf("ParseID(%q) = %q, %v, want %v", tc.id, id, err, ErrNotFound)
			}
		})
	}
}

func TestTimeOfAnOddID(t *testing.T) {
	for _, id := range []ID{"", "x", "not a time at all, whatever it is"} {
		if got := id.Time(); !got.IsZero() {
			t.Errorf("Time of %q = %v, want the zero time", id, got)
		}
	}
}

// What ParseID accepts is one harmless file name, and the name that it was made of.
func FuzzParseID(f *testing.F) {
	for _, s := range []string{"20260102T030405-0az9kx", "..", "20260102T030405-0az9k/", "00000101T000000-000000", "20260102T03040.5-0az9kx"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			if !errors.Is(err, ErrNotFound) || id != "" {
				t.Errorf("ParseID(%q) = %q, %v, want %v and no ID", s, id, err, ErrNotFound)
			}
			return
		}
		if string(id) != s {
			t.Errorf("ParseID(%q) = %q, want it back", s, id)
		}
		if strings.Trim(s, "0123456789abcdefghjkmnpqrstvwxyzT-") != "" || strings.Count(s, "-") != 1 {
			t.Errorf("ParseID accepts %q, want digits, lower-case letters, one T and one dash alone", s)
		}
		if got := id.Time().Format(idTime); got != s[:len(idTime)] {
			t.Errorf("Time of %q = %s, want its first part", s, got)
		}
	})
}
