package runner

import (
	"time"

	"golang.org/x/sys/unix"

	"barback/runner/operation"
)

// Cancel asks for the end of an operation. One that waits in the queue is canceled at once; one
// that runs becomes canceling, and canceled when nothing of it runs any more. Asking again is
// no error, asking after the end is: [operation.TransitionError].
func Cancel(store *operation.Store, id operation.ID, who string) (operation.Operation, error) {
	if _, err := store.Load(id); err != nil { // settles a dead one first
		return operation.Operation{}, err
	}
	op, err := store.Update(id, func(op *operation.Operation) error { return op.AskCancel(who, time.Now().UTC()) })
	if err != nil {
		return op, err
	}
	if op.Cancel == nil || op.State.Final() && op.State != operation.Canceled {
		return op, &operation.TransitionError{ID: id, From: op.State, To: operation.Canceling}
	}
	// The runner looks at its record each second, too: this only spares the wait.
	if p := store.Claimed(id); p != nil {
		p.Signal(unix.SIGUSR1)
	}
	return op, nil
}
