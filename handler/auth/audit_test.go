package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func newAudit(t testing.TB) *Audit {
	t.Helper()
	return &Audit{Path: filepath.Join(t.TempDir(), "audit.log")}
}

func (a *Audit) must(t testing.TB, e Entry) {
	t.Helper()
	if err := a.Write(e); err != nil {
		t.Fatal(err)
	}
}

func TestAudit(t *testing.T) {
	a := newAudit(t)
	a.must(t, Entry{Time: noon, Identity: "ann", How: ByToken, Method: "POST", Path: "/x\n{\"forged\":1}\x1b[0m", Status: 202, Result: "ok"})
	a.must(t, Entry{Time: noon, Identity: "bob", How: ByNobody, Path: strings.Repeat("ö", 1<<20), Result: "forbidden"})
	data, err := os.ReadFile(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if len(lines) != 2 || len(data) > 4096 {
		t.Fatalf("%d lines of %d bytes, want two, of a bounded length", len(lines), len(data))
	}
	var e Entry
	if err := json.Unmarshal(lines[0], &e); err != nil || e.Path != "/x\n{\"forged\":1}\x1b[0m" || e.How != ByToken || bytes.ContainsAny(lines[0], "\x1b") {
		t.Errorf("the first line is %s (%v), want what was written, escaped", lines[0], err)
	}
	if st, _ := os.Stat(a.Path); st.Mode() != 0o640 {
		t.Errorf("its mode is %v, want -rw-r-----", st.Mode())
	}
	if err := os.Rename(a.Path, a.Path+".1"); err != nil { // as logrotate does
		t.Fatal(err)
	}
	a.must(t, Entry{Time: noon, Identity: "cy"})
	if got, err := a.Tail(time.Time{}, 10); err != nil || len(got) != 1 || got[0].Identity != "cy" {
		t.Errorf("Tail after a rotation = %+v, %v, want cy", got, err)
	}
}

func TestAuditOff(t *testing.T) {
	for _, a := range []*Audit{nil, {}} {
		if err := a.Write(Entry{Identity: "ann"}); err != nil {
			t.Errorf("Write = %v, want no error", err)
		}
		if got, err := a.Tail(time.Time{}, 1); err != nil || len(got) != 0 {
			t.Errorf("Tail = %v, %v, want nothing", got, err)
		}
	}
	if err := (&Audit{Path: filepath.Join(t.TempDir(), "none", "audit.log")}).Write(Entry{}); err == nil {
		t.Error("Write in a folder that is not there = nil, want an error")
	}
}

func TestTail(t *testing.T) {
	a := newAudit(t)
	if got, err := a.Tail(time.Time{}, 10); err != nil || len(got) != 0 {
		t.Errorf("Tail of no file = %v, %v, want nothing", got, err)
	}
	const all = 3000 // some chunks
	for i := range all {
		a.must(t, Entry{Time: noon.Add(time.Duration(i) * time.Second), Identity: fmt.Sprint(i), Path: strings.Repeat("/x", i%100)})
	}
	for _, tc := range []struct {
		since       time.Duration
		limit, want int
	}{{0, 10, 10}, {0, 1, 1}, {0, all, all}, {0, all * 2, all}, {(all - 5) * time.Second, 100, 5}, {all * time.Second, 100, 0}, {(all - 5) * time.Second, 3, 3}, {100 * time.Second, all, all - 100}} {
		got, err := a.Tail(noon.Add(tc.since), tc.limit)
		if err != nil || len(got) != tc.want {
			t.Errorf("Tail since %v, limit %d: %d entries, %v, want %d", tc.since, tc.limit, len(got), err, tc.want)
		}
		for i, e := range got {
			if e.Identity != fmt.Sprint(all-1-i) {
				t.Fatalf("entry %d is %s, want %d: the newest first, none left out", i, e.Identity, all-1-i)
			}
		}
	}
	f, err := os.OpenFile(a.Path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	_, _ = fmt.Fprintf(f, "not JSON\n\n%s\n{\"identity\":\"no time\"}\n", strings.Repeat("x", 300_000))
	a.must(t, Entry{Time: noon.Add(time.Hour), Identity: "last"})
	_, _ = f.WriteString(`{"time":"2026-11-22T13:00:00Z","identity":"cut off`)
	if got, err := a.Tail(time.Time{}, 2); err != nil || len(got) != 2 || got[0].Identity != "last" || got[1].Identity != fmt.Sprint(all-1) {
		t.Errorf("Tail past damage = %+v, %v, want the last two that are whole", got, err)
	}
}

func TestLinesOfManyDoNotMix(t *testing.T) {
	a := newAudit(t)
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 50 {
				if err := (&Audit{Path: a.Path}).Write(Entry{Time: noon, Identity: fmt.Sprint(w, "/", i), Path: strings.Repeat("y", 900)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	got, err := a.Tail(time.Time{}, 1000)
	for _, e := range got {
		seen[e.Identity] = true
	}
	if err != nil || len(got) != 400 || len(seen) != 400 {
		t.Errorf("%d entries, %d different, %v, want 400", len(got), len(seen), err)
	}
}

// Whoever is refused without end is told of less and less often, others each time.
func TestTell(t *testing.T) {
	k := newKeeper(t)
	told := 0
	for i := range 2000 {
		n, tell := another(k).Tell("192.0.2.1", noon)
		if n != i+1 {
			t.Fatalf("refusal %d is counted as %d", i+1, n)
		}
		if tell {
			told++
		}
	}
	if told != 30+6 { // and 32, 64, 128, …, 1024
		t.Errorf("2000 refusals are told %d times, want 36", told)
	}
	if n, tell := k.Tell("192.0.2.2", noon); n != 1 || !tell {
		t.Errorf("the first refusal of another = %d, %v, want it told", n, tell)
	}
	k.logins.failures.must(t, noon, func(p *page) error {
		e, at, err := p.find(&refusals, "")
		if err != nil {
			return err
		}
		e.n = 10_000
		return p.put(e, at)
	})
	if n, tell := k.Tell("192.0.2.3", noon); n != 1 || tell {
		t.Errorf("one of very many that are refused = %d, %v, want it not told", n, tell)
	}
	if n, tell := k.Tell("192.0.2.1", noon.Add(time.Hour)); n != 1 || !tell {
		t.Errorf("a refusal after an hour of silence = %d, %v, want it told", n, tell)
	}
}
