package operation

import (
	"os"
	"path/filepath"
	"testing"

	"barback/runner/durable"
)

// everythingLasts lets young files be remembered.
func everythingLasts(s *Store) { s.memory.Settled = func(durable.Stamp) bool { return true } }

func TestWhatIsRememberedIsTrueOfTheRecord(t *testing.T) {
	s := newStore(t)
	everythingLasts(s)
	op := createDead(t, s, backupOf("pg-one"))
	if first, err := s.Load(op.ID); err != nil || !first.State.Final() {
		t.Fatalf("Load = %v, %v, want an end, as nobody is at work", first.State, err)
	}
	one, _ := s.Load(op.ID)
	two, _ := s.Load(op.ID)
	if &one.Request[0] != &two.Request[0] {
		t.Error("the record of an operation that has ended was parsed twice")
	}
	path := filepath.Join(s.dir(op.ID), "operation.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if now, err := s.Load(op.ID); err != nil || now.State != Damaged {
		t.Errorf("Load of a record that was damaged after it was remembered = %v, %v, want damaged", now.State, err)
	}
	if err := os.RemoveAll(s.dir(op.ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(op.ID); err == nil {
		t.Error("Load of a record that was removed after it was remembered succeeds")
	}
}

func TestOnlyWhatHasEndedIsRemembered(t *testing.T) {
	s := newStore(t)
	everythingLasts(s)
	op, _ := create(t, s, backupOf("pg-one"))
	for range 2 {
		if now, err := s.Load(op.ID); err != nil || now.State != Queued {
			t.Fatalf("Load = %v, %v, want queued", now.State, err)
		}
	}
	if _, err := s.End(op.ID, Failed, func(*Operation) {}); err != nil {
		t.Fatal(err)
	}
	if now, err := s.Load(op.ID); err != nil || now.State != Failed {
		t.Errorf("Load after the end = %v, %v, want failed", now.State, err)
	}
}
