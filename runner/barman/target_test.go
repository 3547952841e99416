package barman

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestInstants(t *testing.T) {
	for _, tc := range []struct {
		text, zone string
		want       string // UTC; empty: it is refused
		says       string
	}{
		{"2026-11-21T22:33:57Z", "", "2026-11-21T22:33:57Z", ""},
		{"2026-11-21T22:33:57.123456+01:00", "", "2026-11-21T21:33:57.123456Z", ""},
		{"2026-11-21 22:33:57-03:30", "", "2026-11-22T02:03:57Z", ""},
		{"2026-11-21 22:33:57.5+01", "", "2026-11-21T21:33:57.5Z", ""}, // as PostgreSQL writes it
		{"2026-11-21T22:33:57.1234569Z", "", "2026-11-21T22:33:57.123456Z", ""},
		{"2026-11-21T22:33:57", "Europe/Rome", "2026-11-21T21:33:57Z", ""},
		{"2026-07-21 22:33:57.25", "Europe/Rome", "2026-07-21T20:33:57.25Z", ""},
		{"2026-07-21 22:33:57", "UTC", "2026-07-21T22:33:57Z", ""},
		{"2026-10-25 02:59:59", "America/New_York", "2026-10-25T06:59:59Z", ""},
		{"2026-11-21T22:33:57", "", "", "/target_time has no time zone"},
		{"2026-11-21 22:33", "Europe/Rome", "", "/target_time must be a time"},
		{"yesterday", "Europe/Rome", "", "/target_time must be a time"},
		{"2026-02-30T00:00:00Z", "", "", "/target_time must be a time"},
		{"2026-11-21T22:33:57Z", "Europe/Rome", "", "/time_zone excludes"},
		{"2026-11-21T22:33:57", "Mars/Base", "", "/time_zone must be the name"},
		{"2026-11-21T22:33:57", "Local", "", "/time_zone must be the name"},
		{"2026-11-21T22:33:57", "../../etc/passwd", "", "/time_zone must be the name"},
		{"2026-03-29T02:30:00", "Europe/Rome", "", "/target_time was on no clock in Europe/Rome"},
		{"2026-10-25T02:30:00", "Europe/Rome", "", "/target_time was on the clocks in Europe/Rome twice: say which with an offset, 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00"},
		{"2026-04-05T01:45:00", "Australia/Lord_Howe", "", "/target_time was on the clocks in Australia/Lord_Howe twice"}, // by half an hour
	} {
		got, err := instant(tc.text, tc.zone, tc.zone != "")
		if tc.want == "" {
			pointer, says := "", ""
			if n, _ := fmt.Sscanf(tc.says, "%s", &pointer); n == 1 {
				says = tc.says[len(pointer)+1:]
			}
			wantRefusal(t, err, pointer, says, false)
			continue
		}
		if err != nil || got.UTC().Format(time.RFC3339Nano) != tc.want {
			t.Errorf("instant(%q, %q) = %v, %v, want %s", tc.text, tc.zone, got.UTC(), err, tc.want)
		}
	}
}

// Barman before 3.13 compares what the clock shows, whatever its zone, with its own: it must not seem earlier than it is.
func TestTimesForOlderBarmans(t *testing.T) {
	at := time.Date(2026, 11, 21, 22, 33, 57, 500_000_000, time.UTC)
	for version, want := range map[string]string{
		"3.20.1": "--target-time=2026-11-21 22:33:57.5+00:00", "3.13.0": "--target-time=2026-11-21 22:33:57.5+00:00",
		"3.4.0": "--target-time=2026-11-22 12:33:57.5+14:00", "3.12.1": "--target-time=2026-11-22 12:33:57.5+14:00",
	} {
		if got := timeArg(at, version); got != want {
			t.Errorf("for Barman %s the time is %s, want %s", version, got, want)
		}
	}
}

// stopBox has a backup that ended at 12:00:30 and 0/4000100 on timeline 1, one an hour later on timeline 2, and WALs up to 0/7000000,
// 13:30 on timeline 2.
func stopBox(t testing.TB) *box {
	t.Helper()
	info := func(end, lsn, timeline string) string {
		return backupInfo("DONE", "end_time=2026-11-21 "+end+"+00:00", "end_xlog="+lsn, "timeline="+timeline, "xlog_segment_size=16777216")
	}
	at := func(clock string) string {
		when, err := time.Parse(time.DateTime, "2026-11-21 "+clock)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("\t16\t%d.5\tgzip\tNone\n", when.Unix())
	}
	return newBox(t, map[string]string{
		"conf.d/1.conf": "[pg-one]\n[fetching]\nrecovery_options = get-wal\nbackup_directory = DIR/home/pg-one\n",
		"home/pg-one/meta/20260101T000000-backup.info": info("12:00:30", "0/4000100", "1"),
		"home/pg-one/meta/20260102T000000-backup.info": info("13:00:30", "0/6000100", "2"),
		"home/pg-one/wals/pg-one-xlog.db": "000000010000000000000004" + at("12:30:00") + "000000010000000000000004.00000028.backup" + at("23:00:00") +
			"00000002.history" + at("23:00:00") + "000000020000000000000006" + at("13:30:00"),
	})
}

func TestTargetsInTime(t *testing.T) {
	b := stopBox(t)
	for _, tc := range []struct {
		name, members string
		backup        string
		want          []string // options
		pointer, says string   // empty: it is accepted
	}{
		{"a time", `"target_time":"2026-11-21T12:15:00.25Z"`, "20260101T000000", []string{"--target-time=2026-11-21 12:15:00.25+00:00"}, "", ""},
		{"a time in a zone, exclusive", `"target_time":"2026-11-21 13:15:00","time_zone":"Europe/Rome","exclusive":true,"target_action":"pause"`, "20260101T000000",
			[]string{"--target-time=2026-11-21 12:15:00+00:00", "--exclusive", "--target-action=pause"}, "", ""},
		{"a time before the end of the backup", `"target_time":"2026-11-21T12:00:29.999999Z"`, "20260101T000000", nil, "/target_time", "ended at 2026-11-21T12:00:30Z: choose an earlier"},
		{"the end of the backup", `"target_time":"2026-11-21T12:00:30Z"`, "20260101T000000", []string{"--target-time=2026-11-21 12:00:30+00:00"}, "", ""},
		{"a time after the WALs", `"target_time":"2026-11-21T13:30:01Z"`, "20260101T000000", nil, "/target_time", "written at 2026-11-21T13:30:00.5Z"},
		{"a time after the WALs of the timeline", `"target_time":"2026-11-21T13:15:00Z","target_tli":"current"`, "20260101T000000", nil, "/target_time", "written at 2026-11-21T12:30:00.5Z"},
		{"a time after the WALs, in spite of it", `"target_time":"2026-11-21T13:30:01Z","ignore_checks":true`, "20260101T000000", []string{"--target-time=2026-11-21 13:30:01+00:00"}, "", ""},
		{"a time after the WALs that are fetched later", `"target_time":"2026-11-21T13:30:01Z","get_wal":true`, "20260101T000000", []string{"--get-wal", "--target-time=2026-11-21 13:30:01+00:00"}, "", ""},
		{"a time before the end, in spite of it", `"target_time":"2026-11-21T12:00:00Z","ignore_checks":true`, "20260101T000000", nil, "/target_time", "choose an earlier"},
		{"a place", `"target_lsn":"0/7000000","target_tli":"latest"`, "20260101T000000", []string{"--target-lsn=0/7000000", "--target-tli=latest"}, "", ""},
		{"a place behind the WALs", `"target_lsn":"0/7000001"`, "20260101T000000", nil, "/target_lsn", "the 2 WALs that Barman has go up to 0/7000000"},
		{"a place behind the WALs of the timeline", `"target_lsn":"0/5000001","target_tli":1`, "20260101T000000", nil, "/target_lsn", "the 1 WALs that Barman has go up to 0/5000000"},
		{"a place before the end of the backup", `"target_lsn":"0/40000FF"`, "20260101T000000", nil, "/target_lsn", "ended at 0/4000100: choose an earlier"},
		{"no place", `"target_lsn":"4000100"`, "20260101T000000", nil, "/target_lsn", "two hexadecimal numbers"},
		{"a transaction", `"target_xid":733,"target_tli":"2"`, "20260101T000000", []string{"--target-xid=733", "--target-tli=2"}, "", ""},
		{"a transaction as text", `"target_xid":"733"`, "20260101T000000", []string{"--target-xid=733"}, "", ""},
		{"no transaction", `"target_xid":"7x"`, "20260101T000000", nil, "/target_xid", "whole number"},
		{"an empty transaction", `"target_xid":""`, "20260101T000000", nil, "/target_xid", "whole number"},
		{"a negative transaction", `"target_xid":-1`, "20260101T000000", nil, "/target_xid", "whole number"},
		{"a name", `"target_name":"before release 2"`, "20260101T000000", []string{"--target-name=before release 2"}, "", ""},
		{"a name of 63 characters", `"target_name":"` + strings.Repeat("ö", 63) + `"`, "20260101T000000", []string{"--target-name=" + strings.Repeat("ö", 63)}, "", ""},
		{"a name of 64", `"target_name":"` + strings.Repeat("ö", 64) + `"`, "20260101T000000", nil, "/target_name", "1 to 63"},
		{"an empty name", `"target_name":""`, "20260101T000000", nil, "/target_name", "1 to 63"},
		{"a name with a quote", `"target_name":"x' y"`, "20260101T000000", nil, "/target_name", "without '"},
		{"a name with a backslash", `"target_name":"x\\"`, "20260101T000000", nil, "/target_name", "without '"},
		{"at once", `"target_immediate":true`, "20260101T000000", []string{"--target-immediate"}, "", ""},
		{"a timeline that is not there", `"target_tli":3`, "20260101T000000", nil, "/target_tli", "up to timeline 2"},
		{"a timeline before the backup's", `"target_tli":1`, "20260102T000000", nil, "/target_tli", "is on timeline 2"},
		{"no timeline", `"target_tli":0`, "20260101T000000", nil, "/target_tli", "at least 1"},
		{"a word for a timeline", `"target_tli":"newest"`, "20260101T000000", nil, "/target_tli", "at least 1"},
		{"another action", `"target_immediate":true,"target_action":"stop"`, "20260101T000000", nil, "/target_action", "pause, promote or shutdown"},

		{"auto without a target", `"target_action":null`, "auto 20260102T000000", nil, "", ""},
		{"auto before a time", `"target_time":"2026-11-21T12:59:00Z"`, "auto 20260101T000000", []string{"--target-time=2026-11-21 12:59:00+00:00"}, "", ""},
		{"auto before a later time", `"target_time":"2026-11-21T13:00:30Z"`, "auto 20260102T000000", []string{"--target-time=2026-11-21 13:00:30+00:00"}, "", ""},
		{"auto before a place", `"target_lsn":"0/60000FF"`, "auto 20260101T000000", []string{"--target-lsn=0/60000FF"}, "", ""},
		{"auto on a timeline", `"target_tli":1`, "auto 20260101T000000", []string{"--target-tli=1"}, "", ""},
		{"auto before all backups", `"target_time":"2026-11-21T12:00:00Z"`, "auto ", nil, "/backup_id", "ended before the target"},
		{"auto before a name", `"target_name":"x"`, "auto ", nil, "/backup_id", "needs a target_time or target_lsn"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id, found := tc.backup, tc.backup
			if n, _ := fmt.Sscanf(tc.backup, "auto %s", &found); n == 1 || tc.backup == "auto " {
				id = "auto"
			}
			plan, err := b.plan(t, "recovery", "pg-one", `{"backup_id":"`+id+`","destination_directory":"/nonexistent/new","local":true,`+tc.members+`}`)
			if tc.pointer != "" {
				wantRefusal(t, err, tc.pointer, tc.says, false)
				return
			}
			want := slices.Concat([]string{"recover"}, tc.want, []string{"pg-one", found, "/nonexistent/new"})
			if err != nil || !slices.Equal(plan.Command[3:], want) {
				t.Errorf("Plan = %q, %v, want %q", plan.Command, err, want)
			}
		})
	}
	b.write(t, "home/pg-one/wals/xlog.db", b.text(t, "home/pg-one/wals/pg-one-xlog.db")) // as older Barmans call it
	if _, err := b.plan(t, "recovery", "fetching", `{"backup_id":"20260101T000000","destination_directory":"/nonexistent/new","local":true,"target_lsn":"0/9000000"}`); err != nil {
		t.Errorf("a place behind the WALs that the configuration has fetched = %v, want it accepted", err)
	}
	for _, no := range []string{`"get_wal":false`, `"no_get_wal":true`} {
		_, err := b.plan(t, "recovery", "fetching", `{"backup_id":"20260101T000000","destination_directory":"/nonexistent/new","local":true,"target_lsn":"0/9000000",`+no+`}`)
		wantRefusal(t, err, "/target_lsn", "go up to", false)
	}
}

// Barman takes in what waits for it before it restores.
func TestWALsThatWait(t *testing.T) {
	b := stopBox(t)
	b.write(t, "home/pg-one/incoming/000000020000000000000007", "x")
	b.write(t, "home/pg-one/streaming/000000020000000000000008", "x")
	b.write(t, "home/pg-one/streaming/000000020000000000000009.partial", "x")
	body := func(lsn, more string) string {
		return `{"backup_id":"latest","destination_directory":"/nonexistent/new","local":true,"target_lsn":"` + lsn + `"` + more + `}`
	}
	if _, err := b.plan(t, "recovery", "pg-one", body("0/9000000", "")); err != nil {
		t.Errorf("a place in a WAL that waits = %v, want it accepted", err)
	}
	_, err := b.plan(t, "recovery", "pg-one", body("0/9000001", ""))
	wantRefusal(t, err, "/target_lsn", "the 4 WALs that Barman has go up to 0/9000000", false)
}
