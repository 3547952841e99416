package barman

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestWhatAStatusBecomes(t *testing.T) {
	b := newBox(t, map[string]string{"conf.d/1.conf": "[s1]\n[off]\nactive = false\n"})
	for _, tc := range []struct{ key, message, want string }{
		{"description", "Our server", `"description":"Our server"`},
		{"active", "True", ``},
		{"disabled", "False", `"disabled":false`},
		{"passive_node", "True", `"passive":true`},
		{"active_model", "None", `"active_model":null`},
		{"active_model", "s1:x", `"active_model":"s1:x"`},
		{"pg_version", "15.18", `"postgresql_version":"15.18"`},
		{"pg_version", "FAILED trying to get PostgreSQL version", `"problems":["D: FAILED trying to get PostgreSQL version"]`},
		{"is_in_recovery", "in archive recovery", `"in_recovery":true`},
		{"is_in_recovery", "in production", `"in_recovery":false`},
		{"is_in_recovery", "in between", `"others":{"is_in_recovery":"in between"}`},
		{"current_size", "179.2 MiB", `"current_size_bytes":187904819`},
		{"current_size", "0 B", `"current_size_bytes":0`},
		{"current_size", "2.0 TiB", `"current_size_bytes":2199023255552`},
		{"current_size", "much", `"others":{"current_size":"much"}`},
		{"current_xlog", "000000010000000000000010", `"current_wal":"000000010000000000000010"`},
		{"last_archived_wal", "000000010000000000000010, at Sat Nov 21 20:44:30 2026", `"last_archived_local_time":"2026-11-21T20:44:30","last_archived_wal":"000000010000000000000010"`},
		{"last_archived_wal", "000000010000000000000010", `"last_archived_wal":"000000010000000000000010"`},
		{"last_archived_wal", "No WAL segment shipped yet", `"last_archived_wal":null`},
		{"last_archived_wal", "000000010000000000000010, at some time", `"others":{"last_archived_wal":"000000010000000000000010, at some time"}`},
		{"failed_count", "0", `"archive_failures":0`},
		{"failed_count", "7 (000000010000000000000010 at Sun Nov  1 20:44:30 2026)", `"archive_failures":7,"last_failed_local_time":"2026-11-01T20:44:30","last_failed_wal":"000000010000000000000010"`},
		{"server_archived_wals_per_hour", "12.50/hour", `"archived_wals_per_hour":12.5`},
		{"retention_policies", "not enforced", `"retention_policy":null`},
		{"retention_policies", "enforced (mode: auto, retention: RECOVERY WINDOW OF 7 DAYS, WAL retention: MAIN)", `"retention_policy":"RECOVERY WINDOW OF 7 DAYS"`},
		{"backups_number", "12", `"backups":12`},
		{"first_backup", "None", `"first_backup":null`},
		{"last_backup", "20261121T205517", `"last_backup":"20261121T205517"`},
		{"minimum_redundancy", "satisfied (1/0)", `"minimum_redundancy":0,"problems":[],"redundancy":1,"redundancy_satisfied":true`},
		{"minimum_redundancy", "FAILED (1/2)", `"minimum_redundancy":2,"problems":["D: FAILED (1/2)"],"redundancy":1,"redundancy_satisfied":false`},
		{"something_new", "7", `"others":{"something_new":"7"}`},
	} {
		got, err := b.client.Read(kindOf(t, "status"), "s1", fmt.Appendf(nil, `{"s1": {%q: {"description": "D", "message": %q}}}`, tc.key, tc.message))
		if err != nil || !strings.Contains(string(got), tc.want) || !strings.Contains(string(got), `"active":true`) {
			t.Errorf("%s %q is %s (%v), want %s", tc.key, tc.message, got, err, tc.want)
		}
		if known := !strings.Contains(tc.want, "others"); known == strings.Contains(string(got), "others") {
			t.Errorf("%s %q is %s", tc.key, tc.message, got)
		}
	}
	skipped := `{"active":false,"messages":["Skipping inactive server 'off'"],"server":"off"}`
	if got, err := b.client.Read(kindOf(t, "status"), "off", []byte(`{"_INFO": ["Skipping inactive server 'off'"]}`)); err != nil || string(got) != skipped {
		t.Errorf("the status of an inactive server is %s (%v), want %s", got, err, skipped)
	}
}

func TestWhatAReplicationStatusBecomes(t *testing.T) {
	b := newBox(t, map[string]string{"conf.d/1.conf": "[s1]\n"})
	said := `{"s1": {"server_lsn": "0/10039470", "streaming_clients": [{"application_name": "a", "flush_lsn_diff": "-229.1 KiB", "flush_lsn_diff_bytes": -234608, "host": null, "port": 34360, "started_at": "2026-11-21 20:55:08.391334+00:00"}]}}`
	const want = `{"server":"s1","server_lsn":"0/10039470","clients":[{"application_name":"a","flush_lsn_diff_bytes":-234608,"host":null,"port":34360,"started_at":"2026-11-21T20:55:08.391334Z"}]}`
	// What Python writes to standard error stands in the output of an operation, too.
	got, err := b.client.Read(kindOf(t, "replication_status"), "s1", []byte("{not JSON}\nWarning: {old}\n"+said))
	if err != nil || string(got) != want {
		t.Errorf("Read = %s, %v, want %s", got, err, want)
	}
	for said, want := range map[string]string{
		`{"s1": {"server_lsn": null, "standby_info": "No streaming clients attached", "streaming_clients": []}}`: `{"server":"s1","server_lsn":null,"clients":[]}`,
		`{"_INFO": ["  Requires superuser rights"], "s1": {}}`:                                                   `{"server":"s1","server_lsn":null,"clients":[],"messages":["  Requires superuser rights"]}`,
	} {
		if got, err := b.client.Read(kindOf(t, "replication_status"), "s1", []byte(said)); err != nil || string(got) != want {
			t.Errorf("Read(%s) = %s, %v, want %s", said, got, err, want)
		}
	}
}

func TestWhatTheArchiveHolds(t *testing.T) {
	wal := func(timeline, n int) string { return fmt.Sprintf("%08X%08X%08X", timeline, n/4, n%4) }
	info := func(timeline, begin, end int) string {
		return backupInfo("DONE", "begin_wal="+wal(timeline, begin), "end_wal="+wal(timeline, end), fmt.Sprint("timeline=", timeline), "xlog_segment_size=1073741824")
	}
	b := newBox(t, map[string]string{
		"conf.d/1.conf": "[s1]\n",
		"home/s1/meta/20260101T000000-backup.info": info(1, 2, 3), // four segments to a number: the next is in another file's range
		"home/s1/meta/20260102T000000-backup.info": info(1, 7, 8),
		"home/s1/meta/20260103T000000-backup.info": info(2, 9, 9),
		"home/s1/meta/20260104T000000-backup.info": backupInfo("FAILED"),
		"home/s1/incoming/" + wal(2, 11):           "", "home/s1/incoming/.tmp": "", "home/s1/errors/x.duplicate": "", "home/s1/errors/y.unknown": "",
	})
	var list strings.Builder
	for _, n := range []int{1, 2, 3, 4, 7, 9} {
		fmt.Fprintf(&list, "%s\t10\t%d.5\tgzip\n", wal(1, n), n)
	}
	fmt.Fprintf(&list, "%s\t30\t20\tNone\tNone\n", wal(2, 9))
	b.write(t, "home/s1/wals/s1-xlog.db", list.String())
	at := func(seconds float64) time.Time { return time.UnixMilli(int64(seconds * 1000)).UTC() }
	one, two, four, nine := at(4.5), at(7.5), wal(1, 4), wal(2, 9)
	seven, late := wal(1, 7), at(20)
	want := Archive{Server: "s1", SegmentSize: 1 << 30, WALs: WALs{7, 90},
		Timelines: []Timeline{
			{Timeline: 1, First: wal(1, 1), Last: wal(1, 9), FirstAt: at(1.5), LastAt: at(9.5), WALs: WALs{6, 60}, Gaps: []Gap{{wal(1, 4), wal(1, 7), 2}, {wal(1, 7), wal(1, 9), 1}}},
			{Timeline: 2, First: nine, Last: nine, FirstAt: at(20), LastAt: at(20), WALs: WALs{1, 30}, Gaps: []Gap{}},
		},
		Backups: []Coverage{
			{Backup: "20260101T000000", Timeline: 1, First: wal(1, 2), Needed: wal(1, 3), Complete: true, Last: &four, LastAt: &one, WALs: WALs{3, 30}},
			{Backup: "20260102T000000", Timeline: 1, First: wal(1, 7), Needed: wal(1, 8), Last: &seven, LastAt: &two, WALs: WALs{1, 10}},
			{Backup: "20260103T000000", Timeline: 2, First: nine, Needed: nine, Complete: true, Last: &nine, LastAt: &late, WALs: WALs{1, 30}},
		},
		Waiting: Waiting{Incoming: 1, Errors: 2}}
	if got, err := b.client.WALs("s1"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("WALs = %+v, %v, want %+v", got, err, want)
	}
	if _, err := b.client.WALs("nope"); err == nil {
		t.Error("WALs of a server that is not there has no error")
	}
}
