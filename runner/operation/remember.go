package operation

import "barback/runner/durable"

// A record of an operation that has ended does not change any more. Clients poll it all the same: the last few
// that were read are kept, as long as their files are the ones that were read.

const (
	remembered      = 128     // records
	rememberedBytes = 8 << 10 // of the file of each, at most
)

// remember keeps a record that was read from path, if it is final.
func (s *Store) remember(path string, op Operation, size int, stamp durable.Stamp) {
	if op.State.Final() && size <= rememberedBytes {
		s.memory.Keep(path, op, stamp)
	}
}
