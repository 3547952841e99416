package operation

import (
	"sync"
	"time"
)

// watch is the look at one operation that all share who wait for its end or follow its output in this process:
// however many they are, one goroutine looks. It does so when the kernel reports a change (notify.go), and now and then for
// what the kernel reports to nobody: a runner that is dead while Barman still works.
type watch struct {
	store   *Store
	id      ID
	users   int           // of watches.of
	number  int32         // the number under which the kernel reports; 0: it does not
	stirred chan struct{} // something has changed
	left    chan struct{} // closed when the last user has gone
	seen    chan struct{} // closed when it was looked at
	ended   chan struct{} // closed when there is nothing more to come: the operation has ended, or cannot be read

	mu  sync.Mutex
	now look
}

// look is what was seen of an operation last.
type look struct {
	op   Operation
	err  error
	more chan struct{} // closed when there is something new: another look, or output
}

// lookEvery is how often an operation is looked at without a reason. Tests look at what the reasons do.
var lookEvery = time.Second

const (
	lookUntold  = 200 * time.Millisecond // where the kernel reports nothing
	lockIsFreed = 5 * time.Millisecond   // the kernel reports that a file is closed a moment before it frees its lock
)

// watches are the operations that somebody in this process looks at, by folder.
var watches = struct {
	sync.Mutex
	of map[string]*watch
}{of: map[string]*watch{}}

// watch joins those who look at an operation, for what Barman prints, too, or for its end alone. Each user has to leave.
func (s *Store) watch(id ID, printed bool) *watch {
	dir := s.dir(id)
	watches.Lock()
	defer watches.Unlock()
	w, ok := watches.of[dir]
	if !ok {
		w = &watch{store: s, id: id, now: look{more: make(chan struct{})},
			stirred: make(chan struct{}, 1), left: make(chan struct{}), seen: make(chan struct{}), ended: make(chan struct{})}
		watches.of[dir] = w
	}
	if !ok || printed {
		w.number = inotify.add(dir, printed, w)
	}
	if !ok {
		go w.run(w.number != 0)
	}
	w.users++
	return w
}

// leave is the end of one who looked.
func (w *watch) leave() {
	watches.Lock()
	defer watches.Unlock()
	if w.users--; w.users == 0 && w.forget() {
		close(w.left)
	}
}

// forget lets the next who asks look anew; false: that is so already. The caller holds watches.
func (w *watch) forget() bool {
	dir := w.store.dir(w.id)
	if watches.of[dir] != w {
		return false
	}
	delete(watches.of, dir)
	inotify.remove(w.number)
	return true
}

// run looks until the operation has ended, or nobody wants to know. If the kernel reports changes, what is left to look for is
// whether the runner lives.
func (w *watch) run(told bool) {
	every := lookEvery
	if !told {
		every = lookUntold
	}
	again := time.NewTicker(every)
	defer again.Stop()
	for first := true; ; first = false {
		op, err := w.store.Load(w.id)
		over := err != nil || op.State.Final()
		if over {
			watches.Lock()
			w.forget()
			watches.Unlock()
		}
		w.tell(func(l *look) { l.op, l.err = op, err })
		if first {
			close(w.seen)
		}
		if over {
			close(w.ended)
			return
		}
		for same := true; same; {
			select {
			case <-w.stirred:
				same = false
			case <-again.C:
				same = told && w.store.atWork(&op)
			case <-w.left:
				return
			}
		}
	}
}

// tell wakes whoever waits for something new.
func (w *watch) tell(change func(*look)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.now)
	close(w.now.more)
	w.now.more = make(chan struct{})
}

// look is the latest one, if need be the first.
func (w *watch) look() look {
	<-w.seen
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// stir has the operation looked at.
func (w *watch) stir() {
	select {
	case w.stirred <- struct{}{}:
	default:
	}
}
