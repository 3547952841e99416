package handler

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

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
						w := httptest.NewRecorder()
						stock.ServeHTTP(w, httptest.NewRequest("GET", "/servers/pg-one/backups"+query, nil))
						if w.Code != 200 {
							b.Fatal(w.Code, w.Body)
						}
					}
				})
			}
		})
	}
}
