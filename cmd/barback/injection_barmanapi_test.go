package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"barback/runner/barman/manual"
)

// needed are values that barmanapi's dialect accepts for parameters that a command has to have.
var needed = map[string]string{
	"server_name": "pg-a", "backup_id": yardBackup, "destination_directory": "/nonexistent/x", "model_name": "m", "wal_name": "000000010000000000000001",
	"json_changes": `[{"scope":"server","server_name":"pg-a","compression":"gzip"}]`, "begin_wal": "000000010000000000000001", "end_wal": "000000010000000000000002", "target": "full",
	"process_id": "1", "task": "receive-wal",
}

// TestInjectionInCommands sends the values of the corpora in every parameter of every command of each Barman of this machine, by
// barmanapi's dialect, and odd parameters. What is started is that command, and each of its arguments is one of its parameters.
func TestInjectionInCommands(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(tortureSeed(t), 0))
	found, _ := filepath.Glob(filepath.Join(cmp.Or(os.Getenv("BARBACK_LAB_CACHE"), "/var/cache/barback-lab"), "barman", "*", "barman"))
	if len(found) == 0 {
		t.Skip("there is no Barman on this machine: packaging/lab/install")
	}
	n := newNoting(t)
	boss := n.boss()
	n.must(n.command(n.bin, "user", "allow", "--config", n.config, "victim", "version"))
	for _, real := range found {
		t.Run(filepath.Base(filepath.Dir(real)), func(t *testing.T) {
			n.write("bin/barman", strings.Replace(notingBarman, "case $* in\n", "case $* in *--help) exec "+real+" \"$@\" ;; esac\ncase $* in\n", 1), 0o755)
			c := client{t, n.url}
			var all struct {
				List map[string]struct {
					Required []string
					Optional map[string]struct{ Values string }
				}
			}
			if err := json.Unmarshal(c.do("GET", "/barman/reload", "", "Authorization", boss).body, &all); err != nil || len(all.List) < 20 {
				t.Fatalf("/barman/reload has %d commands (%v)", len(all.List), err)
			}
			n.ran()
			words := slices.Concat(n.corpus("words"), n.corpus("commands"))
			for name, command := range all.List {
				known := []string{}
				parameters := slices.Clone(command.Required)
				for p := range command.Optional {
					parameters = append(parameters, p)
				}
				for _, p := range parameters {
					known = append(known, manual.Key(p), "no"+manual.Key(p))
				}
				base := url.Values{}
				for _, p := range command.Required {
					base.Set(p, cmp.Or(needed[p], "x"))
				}
				send := func(values url.Values, odd string) {
					t.Helper()
					method := []string{"GET", "POST"}[rnd.IntN(2)]
					n.dialect(c, method, name, values, odd, known, boss)
				}
				for _, p := range parameters {
					for range times(1, 200) {
						values, odd := url.Values{}, words[rnd.IntN(len(words))]
						for k, v := range base {
							values[k] = v
						}
						values.Set(p, odd)
						send(values, odd)
					}
				}
				for range times(1, 100) { // a parameter's name
					values := url.Values{words[rnd.IntN(len(words))]: {"x"}}
					for k, v := range base {
						values[k] = v
					}
					send(values, "")
				}
			}
			for range times(20, 1000) { // a command's name, a ticket, a month
				w := url.PathEscape(words[rnd.IntN(len(words))])
				for _, path := range []string{"/barman/" + w, "/barman/" + w + "/help", "/barman/check/" + w, "/history/result?ticket=" + url.QueryEscape(w), "/history/list?past=" + url.QueryEscape(w), "/history/list?token=" + url.QueryEscape(w), "/auth/user/change?username=" + url.QueryEscape(w), "/auth/user/change?username=victim&access=" + url.QueryEscape(w)} {
					n.quiet(c, "GET", path, "", boss)
				}
			}
		})
	}
	n.environs()
	n.logs()
}

// dialect sends one command and looks at what ran.
func (n *noting) dialect(c client, method, name string, values url.Values, odd string, known []string, who string) {
	c.t.Helper()
	target, body := "/barman/"+name+"?"+values.Encode(), ""
	header := []string{"Authorization", who}
	if method == "POST" {
		target, body, header = "/barman/"+name, values.Encode(), append(header, "Content-Type", "application/x-www-form-urlencoded")
	}
	res := c.do(method, target, body, header...)
	what := fmt.Sprintf("%s %s %q = %d %s", method, name, values, res.StatusCode, res.body)
	if res.StatusCode >= 500 && res.StatusCode != http.StatusNotImplemented {
		c.t.Errorf("%s, want no failure of the server", what)
	}
	var said struct{ List json.RawMessage }
	var ticket struct{ Ticket string }
	if json.Unmarshal(res.body, &said) == nil && json.Unmarshal(said.List, &ticket) == nil && ticket.Ticket != "" {
		eventually(c.t, 30*time.Second, func() string { return what + " does not end" }, func() bool {
			return !strings.Contains(string(c.do("GET", "/history/result?ticket="+ticket.Ticket, "", "Authorization", who).body), "-99")
		})
	}
	barman, ssh := n.ran()
	if res.StatusCode != http.StatusOK && (len(barman) > 0 || len(ssh) > 0) || len(barman) > 1 || len(ssh) > 0 && values.Get("remote-ssh-command") == "" {
		c.t.Errorf("%s started Barman %q and ssh %q", what, barman, ssh)
	}
	for _, args := range barman {
		places := 0
		for i, arg := range args {
			flag, _, _ := strings.Cut(arg, "=")
			switch {
			case i == 0 && arg == "-c", i == 1 && arg == n.env["LAB_BARMAN_CONF"], i == 2 && !strings.HasPrefix(arg, "-"):
			case i > 2 && !strings.HasPrefix(arg, "-"):
				places++
			case i > 2 && strings.HasPrefix(arg, "--") && slices.Contains(known, manual.Key(strings.TrimPrefix(flag, "--"))):
			default:
				c.t.Errorf("%s started Barman with %q, of which %q is no parameter", what, args, arg)
			}
		}
		if places > len(values) {
			c.t.Errorf("%s started Barman with %q: more arguments than parameters", what, args)
		}
		if plain := odd != "" && strings.Trim(odd, "abcdefghijklmnopqrstuvwxyz0123456789") == ""; plain && !slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, odd) }) && !slices.Contains([]string{"true", "false", "latest", "all", "auto"}, odd) {
			c.t.Errorf("%s started Barman with %q, without the value", what, args)
		}
	}
	n.alive(c.t, what)
}
