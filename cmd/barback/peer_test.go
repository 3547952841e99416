package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// mark says what a client of pg-backup-api 2.2.0 makes of one of its answers.
type mark string

const (
	contract mark = "contract" // a client may rely on it: barback answers the same
	defect   mark = "defect"   // barback answers better
	free     mark = "free"     // an accident of its framework, which no client relies on
	extended mark = "extended" // it was an error that no client waits for, and is a part of barback's API; why stands at the row
)

// peerRow is one thing that pg-backup-api answers, and what barback answers in its place. In ask,
// body and header the words of peer.words are replaced ($dest, $ssh, …).
type peerRow struct {
	name   string
	mark   mark
	ask    string // method and path; or a whole request, where no client library sends such a one
	body   string
	header []string
	code   int    // 0: refused by Apache or by barback, as a 400 or a 404
	says   string // what the body holds
	// ends is the word that polling an accepted operation comes to, prints what Barman said.
	ends, prints string
	slow         bool                    // the end takes seconds
	holds        func(p peer, res reply) // what else is wanted of the answer
	play         func(p peer)            // instead of one request: a story
}

// peer is one run of the rows: through one door of a lab.
type peer struct {
	client
	l     *lab
	words map[string]string
}

// peerDoors are the doors of a lab, all open at once.
func peerDoors(t *testing.T, l *lab, which []door) map[string]string {
	urls := map[string]string{}
	for _, d := range which {
		urls[d.name] = d.open(l)
	}
	return urls
}

// TestPeer holds barback to what pg-backup-api answers, row by row, through every door, with the
// Barman that the rows were observed on. The newest Barman and the one before models are asked, too.
func TestPeer(t *testing.T) {
	t.Parallel()
	last := doors[len(doors)-1:]
	for _, suite := range []struct {
		barman string
		doors  []door
		rows   []peerSection
	}{
		{"trixie", doors, []peerSection{{"paths", peerPaths}, {"lists", peerLists}, {"bodies", peerBodies}, {"operations", peerOperations}, {"clients", peerClients}, {"faults", peerFaults}}},
		{"sid", last, []peerSection{{"paths", peerPaths}, {"lists", peerLists}, {"bodies", peerBodies}, {"operations", peerOperations}}},
		{"bookworm", doors, []peerSection{{"before models", peerBeforeModels}}},
	} {
		t.Run(suite.barman, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, suite.barman)
			l.configure(`idle_timeout = "10m"`) // all doors are open for as long as the rows of the others take
			urls := peerDoors(t, l, suite.doors)
			words := map[string]string{"$ssh": l.env["LAB_SSH_COMMAND"], "$proof": l.dir + "/proof", "$refusing": fmt.Sprint(freePort(t))}
			for _, d := range suite.doors {
				t.Run("before any operation/"+d.name, func(t *testing.T) { peerEmpty.run(peer{client{t, urls[d.name]}, l, words}) })
			}
			peerHistory(peer{client{t, urls[suite.doors[0].name]}, l, words})
			for _, d := range suite.doors {
				for _, s := range suite.rows {
					t.Run(d.name+"/"+s.name, func(t *testing.T) { s.run(t, peer{client{t, urls[d.name]}, l, words}) })
				}
			}
			if made, _ := os.ReadDir(l.env["LAB_BARMAN_HOME"] + "/pg-off"); len(made) > 0 {
				t.Errorf("asking for operations made %v in Barman's home, want nothing", made)
			}
		})
	}
}

type peerSection struct {
	name string
	rows []peerRow
}

// run runs the rows one after the other; the ends that take long are awaited behind them all.
func (s peerSection) run(t *testing.T, p peer) {
	var slow []func(t *testing.T)
	for _, row := range s.rows {
		name := row.name + " (" + string(row.mark) + ")"
		t.Run(name, func(t *testing.T) {
			p.t = t
			res := row.run(p)
			if row.ends != "" && row.slow {
				slow = append(slow, func(t *testing.T) {
					t.Run(name+" and its end", func(t *testing.T) { p.t = t; p.ended(res, row.ends, row.prints) })
				})
			} else if row.ends != "" {
				p.ended(res, row.ends, row.prints)
			}
		})
	}
	for _, end := range slow {
		end(t)
	}
}

// peerHistory does what the rows about finished operations and about backups need: a DONE backup with
// a name where Barman knows names, a FAILED one, and an operation of each level that has ended.
func peerHistory(p peer) {
	p.t.Helper()
	named := ""
	if p.l.env["LAB_BARMAN_SUITE"] != "bookworm" {
		named = `,"name":"nightly"`
	}
	done := p.mustEnd(p.post(backups, `{"type":"backup","wait":true`+named+`}`), "succeeded")
	p.words["$backup"] = done["result"].(map[string]any)["backup_id"].(string)
	p.words["$done"] = done["operation_id"].(string)
	if named == "" {
		oldModel := []byte("[pg-old:model]\ndescription = no model before 3.10\ncluster = pg-old\nmodel = true\n")
		if err := os.WriteFile(p.l.dir+"/barman.d/pg-old.conf", oldModel, 0o644); err != nil { // #nosec G306 -- user barman reads it
			p.t.Fatal(err)
		}
		return
	}
	failed := p.post(backups, slowBackup)
	copying(p.t, failed)
	p.do("POST", failed+"/cancel", "")
	p.words["$failed"] = p.mustEnd(failed, "canceled")["operation_id"].(string)
	instance := p.mustEnd(p.post("/operations", `{"type":"config_update","changes":[{"scope":"server","server_name":"pg-one","description":"x"}]}`), "succeeded")
	p.words["$instance"] = instance["operation_id"].(string)

	home := p.l.env["LAB_BARMAN_HOME"] + "/pg-two/"
	p.l.must(p.l.command("mkdir", "-p", home+"jobs", home+"output"))
	for id, success := range map[string]bool{"20261121T203109": true, "20261121T203110": false} {
		job := `{"type": "config_switch", "model_name": "pg-two:x", "operation_type": "config_switch", "start_time": "2026-11-21T20:31:09.393193"`
		end := fmt.Sprintf(`, "success": %t, "end_time": "2026-11-21T20:31:12.144203", "output": "gr\\u00f6\\u00dfer\\n"}`, success)
		for name, text := range map[string]string{"jobs/": job + "}", "output/": job + end} {
			p.l.must(p.l.command("sh", "-c", `printf %s "$1" > "$2"`, "sh", text, home+name+id+".json"))
		}
	}
	p.l.must(p.l.command(p.l.bin, "import", "pg-backup-api", "--config", p.l.config))
}

// run asks and compares.
func (row peerRow) run(p peer) (res reply) {
	p.t.Helper()
	if row.play != nil {
		row.play(p)
		return res
	}
	p.words["$dest"] = fmt.Sprintf("%s/restore/%d", p.l.dir, time.Now().UnixNano())
	records := p.records()
	res = p.ask(row)
	switch {
	case row.code == 0 && res.StatusCode != 400 && res.StatusCode != 404:
		p.t.Errorf("%s = %d %s\nwant 400 or 404", row.ask, res.StatusCode, res.body)
	case row.code != 0 && res.StatusCode != row.code, !strings.Contains(string(res.body), row.says):
		p.t.Errorf("%s %s = %d %s\nwant %d with %q", row.ask, row.body, res.StatusCode, res.body, row.code, row.says)
	}
	if len(res.body) > 0 && !json.Valid(res.body) {
		p.t.Errorf("%s = %q (%s), want JSON: clients parse every body", row.ask, res.body, res.Header.Get("Content-Type"))
	}
	if res.StatusCode >= 400 && len(res.body) > 0 {
		wellFormed(p.t, res)
	}
	if row.holds != nil {
		row.holds(p, res)
	}
	if now := p.records(); row.ends == "" && !slices.Equal(now, records) {
		p.t.Errorf("%s %s changed the records from %q to %q, want nothing changed", row.ask, row.body, records, now)
	}
	return res
}

// fill puts the words of this run into a text.
func (p peer) fill(text string) string {
	for _, name := range []string{"$backup", "$done", "$failed", "$instance", "$dest", "$ssh", "$proof", "$refusing"} {
		text = strings.ReplaceAll(text, name, p.words[name])
	}
	return text
}

// records lists the records and drafts that there are.
func (p peer) records() []string {
	return slices.DeleteFunc(p.l.records(), func(path string) bool { return strings.Contains(path, "/active/") }) // these go a moment after the end
}

// ask sends a row's request.
func (p peer) ask(row peerRow) reply {
	p.t.Helper()
	if strings.Contains(row.ask, "\r\n") {
		return p.raw(row.ask)
	}
	method, path, _ := strings.Cut(p.fill(row.ask), " ")
	return p.do(method, path, p.fill(row.body), row.header...)
}

// raw sends bytes as they are.
func (p peer) raw(request string) reply {
	p.t.Helper()
	conn := p.dial()
	if _, err := io.WriteString(conn, request); err != nil {
		p.t.Fatal(err)
	}
	res := p.read(conn)
	if method, rest, ok := strings.Cut(request, " "); ok {
		path, _, _ := strings.Cut(rest, " ")
		path, _, _ = strings.Cut(path, "?")
		res.Request.URL.Path = path
		documented(p.t, method, path, res)
	}
	return res
}

func (p peer) dial() net.Conn {
	p.t.Helper()
	u, err := url.Parse(p.url)
	if err != nil {
		p.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// read is the answer that comes over a connection.
func (p peer) read(conn net.Conn) reply {
	p.t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	res.Request = &http.Request{Method: "raw", URL: &url.URL{}} // raw knows the path
	return reply{res, body}
}

// ended polls as old clients do, who know three words, and wants the operation to come to one of them.
func (p peer) ended(res reply, word, prints string) {
	p.t.Helper()
	id, _ := res.json(p.t)["operation_id"].(string)
	if res.StatusCode != http.StatusAccepted || id == "" {
		p.t.Fatalf("the answer is %d %s, want 202 and an operation_id", res.StatusCode, res.body)
	}
	path := res.Header.Get("Location")
	op := p.wait(path)
	if op["status"] != word {
		p.t.Errorf("%s ended as %v, want %s\n%v", path, op["status"], word, op)
	}
	if output := p.do("GET", path+"/output", "").body; !strings.Contains(string(output), prints) {
		p.t.Errorf("the output of %s is %q, want %q in it", path, output, prints)
	}
}
