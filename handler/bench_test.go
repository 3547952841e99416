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

// get asks as a door would, and wants an answer.
func (s *bench) get(b *testing.B, target string) {
	b.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
	if w.Code != 200 {
		b.Fatal(w.Code, w.Body)
	}
}

// BenchmarkLists is a list's way through the handler, without a door.
func BenchmarkLists(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			stock := stocked(b, n)
			for _, query := range []string{"", "?page_size=100", "?page_size=100&state=failed"} {
				b.Run(query, func(b *testing.B) {
					for b.Loop() {
						stock.get(b, "/servers/pg-one/operations"+query)
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

// catalogued is a Barman whose server pg-one has n backups.
func catalogued(b *testing.B, n int) *bench {
	b.Helper()
	bench := newBench(b, nil)
	begin := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range n {
		at := begin.Add(time.Duration(i) * time.Hour)
		dir := filepath.Join(bench.dir, "home/pg-one/base", at.Format("20060102T150405"))
		info := fmt.Sprintf("backup_label=None\nbackup_name=None\nbegin_offset=40\nbegin_time=%s\nbegin_wal=000000010000000000000002\nbegin_xlog=0/2000028\ncompression=None\nconfig_file=/var/lib/postgresql/15/main/postgresql.conf\n"+
			"copy_stats={'copy_time': 0.5, 'total_time': 0.5, 'number_of_workers': 1}\ndeduplicated_size=31000000\nend_offset=248\nend_time=%s\nend_wal=000000010000000000000002\nend_xlog=0/20000F8\nerror=None\n"+
			"hba_file=/etc/pg_hba.conf\nident_file=/etc/pg_ident.conf\nincluded_files=None\nmode=postgres\npgdata=/var/lib/postgresql/15/main\nserver_name=pg-one\nsize=31000000\nsnapshots_info=None\nstatus=DONE\n"+
			"systemid=7400000000000000000\ntablespaces=[('t1', 16387, '/srv/t1')]\ntimeline=1\nversion=150018\nxlog_segment_size=16777216\n",
			at.Format("2006-01-02 15:04:05.000000-07:00"), at.Add(time.Minute).Format("2006-01-02 15:04:05.000000-07:00"))
		if err := os.MkdirAll(dir, 0o750); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "backup.info"), []byte(info), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	time.Sleep(2100 * time.Millisecond) // until no file is so young that it has to be read anew each time
	return bench
}

// BenchmarkBackups is the way of a catalog through the handler, without a door.
func BenchmarkBackups(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			stock := catalogued(b, n)
			for _, query := range []string{"", "?page_size=10"} {
				b.Run(query, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						stock.get(b, "/servers/pg-one/backups"+query)
					}
				})
			}
		})
	}
}

// BenchmarkServers is the way of the list of servers, none of which has a backup.
func BenchmarkServers(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			stock := newBench(b, nil)
			conf := "[barman]\nbarman_home = " + stock.dir + "/home\n"
			for i := range n {
				conf += fmt.Sprintf("\n[s%04d]\ndescription = number %d\nconninfo = host=db%d dbname=postgres user=barman\nbackup_method = postgres\narchiver = on\n", i, i, i)
			}
			if err := os.WriteFile(filepath.Join(stock.dir, "barman.conf"), []byte(conf), 0o600); err != nil {
				b.Fatal(err)
			}
			time.Sleep(2100 * time.Millisecond) // until no file is so young that it has to be read anew each time
			b.ReportAllocs()
			for b.Loop() {
				stock.get(b, "/servers")
			}
		})
	}
}
