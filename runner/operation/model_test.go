package operation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// modelled is what the model knows of one operation.
type modelled struct {
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
	entries map[ID]*modelled
	trace   []string
}

func (m *model) store() *Store { return m.stores[m.rnd.IntN(len(m.stores))] }

func (m *model) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

// pick is one of the operations; nil if there is none.
func (m *model) pick() *modelled {
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
	m.entries[op.ID] = &modelled{op: op, lock: lock}
}

func (m *model) move(e *modelled, to State) {
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

func (m *model) withdraw(e *modelled) {
	m.note("withdraw %s", e.op.ID)
	e.archived(m)
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

// archived notes that what is in an archive is nobody's to claim.
func (e *modelled) archived(m *model) {
	if op, err := m.store().Load(e.op.ID); err == nil && op.Archived() {
		e.taken = true
	}
}

func (m *model) claim(e *modelled) {
	m.note("claim %s", e.op.ID)
	e.archived(m)
	err := m.store().Claim(e.op.ID)
	if e.taken != errors.Is(err, ErrClaimed) || !e.taken && err != nil {
		m.t.Fatalf("Claim = %v, claimed before: %v", err, e.taken)
	}
	e.taken = true
}

func (m *model) release(e *modelled) {
	if e.lock != nil {
		m.note("release %s", e.op.ID)
		_ = e.lock.Close()
		e.lock = nil
	}
}

func (m *model) delete(e *modelled) {
	m.note("delete %s", e.op.ID)
	err := m.store().Delete(e.op.ID)
	if e.lock == nil { // the look ended it
		e.op.State = Interrupted
	}
	refused := (*TransitionError)(nil)
	if final := e.final != "" || e.op.State.Final(); final && err != nil || !final && !errors.As(err, &refused) {
		m.t.Fatalf("Delete of a %s operation = %v", e.op.State, err)
	}
	if err == nil {
		m.release(e)
		delete(m.entries, e.op.ID)
	}
}

// keepHouse does what concerns all records at once, or harms the index.
func (m *model) keepHouse() {
	index := filepath.Join(m.dir, "index")
	switch m.rnd.IntN(5) {
	case 0:
		m.note("the index is gone")
		_ = os.Remove(index)
	case 1:
		m.note("a writer of the index died")
		f, err := os.OpenFile(index, os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, _ = f.WriteString("20260102T0304")
			_ = f.Close()
		}
	case 2:
		m.note("the index is damaged")
		if data, err := os.ReadFile(index); err == nil && len(data) > 0 {
			data[m.rnd.IntN(len(data))] ^= 1
			_ = os.WriteFile(index, data, 0o640)
		}
	default:
		keep := m.rnd.IntN(6) + 1
		m.note("prune to %d", keep)
		done, err := m.store().Prune(Policy{MaxOperations: keep}, time.Now(), false)
		if err != nil || len(done.Damaged) != 0 {
			m.t.Fatalf("Prune = %+v, %v", done, err)
		}
	}
}

// step does one thing, whatever comes.
func (m *model) step() {
	e := m.pick()
	what := m.rnd.IntN(12)
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
	case what == 10:
		m.delete(e)
	case what == 11:
		m.keepHouse()
	}
}

// check compares every record with the model: a record without a lock is interrupted by
// the look, and a final one is the same file for ever.
func (m *model) check() {
	m.t.Helper()
	list, more, err := m.store().List(Query{})
	if err != nil || len(list) != len(m.entries) || more {
		m.t.Fatalf("List = %d operations, %v, %v, want %d", len(list), more, err, len(m.entries))
	}
	var ops []Operation
	for _, in := range list {
		op, err := m.store().Load(in.ID)
		if err != nil || op.summary() != in {
			m.t.Fatalf("List has %+v, the record is %+v, %v", in, op.summary(), err)
		}
		ops = append(ops, op)
	}
	m.page(list)
	open := 0
	for i, got := range ops {
		e := m.entries[got.ID]
		if e == nil {
			m.t.Fatalf("List has %s, which the model has not", got.ID)
		}
		if i > 0 && ops[i-1].ID <= got.ID {
			m.t.Fatalf("List has %s before %s, want the newest first", ops[i-1].ID, got.ID)
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
		now := ""
		if got.Archived() {
			data, err := m.store().archivedFile(got.ID, "operation.json")
			if now = string(data); err != nil {
				m.t.Fatal(err)
			}
		} else {
			now = stored(m.t, m.store(), got.ID)
		}
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

// page asks for some of the list, and holds the answer against all of it.
func (m *model) page(all []Summary) {
	m.t.Helper()
	q := Query{Limit: m.rnd.IntN(5) + 1}
	if len(all) > 0 && m.rnd.IntN(2) == 0 {
		q.Before = all[m.rnd.IntN(len(all))].ID
	}
	if len(all) > 0 && m.rnd.IntN(3) == 0 {
		q.Since = all[m.rnd.IntN(len(all))].CreatedAt
	}
	if len(all) > 0 && m.rnd.IntN(3) == 0 {
		q.Until = all[m.rnd.IntN(len(all))].CreatedAt
	}
	if m.rnd.IntN(2) == 0 {
		q.Keep = func(s Summary) bool { return s.State.Final() }
	}
	want := slices.DeleteFunc(slices.Clone(all), func(s Summary) bool { return !q.wants(s) })
	wantMore := len(want) > q.Limit
	want = want[:min(q.Limit, len(want))]
	if got, more, err := m.store().List(q); err != nil || more != wantMore || !slices.Equal(got, want) {
		m.t.Fatalf("List(%+v) = %v, %v, %v, want %v, %v", q, got, more, err, want, wantMore)
	}
}

// TestStoreAgainstAModel does random things through several Stores, as several processes
// would, and holds every record against the model after each.
func TestStoreAgainstAModel(t *testing.T) {
	for range 3 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			dir := t.TempDir()
			m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), dir: dir, entries: map[ID]*modelled{}}
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
