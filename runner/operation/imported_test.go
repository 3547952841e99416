package operation

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// oldOne is an operation that ended in another program.
func oldOne(server string, at time.Time) Operation {
	return Operation{Type: "recovery", Server: server, State: Succeeded, CreatedAt: at, StartedAt: at, EndedAt: at.Add(time.Minute),
		Request: []byte(`{"backup_id":"latest"}`), Command: []string{"pg-backup-api", "recovery"}}
}

func mustImport(t testing.TB, s *Store, op Operation, old, output string) {
	t.Helper()
	if created, err := s.Import(op, old, []byte(output)); err != nil || !created {
		t.Fatalf("Import(%s) = %v, %v, want it recorded", old, created, err)
	}
}

func TestImport(t *testing.T) {
	s := newStore(t)
	east := time.FixedZone("east", 9*3600)
	at := time.Date(2026, 3, 1, 8, 0, 0, 393193000, east)
	for _, server := range []string{"pg-one", "pg-two", ""} { // one ID on three places
		mustImport(t, s, oldOne(server, at), "20260301T080000", "printed for "+server)
	}
	for _, server := range []string{"pg-one", "pg-two", ""} {
		op, err := s.Find(server, "20260301T080000")
		if err != nil || op.Server != server || op.State != Succeeded || !op.CreatedAt.Equal(at) || op.ID.Name() != "20260301T080000" {
			t.Errorf("Find(%q) = %+v, %v, want the one of that server", server, op, err)
		}
		if got := printed(t, s, op.ID); got != "printed for "+server {
			t.Errorf("its output is %q", got)
		}
		if same, err := s.Find("", string(op.ID)); err != nil || same.ID != op.ID {
			t.Errorf("Find by the ID of the record = %v, %v, want the same", same.ID, err)
		}
	}
	for _, name := range []string{"20260301T080001", "x", "", "../x"} {
		if _, err := s.Find("pg-one", name); !errors.Is(err, ErrNotFound) {
			t.Errorf("Find(%q) = %v, want %v", name, err, ErrNotFound)
		}
	}
	if left := names(t, filepath.Join(s.root, "active")); len(left) > 0 {
		t.Errorf("active holds %v, want nothing: all have ended", left)
	}
	if left := names(t, filepath.Join(s.root, "drafts")); len(left) > 0 {
		t.Errorf("drafts holds %v", left)
	}
}

func TestImportedAreListedByTime(t *testing.T) {
	s := newStore(t)
	now := time.Now().UTC()
	native := aged(t, s, time.Hour)
	tokyo := time.FixedZone("east", 9*3600)
	before, after := now.Add(-2*time.Hour).In(tokyo), now.Add(-30*time.Minute).In(tokyo)
	mustImport(t, s, oldOne("pg-one", after), after.Format(idTime), "")
	mustImport(t, s, oldOne("pg-one", before), before.Format(idTime), "")
	list, _, err := s.List(Query{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, op := range list {
		got = append(got, op.ID.Name())
	}
	if want := []string{after.Format(idTime), string(native.ID), before.Format(idTime)}; !slices.Equal(got, want) {
		t.Errorf("the list is %v, want %v: newest first, whatever the zone of the old clock", got, want)
	}
	if err := s.Reindex(); err != nil {
		t.Fatal(err)
	}
	if again, _, err := s.List(Query{}); err != nil || !slices.Equal(again, list) {
		t.Errorf("after Reindex the list is %v, %v, want %v", again, err, list)
	}
}

func TestImportTwiceChangesNothing(t *testing.T) {
	s := newStore(t)
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	mustImport(t, s, oldOne("pg-one", at), "20260301T080000", "first")
	other := oldOne("pg-one", at)
	other.State = Failed
	if created, err := s.Import(other, "20260301T080000", []byte("second")); err != nil || created {
		t.Errorf("the second Import = %v, %v, want nothing done", created, err)
	}
	op, err := s.Find("pg-one", "20260301T080000")
	if err != nil || op.State != Succeeded || printed(t, s, op.ID) != "first" {
		t.Errorf("the record is %v %q (%v) now, want the first one", op.State, printed(t, s, op.ID), err)
	}
	// Neither does a damaged record give way, nor one that was archived.
	store(t, s, op.ID, "{")
	if created, err := s.Import(other, "20260301T080000", nil); err != nil || created {
		t.Errorf("Import over a damaged record = %v, %v, want nothing done", created, err)
	}
}

func TestImportedAreFoundInTheArchive(t *testing.T) {
	s := newStore(t)
	at := time.Date(2026, 2, 28, 23, 30, 0, 0, time.FixedZone("west", -3600)) // in March for UTC
	mustImport(t, s, oldOne("pg-one", at), "20260228T233000", "printed")
	if _, err := s.Prune(Policy{ArchiveAfter: time.Hour}, time.Now(), false); err != nil {
		t.Fatal(err)
	}
	op, err := s.Find("pg-one", "20260228T233000")
	if err != nil || !op.Archived() || printed(t, s, op.ID) != "printed" {
		t.Errorf("Find of an archived one = %+v, %v, want it, archived, with its output", op, err)
	}
	if created, err := s.Import(oldOne("pg-one", at), "20260228T233000", nil); err != nil || created {
		t.Errorf("Import of one that is archived = %v, %v, want nothing done", created, err)
	}
}

func TestImportRefuses(t *testing.T) {
	s := newStore(t)
	at := time.Now()
	running := oldOne("pg-one", at)
	running.State = Running
	for name, tc := range map[string]struct {
		op  Operation
		old string
	}{
		"another form":        {oldOne("pg-one", at), "a.json"},
		"a path":              {oldOne("pg-one", at), "../../20260301T"},
		"one of barback":      {oldOne("pg-one", at), "20260301T080000-000000"},
		"one that is at work": {running, "20260301T080000"},
	} {
		if created, err := s.Import(tc.op, tc.old, nil); err == nil || created {
			t.Errorf("Import of %s = %v, %v, want an error", name, created, err)
		}
	}
	if left := names(t, filepath.Join(s.root, "operations")); len(left) > 0 {
		t.Errorf("operations holds %v, want nothing", left)
	}
}

func TestImportsAtOnceMakeOneRecord(t *testing.T) {
	s := newStore(t)
	at := time.Now()
	var made atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			created, err := s.Import(oldOne("pg-one", at), at.Format(idTime), []byte("x"))
			if err != nil {
				t.Errorf("Import = %v, want no error", err)
			}
			if created {
				made.Add(1)
			}
		})
	}
	all.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("%d of eight imports made a record, want one", n)
	}
}

func TestAnImportThatWasKilledIsDoneAgain(t *testing.T) {
	s := newStore(t)
	at := time.Now()
	op := oldOne("pg-one", at)
	op.ID = importedID(at, "pg-one", at.Format(idTime))
	if err := os.Mkdir(filepath.Join(s.root, "drafts", string(op.ID)), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := touch(filepath.Join(s.root, "active", string(op.ID))); err != nil {
		t.Fatal(err)
	}
	mustImport(t, s, op, at.Format(idTime), "x")
}
