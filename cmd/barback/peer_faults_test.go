package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// peerFaults are what goes wrong around pg-backup-api. What can hurt no door in its own way has a test
// elsewhere: whoever serves is killed or restarted in mid-run (TestServersDeath), limits and queues
// (TestConflicts, TestTwentyBackups), a clock that goes back (runner/operation, TestIDs…).
var peerFaults = []peerRow{
	{name: "r-ok-status-now", mark: contract, play: inProgress},
	{name: "nothing could be canceled", mark: defect, play: canceled},
	{name: "killed: after kill -9 of the runner it was in progress for ever", mark: defect, play: runnerKilled},
	{name: "killed: after kill -9 of barman it was in progress as long as an rsync lived", mark: defect, play: barmanKilled},
	{name: "two POSTs in one second were a 202 and a 500", mark: defect, play: twoInOneSecond},
	{name: "an operation of the instance and one of a server had the same ID", mark: defect, play: twoLevels},
	{name: "no-runner: it was a 500, and in progress for ever", mark: defect, play: noRunner},
	{name: "files: a damaged record made the whole list a 500", mark: defect, play: damaged},
	{name: "slowloris: half a request stopped all others", mark: defect, play: halfRequest},
	{name: "a runner that had ended stayed a zombie", mark: defect, play: noZombies},
	{name: "options set by config_update were not read", mark: defect, play: autoConf},
	{name: "a request wrote lines and lines to the journal", mark: defect, play: oneLogLine},
	{name: "config_update that Barman may not write: it keeps the changes for the next one", mark: free, play: cannotWrite},
}

// slowRecovery starts a restore that takes long, and returns its path when Barman copies.
func slowRecovery(p peer) string {
	p.t.Helper()
	dest := fmt.Sprintf("%s/restore/%d", p.l.dir, time.Now().UnixNano())
	path := p.post(backups, fmt.Sprintf(`{"backup_id":"latest","destination_directory":%q,"local":true,"bwlimit":1500}`, dest))
	p.t.Cleanup(func() { p.do("POST", path+"/cancel", "") })
	eventually(p.t, 20*time.Second, func() string { return "no rsync of " + path }, func() bool { return len(p.running(path, "rsync")) > 0 })
	return path
}

// running lists the processes of an operation whose program has that name.
func (p peer) running(path, program string) []int {
	var pids []int
	for pid, line := range processes(p.t, "BARBACK_OPERATION="+filepath.Base(path)) {
		if name, _, _ := strings.Cut(line, " "); filepath.Base(name) == program || program == "barman" && strings.Contains(line, " recover ") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// mustFail polls to the word FAILED and wants nothing of the operation to be left.
func (p peer) mustFail(path, state string) {
	p.t.Helper()
	if op := p.mustEnd(path, state); op["status"] != "FAILED" {
		p.t.Errorf("status = %v, want FAILED", op["status"])
	}
	mustBeGone(p.t, path)
}

func inProgress(p peer) {
	path := slowRecovery(p)
	if op := p.do("GET", path, "").json(p.t); op["status"] != "IN_PROGRESS" || op["operation_id"] != filepath.Base(path) {
		p.t.Errorf("status = %v of %v while Barman copies, want IN_PROGRESS of %s", op["status"], op["operation_id"], path)
	}
}

func canceled(p peer) {
	path := slowRecovery(p)
	if res := p.do("POST", path+"/cancel", ""); res.StatusCode != 202 {
		p.t.Errorf("cancel = %d %s, want 202", res.StatusCode, res.body)
	}
	p.mustFail(path, "canceled")
}

func runnerKilled(p peer) {
	path := slowRecovery(p)
	kill(p.t, int(p.record(p.l, path)["runner"].(map[string]any)["pid"].(float64)))
	p.mustFail(path, "interrupted")
}

func barmanKilled(p peer) {
	path := slowRecovery(p)
	barman := slices.Min(p.running(path, "barman")) // its worker processes came later
	kill(p.t, barman)
	p.mustFail(path, "failed")
}

func twoInOneSecond(p peer) {
	var paths []string
	for range 2 {
		paths = append(paths, p.post(backups, fmt.Sprintf(`{"backup_id":"latest","destination_directory":"%s/restore/%d","remote_ssh_command":"ssh -p %s nobody@127.0.0.1"}`,
			p.l.dir, time.Now().UnixNano(), p.words["$refusing"])))
	}
	if paths[0] == paths[1] {
		p.t.Errorf("both are %s, want two operations", paths[0])
	}
	for _, path := range paths {
		p.mustFail(path, "failed")
	}
}

func twoLevels(p peer) {
	server := p.post(backups, `{"type":"config_switch","reset":true}`)
	instance := p.post("/operations", `{"type":"config_update","changes":[{"scope":"server","server_name":"pg-one","description":"x"}]}`)
	if filepath.Base(server) == filepath.Base(instance) {
		p.t.Errorf("%s and %s have the same ID", server, instance)
	}
	p.mustEnd(server, "succeeded")
	p.mustEnd(instance, "succeeded")
}

// noRunner: the socket that runners come from is there, and nobody listens.
func noRunner(p peer) {
	socket := p.l.dir + "/run/runner.sock"
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		p.t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
	defer func() { _ = os.Remove(socket) }()
	peerRow{ask: post, body: `{"type":"config_switch","reset":true}`, code: 503, says: `"error":"503 Service Unavailable: `}.run(p)
}

// damaged puts a record that is not whole, an empty one, and a file that is none among the others.
func damaged(p peer) {
	list := p.do("GET", backups, "").body
	at := p.l.state + "/operations/"
	names := []string{"20200101T000000-aaaaaa", "20200101T000000-bbbbbb"}
	for i, text := range []string{`{"version":1,"id":"2020`, ``} {
		p.l.must(p.l.command("mkdir", at+names[i]))
		p.l.must(p.l.command("sh", "-c", `printf %s "$1" > "$2"`, "sh", text, at+names[i]+"/operation.json"))
	}
	p.l.must(p.l.command("touch", at+"a.json.json"))
	defer func() { p.l.must(p.l.command("rm", "-r", at+names[0], at+names[1], at+"a.json.json")) }()
	if res := p.do("GET", backups, ""); res.StatusCode != 200 || string(res.body) != string(list) {
		p.t.Errorf("the list is %d %s, want it as before: %s", res.StatusCode, res.body, list)
	}
	for _, name := range names {
		res := p.do("GET", backups+"/"+name, "")
		wellFormed(p.t, res)
		if res.StatusCode != 404 {
			p.t.Errorf("GET of a damaged record under a server = %d %s, want 404: nobody knows whose it was", res.StatusCode, res.body)
		}
		if op := p.do("GET", "/operations/"+name, "").json(p.t); op["status"] != "FAILED" {
			p.t.Errorf("GET /operations/%s, a damaged record, says %v, want FAILED", name, op["status"])
		}
	}
	if res := p.do("GET", "/operations", ""); res.StatusCode != 200 || !strings.Contains(string(res.body), p.words["$instance"]) {
		p.t.Errorf("GET /operations beside damaged records = %d %s, want the others listed", res.StatusCode, res.body)
	}
}

// halfRequest: one client sends half a request and waits; others are answered, and then it is, too.
func halfRequest(p peer) {
	conn := p.dial()
	body := `{"type":"nope"}`
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", backups, len(body), body[:5]); err != nil {
		p.t.Fatal(err)
	}
	for range 3 {
		if res := p.do("GET", "/status", ""); string(res.body) != `"OK"` {
			p.t.Errorf("GET /status beside half a request = %d %s, want OK", res.StatusCode, res.body)
		}
	}
	if _, err := io.WriteString(conn, body[5:]); err != nil {
		p.t.Fatal(err)
	}
	if res := p.read(conn); res.StatusCode != 400 || !strings.Contains(string(res.body), "/type") {
		p.t.Errorf("the half request, made whole = %d %s, want its own 400", res.StatusCode, res.body)
	}
}

func noZombies(p peer) {
	p.mustEnd(p.post(backups, `{"type":"config_switch","reset":true}`), "succeeded")
	eventually(p.t, 10*time.Second, func() string { return fmt.Sprintf("zombies of %v", p.l.programs(false)) }, func() bool {
		for _, parent := range p.l.programs(false) {
			out, _ := exec.Command("ps", "-o", "stat=", "--ppid", fmt.Sprint(parent)).Output() // #nosec G204
			if strings.Contains(string(out), "Z") {
				return false
			}
		}
		return true
	})
}

// autoConf: Barman keeps what no file of the administrator's holds in barman_home/.barman.auto.conf.
func autoConf(p peer) {
	p.mustEnd(p.post("/operations", `{"type":"config_update","changes":[{"scope":"model","model_name":"pg-two:new","model":"true","cluster":"pg-two","description":"new"}]}`), "succeeded")
	auto, err := os.ReadFile(p.l.env["LAB_BARMAN_HOME"] + "/.barman.auto.conf")
	if err != nil || !strings.Contains(string(auto), "[pg-two:new]") {
		p.t.Fatalf(".barman.auto.conf is %q (%v), want the new model there", auto, err)
	}
	p.mustEnd(p.post("/servers/pg-two/operations", `{"type":"config_switch","model_name":"pg-two:new"}`), "succeeded")
	if servers := string(p.do("GET", "/servers", "").body); !strings.Contains(servers, `"active_model":"pg-two:new"`) {
		p.t.Errorf("GET /servers = %s, want the model that is in .barman.auto.conf", servers)
	}
	if res := p.do("GET", "/diagnose", ""); !strings.Contains(string(res.body), `"pg-two:new"`) {
		p.t.Errorf("GET /diagnose = %d %.200s…, want the model that is in .barman.auto.conf", res.StatusCode, res.body)
	}
	p.mustEnd(p.post("/servers/pg-two/operations", `{"type":"config_switch","reset":true}`), "succeeded")
}

// oneLogLine: what barback itself logs about a request is one line, wherever the door puts it.
func oneLogLine(p peer) {
	id := fmt.Sprintf("one-log-line-%d", time.Now().UnixNano())
	p.do("GET", "/servers/pg-one/operations", "", "X-Request-Id", id)
	var lines []string
	eventually(p.t, 10*time.Second, func() string { return "no log has the request " + id }, func() bool {
		lines = nil
		logs, _ := filepath.Glob(p.l.dir + "/*.log")
		apache, _ := filepath.Glob(p.l.dir + "/apache-*/logs/*error.log")
		for _, path := range append(logs, apache...) {
			text, _ := os.ReadFile(path)
			for line := range strings.Lines(string(text)) {
				if strings.Contains(line, id) {
					lines = append(lines, line)
				}
			}
		}
		return len(lines) > 0
	})
	if len(lines) != 1 || strings.Contains(lines[0], "DEBUG") {
		p.t.Errorf("the log has %d lines about the request, want one:\n%s", len(lines), strings.Join(lines, ""))
	}
}

func cannotWrite(p peer) {
	file := p.l.dir + "/barman.d/pg-one.conf"
	before, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	change := func(text string) string {
		return p.post("/operations", fmt.Sprintf(`{"type":"config_update","changes":[{"scope":"server","server_name":"pg-one","description":%q}]}`, text))
	}
	if err := os.Chown(file, 0, 0); err != nil {
		p.t.Fatal(err)
	}
	op := p.wait(change("cannot be written"))
	p.l.must(exec.Command("chown", p.l.env["LAB_USER"], file)) // #nosec G204
	if detail := fmt.Sprint(op["error"]); op["status"] != "FAILED" || !strings.Contains(detail, "cfg_changes.queue") {
		p.t.Errorf("a change that cannot be written = %v %s, want FAILED, and where Barman keeps it", op["status"], detail)
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != string(before) {
		p.t.Errorf("%s was changed to %q (%v)", file, now, err)
	}
	p.mustEnd(change("x"), "succeeded")
}
