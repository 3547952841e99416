package durable

import "sync"

// Kept holds what was made of files, by path, as long as each file is the one that it was made of. What is kept is
// not to be changed, nor what it points to. Many may use it at once.
type Kept[V any] struct {
	Most    int              // files; the one more lets all go. 0: none is kept
	Settled func(Stamp) bool // nil: [Stamp.Lasting]; tests have young files

	mu sync.Mutex
	of map[string]made[V]
}

type made[V any] struct {
	value V
	stamp Stamp
}

// Recall gives back what Keep was given, if the file is still the same.
func (k *Kept[V]) Recall(path string) (V, bool) {
	return k.RecallBy(path, func() Stamp { return StampOf(path) })
}

// RecallBy is Recall for who has a shorter way to the file's stamp.
func (k *Kept[V]) RecallBy(path string, now func() Stamp) (V, bool) {
	k.mu.Lock()
	m, ok := k.of[path]
	k.mu.Unlock()
	if !ok || now() != m.stamp {
		var none V
		return none, false
	}
	return m.value, true
}

// Keep holds what was made of the file with the stamp that [ReadFile] gave, unless its next change might not be seen.
// That a file is not there is not kept: to look again is how it is told from one that cannot be looked at.
func (k *Kept[V]) Keep(path string, value V, stamp Stamp) {
	settled := k.Settled
	if settled == nil {
		settled = Stamp.Lasting
	}
	if k.Most == 0 || stamp == (Stamp{}) || !settled(stamp) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of == nil || len(k.of) >= k.Most {
		k.of = map[string]made[V]{}
	}
	k.of[path] = made[V]{value, stamp}
}
