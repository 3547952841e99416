package operation

import "context"

// Follow gives emit what Barman prints from byte offset on, as it comes, until the operation has
// ended and all of it was given, or ctx ends; as text without control characters. Who cannot keep up with
// Barman gets a line in place of what was left out meanwhile.
func (s *Store) Follow(ctx context.Context, id ID, offset int64, text bool, emit func(Piece) error) (Operation, error) {
	f, err := s.Output(id)
	if err != nil {
		return Operation{}, err
	}
	defer func() { _ = f.Close() }()
	w := s.watch(id, true)
	defer w.leave()
	out := newReader(f, Operation{}, text)
	for {
		l := w.look() // before the copy: what was printed before the end is there by then
		if l.err != nil {
			return l.op, l.err
		}
		out.op = l.op
		if offset, err = out.emit(ctx, offset, emit); err != nil || l.op.State.Final() || ctx.Err() != nil {
			return l.op, err
		}
		select {
		case <-l.more:
		case <-ctx.Done():
			return l.op, nil
		}
	}
}

// emit gives all that there is from offset on, and where that ends.
func (r *reader) emit(ctx context.Context, offset int64, emit func(Piece) error) (int64, error) {
	for ctx.Err() == nil {
		piece, err := r.next(offset)
		if err != nil || len(piece.Bytes) == 0 {
			return offset, err
		}
		if err := emit(piece); err != nil {
			return offset, err
		}
		offset = piece.End
	}
	return offset, nil
}
