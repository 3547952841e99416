package operation

import (
	"path/filepath"
	"sync"

	"barback/runner/durable"
)

// A record of an operation that has ended does not change any more. Clients poll it all the same: the last few
// that were read are kept, as long as their files are the ones that were read.

const (
	remembered      = 128     // records
	rememberedBytes = 8 << 10 // of the file of each, at most
)

// lasting is a variable for tests, whose files are young.
var lasting = durable.Stamp.Lasting

// memory holds records; what is in them is not to be changed.
type memory struct {
	mu      sync.Mutex
	records map[ID]recollection
}

type recollection struct {
	op    Operation
	stamp durable.Stamp
}

// recall gives back what keep was given, if the file is still the same.
func (m *memory) recall(s *Store, id ID) (Operation, bool) {
	if m == nil {
		return Operation{}, false
	}
	m.mu.Lock()
	r, ok := m.records[id]
	m.mu.Unlock()
	if !ok || durable.StampOf(filepath.Join(s.dir(id), "operation.json")) != r.stamp {
		return Operation{}, false
	}
	return r.op, true
}

func (m *memory) keep(op Operation, size int, stamp durable.Stamp) {
	if m == nil || !op.State.Final() || size > rememberedBytes || !lasting(stamp) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records == nil || len(m.records) >= remembered {
		m.records = map[ID]recollection{}
	}
	m.records[op.ID] = recollection{op, stamp}
}
