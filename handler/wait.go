package handler

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"barback/runner/operation"
)

// maxWait is the longest that an answer is held back: below mod_fcgid's FcgidIOTimeout,
// where nobody raised it.
const maxWait = 25 * time.Second

// waited honours "Prefer: wait=N" (RFC 7240, 4.3): it holds the answer back until the operation
// has ended, or N seconds have gone, and gives back the operation as it is then.
func (h *handler) waited(w http.ResponseWriter, r *request, op operation.Operation) (operation.Operation, error) {
	limit, ok := preferredWait(r.Header.Values("Prefer"))
	if !ok {
		return op, nil
	}
	w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(limit/time.Second)))
	ctx, leave := h.untilEnding(r.Context())
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return h.Records.Wait(ctx, op.ID)
}

// preferredWait reads the wait preference, capped.
func preferredWait(headers []string) (time.Duration, bool) {
	for p := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(strings.TrimSpace(name), "wait") {
			n, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`))
			if err != nil || n < 0 {
				return 0, false
			}
			return min(time.Duration(min(n, 3600))*time.Second, maxWait), true
		}
	}
	return 0, false
}
