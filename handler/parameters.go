package handler

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"barback/runner/barman"
)

// maxPage is the largest page; who asks for a larger one gets this.
const maxPage = 1000

// parameters are those of a list, with what is wrong with them.
type parameters struct {
	url.Values
	wrong []barman.Field
}

func (q *parameters) refuse(name, format string, args ...any) {
	q.wrong = append(q.wrong, barman.Field{Pointer: "?" + name, Detail: fmt.Sprintf(format, args...)})
}

// refused is the error of all that was refused.
func (q *parameters) refused() error {
	if q.wrong == nil {
		return nil
	}
	return &barman.InvalidError{Summary: "A parameter is not allowed", Fields: q.wrong}
}

// badParameter refuses the one parameter that there is.
func badParameter(name, detail string) error {
	var q parameters
	q.refuse(name, "%s", detail)
	return q.refused()
}

// choice reads a list of words.
func (q *parameters) choice(name string, known []string) (values []string) {
	for _, v := range q.Values[name] {
		for v := range strings.SplitSeq(v, ",") {
			if !slices.Contains(known, v) {
				q.refuse(name, "%q is none of %s", v, strings.Join(known, ", "))
			}
			values = append(values, v)
		}
	}
	return values
}

func (q *parameters) when(name string) (t time.Time) {
	if v := q.Get(name); v != "" {
		var err error
		if t, err = time.Parse(time.RFC3339, v); err != nil {
			q.refuse(name, "%q is not a time with its zone, such as 2026-01-02T03:04:05Z (a + is written %%2B)", v)
		}
	}
	return t
}

// page reads how much is wanted, and behind which ID it goes on. A limit of 0 means all.
func (q *parameters) page(isID func(string) bool) (limit int, before string) {
	if v := q.Get("page_size"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			q.refuse("page_size", "%q is not the number of entries of a page, 1 or more", v)
		}
		limit = min(n, maxPage)
	}
	if v := q.Get("page_token"); v != "" {
		id, err := base64.RawURLEncoding.DecodeString(v)
		if before = string(id); err != nil || !isID(before) {
			q.refuse("page_token", "%q is not what an answer gave as next_page_token", v)
		}
		if limit == 0 {
			limit = maxPage
		}
	}
	return limit, before
}

// nextPage is the token of the page behind the ID last. The Link header names it, too, with those parameters
// that are filters: a secret may be among the others.
func nextPage(w http.ResponseWriter, r *request, path string, filters []string, last string) string {
	token := base64.RawURLEncoding.EncodeToString([]byte(last))
	next := r.URL.Query()
	maps.DeleteFunc(next, func(name string, _ []string) bool { return !slices.Contains(filters, name) })
	next.Set("page_token", token)
	w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, path, next.Encode()))
	return token
}
