package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// overSSH has the lab's barback reach its Barman through the lab's sshd.
func (l *lab) overSSH() *lab {
	l.t.Helper()
	return l.withBarman("ssh", fmt.Sprintf("command = %q\nconfig = %q\nssh = %q\n", l.env["LAB_BARMAN"], l.env["LAB_BARMAN_CONF"], l.env["LAB_SSH_COMMAND"]))
}

// withBarman is the lab with a barback of its own, whose [barman] is what it says.
func (l *lab) withBarman(name, options string) *lab {
	l.t.Helper()
	of := *l
	of.config, of.state = l.dir+"/"+name+".toml", l.dir+"/"+name+".state"
	text := fmt.Sprintf("state_dir = %q\n[runner]\nsocket = %q\nstop_grace = \"20s\"\n[audit]\nfile = %q\n[barman]\n%s", of.state, l.dir+"/run/none", l.dir+"/"+name+".audit", options)
	if err := os.WriteFile(of.config, []byte(text), 0o644); err != nil { // #nosec G306 -- user barman reads it
		l.t.Fatal(err)
	}
	l.must(l.command("mkdir", "-m", "750", of.state))
	l.must(l.command(l.bin, "user", "allow", "--config", of.config, "anonymous", "*"))
	return &of
}

// TestRemoteBarman has the main jobs done by a Barman behind a real sshd, and looks at what runs there after each kind of death.
func TestRemoteBarman(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "sid"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, suite).overSSH()
			url, _ := l.serve()
			for _, s := range []struct {
				name string
				do   func(*remoteLab)
			}{
				{"a backup", (*remoteLab).backup},
				{"recoveries", (*remoteLab).recoveries},
				{"a cancel", (*remoteLab).canceled},
				{"the runner is killed", (*remoteLab).runnerKilled},
				{"ssh is killed", func(r *remoteLab) { r.lost((*remoteLab).killSSH) }},
				{"the session of sshd is killed", func(r *remoteLab) { r.lost((*remoteLab).killSession) }},
				{"a deletion", (*remoteLab).deletion},
				{"all of sshd is killed", (*remoteLab).hostGone},
			} {
				t.Run(s.name, func(t *testing.T) {
					of := *l
					of.t = t
					s.do(&remoteLab{&of, client{t, url}})
				})
			}
		})
	}
}

type remoteLab struct {
	*lab
	client
}

func (r *remoteLab) done(body string) map[string]any {
	r.client.t.Helper()
	return r.mustEnd(r.post("/servers/pg-one/operations", body), "succeeded")
}

// madeBackup is the backup that an operation is about.
func madeBackup(op map[string]any) (id, status string) {
	made, _ := op["result"].(map[string]any)
	id, _ = made["backup_id"].(string)
	status, _ = made["backup_status"].(string)
	return id, status
}

func (r *remoteLab) backup() {
	op := r.done(`{"type":"backup","wait":true}`)
	if id, status := madeBackup(op); status != "DONE" || op["exit_code"] != 0.0 {
		r.client.t.Errorf("the backup %q is %q with exit code %v, want DONE with 0", id, status, op["exit_code"])
	}
	if out := string(r.do("GET", op["output"].(map[string]any)["href"].(string), "").body); !strings.Contains(out, "Starting backup") || strings.Contains(out, "barback-host") {
		r.client.t.Errorf("the output is %q, want Barman's words and nothing else", out)
	}
	r.done(`{"type":"check_backup","backup_id":"latest"}`)
	if got := r.do("GET", "/version", "").json(r.client.t)["barman"]; got != r.env["LAB_BARMAN_VERSION"] {
		r.client.t.Errorf("GET /version: barman = %v, want %s", got, r.env["LAB_BARMAN_VERSION"])
	}
	if res := r.do("GET", "/diagnose", ""); res.StatusCode != 200 || res.json(r.client.t)["servers"] == nil {
		r.client.t.Errorf("GET /diagnose = %d %.300s, want Barman's object", res.StatusCode, res.body)
	}
	if res := r.do("GET", "/status?deep=1", ""); res.StatusCode != 200 || !strings.Contains(string(res.body), "over ssh -p") {
		r.client.t.Errorf("GET /status?deep=1 = %d %s, want 200 and how Barman is reached", res.StatusCode, res.body)
	}
	if res := r.do("GET", "/servers/pg-none", ""); res.StatusCode != 404 {
		r.client.t.Errorf("GET of a server that is not there = %d %s, want 404", res.StatusCode, res.body)
	}
}

// recoveries: what is looked at before is looked at on the Barman host.
func (r *remoteLab) recoveries() {
	t := r.client.t
	body := func(dest, more string) string {
		return fmt.Sprintf(`{"backup_id":"latest","destination_directory":%q,%s}`, dest, more)
	}
	dest := r.dir + "/restore/there"
	dry := r.do("POST", "/servers/pg-one/operations?dry_run=1", body(dest, `"local":true`)).json(t)
	if dry["ok"] != true || !strings.Contains(fmt.Sprint(dry["checks"]), "are free there") {
		t.Errorf("the dry run says %v, want ok, and how much room there is", dry)
	}
	r.done(body(dest, `"local":true`))
	if _, err := os.Stat(dest + "/PG_VERSION"); err != nil {
		t.Errorf("after the recovery: %v", err)
	}
	again := r.mustEnd(r.post("/servers/pg-one/operations", body(dest, `"local":true`)), "failed")
	if !strings.Contains(fmt.Sprint(again["error"]), "is not empty") {
		t.Errorf("a recovery into a full folder of the Barman host = %v, want a refusal", again["error"])
	}
	inside := r.do("POST", "/servers/pg-one/operations", body(r.env["LAB_BARMAN_HOME"]+"/x", `"local":true`))
	if inside.StatusCode != 422 {
		t.Errorf("a recovery into Barman's home = %d %s, want 422", inside.StatusCode, inside.body)
	}
	link := r.dir + "/restore/link"
	r.must(r.command("ln", "-s", r.env["LAB_BARMAN_HOME"], link))
	if res := r.do("POST", "/servers/pg-one/operations", body(link+"/x", `"local":true`)); res.StatusCode != 422 {
		t.Errorf("a recovery through a link into Barman's home = %d %s, want 422", res.StatusCode, res.body)
	}
	onward := r.dir + "/restore/onward"
	r.done(body(onward, fmt.Sprintf(`"remote_ssh_command":%q`, r.env["LAB_SSH_COMMAND"])))
	if _, err := os.Stat(onward + "/PG_VERSION"); err != nil {
		t.Errorf("after the recovery from the Barman host to another: %v", err)
	}
	again = r.mustEnd(r.post("/servers/pg-one/operations", body(onward, fmt.Sprintf(`"remote_ssh_command":%q`, r.env["LAB_SSH_COMMAND"]))), "failed")
	if !strings.Contains(fmt.Sprint(again["error"]), "is not empty") {
		t.Errorf("a recovery into a full folder behind the Barman host = %v, want a refusal", again["error"])
	}
}

// begun is a backup in mid-copy.
func (r *remoteLab) begun() (path string) {
	r.client.t.Helper()
	path = r.post("/servers/pg-one/operations", slowBackup)
	copying(r.client.t, path)
	return path
}

// ended wants nothing of an operation to run, and Barman to have noted its end.
func (r *remoteLab) ended(path, state, says string) {
	t := r.client.t
	t.Helper()
	op := r.mustEnd(path, state)
	if !strings.Contains(fmt.Sprint(op["error"]), says) {
		t.Errorf("the operation ended with %v, want %q", op["error"], says)
	}
	mustBeGone(t, path)
	list, _ := r.do("GET", "/servers/pg-one/backups", "").json(t)["backups"].([]any)
	if len(list) == 0 || list[0].(map[string]any)["status"] != "FAILED" {
		t.Errorf("Barman's catalog begins with %v, want FAILED", list)
	}
}

func (r *remoteLab) canceled() {
	path := r.begun()
	if res := r.do("POST", path+"/cancel", ""); res.StatusCode != 202 {
		r.client.t.Fatalf("POST cancel = %d %s", res.StatusCode, res.body)
	}
	r.ended(path, "canceled", "nothing of it runs any more")
}

func (r *remoteLab) runnerKilled() {
	path := r.begun()
	kill(r.client.t, r.programs(true)...)
	r.ended(path, "interrupted", "was killed or crashed")
}

// lost breaks the connection of a backup off.
func (r *remoteLab) lost(breakOff func(r *remoteLab, path string)) {
	path := r.begun()
	breakOff(r, path)
	r.ended(path, "interrupted", "the connection to the Barman host was lost")
}

func (r *remoteLab) killSSH(path string) {
	for pid, line := range processes(r.client.t, "BARBACK_OPERATION="+filepath.Base(path)) {
		if strings.HasPrefix(line, "ssh ") && strings.Contains(line, "barback-host") {
			kill(r.client.t, pid)
			return
		}
	}
	r.client.t.Fatal("there is no ssh to kill")
}

// killSession kills the sshd that an operation works below.
func (r *remoteLab) killSession(path string) {
	t := r.client.t
	for pid := range processes(t, "BARBACK_OPERATION="+filepath.Base(path)) {
		for ; pid > 1; pid = parent(t, pid) {
			if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(name) == "sshd\n" {
				kill(t, pid)
				return
			}
		}
	}
	t.Fatal("there is no session of sshd to kill")
}

func (r *remoteLab) deletion() {
	t := r.client.t
	id, _ := madeBackup(r.done(`{"type":"backup","wait":true}`))
	if id == "" {
		t.Fatal("the backup has no ID")
	}
	r.done(fmt.Sprintf(`{"type":"keep","target":"full","backup_id":%q}`, id))
	if res := r.do("POST", "/servers/pg-one/operations", fmt.Sprintf(`{"type":"delete","backup_id":%q}`, id)); res.StatusCode != 422 || !strings.Contains(string(res.body), "is kept (full)") {
		t.Errorf("a deletion of a kept backup = %d %s, want 422", res.StatusCode, res.body)
	}
	r.done(fmt.Sprintf(`{"type":"keep","target":"release","backup_id":%q}`, id))
	r.done(fmt.Sprintf(`{"type":"delete","backup_id":%q}`, id))
	if res := r.do("GET", "/servers/pg-one/backups/"+id, ""); res.StatusCode != 404 {
		t.Errorf("the backup after its deletion = %d %s, want 404", res.StatusCode, res.body)
	}
}

// hostGone: a host that cannot be asked is no reason to say what nobody knows, be the runner alive or not.
func (r *remoteLab) hostGone() {
	t := r.client.t
	orphan := r.post("/servers/pg-one/operations", fmt.Sprintf(`{"type":"recovery","backup_id":"latest","destination_directory":%q,"local":true,"bwlimit":500}`, r.dir+"/restore/gone"))
	eventually(t, 20*time.Second, func() string { return "no recovery at work" }, func() bool {
		for _, line := range processes(t, "BARBACK_OPERATION="+filepath.Base(orphan)) {
			if strings.Contains(line, "rsync") {
				return true
			}
		}
		return false
	})
	runner := r.programs(true)
	path := r.begun()
	pid, err := os.ReadFile(r.dir + "/ssh/pid")
	if err != nil {
		t.Fatal(err)
	}
	master, _ := strconv.Atoi(strings.TrimSpace(string(pid)))
	kill(t, master)
	r.killSession(path)
	kill(t, runner...)
	r.killSession(orphan)
	for _, path := range []string{path, orphan} {
		eventually(t, 60*time.Second, func() string { return "Barman lives on without anybody who could see it" }, func() bool {
			return len(processes(t, "BARBACK_OPERATION="+filepath.Base(path))) == 0
		})
	}
	unknown := func(path string) {
		t.Helper()
		op := r.mustEnd(path, "interrupted")
		if !strings.Contains(fmt.Sprint(op["error"]), "is not known") || !strings.Contains(fmt.Sprint(op["error"]), "Connection refused") {
			t.Errorf("the operation of a host that is gone ended with %v, want that nobody knows, and why", op["error"])
		}
	}
	unknown(orphan)
	if op := r.do("GET", path, "").json(t); op["state"] != "running" {
		t.Errorf("while the runner asks for the host it is %v, want running", op["state"])
	}
	if res := r.do("POST", path+"/cancel", ""); res.StatusCode != 202 {
		t.Errorf("POST cancel = %d %s", res.StatusCode, res.body)
	}
	unknown(path) // not "canceled": who knows
	for _, path := range []string{"/servers", "/version", "/servers/pg-one/backups", "/diagnose"} {
		if res := r.do("GET", path, ""); path != "/version" && res.StatusCode != 502 || res.StatusCode != 200 && res.StatusCode != 502 {
			t.Errorf("GET %s of a host that is gone = %d %s, want 502", path, res.StatusCode, res.body)
		}
	}
	if res := r.do("GET", "/servers/pg-one/operations", ""); res.StatusCode != 200 {
		t.Errorf("the operations of a host that is gone = %d %s, want 200: they are known here", res.StatusCode, res.body)
	}
}
