package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const backups = "/servers/pg-one/operations"

// conflict fails if res is not a 409 that points to the operation at path.
func conflict(t testing.TB, res reply, path string) {
	t.Helper()
	if res.StatusCode != http.StatusConflict || res.json(t)["conflicting_operation"] != filepath.Base(path) {
		t.Errorf("%s %s = %d %s, want 409 with conflicting_operation %s", res.Request.Method, res.Request.URL.Path, res.StatusCode, res.body, filepath.Base(path))
	}
}

// TestConflicts: what would get in each other's way is refused, or waits if the client says so.
func TestConflicts(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	url, _ := l.serve()
	c := client{t, url}
	c.mustEnd(c.post(backups, `{"type":"backup","wait":true}`), "succeeded")

	first := c.post(backups, slowBackup)
	conflict(t, c.do("POST", backups, slowBackup), first)
	other := c.post("/servers/pg-two/operations", `{"type":"backup"}`) // another server
	queued := c.post(backups, `{"type":"backup","queue":true}`)
	copying(t, first)
	if op := c.do("GET", queued, "").json(t); op["state"] != "queued" {
		t.Errorf("a backup behind another one is %v, want queued", op["state"])
	}
	if op := c.mustEnd(first, "succeeded"); op["ended_at"] == nil {
		t.Error("ended_at is missing")
	}
	if op := c.mustEnd(queued, "succeeded"); fmt.Sprint(op["started_at"]) < fmt.Sprint(c.wait(first)["ended_at"]) {
		t.Errorf("the queued backup started at %v, before the first ended at %v", op["started_at"], c.wait(first)["ended_at"])
	}
	c.mustEnd(other, "succeeded")

	recovery := func(dest, more string) string {
		return fmt.Sprintf(`{"backup_id":"oldest","destination_directory":%q,"local":true%s}`, dest, more)
	}
	dest := l.dir + "/restored"
	path := c.post(backups, recovery(dest, ""))
	again := c.do("POST", backups, ` `+recovery(dest, ""))
	if again.StatusCode != 202 || again.json(t)["operation_id"] != filepath.Base(path) {
		t.Errorf("the same recovery again = %d %s, want 202 with the first's ID %s", again.StatusCode, again.body, filepath.Base(path))
	}
	conflict(t, c.do("POST", backups, recovery(dest, `,"overwrite":true`)), path)
	conflict(t, c.do("POST", backups, recovery(dest+"/below", "")), path)
	c.mustEnd(path, "succeeded")
	if next := c.post(backups, recovery(dest, "")); next == path {
		t.Error("the same recovery after the first has ended is the first, want a new one")
	}
}

// TestTwentyBackups: of 20 backups of one server at once one is made, and 19 are refused with its ID.
func TestTwentyBackups(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	url, _ := l.serve()
	c := client{t, url}
	var mu sync.Mutex
	var all sync.WaitGroup
	codes, pointers, path := map[int]int{}, map[any]int{}, ""
	for range 20 {
		all.Go(func() {
			res, err := c.try("POST", backups, slowBackup)
			if err != nil {
				t.Errorf("POST: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			codes[res.StatusCode]++
			if res.StatusCode == 202 {
				path = res.Header.Get("Location")
			} else {
				pointers[res.json(t)["conflicting_operation"]]++
			}
		})
	}
	all.Wait()
	if codes[202] != 1 || codes[409] != 19 || pointers[filepath.Base(path)] != 19 {
		t.Errorf("answers %v, pointing to %v; want one 202, and 19 × 409 pointing to %s", codes, pointers, filepath.Base(path))
	}
	c.mustEnd(path, "succeeded")
}

// TestIdempotencyKey: a request sent again with its key is the same operation, whoever is asked.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	url, _ := l.serve()
	second, _ := l.serve()
	var mu sync.Mutex
	var all sync.WaitGroup
	ids, codes := map[any]bool{}, map[int]int{}
	for i := range 100 {
		all.Go(func() {
			c := client{t, []string{url, second}[i%2]}
			res, err := c.try("POST", backups, `{"type":"backup","queue":true}`, "Idempotency-Key", `"nightly-1"`)
			if err != nil {
				t.Errorf("POST: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			codes[res.StatusCode]++
			if res.StatusCode == 202 {
				ids[res.json(t)["operation_id"]] = true
			}
		})
	}
	all.Wait()
	c := client{t, url}
	if list := c.do("GET", backups, "").json(t)["operations"].([]any); len(list) != 1 || len(ids) != 1 || codes[202]+codes[409] != 100 {
		t.Fatalf("100 POSTs with one key: answers %v, IDs %v, %d operations; want 202 or 409, and one operation", codes, ids, len(list))
	}
	res := c.do("POST", backups, `{"queue":true,"type":"backup"}`, "Idempotency-Key", "nightly-1")
	if res.StatusCode != 202 || !ids[res.json(t)["operation_id"]] || res.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("the same again = %d %s, want 202, the first's ID and Idempotent-Replayed", res.StatusCode, res.body)
	}
	if res := c.do("POST", backups, `{"type":"backup","jobs":2,"queue":true}`, "Idempotency-Key", "nightly-1"); res.StatusCode != 422 {
		t.Errorf("another body with the same key = %d %s, want 422", res.StatusCode, res.body)
	}
	if res := c.do("POST", backups, `{"type":"backup"}`, "Idempotency-Key", strings.Repeat("k", 300)); res.StatusCode != 400 {
		t.Errorf("a key of 300 characters = %d, want 400", res.StatusCode)
	}
	path := backups + "/" + fmt.Sprint(res.json(t)["operation_id"])
	c.mustEnd(path, "succeeded")
	if res := c.do("DELETE", path, ""); res.StatusCode != 204 {
		t.Errorf("DELETE of a finished operation = %d %s, want 204", res.StatusCode, res.body)
	}
	if res := c.do("POST", backups, `{"type":"backup","queue":true}`, "Idempotency-Key", "nightly-1"); res.StatusCode != 202 || ids[res.json(t)["operation_id"]] {
		t.Errorf("the key after its record is gone = %d %s, want a new operation", res.StatusCode, res.body)
	}
}

// TestCancel: a backup and a restore over ssh are canceled in mid-copy; nothing of them runs on,
// Barman's catalog says FAILED, and the next ones work.
func TestCancel(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	url, _ := l.serve()
	c := client{t, url}
	c.mustEnd(c.post(backups, `{"type":"backup","wait":true}`), "succeeded")

	t.Run("a backup in mid-copy", func(t *testing.T) {
		c := client{t, url}
		path := c.post(backups, slowBackup)
		copying(t, path)
		if res := c.do("DELETE", path, ""); res.StatusCode != 409 || res.json(t)["state"] != "running" {
			t.Errorf("DELETE of a running operation = %d %s, want 409 with its state", res.StatusCode, res.body)
		}
		if res := c.do("POST", path+"/retry", ""); res.StatusCode != 409 {
			t.Errorf("retry of a running operation = %d %s, want 409", res.StatusCode, res.body)
		}
		for range 2 { // asking again is no error
			if res := c.do("POST", path+"/cancel", ""); res.StatusCode != 202 && res.StatusCode != 409 {
				t.Errorf("cancel = %d %s, want 202", res.StatusCode, res.body)
			}
		}
		op := c.mustEnd(path, "canceled")
		mustBeGone(t, path)
		if op["status"] != "FAILED" || op["result"].(map[string]any)["backup_status"] != "FAILED" {
			t.Errorf("status = %v, result = %v, want FAILED, and FAILED in Barman's catalog", op["status"], op["result"])
		}
		if res := c.do("POST", path+"/cancel", "", "Prefer", "wait=1"); res.StatusCode != 202 {
			t.Errorf("cancel of a canceled operation = %d %s, want 202: it is what was asked for", res.StatusCode, res.body)
		}
		retried := c.do("POST", path+"/retry", "")
		if retried.StatusCode != 202 || retried.json(t)["operation_id"] == filepath.Base(path) {
			t.Fatalf("retry = %d %s, want 202 with a new ID", retried.StatusCode, retried.body)
		}
		next := retried.Header.Get("Location")
		c.mustEnd(next, "succeeded")
		if res := c.do("POST", next+"/cancel", ""); res.StatusCode != 409 || res.json(t)["state"] != "succeeded" {
			t.Errorf("cancel after the end = %d %s, want 409 with the state", res.StatusCode, res.body)
		}
	})
	t.Run("a queued one", func(t *testing.T) {
		c := client{t, url}
		first := c.post(backups, slowBackup)
		queued := c.post(backups, `{"type":"backup","queue":true}`)
		res := c.do("POST", queued+"/cancel", "")
		if res.StatusCode != 202 || res.json(t)["state"] != "canceled" {
			t.Errorf("cancel of a queued operation = %d %s, want it canceled at once", res.StatusCode, res.body)
		}
		eventually(t, 10*time.Second, func() string { return "the canceled operation's runner is still there" }, func() bool { return len(l.programs(true)) == 1 })
		c.mustEnd(first, "succeeded")
		if op := c.wait(queued); op["state"] != "canceled" || op["started_at"] != nil {
			t.Errorf("the canceled operation is %v, started at %v", op["state"], op["started_at"])
		}
	})
	t.Run("a restore over ssh in mid-copy", func(t *testing.T) {
		c := client{t, url}
		dest := l.dir + "/restored"
		body := fmt.Sprintf(`{"backup_id":"latest","destination_directory":%q,"remote_ssh_command":%q,"overwrite":true,"bwlimit":2000}`, dest, l.env["LAB_SSH_COMMAND"])
		path := c.post(backups, body)
		eventually(t, 20*time.Second, func() string { return "no file was copied yet" }, func() bool {
			_, err := os.Stat(dest + "/base")
			return err == nil
		})
		c.do("POST", path+"/cancel", "")
		c.mustEnd(path, "canceled")
		mustBeGone(t, path)
		eventually(t, 10*time.Second, func() string { return "an rsync still writes to " + dest }, func() bool {
			return l.command("pgrep", "-f", "rsync.*"+dest).Run() != nil
		})
	})
}

// TestLongPoll: Prefer: wait=N holds an answer back until the end, or for N seconds.
func TestLongPoll(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	for _, d := range doors[:2] {
		t.Run(d.name, func(t *testing.T) {
			l := *l
			l.t = t
			c := client{t, d.open(&l)}
			res := c.do("POST", backups, `{"type":"backup"}`, "Prefer", "respond-async, wait=20")
			if op := res.json(t); res.StatusCode != 202 || op["state"] != "succeeded" || res.Header.Get("Preference-Applied") != "wait=20" {
				t.Errorf("POST with wait=20 = %d %v, Preference-Applied %q; want the end of it", res.StatusCode, op["state"], res.Header.Get("Preference-Applied"))
			}
			path := c.post(backups, slowBackup)
			if op := c.do("GET", path, "", "Prefer", "wait=1").json(t); op["status"] != "IN_PROGRESS" {
				t.Errorf("GET with wait=1 of a longer backup says %v, want IN_PROGRESS", op["status"])
			}
			res = c.do("GET", path, "", "Prefer", "wait=1000")
			if op := res.json(t); op["state"] != "succeeded" || res.Header.Get("Preference-Applied") != "wait=25" {
				t.Errorf("GET with wait=1000 says %v, Preference-Applied %q; want succeeded, and the cap", op["state"], res.Header.Get("Preference-Applied"))
			}
		})
	}
}
