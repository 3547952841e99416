package handler

import (
	"net/http"
	"sync"

	"barback/runner/operation"
)

// An operation that has ended looks the same to all who may see it, and clients ask for it again and again: the last
// few bodies are kept.

const (
	keptBodies     = 128
	keptBodyLength = 16 << 10
)

// edition is a record as it was read once, known by where its request lies in memory, which the store gives
// back as long as the file is the same ([operation.Store.Load]), and the length of its output.
type edition struct {
	record  *byte
	printed int64
}

// keptAnswers are bodies; what is kept keeps the memory of its record, too, so that no other can lie there.
type keptAnswers struct {
	mu   sync.Mutex
	kept map[edition]tagged
}

// tagged is a body with its ETag.
type tagged struct {
	body []byte
	tag  string
}

func (b *keptAnswers) get(of edition) (tagged, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept, ok := b.kept[of]
	return kept, ok
}

func (b *keptAnswers) keep(of edition, t tagged) {
	if len(t.body) > keptBodyLength {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept == nil || len(b.kept) >= keptBodies {
		b.kept = map[edition]tagged{}
	}
	b.kept[of] = t
}

// answerEnded is answer for an operation that has ended.
func (h *handler) answerEnded(w http.ResponseWriter, r *request, op operation.Operation) error {
	if !acceptsJSON(r.Header.Get("Accept")) {
		return errNotAcceptable
	}
	printed := h.Records.OutputBytes(op.ID)
	if len(op.Request) == 0 {
		return answer(w, r, http.StatusOK, h.view(op, printed))
	}
	of := edition{&op.Request[0], printed}
	kept, ok := h.ended.get(of)
	if !ok {
		body, err := encode(h.view(op, printed))
		if err != nil {
			return err
		}
		kept = tagged{body, etag(body)}
		h.ended.keep(of, kept)
	}
	sendTagged(w, r, "application/json", kept)
	return nil
}
