package operation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// entry is what the model knows of one operation.
type entry struct {
	op    Operation // as the last change left it
	lock  *os.File  // nil: released
	taken bool      // claimed
	final string    // the file of a final record, which never changes again
}

// model is the Store as doc.go describes it, in memory.
type model struct {
	t       *testing.T
	rnd     *rand.Rand
	stores  []*Store // as many processes would have
	dir     string
	entries map[ID]*entry
	trace   []string
}

func (m *model) store() *Store { return m.stores[m.rnd.IntN(len(m.stores))] }

func (m *model) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

// pick is one of the operations; nil if there is none.
func (m *model) pick() *entry {
	ids := make([]ID, 0, len(m.entries))
	for id := range m.entries {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	return m.entries[ids[m.rnd.IntN(len(ids))]]
}

func (m *model) create() {
	op := backupOf(fmt.Sprintf("pg-%d", m.rnd.IntN(3)))
	op, lock, err := m.store().Create(op)
	if err != nil {
		m.t.Fatalf("Create = %v, want no error", err)
	}
	m.note("create %s", op.ID)
	if m.entries[op.ID] != nil {
		m.t.Fatalf("Create gave %s a second time", op.ID)
	}
	m.entries[op.ID] = &entry{op: op, lock: lock}
}

func (m *model) move(e *entry, to State) {
	m.note("%s: %s → %s", e.op.ID, e.op.State, to)
	was := e.op.State
	allowed := slices.Contains(transitions[was], to) || was == to
	got, err := m.store().Update(e.op.ID, func(op *Operation) error {
		if to.Final() {
			op.EndedAt = time.Now().UTC()
		}
		op.Server += "+"
		return op.move(to)
	})
	switch {
	case was.Final():
		if err != nil || got.State != was {
			m.t.Fatalf("Update of a final record = %q, %v, want %q", got.State, err, was)
		}
	case allowed:
		if err != nil || got.State != to {
			m.t.Fatalf("Update from %q to %q = %q, %v, want it done", was, to, got.State, err)
		}
		e.op = got
	default:
		if _, ok := errors.AsType[*TransitionError](err); !ok {
			m.t.Fatalf("Update from %q to %q = %v, want it refused", was, to, err)
		}
	}
}

func (m *model) withdraw(e *entry) {
	m.note("withdraw %s", e.op.ID)
	err := m.store().Withdraw(e.op.ID)
	if e.taken {
		if !errors.Is(err, ErrClaimed) {
			m.t.Fatalf("Withdraw of a claimed operation = %v, want %v", err, ErrClaimed)
		}
		return
	}
	if err != nil {
		m.t.Fatalf("Withdraw = %v, want no error", err)
	}
	m.release(e)
	delete(m.entries, e.op.ID)
	if _, err := m.store().Load(e.op.ID); !errors.Is(err, ErrNotFound) {
		m.t.Fatalf("Load of a withdrawn operation = %v, want %v", err, ErrNotFound)
	}
}

func (m *model) claim(e *entry) {
	m.note("claim %s", e.op.ID)
	err := m.store().Claim(e.op.ID)
	if e.taken != errors.Is(err, ErrClaimed) || !e.taken && err != nil {
		m.t.Fatalf("Claim = %v, claimed before: %v", err, e.taken)
	}
	e.taken = true
}

func (m *model) release(e *entry) {
	if e.lock != nil {
		m.note("release %s", e.op.ID)
		_ = e.lock.Close()
		e.lock = nil
	}
}

// step does one thing, whatever comes.
func (m *model) step() {
	e := m.pick()
	what := m.rnd.IntN(10)
	if e == nil || what == 0 && len(m.entries) < 15 {
		m.create()
		return
	}
	switch {
	case what <= 5:
		m.move(e, everyState[m.rnd.IntN(len(everyState))])
	case what == 6:
		m.claim(e)
	case what == 7 && m.rnd.IntN(3) == 0:
		m.withdraw(e)
	case what == 8:
		m.release(e)
		if m.rnd.IntN(2) == 0 { // the end comes before anybody looks
			m.move(e, everyState[m.rnd.IntN(len(everyState))])
		}
	case what == 9:
		m.note("a new process")
		m.stores[m.rnd.IntN(len(m.stores))] = openStore(m.t, m.dir)
	}
}

// check compares every record with the model: a record without a lock is interrupted by
// the look, and a final one is the same file for ever.
func (m *model) check() {
	m.t.Helper()
	ops, err := m.store().All()
	if err != nil || len(ops) != len(m.entries) {
		m.t.Fatalf("All = %d operations, %v, want %d", len(ops), err, len(m.entries))
	}
	open := 0
	for i, got := range ops {
		e := m.entries[got.ID]
		if e == nil {
			m.t.Fatalf("All has %s, which the model has not", got.ID)
		}
		if i > 0 && ops[i-1].ID <= got.ID {
			m.t.Fatalf("All has %s before %s, want the newest first", ops[i-1].ID, got.ID)
		}
		if e.lock == nil && !e.op.State.Final() {
			e.op.State = Interrupted
			e.op.EndedAt = got.EndedAt
		}
		if got.State != e.op.State || got.Server != e.op.Server || !got.EndedAt.Equal(e.op.EndedAt) || got.EndedAt.IsZero() == got.State.Final() {
			m.t.Fatalf("%s is %s of %s, ended %v, want %s of %s, ended %v", got.ID, got.State, got.Server, got.EndedAt, e.op.State, e.op.Server, e.op.EndedAt)
		}
		if !e.op.State.Final() {
			open++
			continue
		}
		now := stored(m.t, m.store(), got.ID)
		if e.final == "" {
			e.final = now
		}
		if now != e.final {
			m.t.Fatalf("the final record of %s is now\n%s\nwant it unchanged\n%s", got.ID, now, e.final)
		}
	}
	if active, err := m.store().Active(); err != nil || len(active) != open {
		m.t.Fatalf("Active = %v, %v, want the %d operations without an end", idsOf(active), err, open)
	}
}

// TestStoreAgainstAModel does random things through several Stores, as several processes
// would, and holds every record against the model after each.
func TestStoreAgainstAModel(t *testing.T) {
	for range 3 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			dir := t.TempDir()
			m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), dir: dir, entries: map[ID]*entry{}}
			defer func() {
				for _, e := range m.entries {
					m.release(e)
				}
				if t.Failed() {
					t.Logf("seed %d; the last steps were: %q", seed, m.trace[max(0, len(m.trace)-30):])
				}
			}()
			for range 3 {
				m.stores = append(m.stores, openStore(t, dir))
			}
			for range 80 {
				m.step()
				m.check()
			}
		})
	}
}
