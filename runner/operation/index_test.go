package operation

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// manyEnded is an index of n operations that ended in another order than they began, some long after; two
// of the lines are there twice.
func manyEnded(rnd *rand.Rand, n int) []entry {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	lines := make([]entry, n)
	for i := range lines {
		at := start.Add(time.Duration(i) * 17 * time.Second)
		e := entry{Summary: Summary{ID: newID(at), Type: "backup", Server: fmt.Sprintf("pg-%d", rnd.IntN(50)), State: Succeeded, CreatedAt: at, EndedAt: at.Add(time.Minute), Archived: true}}
		if rnd.IntN(20) == 0 {
			e.EndedAt = at.Add(time.Duration(rnd.IntN(n)) * 17 * time.Second)
		}
		lines[i] = e
	}
	slices.SortStableFunc(lines, func(a, b entry) int { return a.EndedAt.Compare(b.EndedAt) })
	return append(lines, lines[n/2], lines[n-1])
}

func writeIndex(t testing.TB, s *Store, lines []entry) {
	t.Helper()
	var b []byte
	var highest ID
	for _, e := range lines {
		highest = max(highest, e.ID)
		e.highest = highest
		b = e.append(b)
	}
	if err := os.WriteFile(s.indexFile(), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPagesOfALongIndex(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := newStore(t)
	lines := manyEnded(rnd, 5000)
	writeIndex(t, s, lines)
	all := make([]Summary, 0, len(lines))
	for _, e := range lines {
		all = append(all, e.Summary)
	}
	slices.SortFunc(all, func(a, b Summary) int { return cmp.Compare(b.ID, a.ID) })
	all = slices.Compact(all)
	for range 200 {
		q := Query{Limit: rnd.IntN(400)}
		if rnd.IntN(2) == 0 {
			q.Before = all[rnd.IntN(len(all))].ID
		}
		if rnd.IntN(3) == 0 {
			q.Since = all[rnd.IntN(len(all))].CreatedAt
		}
		if rnd.IntN(3) == 0 {
			q.Until = all[rnd.IntN(len(all))].CreatedAt
		}
		if rnd.IntN(2) == 0 {
			q.Keep = func(s Summary) bool { return s.Server == "pg-7" }
		}
		want := slices.DeleteFunc(slices.Clone(all), func(s Summary) bool { return !q.wants(s) })
		wantMore := q.Limit > 0 && len(want) > q.Limit
		if wantMore {
			want = want[:q.Limit]
		}
		got, more, err := s.List(q)
		if err != nil || more != wantMore || !slices.Equal(got, want) {
			t.Fatalf("seed %d: List(%+v) = %d operations, %v, %v, want %d, %v", seed, q, len(got), more, err, len(want), wantMore)
		}
	}
}

// A page reads the end of the index, however much there is before it: the beginning could not even be parsed.
func TestAPageReadsTheEndAlone(t *testing.T) {
	s := newStore(t)
	lines := manyEnded(rand.New(rand.NewPCG(1, 2)), 20000)
	writeIndex(t, s, lines)
	data, err := os.ReadFile(s.indexFile())
	if err != nil {
		t.Fatal(err)
	}
	copy(data, strings.Repeat("x", len(data)/2))
	if err := os.WriteFile(s.indexFile(), data, 0o600); err != nil {
		t.Fatal(err)
	}
	list, more, err := s.List(Query{Limit: 100})
	if err != nil || len(list) != 100 || !more {
		t.Errorf("List of the newest 100 = %d, %v, %v, want 100 of more", len(list), more, err)
	}
	if _, err := s.ended(Query{}, nil, nil); err == nil {
		t.Error("all of a damaged index can be read, want an error")
	}
}

func TestLinesComeBackAsTheyWere(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC)
	for _, text := range []string{"pg-one", "", "a\tb", "a\nb", `a\tb`, `\\`, "\\\t\n\\", "é\x00\xff", " "} {
		want := entry{Summary{"20260102T030405-0az9kx", "backup", text, Failed, text, at, at.Add(time.Hour), true, stamp{1, 2}}, "20260102T030405-zzzzzz"}
		line := string(want.append(nil))
		if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
			t.Errorf("%q makes the line %q, want one newline, at its end", text, line)
		}
		if got, ok := new(words).parseEntry([]byte(strings.TrimSuffix(line, "\n"))); !ok || got != want {
			t.Errorf("%q comes back as %+v, %v, want %+v", text, got, ok, want)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	e := entry{Summary: Summary{ID: "20260102T030405-0az9kx", Type: "backup", Server: "pg-one", State: Failed}}
	line := e.append(nil)
	f.Add(line[:len(line)-1])
	f.Add([]byte(""))
	f.Add([]byte("\t\t\t\t\t\t\t\t\t\t\t00000000"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if e, ok := new(words).parseEntry(line); ok {
			if again, ok := new(words).parseEntry([]byte(strings.TrimSuffix(string(e.append(nil)), "\n"))); !ok || again != e {
				t.Errorf("%q is %+v, which is written as what reads %+v, %v", line, e, again, ok)
			}
		}
	})
}

// The end of an operation whose line cannot be written is listed all the same, and the line is written later.
func TestAnEndThatIsNotInTheIndexIsListed(t *testing.T) {
	s := newStore(t)
	first, lock := create(t, s, backupOf("pg-one"))
	closeFile(t, lock)
	wantState(t, s, first.ID, Interrupted)
	op, lock := create(t, s, backupOf("pg-two"))
	if err := os.Rename(s.indexFile(), s.indexFile()+".aside"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.indexFile(), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.End(op.ID, Failed, func(*Operation) {}); err != nil {
		t.Fatalf("End = %v, want the end recorded", err)
	}
	closeFile(t, lock)
	if err := os.Remove(s.indexFile()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.indexFile()+".aside", s.indexFile()); err != nil {
		t.Fatal(err)
	}
	states := func() (list []string) {
		t.Helper()
		all, _, err := s.List(Query{})
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range all {
			list = append(list, string(in.ID)+" "+string(in.State))
		}
		return list
	}
	want := []string{string(op.ID) + " failed", string(first.ID) + " interrupted"}
	if got := states(); !slices.Equal(got, want) {
		t.Errorf("List = %q, want %q", got, want)
	}
	third, lock, err := s.Admit(backupOf("pg-three"))
	if err != nil {
		t.Fatal(err)
	}
	closeFile(t, lock)
	if ids, err := s.ids("active"); err != nil || !slices.Equal(ids, []ID{third.ID}) {
		t.Errorf("without an end are %v, %v after a request, want %v alone", ids, err, third.ID)
	}
	wantState(t, s, third.ID, Interrupted)
	if got := states()[1:]; !slices.Equal(got, want) {
		t.Errorf("List = %q, want %q", got, want)
	}
}

// A page is full, or the last one, however many of the newest records were taken away by hand: the index has their lines.
func TestAPageIsFullWithoutTheRecordsThatAreGone(t *testing.T) {
	s := newStore(t)
	lines := make([]entry, 300)
	for i := range lines {
		at := time.Date(2026, 1, 2, 3, 4, i, 0, time.UTC)
		lines[i].Summary = Summary{ID: newID(at), Type: "backup", Server: "pg-one", State: Failed, CreatedAt: at, EndedAt: at, Archived: i < 100}
	}
	writeIndex(t, s, lines)
	list, more, err := s.List(Query{Limit: 60})
	if err != nil || len(list) != 60 || !more || list[0].ID != lines[99].ID {
		t.Errorf("List of 60 = %d operations, %v, %v, want those behind the 200 that are gone, and more", len(list), more, err)
	}
}
