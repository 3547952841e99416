package handler

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"barback/handler/auth"
)

// stocked is a state directory with n operations that have ended.
func stocked(b *testing.B, n int) *bench {
	b.Helper()
	bench := newBench(b, nil)
	root := filepath.Join(bench.dir, "state", "operations")
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range n {
		at := start.Add(time.Duration(i) * time.Second)
		id := fmt.Sprintf("%s-%06d", at.Format("20060102T150405"), i%1_000_000)
		if err := os.Mkdir(filepath.Join(root, id), 0o750); err != nil {
			b.Fatal(err)
		}
		record := fmt.Sprintf(`{"version":1,"id":%q,"type":"backup","server":"pg-one","state":"succeeded","created_at":%q,"ended_at":%q,"requested_by":"ann","request":{"type":"backup"},"command":["barman","backup","pg-one"]}`,
			id, at.Format(time.RFC3339Nano), at.Add(time.Minute).Format(time.RFC3339Nano))
		if err := os.WriteFile(filepath.Join(root, id, "operation.json"), []byte(record), 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, id, "output.log"), []byte("Backup completed\n"), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	if err := bench.store.Reindex(); err != nil {
		b.Fatal(err)
	}
	return bench
}

// BenchmarkLists is a list's way through the handler, without a door.
func BenchmarkLists(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			stock := stocked(b, n)
			for _, query := range []string{"", "?page_size=100", "?page_size=100&state=failed"} {
				b.Run(query, func(b *testing.B) {
					for b.Loop() {
						w := httptest.NewRecorder()
						stock.ServeHTTP(w, httptest.NewRequest("GET", "/servers/pg-one/operations"+query, nil))
						if w.Code != 200 {
							b.Fatal(w.Code, w.Body)
						}
					}
				})
			}
		})
	}
}

// BenchmarkGet is a poll's way through the handler, without a door.
func BenchmarkGet(b *testing.B) {
	stock := stocked(b, 100)
	token, _, err := stock.auth.Tokens.Create(auth.Token{User: "ann"}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	ask := func() {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/servers/pg-one/operations/20260102T030405-000000", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		stock.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Code, w.Body)
		}
	}
	ask()                               // notes when the token was used
	time.Sleep(2100 * time.Millisecond) // until no file is so young that it has to be read anew each time
	b.ReportAllocs()
	for b.Loop() {
		ask()
	}
}
