package handler

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"barback/runner/barman"
	"barback/runner/operation"
)

// filters are the parameters of a list that are kept from page to page.
var filters = []string{"page_size", "requested_by", "scope", "server", "since", "state", "status", "type", "until"}

// listBodies are room for long lists: to clear it anew takes longer than to fill it.
var listBodies sync.Pool

// operations handles "GET /operations" and "GET /servers/NAME/operations", newest first.
// Of those the caller sees the types that it may see.
func (h *handler) operations(w http.ResponseWriter, r *request) error {
	server := r.params.ByName("server")
	if err := r.mayAny(server); err != nil {
		return err
	}
	if err := h.known(server); err != nil {
		return err
	}
	if !acceptsJSON(r.Header.Get("Accept")) {
		return errNotAcceptable
	}
	f, err := parseFilter(r.URL.Query(), server)
	if err != nil {
		return err
	}
	list, more, err := h.Records.List(f.query(r))
	if err != nil {
		return err
	}
	kept, _ := listBodies.Get().(*[]byte)
	if kept == nil {
		kept = new([]byte)
	}
	defer listBodies.Put(kept)
	body := append((*kept)[:0], `{"operations":[`...)
	for i := range list {
		switch i {
		case 0:
		case 1: // the others are about as long as the first
			body = append(slices.Grow(body, len(list)*(len(body)+8)), ',')
		default:
			body = append(body, ',')
		}
		body = appendSummary(body, &list[i])
		h.noteDamage(r, list[i].ID, list[i].State)
	}
	body = append(body, ']')
	if more {
		body = fmt.Appendf(body, `,"next_page_token":%q`, nextPage(w, r, h.operationsPath(server), filters, string(list[len(list)-1].ID)))
	}
	*kept = append(body, "}\n"...)
	send(w, r, "application/json", http.StatusOK, *kept)
	return nil
}

// filter is what the query string of a list asks for.
type filter struct {
	server     string // of the path, or the parameter of that name
	everywhere bool   // of all servers, and of none
	types      []string
	states     []string
	statuses   []string
	by         string
	page       operation.Query
}

var (
	allStates   = []string{"queued", "running", "canceling", "succeeded", "failed", "canceled", "interrupted", "damaged"}
	allStatuses = []string{"IN_PROGRESS", "DONE", "FAILED"}
)

// parseFilter reads the parameters of a list of the operations of server. Those that it does not know are left alone,
// as pg-backup-api does.
func parseFilter(query url.Values, server string) (filter, error) {
	q := parameters{Values: query}
	f := filter{server: server, by: q.Get("requested_by")}
	switch scope := q.Get("scope"); {
	case scope != "" && scope != "all":
		q.refuse("scope", "%q: the only scope is all", scope)
	default:
		f.everywhere = scope == "all" && server == ""
	}
	if name := q.Get("server"); name != "" && server != "" && name != server {
		q.refuse("server", "the path names server %q already", server)
	} else if name != "" {
		f.server, f.everywhere = name, false
	}
	f.types = q.choice("type", slices.Concat(barman.Names(false), barman.Names(true), []string{barman.CommandType}))
	f.states = q.choice("state", allStates)
	f.statuses = q.choice("status", allStatuses)
	f.page.Since, f.page.Until = q.when("since"), q.when("until")
	f.page.Limit, _ = q.page(func(id string) bool {
		f.page.Before, _ = operation.ParseID(id)
		return f.page.Before != ""
	})
	return f, q.refused()
}

// noteDamage logs that the record of an operation cannot be read.
func (h *handler) noteDamage(r *request, id operation.ID, state operation.State) {
	if state == operation.Damaged {
		h.Log.WithFields(map[string]any{"request": r.id, "operation": string(id)}).Error("the record is damaged")
	}
}

// query is what the store is asked for: what the filter wants of what the caller may see.
func (f *filter) query(r *request) operation.Query {
	type place struct{ server, kind string }
	sees := map[place]bool{}                 // a list may be long, and its operations of few kinds
	last, seen := place{}, r.follows("", "") // most have the place of the one before
	q := f.page
	q.Look = slices.Contains(f.states, string(operation.Damaged)) || slices.Contains(f.statuses, operation.Damaged.Status())
	q.Keep = func(s operation.Summary) bool {
		if !f.everywhere && s.Server != f.server || f.by != "" && s.RequestedBy != f.by ||
			len(f.types) > 0 && !slices.Contains(f.types, s.Type) ||
			len(f.states) > 0 && !slices.Contains(f.states, string(s.State)) ||
			len(f.statuses) > 0 && !slices.Contains(f.statuses, s.State.Status()) {
			return false
		}
		at := place{s.Server, s.Type}
		if at == last {
			return seen
		}
		var known bool
		if seen, known = sees[at]; !known {
			seen = r.follows(s.Server, s.Type)
			sees[at] = seen
		}
		last = at
		return seen
	}
	return q
}

// appendSummary writes one operation of a list. By hand: encoding/json takes longer than all else
// that a list of ten thousand needs.
func appendSummary(b []byte, s *operation.Summary) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, s.ID.Name()...)
	b = append(b, `","type":`...)
	b = appendString(b, s.Type)
	b = append(b, `,"status":"`...)
	b = append(b, s.State.Status()...)
	b = append(b, `","state":"`...)
	b = append(b, s.State...)
	b = append(b, `","server":`...)
	if s.Server == "" {
		b = append(b, "null"...)
	} else {
		b = appendString(b, s.Server)
	}
	b = append(b, `,"created_at":`...)
	b = appendTime(b, s.CreatedAt)
	b = append(b, `,"ended_at":`...)
	b = appendTime(b, s.EndedAt)
	return append(b, '}')
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string has no error
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}
