package operation

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// aged is a finished operation that was accepted and ended so long ago, and printed something.
func aged(t testing.TB, s *Store, age time.Duration) Operation {
	t.Helper()
	at := time.Now().UTC().Add(-age)
	op := backupOf("pg-one")
	op.ID, op.State, op.CreatedAt, op.EndedAt = newID(at), Succeeded, at, at
	lock, err := s.create(op, nil)
	if err != nil {
		t.Fatal(err)
	}
	closeFile(t, lock)
	if err := os.WriteFile(filepath.Join(s.dir(op.ID), "output.log"), []byte("printed by "+op.ID), 0o600); err != nil {
		t.Fatal(err)
	}
	s.closed(op)
	return op
}

func printed(t testing.TB, s *Store, id ID) string {
	t.Helper()
	f, err := s.Output(id)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile(t, f)
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const dayLong = 24 * time.Hour

func TestPruneArchivesByPolicy(t *testing.T) {
	ages := []time.Duration{400 * dayLong, 100 * dayLong, 99 * dayLong, 2 * dayLong, time.Hour} // oldest first
	for _, tc := range []struct {
		name   string
		policy Policy
		moved  int
	}{
		{"nothing is asked for", Policy{}, 0},
		{"age", Policy{ArchiveAfter: 90 * dayLong}, 3},
		{"number", Policy{MaxOperations: 1}, 4},
		{"number that is not reached", Policy{MaxOperations: 5}, 0},
		{"size", Policy{MaxSize: 1}, 5},
		{"size that is not reached", Policy{MaxSize: 1 << 30}, 0},
		{"all of them", Policy{ArchiveAfter: dayLong, MaxOperations: 3, MaxSize: 1 << 30}, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStore(t)
			open, lock := create(t, s, backupOf("pg-two"))
			defer closeFile(t, lock)
			var ids []ID
			before := map[ID]Operation{}
			for _, age := range ages {
				op := aged(t, s, age)
				ids = append(ids, op.ID)
				before[op.ID], _ = s.Load(op.ID)
			}
			listed, _, err := s.List(Query{})
			if err != nil {
				t.Fatal(err)
			}
			would, err := s.Prune(tc.policy, time.Now(), true)
			if left, _ := s.ids("operations"); err != nil || len(left) != len(ages)+1 {
				t.Fatalf("a try leaves %d records, %v, want all %d", len(left), err, len(ages)+1)
			}
			done, err := s.Prune(tc.policy, time.Now(), false)
			if err != nil || !maps.Equal(done.Archived, would.Archived) || done.Reindexed {
				t.Fatalf("Prune = %+v, %v, the try said %+v", done, err, would)
			}
			left, _ := s.ids("operations")
			slices.Sort(left)
			if want := append(slices.Clone(ids[tc.moved:]), open.ID); !slices.Equal(left, want) {
				t.Errorf("records %v are left, want %v", left, want)
			}
			for i, id := range ids {
				op, err := s.Load(id)
				if err != nil || op.Archived() != (i < tc.moved) || op.State != Succeeded || string(op.Request) != string(before[id].Request) || !op.EndedAt.Equal(before[id].EndedAt) {
					t.Errorf("after Prune %s is %+v, %v, want it as it was", id, op, err)
				}
				if got := printed(t, s, id); got != "printed by "+string(id) {
					t.Errorf("after Prune %s printed %q", id, got)
				}
				if got := s.OutputBytes(id); got != int64(len("printed by "+id)) {
					t.Errorf("after Prune %s printed %d bytes", id, got)
				}
			}
			for i := range listed {
				listed[i].Archived = slices.Contains(ids[:tc.moved], listed[i].ID)
			}
			for range 2 { // as it stands, and from the records alone
				if got, _, err := s.List(Query{}); err != nil || !slices.Equal(got, listed) {
					t.Errorf("after Prune the list is %+v, %v, want %+v", got, err, listed)
				}
				if err := s.Reindex(); err != nil {
					t.Fatal(err)
				}
			}
			if again, err := s.Prune(tc.policy, time.Now(), false); err != nil || len(again.Archived) != 0 {
				t.Errorf("Prune again = %+v, %v, want nothing to do", again, err)
			}
		})
	}
}

func TestPruneDeletesArchives(t *testing.T) {
	s := newStore(t)
	old, young := aged(t, s, 400*dayLong), aged(t, s, 100*dayLong)
	policy := Policy{ArchiveAfter: dayLong, DeleteAfter: 300 * dayLong}
	done, err := s.Prune(policy, time.Now(), false)
	if err != nil || !slices.Equal(done.Deleted, []string{month(old.ID)}) {
		t.Fatalf("Prune = %+v, %v, want the archive %s deleted", done, err, month(old.ID))
	}
	if _, err := s.Output(old.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("Output of a deleted operation = %v, want %v", err, ErrNotFound)
	}
	if _, err := s.Load(old.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("Load of a deleted operation = %v, want %v", err, ErrNotFound)
	}
	if list, _, err := s.List(Query{}); err != nil || len(list) != 1 || list[0].ID != young.ID {
		t.Errorf("List = %+v, %v, want %s alone", list, err, young.ID)
	}
}

func TestDeleteOfAnArchivedOperation(t *testing.T) {
	s := newStore(t)
	at := 40 * dayLong
	gone, stays := aged(t, s, at), aged(t, s, at)
	if _, err := s.Prune(Policy{ArchiveAfter: dayLong}, time.Now(), false); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(gone.ID); err != nil {
		t.Fatalf("Delete = %v, want no error", err)
	}
	if err := s.Delete(gone.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("Delete again = %v, want %v", err, ErrNotFound)
	}
	if list, _, err := s.List(Query{}); err != nil || len(list) != 1 || list[0].ID != stays.ID {
		t.Errorf("List = %+v, %v, want %s alone", list, err, stays.ID)
	}
	if got := printed(t, s, stays.ID); got != "printed by "+string(stays.ID) {
		t.Errorf("the other operation printed %q", got)
	}
}

// An archive that cannot be read is never written over: what was to go there stays where it is.
func TestPruneLeavesADamagedArchive(t *testing.T) {
	s := newStore(t)
	op := aged(t, s, 40*dayLong)
	path := s.archiveFile(month(op.ID))
	if err := os.WriteFile(path, []byte("PK but no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	done, err := s.Prune(Policy{ArchiveAfter: dayLong}, time.Now(), false)
	if err == nil || !strings.Contains(err.Error(), filepath.Base(path)) || len(done.Archived) != 0 {
		t.Errorf("Prune = %+v, %v, want an error that names %s", done, err, path)
	}
	if data, _ := os.ReadFile(path); string(data) != "PK but no archive" {
		t.Errorf("the archive is now %q", data)
	}
	if got, err := s.Load(op.ID); err != nil || got.Archived() {
		t.Errorf("Load = %+v, %v, want the record in its place", got, err)
	}
	lost, err := s.Load(newID(op.CreatedAt)) // what may be in that archive
	if err == nil && lost.State != Damaged {
		t.Errorf("an operation that may be in a damaged archive is %+v, want it damaged or an error", lost)
	}
}

// Who was killed between the archive and the removal leaves a record in both places.
func TestPruneAfterAKilledPrune(t *testing.T) {
	s := newStore(t)
	op, other := aged(t, s, 40*dayLong), aged(t, s, 40*dayLong)
	if err := s.rewrite(month(op.ID), []ID{op.ID}, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if list, _, err := s.List(Query{}); err != nil || len(list) != 2 {
			t.Errorf("List = %+v, %v, want both once", list, err)
		}
		if err := s.Reindex(); err != nil {
			t.Fatal(err)
		}
	}
	if done, err := s.Prune(Policy{ArchiveAfter: dayLong}, time.Now(), false); err != nil || done.Archived[month(op.ID)] != 2 {
		t.Errorf("Prune = %+v, %v, want 2 archived", done, err)
	}
	for _, id := range []ID{op.ID, other.ID} {
		if got, err := s.Load(id); err != nil || !got.Archived() {
			t.Errorf("Load = %+v, %v, want it archived", got, err)
		}
	}
	if list, _, err := s.List(Query{}); err != nil || len(list) != 2 {
		t.Errorf("List = %+v, %v, want both once", list, err)
	}
}

// Prune finds what the index does not know, and what is damaged.
func TestPruneMakesTheIndexRight(t *testing.T) {
	s := newStore(t)
	kept, lost, bad := aged(t, s, time.Hour), aged(t, s, 2*time.Hour), aged(t, s, 3*time.Hour)
	if err := s.reline(func(e *entry) bool { return e.ID != lost.ID }); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir(bad.ID), "operation.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	done, err := s.Prune(Policy{}, time.Now(), false)
	if err != nil || !done.Reindexed || !slices.Equal(done.Damaged, []ID{bad.ID}) {
		t.Errorf("Prune = %+v, %v, want a new index, and %s damaged", done, err, bad.ID)
	}
	list, _, err := s.List(Query{})
	if err != nil || len(list) != 3 || list[0].ID != kept.ID || list[1].ID != lost.ID || list[2].State != Damaged {
		t.Errorf("List = %+v, %v, want %s, %s, and %s damaged", list, err, kept.ID, lost.ID, bad.ID)
	}
	if again, err := s.Prune(Policy{}, time.Now(), false); err != nil || again.Reindexed {
		t.Errorf("Prune again = %+v, %v, want the index right", again, err)
	}
}
