package handler

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"barback/handler/auth"
	"barback/runner/operation"
)

// info writes a backup.info of server pg-one, begun at 10:00 of a day of February 2026.
func (b *bench) info(day int, status string, more ...string) (id string) {
	b.t.Helper()
	id = fmt.Sprintf("202602%02dT100000", day)
	lines := append([]string{"begin_offset=40", fmt.Sprintf("begin_time=2026-02-%02d 10:00:00+00:00", day), fmt.Sprintf("begin_wal=0000000100000000000000%02X", day), "begin_xlog=0/16000028",
		"deduplicated_size=900", "end_offset=0", fmt.Sprintf("end_time=2026-02-%02d 10:00:03.5+00:00", day), fmt.Sprintf("end_wal=0000000100000000000000%02X", day), "end_xlog=0/17000000",
		"mode=postgres", "pgdata=/srv/pgdata", "size=1000", "status=" + status, "systemid=7710729705533760124", "tablespaces=[('ts', 16387, '/fast')]", "timeline=1", "version=150018"}, more...)
	b.write("home/pg-one/meta/"+id+"-backup.info", strings.Join(lines, "\n")+"\n")
	return id
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// backupsIn lists the IDs of an answered list, as they come.
func (r *reply) backupsIn() []string {
	r.t.Helper()
	r.want(200, "")
	list := []string{}
	for _, o := range r.json()["backups"].([]any) {
		list = append(list, o.(map[string]any)["backup_id"].(string))
	}
	return list
}

const benchBackup = "20260101T000000" // the one that every bench has

func TestBackups(t *testing.T) {
	b := newBench(t, nil)
	full := b.info(1, "DONE", "backup_name=nightly", "children_backup_ids=20260202T100000", "copy_stats={'copy_time': 2.5, 'number_of_workers': 2}", "cluster_size=1200")
	child := b.info(2, "DONE", "parent_backup_id="+full, "compression=gzip")
	failed := b.info(3, "FAILED", "error=failure copying files: password=topsecret")
	b.write("home/pg-one/meta/"+full+"-keep", "standalone")
	b.write("home/pg-one/wals/pg-one-xlog.db", "000000010000000000000001\t10\t1.5\tNone\n00000001000000000000000102.history\t5\t1\tNone\n000000010000000000000002\t20\t1.5\tgzip\n000000010000000000000003\t40\t1.5\tgzip\n000000020000000000000002\t80\t1\tNone\n")
	res := b.ask("GET", "/servers/pg-one/backups", "")
	if got := res.backupsIn(); !slices.Equal(got, []string{failed, child, full, benchBackup}) {
		t.Errorf("the list is %q, want the newest first", got)
	}
	for _, says := range []string{
		`"backup_id":"20260201T100000","backup_name":"nightly","backup_type":"full","status":"DONE","begin_time":"2026-02-01T10:00:00Z","end_time":"2026-02-01T10:00:03.5Z","size_bytes":1010,"wal_size_bytes":20,"keep":"standalone","retention_status":null,"parent_backup_id":null,"children_backup_ids":["20260202T100000"],"error":null,"abandoned":false,"damaged":false`,
		`"backup_type":"incremental","status":"DONE","begin_time":"2026-02-02T10:00:00Z","end_time":"2026-02-02T10:00:03.5Z","size_bytes":1020,"wal_size_bytes":40,"keep":null,"retention_status":null,"parent_backup_id":"20260201T100000"`,
		`"status":"FAILED","begin_time":"2026-02-03T10:00:00Z","end_time":"2026-02-03T10:00:03.5Z","size_bytes":null,"wal_size_bytes":null,`,
		`"error":"failure copying files: password=*REDACTED*`,
	} {
		res.want(200, says)
	}
	res = b.ask("GET", "/servers/pg-one/backups/nightly", "")
	for _, says := range []string{
		`"server":"pg-one","system_id":"7710729705533760124","postgresql_version":150018,"pgdata_directory":"/srv/pgdata","cluster_size_bytes":1200,"tablespaces":[{"name":"ts","location":"/fast","oid":16387}]`,
		`"base_backup_information":{"backup_method":"postgres","compression":null,"encryption":null,"backup_size_bytes":900,"backup_size_with_wals_bytes":910,"wal_size_bytes":10,"wal_num":1,"timeline":1,`,
		`"copy_time_seconds":2.5,"number_of_workers":2}`, `"previous_backup":"20260101T000000","next_backup":"20260202T100000","root_backup_id":null,"chain_size":null`,
		`"wal_information":{"no_of_files":1,"disk_usage_bytes":20,"last_available":"000000010000000000000002"}`,
	} {
		res.want(200, says)
	}
	b.ask("GET", "/servers/pg-one/backups/latest", "").want(200, `"root_backup_id":"20260201T100000","chain_size":2`)
	for word, want := range map[string]string{"latest": child, "last": child, "oldest": benchBackup, "first": benchBackup, "latest-full": full, "last-full": full, "last-failed": failed, failed: failed, "nightly": full} {
		b.ask("GET", "/servers/pg-one/backups/"+word, "").want(200, `{"backup_id":"`+want+`"`)
	}
	for _, word := range []string{"nope", "20260209T100000", "LATEST"} {
		b.ask("GET", "/servers/pg-one/backups/"+word, "").want(404, "Backup '"+word+"' does not exist")
	}
	for _, path := range []string{"", "/backups", "/backups/latest"} {
		b.ask("GET", "/servers/nope"+path, "").want(404, "Server 'nope' does not exist")
		b.ask("GET", "/servers/pg-one"+path, "", "Accept", "text/html").want(406, "application/json")
	}
	b.ask("GET", "/servers/pg-two/backups", "").want(200, `{"backups":[]}`)
	b.ask("GET", "/servers/pg-two/backups/latest", "").want(404, "Backup 'latest' does not exist")
}

func TestFiltersAndPagesOfBackups(t *testing.T) {
	b := newBench(t, nil)
	var all []string
	for day := 1; day <= 6; day++ {
		all = append([]string{b.info(day, []string{"DONE", "FAILED", "WAITING_FOR_WALS"}[day%3])}, all...)
	}
	all = append(all, benchBackup) // it does not say when it was begun
	for query, want := range map[string][]string{
		"":                                       all,
		"status=FAILED":                          {all[2], all[5]},
		"status=FAILED,WAITING_FOR_WALS":         {all[1], all[2], all[4], all[5]},
		"since=2026-02-05T10:00:00Z":             {all[0], all[1], benchBackup},
		"since=2026-02-05T11:00:00%2B01:00":      {all[0], all[1], benchBackup},
		"until=2026-02-02T10:00:00Z":             {all[5], benchBackup},
		"status=DAMAGED":                         {},
		"status=DONE&since=2026-02-05T10:00:00Z": {all[0], benchBackup},
		"unknown=1":                              all,
	} {
		if got := b.ask("GET", "/servers/pg-one/backups?"+query, "").backupsIn(); !slices.Equal(got, want) {
			t.Errorf("GET backups?%s = %q, want %q", query, got, want)
		}
	}
	for query, pointer := range map[string]string{"status=done": "?status", "since=2026-02-01": "?since", "until=x": "?until", "page_size=0": "?page_size", "page_token=xyz": "?page_token", "page_token=Li4vLi4vZXRj": "?page_token"} {
		b.ask("GET", "/servers/pg-one/backups?"+query, "").want(400, `"pointer":"`+pointer+`"`)
	}
	var got []string
	target, pages := "/servers/pg-one/backups?page_size=3", 0
	for ; target != ""; pages++ {
		res := b.ask("GET", target, "")
		got = append(got, res.backupsIn()...)
		token, more := res.json()["next_page_token"].(string)
		link := res.Header().Get("Link")
		target, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
		if more != (link != "") || more && !strings.Contains(target, "page_token="+url.QueryEscape(token)) {
			t.Errorf("next_page_token is %q and Link %q, want both or none", token, link)
		}
		b.info(20+pages, "DONE") // what comes does not shift the pages
	}
	if pages != 3 || !slices.Equal(got, all) {
		t.Errorf("%d pages list %q, want 3 with %q", pages, got, all)
	}
}

// The answer is that of the files at this moment, whatever a client or we knew of them before.
func TestBackupsAreRightAtOnce(t *testing.T) {
	b := newBench(t, nil)
	id := b.info(1, "STARTED")
	path := filepath.Join(b.dir, "home/pg-one/meta", id+"-backup.info")
	tags := map[string]bool{}
	look := func(status string) {
		t.Helper()
		for _, target := range []string{"/servers/pg-one/backups", "/servers/pg-one/backups/" + id} {
			res := b.ask("GET", target, "")
			res.want(200, `"status":"`+status+`"`)
			tag := res.Header().Get("ETag")
			if tag == "" || tags[tag] {
				t.Errorf("the ETag of %s is %q, want another one than before", target, tag)
			}
			tags[tag] = true
			b.ask("GET", target, "", "If-None-Match", tag).want(304, "")
		}
	}
	look("STARTED")
	b.info(1, "DONE")
	look("DONE")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(data)/2)); err != nil {
		t.Fatal(err)
	}
	look("DAMAGED")
	res := b.ask("GET", "/servers/pg-one/backups/"+id, "")
	res.want(200, `"damaged":true,"advice":"Barman cannot`)
	res.want(200, id+"-backup.info is damaged")
	b.ask("GET", "/servers/pg-one/backups/latest", "").want(200, benchBackup)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	b.ask("GET", "/servers/pg-one/backups/"+id, "").want(404, "does not exist")
	if got := b.ask("GET", "/servers/pg-one/backups", "").backupsIn(); !slices.Equal(got, []string{benchBackup}) {
		t.Errorf("the list after a deletion is %q, want %s alone", got, benchBackup)
	}
}

func TestAbandonedBackups(t *testing.T) {
	b := newBench(t, nil)
	old, id := b.info(1, "STARTED"), b.info(2, "STARTED")
	abandoned := func(want ...string) {
		t.Helper()
		got := []string{}
		for _, o := range b.ask("GET", "/servers/pg-one/backups", "").json()["backups"].([]any) {
			if o := o.(map[string]any); o["abandoned"] == true {
				got = append(got, o["backup_id"].(string))
				if advice, _ := o["advice"].(string); !strings.Contains(advice, "delete") {
					t.Errorf("the advice is %q, want what can be done", advice)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("abandoned are %q, want %q", got, want)
		}
	}
	abandoned(id, old)
	b.write("home/.pg-one-backup.lock", "1\n")
	abandoned(id, old)
	lock, err := os.Open(filepath.Join(b.dir, "home/.pg-one-backup.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	abandoned(old)
	_ = lock.Close()
	abandoned(id, old)
	b.info(2, "FAILED")
	abandoned(old)
}

func TestServer(t *testing.T) {
	b := newBench(t, nil)
	b.write("barman.conf", "[barman]\nbarman_home = "+b.dir+"/home\ncompression = gzip\n[pg-one]\ndescription = One\nconninfo = host=a password=topsecret\nparallel_jobs = 1\n[pg-one:fast]\nmodel = true\ncluster = pg-one\nparallel_jobs = 4\n")
	b.write("home/pg-one/.active-model.auto", "pg-one:fast")
	op, _ := b.operation(operation.Operation{Type: "backup", Server: "pg-one"})
	res := b.ask("GET", "/servers/pg-one", "")
	res.want(200, `"settings":{"conninfo":"host=a password=*REDACTED*","description":"One","parallel_jobs":"4"}`)
	res.want(200, `"name":"pg-one","description":"One","active":true,"disabled":true,"faults":["ssh_command is missing"],"passive":false,"active_model":"pg-one:fast","last_backup":{"backup_id":"20260101T000000","status":"DONE"`)
	res.want(200, `"running_operations":["`+string(op.ID)+`"]`)
	res.want(200, `"links":{"backups":"/servers/pg-one/backups","check":"/servers/pg-one/check","operations":"/servers/pg-one/operations","replication_status":"/servers/pg-one/replication-status","self":"/servers/pg-one","status":"/servers/pg-one/status","wals":"/servers/pg-one/wals"}`)
	b.ask("GET", "/servers/pg-one", "", "If-None-Match", res.Header().Get("ETag")).want(304, "")
	if list := b.ask("GET", "/servers", ""); strings.Contains(list.Body.String(), "settings") {
		t.Errorf("GET /servers = %s, want no settings there", list.Body)
	}
}

func TestWhoMaySeeBackups(t *testing.T) {
	b := newBench(t, nil)
	b.allow(map[string]auth.Lists{"ann": {Access: []string{"servers/pg-one"}, Deny: []string{"servers/*/backups"}}, "bob": {Access: []string{"servers/*/backups"}}})
	for _, tc := range []struct {
		user, path string
		want       int
	}{
		{"ann", "/servers/pg-one", 200}, {"ann", "/servers/pg-two", 403}, {"ann", "/servers/pg-one/backups", 403}, {"ann", "/servers/pg-one/backups/latest", 403}, {"ann", "/servers/nope/backups", 403},
		{"bob", "/servers/pg-one", 403}, {"bob", "/servers/pg-one/backups", 200}, {"bob", "/servers/pg-one/backups/latest", 200}, {"bob", "/servers/nope/backups", 404},
		{"", "/servers/pg-one", 401}, {"", "/servers/pg-one/backups", 401}, {"", "/servers/nope/backups", 401},
	} {
		b.askAs(tc.user, "GET", tc.path, "").want(tc.want, "")
	}
	b.askAs("ann", "GET", "/servers/pg-one", "").want(200, `"last_backup":null`)
}
