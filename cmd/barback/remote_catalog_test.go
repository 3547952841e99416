package main

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// untold is what Barman's JSON does not tell, and a native reading of its files does. All else has to be the same.
var untold = map[string]string{
	"list begin_time": "", "list error": "", "list children_backup_ids": "", "list retention_status": "printed as -, which may mean two things",
	"list abandoned": "", "one abandoned": "", "list advice": "", "one advice": "",
	"one begin_time": "of one that did not end", "one pgdata_directory": "of one that did not end", "one postgresql_version": "of one that did not end",
	"one cluster_size_bytes": "of one that did not end", "one base_backup_information.compression": "before 3.20",
	"list backup_type": "before 3.13", "one backup_type": "before 3.13", "one system_id": "before 3.13",
	"one base_backup_information.backup_method": "before 3.13", "one base_backup_information.wal_num": "before 3.13",
	"one retention_status": "of incremental ones",
}

// TestRemoteCatalogIsTheNative compares what barback reads of Barman's files with what it is told over ssh, field by field.
func TestRemoteCatalogIsTheNative(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, suite)
			l.makeBackups()
			l.imitateBackups()
			near, _ := l.serve()
			far, _ := l.overSSH().serve()
			c := &catalogs{t: t, near: client{t, near}, far: client{t, far}, same: map[string]int{}, missing: map[string]int{}}
			c.servers()
			for _, server := range []string{"pg-one", "pg-two", "pg-off"} {
				c.backups(server)
			}
			t.Logf("the same with Barman %s: %s", l.env["LAB_BARMAN_VERSION"], strings.Join(slices.Sorted(maps.Keys(c.same)), ", "))
			t.Logf("missing over ssh at least once: %s", strings.Join(slices.Sorted(maps.Keys(c.missing)), ", "))
			if len(c.same) < 40 {
				t.Errorf("%d fields were the same, want 40 at least", len(c.same))
			}
		})
	}
}

type catalogs struct {
	t             testing.TB
	near, far     client
	same, missing map[string]int
}

// both asks both for a path.
func (c *catalogs) both(path string) (near, far map[string]any) {
	c.t.Helper()
	var got [2]map[string]any
	for i, from := range []client{c.near, c.far} {
		res := from.do("GET", path, "")
		if res.StatusCode != 200 {
			c.t.Fatalf("GET %s = %d %s", path, res.StatusCode, res.body)
		}
		got[i] = res.json(c.t)
	}
	return got[0], got[1]
}

// compare wants both to be equal, but for what the far one leaves out and may leave out.
func (c *catalogs) compare(kind, at string, near, far any) {
	c.t.Helper()
	n, ok := near.(map[string]any)
	f, both := far.(map[string]any)
	if ok && both {
		for name := range maps.Keys(n) {
			field := strings.TrimPrefix(at+"."+name, ".")
			if name != "links" && name != "running_operations" {
				c.compare(kind, field, n[name], f[name])
			}
		}
		for name := range maps.Keys(f) {
			if _, there := n[name]; !there {
				c.t.Errorf("%s %s.%s is there over ssh alone: %v", kind, at, name, f[name])
			}
		}
		return
	}
	field := kind + " " + at
	_, may := untold[field]
	if t, err := time.Parse(time.RFC3339, fmt.Sprint(near)); err == nil {
		near = t.UTC().Format(time.RFC3339Nano)
	}
	if t, err := time.Parse(time.RFC3339, fmt.Sprint(far)); err == nil {
		far = t.UTC().Format(time.RFC3339Nano)
	}
	switch empty := far == nil || fmt.Sprint(far) == "[]"; {
	case reflect.DeepEqual(near, far):
		c.same[field]++
	case may && empty:
		c.missing[field]++
	default:
		c.t.Errorf("%s is %v in Barman's files, and %v over ssh", field, near, far)
	}
}

func (c *catalogs) servers() {
	near, far := c.both("/servers")
	n, f := near["servers"].([]any), far["servers"].([]any)
	if len(n) != len(f) {
		c.t.Fatalf("there are %d servers, over ssh %d", len(n), len(f))
	}
	for i := range n {
		n, f := n[i].(map[string]any), f[i].(map[string]any)
		if end, ok := n["last_backup"].(map[string]any); ok && end["end_time"] != nil {
			end["end_time"] = fraction.ReplaceAllString(end["end_time"].(string), "") // a list of Barman's has seconds
		}
		c.compare("server", "", n, f)
	}
	_, one := c.both("/servers/pg-one")
	if settings, _ := one["settings"].(map[string]any); settings["compression"] != "gzip" || settings["backup_method"] != "postgres" {
		c.t.Errorf("the settings of pg-one over ssh are %v", settings)
	}
}

var fraction = regexp.MustCompile(`\.\d+`)

func (c *catalogs) backups(server string) {
	near, far := c.both("/servers/" + server + "/backups")
	n, f := near["backups"].([]any), far["backups"].([]any)
	if len(n) != len(f) {
		c.t.Fatalf("%s has %d backups, over ssh %d", server, len(n), len(f))
	}
	for i := range n {
		n, f := n[i].(map[string]any), f[i].(map[string]any)
		if end, ok := n["end_time"].(string); ok && f["end_time"] != nil {
			n["end_time"] = fraction.ReplaceAllString(end, "")
			f["end_time"] = fraction.ReplaceAllString(f["end_time"].(string), "") // of incremental ones more is asked
		}
		c.compare("list", "", n, f)
		near, far := c.both("/servers/" + server + "/backups/" + n["backup_id"].(string))
		c.compare("one", "", near, far)
	}
	for _, word := range []string{"latest", "oldest", "last-failed", "latest-full"} {
		near, far := c.near.do("GET", "/servers/"+server+"/backups/"+word, ""), c.far.do("GET", "/servers/"+server+"/backups/"+word, "")
		if near.StatusCode != far.StatusCode || near.StatusCode == 200 && near.json(c.t)["backup_id"] != far.json(c.t)["backup_id"] {
			c.t.Errorf("%s of %s is %d %.60s, over ssh %d %.60s", word, server, near.StatusCode, near.body, far.StatusCode, far.body)
		}
	}
}
