package handler

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"barback/runner/barman"
	"barback/runner/operation"
)

// filters are the parameters of a list that are kept from page to page.
var filters = []string{"page_size", "requested_by", "scope", "server", "since", "state", "status", "type", "until"}

// maxPage is the largest page; who asks for a larger one gets this.
const maxPage = 1000

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
	body := []byte(`{"operations":[`)
	for i := range list {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendSummary(body, &list[i])
		h.noteDamage(r, list[i].ID, list[i].State)
	}
	body = append(body, ']')
	if more {
		token := pageToken(list[len(list)-1].ID)
		body = fmt.Appendf(body, `,"next_page_token":%q`, token)
		next := r.URL.Query()
		maps.DeleteFunc(next, func(name string, _ []string) bool { return !slices.Contains(filters, name) }) // a secret may be among the others
		next.Set("page_token", token)
		w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, h.operationsPath(server), next.Encode()))
	}
	send(w, r, "application/json", http.StatusOK, append(body, "}\n"...))
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
func parseFilter(q url.Values, server string) (filter, error) {
	f := filter{server: server, by: q.Get("requested_by")}
	var wrong []barman.Field
	refuse := func(name, format string, args ...any) {
		wrong = append(wrong, barman.Field{Pointer: "?" + name, Detail: fmt.Sprintf(format, args...)})
	}
	switch scope := q.Get("scope"); {
	case scope != "" && scope != "all":
		refuse("scope", "%q: the only scope is all", scope)
	default:
		f.everywhere = scope == "all" && server == ""
	}
	if name := q.Get("server"); name != "" && server != "" && name != server {
		refuse("server", "the path names server %q already", server)
	} else if name != "" {
		f.server, f.everywhere = name, false
	}
	choice := func(name string, known []string) (values []string) {
		for _, v := range q[name] {
			for v := range strings.SplitSeq(v, ",") {
				if !slices.Contains(known, v) {
					refuse(name, "%q is none of %s", v, strings.Join(known, ", "))
				}
				values = append(values, v)
			}
		}
		return values
	}
	f.types = choice("type", append(barman.Names(false), barman.Names(true)...))
	f.states = choice("state", allStates)
	f.statuses = choice("status", allStatuses)
	when := func(name string) (t time.Time) {
		if v := q.Get(name); v != "" {
			var err error
			if t, err = time.Parse(time.RFC3339, v); err != nil {
				refuse(name, "%q is not a time with its zone, such as 2026-01-02T03:04:05Z (a + is written %%2B)", v)
			}
		}
		return t
	}
	f.page.Since, f.page.Until = when("since"), when("until")
	if v := q.Get("page_size"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			refuse("page_size", "%q is not a number of operations, 1 or more", v)
		}
		f.page.Limit = min(n, maxPage)
	}
	if v := q.Get("page_token"); v != "" {
		id, err := base64.RawURLEncoding.DecodeString(v)
		if f.page.Before, _ = operation.ParseID(string(id)); err != nil || f.page.Before == "" {
			refuse("page_token", "%q is not what an answer gave as next_page_token", v)
		}
		if f.page.Limit == 0 {
			f.page.Limit = maxPage
		}
	}
	if wrong != nil {
		return f, &barman.InvalidError{Summary: "A parameter is not allowed", Fields: wrong}
	}
	return f, nil
}

// noteDamage logs that the record of an operation cannot be read.
func (h *handler) noteDamage(r *request, id operation.ID, state operation.State) {
	if state == operation.Damaged {
		h.Log.WithFields(map[string]any{"request": r.id, "operation": string(id)}).Error("the record is damaged")
	}
}

func pageToken(id operation.ID) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

// query is what the store is asked for: what the filter wants of what the caller may see.
func (f *filter) query(r *request) operation.Query {
	type place struct{ server, kind string }
	sees := map[place]bool{} // a list may be long, and its operations of few kinds
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
		seen, known := sees[at]
		if !known {
			seen = r.sees(permission(s.Server, s.Type))
			sees[at] = seen
		}
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
