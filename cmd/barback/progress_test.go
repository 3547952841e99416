package main

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// TestProgress: while a real backup and a real restore copy, progress is seen to move, and it is
// honest about what is not known. BARBACK_TORTURE=1 takes a database of more than 1 GB.
func TestProgress(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	url, _ := l.serve()
	c := client{t, url}
	rows, limit := 30_000, 8_000
	if os.Getenv("BARBACK_TORTURE") != "" {
		rows, limit = 1_100_000, 150_000
	}
	l.psql(l.env["LAB_PG_SOCKET"], fmt.Sprintf("CREATE TABLE big AS SELECT string_agg(md5((i*31+j)::text), '') AS x FROM generate_series(1, %d) i, generate_series(1, 32) j GROUP BY i", rows))

	first := watchProgress(t, c, fmt.Sprintf(`{"type":"backup","wait":true,"bwlimit":%d}`, limit))
	if p := first[len(first)-1]; p["percent"] != nil || p["bytes_total"] != nil || p["estimate"] != true {
		t.Errorf("progress of a first backup = %v, want no percent: there is nothing to compare with", p)
	}
	second := watchProgress(t, c, fmt.Sprintf(`{"type":"backup","bwlimit":%d}`, limit))
	if p := second[len(second)-1]; p["percent"] == nil || p["percent"].(float64) <= 0 || p["percent"].(float64) > 99 {
		t.Errorf("progress of a second backup = %v, want a percentage below 100", p)
	}
	dest := l.dir + "/restored"
	watchProgress(t, c, fmt.Sprintf(`{"backup_id":"oldest","destination_directory":%q,"remote_ssh_command":%q,"bwlimit":%d}`, dest, l.env["LAB_SSH_COMMAND"], limit))
	watchProgress(t, c, fmt.Sprintf(`{"backup_id":"oldest","destination_directory":%q,"local":true,"bwlimit":%d}`, dest+"-local", limit))
}

// watchProgress runs an operation to its end and returns what its progress said: at least two looks
// with a growing number of bytes, and none that goes back.
func watchProgress(t *testing.T, c client, body string) []map[string]any {
	t.Helper()
	path := c.post(backups, body)
	var seen []map[string]any
	eventually(t, 5*time.Minute, func() string { return fmt.Sprint(seen) }, func() bool {
		op := c.do("GET", path, "").json(t)
		p, _ := op["progress"].(map[string]any)
		if op["status"] != "IN_PROGRESS" {
			if p != nil {
				t.Errorf("progress after the end = %v, want null", p)
			}
			return true
		}
		if p != nil && (len(seen) == 0 || seen[len(seen)-1]["at"] != p["at"]) {
			seen = append(seen, p)
		}
		return false
	})
	c.mustEnd(path, "succeeded")
	grown := 0
	for i := 1; i < len(seen); i++ {
		now, before := seen[i]["bytes_done"].(float64), seen[i-1]["bytes_done"].(float64)
		if now > before {
			grown++
		}
		if now < before*0.9 {
			t.Errorf("%s: progress went back from %v to %v bytes", body, before, now)
		}
	}
	if grown < 2 {
		t.Fatalf("%s: progress grew %d times, want it seen moving: %v", body, grown, seen)
	}
	t.Logf("%s: %d looks, the last %v", body, len(seen), seen[len(seen)-1])
	return seen
}
