package handler

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"barback/handler/auth"
	"barback/runner/operation"
)

// idsIn lists the IDs of an answered list, as they come.
func (r *reply) idsIn() []string {
	r.t.Helper()
	r.want(200, "")
	list := []string{}
	for _, o := range r.json()["operations"].([]any) {
		list = append(list, o.(map[string]any)["id"].(string))
	}
	return list
}

func TestFilters(t *testing.T) {
	b := newBench(t, nil)
	backup := b.ended(operation.Operation{Type: "backup", Server: "pg-one", RequestedBy: "ann"}, operation.Succeeded, "")
	restore := b.ended(operation.Operation{Type: "recovery", Server: "pg-two", RequestedBy: "bob smith"}, operation.Failed, "")
	update := b.ended(operation.Operation{Type: "config_update", RequestedBy: "ann"}, operation.Interrupted, "")
	queued, _ := b.operation(operation.Operation{Type: "backup", Server: "pg-two", RequestedBy: "ann"})
	bad := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Succeeded, "")
	if err := os.WriteFile(filepath.Join(b.dir, "state", "operations", string(bad.ID), "operation.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	since := url.QueryEscape(restore.CreatedAt.Format(time.RFC3339Nano))
	zoned := url.QueryEscape(restore.CreatedAt.In(time.FixedZone("", 5400)).Format(time.RFC3339Nano))
	for _, tc := range []struct {
		query string
		want  []operation.Operation
	}{
		{"type=backup", []operation.Operation{bad, queued, backup}},
		{"type=backup,recovery", []operation.Operation{bad, queued, restore, backup}},
		{"type=config_update&type=recovery", []operation.Operation{update, restore}},
		{"state=succeeded", []operation.Operation{backup}},
		{"state=damaged", []operation.Operation{bad}},
		{"state=queued,interrupted", []operation.Operation{queued, update}},
		{"status=IN_PROGRESS", []operation.Operation{queued}},
		{"status=FAILED", []operation.Operation{bad, update, restore}},
		{"status=DONE&type=recovery", nil},
		{"server=pg-two", []operation.Operation{queued, restore}},
		{"requested_by=ann", []operation.Operation{queued, update, backup}},
		{"requested_by=bob+smith", []operation.Operation{restore}},
		{"since=" + since, []operation.Operation{bad, queued, update, restore}},
		{"since=" + zoned, []operation.Operation{bad, queued, update, restore}},
		{"until=" + since, []operation.Operation{backup}},
		{"since=2100-01-01T00:00:00Z", nil},
		{"unknown=1", []operation.Operation{bad, queued, update, restore, backup}},
	} {
		want := []string{}
		for _, op := range tc.want {
			want = append(want, string(op.ID))
		}
		if got := b.ask("GET", "/operations?scope=all&"+tc.query, "").idsIn(); !slices.Equal(got, want) {
			t.Errorf("GET /operations?scope=all&%s = %q, want %q", tc.query, got, want)
		}
	}
	// A damaged record is found where it was, and logged.
	b.ask("GET", "/servers/pg-one/operations/"+string(bad.ID), "").want(200, `"state":"damaged"`)
	if log := b.log.text(); !strings.Contains(log, "the record is damaged") || !strings.Contains(log, string(bad.ID)) {
		t.Errorf("the log is %s, want the damaged record %s in it", log, bad.ID)
	}
}

func TestParametersOfAListThatAreRefused(t *testing.T) {
	b := newBench(t, nil)
	for _, tc := range []struct{ query, pointer, says string }{
		{"type=bakup", "?type", "backup, recovery"},
		{"state=done", "?state", "succeeded"},
		{"status=done", "?status", "IN_PROGRESS, DONE, FAILED"},
		{"since=yesterday", "?since", "2026-01-02T03:04:05Z"},
		{"since=2026-01-02", "?since", "with its zone"},
		{"until=2026-01-02T03:04:05", "?until", "with its zone"},
		{"page_size=0", "?page_size", "1 or more"},
		{"page_size=-1", "?page_size", "1 or more"},
		{"page_size=ten", "?page_size", "1 or more"},
		{"page_size=99999999999999999999", "?page_size", "1 or more"},
		{"page_token=xyz", "?page_token", "next_page_token"},
		{"page_token=Li4vLi4vZXRj", "?page_token", "next_page_token"},
		{"scope=some", "?scope", "all"},
	} {
		res := b.ask("GET", "/operations?"+tc.query, "")
		res.want(400, tc.says)
		if e := res.json()["errors"].([]any)[0].(map[string]any); e["pointer"] != tc.pointer {
			t.Errorf("GET /operations?%s points at %v, want %s", tc.query, e["pointer"], tc.pointer)
		}
	}
	b.ask("GET", "/servers/pg-one/operations?server=pg-two", "").want(400, "pg-one")
	if n := len(b.ask("GET", "/operations?type=x&state=y&page_size=z", "").json()["errors"].([]any)); n != 3 {
		t.Errorf("three mistakes are answered with %d errors, want 3", n)
	}
}

func TestPagesOfAList(t *testing.T) {
	b := newBench(t, nil)
	var want []string
	for i := range 7 {
		op := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Succeeded, "")
		want = append(want, string(op.ID))
		if i == 3 {
			b.ended(operation.Operation{Type: "backup", Server: "pg-two"}, operation.Succeeded, "")
		}
	}
	slices.Reverse(want)
	var got []string
	target, pages := "/servers/pg-one/operations?type=backup&page_size=3", 0
	for target != "" {
		res := b.ask("GET", target, "")
		got = append(got, res.idsIn()...)
		pages++
		token, more := res.json()["next_page_token"].(string)
		link := res.Header().Get("Link")
		if target = ""; more {
			target = "/servers/pg-one/operations?type=backup&page_size=3&page_token=" + url.QueryEscape(token)
			next, ok := strings.CutPrefix(link, "<")
			next, rel, ok2 := strings.Cut(next, ">")
			if !ok || !ok2 || rel != `; rel="next"` || !slices.Equal(b.ask("GET", next, "").idsIn(), b.ask("GET", target, "").idsIn()) {
				t.Errorf("Link is %q, want the next page as rel=next", link)
			}
		} else if link != "" {
			t.Errorf("Link of the last page is %q, want none", link)
		}
		b.ended(operation.Operation{Type: "recovery", Server: "pg-one"}, operation.Succeeded, "") // what comes does not shift the pages
	}
	if pages != 3 || !slices.Equal(got, want) {
		t.Errorf("%d pages list %q, want 3 with %q", pages, got, want)
	}
	if res := b.ask("GET", "/servers/pg-one/operations?type=backup", ""); !slices.Equal(res.idsIn(), want) || res.json()["next_page_token"] != nil {
		t.Errorf("without a size the list is %s, want all", res.Body)
	}
}

// What the caller may not see is in no page, and takes no room there.
func TestPagesHoldWhatOneMaySee(t *testing.T) {
	b := newBench(t, nil)
	b.allow(map[string]auth.Lists{"ann": {Access: []string{"servers/*/operations/recovery"}}})
	var want []string
	for range 3 {
		b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Succeeded, "")
		want = append(want, string(b.ended(operation.Operation{Type: "recovery", Server: "pg-one"}, operation.Succeeded, "").ID))
	}
	slices.Reverse(want)
	res := b.askAs("ann", "GET", "/servers/pg-one/operations?page_size=3", "")
	if got := res.idsIn(); !slices.Equal(got, want) || res.json()["next_page_token"] != nil {
		t.Errorf("the page is %s, want %q and no more", res.Body, want)
	}
}

// The list is written by hand: it has to be what encoding/json would write.
func TestSummariesAreJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC)
	for _, server := range []string{"", "pg-one", `a"b\c`, "a\tb\n", "é", "<&>", "\u2028", "\x7f"} {
		for _, ended := range []time.Time{{}, at} {
			in := operation.Summary{ID: "20260102T030405-0az9kx", Type: "backup", Server: server, State: operation.Failed, CreatedAt: at, EndedAt: ended}
			want, err := json.Marshal(struct {
				ID        operation.ID    `json:"id"`
				Type      string          `json:"type"`
				Status    string          `json:"status"`
				State     operation.State `json:"state"`
				Server    *string         `json:"server"`
				CreatedAt time.Time       `json:"created_at"`
				EndedAt   *time.Time      `json:"ended_at"`
			}{in.ID, in.Type, in.State.Status(), in.State, optional(server), at, when(ended)})
			if err != nil {
				t.Fatal(err)
			}
			if got := appendSummary(nil, &in); string(got) != string(want) {
				t.Errorf("appendSummary = %s, want %s", got, want)
			}
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("type=backup&state=queued&page_size=3&page_token=MjAyNjAxMDJUMDMwNDA1LTBhejlreA&since=2026-01-02T03:04:05Z")
	f.Add("scope=all&server=x")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		got, err := parseFilter(q, "")
		if err == nil && (got.page.Limit < 0 || got.page.Limit > maxPage) {
			t.Errorf("%q asks for %d operations", query, got.page.Limit)
		}
	})
}

func TestTooManyOperations(t *testing.T) {
	b := newBench(t, nil)
	b.store.MaxOpen = 2
	for _, server := range []string{"pg-one", "pg-two"} {
		b.ask("POST", "/servers/"+server+"/operations", `{"type":"backup"}`).want(202, "")
	}
	res := b.ask("POST", "/servers/pg-one/operations", `{"type":"backup","queue":true}`)
	res.want(503, "runner.max_open")
	if res.Header().Get("Retry-After") == "" {
		t.Error("a 503 has no Retry-After")
	}
	if n := b.start.started(); n != 2 {
		t.Errorf("%d operations were begun, want 2", n)
	}
}

// A record of which nothing is left but its folder is in the list of whoever may see all.
func TestADamagedRecordWithoutATypeIsInTheList(t *testing.T) {
	b := newBench(t, nil)
	dir := filepath.Join(b.dir, "state", "operations", "20260102T030405-abcdef")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "operation.json"), []byte("{"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := b.store.Reindex(); err != nil {
		t.Fatal(err)
	}
	b.ask("GET", "/operations", "").want(200, `"id":"20260102T030405-abcdef"`)
}
