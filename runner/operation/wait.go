package operation

import "context"

// Wait returns the operation when it has ended, or as it is when ctx ends.
func (s *Store) Wait(ctx context.Context, id ID) (Operation, error) {
	w := s.watch(id, false)
	defer w.leave()
	select {
	case <-w.ended:
		l := w.look()
		return l.op, l.err
	case <-ctx.Done():
		return s.Load(id) // as it is now, not as it was before the wait
	}
}
