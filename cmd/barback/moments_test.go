package main

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// moments: the catalog is right one moment after a backup finished, while one is made, after it was killed, and after a deletion.
func (d *differential) moments() {
	t := d.t
	newest := func() map[string]any {
		list := d.c.do("GET", "/servers/pg-one/backups", "").json(t)["backups"].([]any)
		return list[0].(map[string]any)
	}
	before := newest()["backup_id"]
	d.l.must(d.l.barman("backup", "--wait", "pg-one"))
	made := newest()
	if made["backup_id"] == before || made["status"] != "DONE" || made["abandoned"] != false {
		t.Errorf("after a backup the newest is %v, want it", made)
	}
	d.backups("pg-one")

	slow := d.l.start(d.l.barman("backup", "--bwlimit", "1000", "pg-one"), "slow.log")
	at := func() string { return fmt.Sprint(newest()) }
	eventually(t, 30*time.Second, at, func() bool { return newest()["backup_id"] != made["backup_id"] && newest()["status"] == "STARTED" })
	if b := newest(); b["abandoned"] != false || b["advice"] != nil {
		t.Errorf("a backup that is being made is %v, want it not abandoned", b)
	}
	if err := syscall.Kill(-slow.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, at, func() bool { return newest()["abandoned"] == true })
	killed := newest()
	if advice, _ := killed["advice"].(string); killed["status"] != "STARTED" || !strings.Contains(advice, "delete this one") {
		t.Errorf("a backup whose Barman was killed is %v, want it abandoned, and what to do", killed)
	}
	d.backups("pg-one") // Barman has it as STARTED, too

	id := killed["backup_id"].(string)
	d.c.mustEnd(d.c.post("/servers/pg-one/operations", `{"type":"delete","backup_id":"`+id+`"}`), "succeeded")
	if now := newest(); now["backup_id"] != made["backup_id"] {
		t.Errorf("after its deletion the newest is %v, want %v", now, made["backup_id"])
	}
	d.l.must(d.l.barman("delete", "pg-one", made["backup_id"].(string)))
	if res := d.c.do("GET", "/servers/pg-one/backups/"+made["backup_id"].(string), ""); res.StatusCode != 404 || newest()["backup_id"] != before {
		t.Errorf("after a deletion it is still there: %d %s", res.StatusCode, res.body)
	}
}
