package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"barback/runner"
	"barback/runner/barman"
)

// What a finding may be.
const (
	fine    = "ok"
	warning = "warning"
	failed  = "error"
	skipped = "skipped" // not looked at, or nothing to look at
)

// finding is what is to be said about one thing. Its JSON form only ever grows.
type finding struct {
	Check  string `json:"check"` // the name of a probe
	Status string `json:"status"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"` // a command for root's shell that mends it, or shows what does
}

// probe looks at one thing and changes nothing.
type probe struct {
	name  string
	look  func(*exam) []finding
	root  bool // is done before root goes on as the owner of the state directory
	plain bool // needs no configuration
}

// probes is the table of all of them, in the order in which they are told.
var probes = []probe{
	{name: "configuration", look: (*exam).lookConfiguration},
	{name: "barman", look: (*exam).lookBarman},
	{name: "barman's configuration", look: (*exam).lookServers},
	{name: "user", look: (*exam).lookUser},
	{name: "state directory", look: (*exam).lookState},
	{name: "audit log", look: (*exam).lookAudit},
	{name: "sockets", look: (*exam).lookSockets, root: true},
	{name: "runner socket", look: (*exam).lookRunnerSocket},
	{name: "runner", look: (*exam).lookRunner},
	{name: "apache", look: (*exam).lookApache, root: true, plain: true},
	{name: "identities", look: (*exam).lookIdentities},
	{name: "anonymous", look: (*exam).lookAnonymous},
	{name: "tokens", look: (*exam).lookTokens},
	{name: "trusted proxy", look: (*exam).lookProxy},
	{name: "disk", look: (*exam).lookDisk},
	{name: "clock", look: (*exam).lookClock, plain: true},
	{name: "records", look: (*exam).lookRecords},
}

// patience is how long a probe may take. A Barman that hangs is ended after ten seconds (barman.Client.Version).
const patience = 20 * time.Second

// exam is one look at an installation.
type exam struct {
	cfg     config
	clients []*barman.Client
	rhel    bool            // the package names and commands are those of RHEL
	units   map[string]unit // of systemd's sockets; nil: no systemd
	apache  site
	barback string // how this program is called
	root    bool   // root called, who went on as the owner of the state directory
}

func newExam(cfg config) *exam {
	x := &exam{cfg: cfg, clients: cfg.barman().Clients, rhel: onRHEL(), barback: "barback", root: os.Geteuid() == 0}
	if self, err := runner.Program(); err == nil {
		if found, err := exec.LookPath("barback"); err != nil || found != self {
			x.barback = self
		}
	}
	return x
}

// onRHEL reports whether this host, or container, is one of Red Hat's family.
func onRHEL() bool {
	_, err := os.Stat("/etc/redhat-release")
	return err == nil
}

// doctor is "barback doctor".
func doctor(c *call) error {
	asJSON := c.flags.Bool("json", false, "print one JSON object: status, and for each finding check, status, detail and remedy")
	strict := c.flags.Bool("strict", false, "fail on warnings, too")
	apache := c.flags.String("apache", "", "`folder` of Apache's configuration, where it is neither /etc/apache2 nor /etc/httpd")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	cfg, configErr := loadConfig(*c.configPath)
	x := newExam(cfg)
	for _, c := range x.clients {
		c.Cache = "" // what Barman says now, and nothing is written
	}
	within(patience, func() { x.units = socketUnits() })
	within(patience, func() { x.apache = readApache(*apache) })
	found := map[string][]finding{}
	x.examine(found, configErr, true)
	owner := errors.New("it cannot be looked at: its file system does not answer")
	if configErr == nil {
		var err error
		if within(patience, func() { err = c.asOwner(cfg) }) {
			owner = err
		}
	}
	if configErr == nil && owner != nil {
		found["state directory"] = x.bad("state directory", "", "%s: %v", cfg.StateDir, owner)
	} else {
		x.examine(found, configErr, false)
	}
	var list []finding
	for _, p := range probes {
		list = append(list, found[p.name]...)
	}
	return c.report(list, *asJSON, *strict)
}

// examine does all probes for root, or all others, at once: each has its time, and one that hangs delays no other.
func (x *exam) examine(found map[string][]finding, configErr error, root bool) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, p := range probes {
		if p.root != root {
			continue
		}
		all.Go(func() {
			var list []finding
			switch {
			case configErr != nil && p.name == "configuration":
				list = x.brokenConfiguration(configErr)
			case configErr != nil && !p.plain:
				list = x.skip(p.name, "not looked at, as the configuration cannot be used")
			default:
				list = x.look(p)
			}
			mu.Lock()
			defer mu.Unlock()
			found[p.name] = list
		})
	}
	all.Wait()
}

// look does one probe, within its time.
func (x *exam) look(p probe) []finding {
	answer := make(chan []finding, 1)
	go func() { answer <- p.look(x) }()
	select {
	case list := <-answer:
		return list
	case <-time.After(patience):
		return x.bad(p.name, "", "the look at it did not come to an end within %v", patience)
	}
}

// within reports whether f came to its end in time. What f writes may be read only then.
func within(limit time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}

func (x *exam) ok(check, format string, args ...any) []finding {
	return []finding{{check, fine, fmt.Sprintf(format, args...), ""}}
}

func (x *exam) skip(check, format string, args ...any) []finding {
	return []finding{{check, skipped, fmt.Sprintf(format, args...), ""}}
}

func (x *exam) warn(check, remedy, format string, args ...any) []finding {
	return []finding{{check, warning, fmt.Sprintf(format, args...), remedy}}
}

func (x *exam) bad(check, remedy, format string, args ...any) []finding {
	return []finding{{check, failed, fmt.Sprintf(format, args...), remedy}}
}

// denied is an error, but for somebody who is neither root nor the owner of the state directory: he cannot know.
func (x *exam) denied(check, remedy string, err error) []finding {
	if errors.Is(err, fs.ErrPermission) && !x.isOwner() {
		return x.skip(check, "user %s may not look at it (%v): run this as root", caller(), err)
	}
	return x.bad(check, remedy, "%v", err)
}

// isOwner reports whether this process runs as barback does.
func (x *exam) isOwner() bool {
	st, err := os.Stat(x.cfg.StateDir)
	return x.root || err == nil && int(st.Sys().(*syscall.Stat_t).Uid) == os.Geteuid()
}

// debian takes the command that is right here.
func (x *exam) debian(debian, rhel string) string {
	if x.rhel {
		return rhel
	}
	return debian
}

// us is a command of ours that works on the installation that was looked at.
func (x *exam) us(words string) string {
	if x.cfg.path != "" && x.cfg.path != defaultConfig {
		words += " --config " + quote(x.cfg.path)
	}
	return x.barback + " " + words
}

func edit(path string) string { return "${EDITOR:-vi} " + quote(path) }

// quote makes one word of the shell of s.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("/._-:@%+=,", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// report prints the findings. They fail if one is an error; with strict also if one is a warning.
func (c *call) report(list []finding, asJSON, strict bool) error {
	count := map[string]int{}
	for _, f := range list {
		count[f.Status]++
	}
	status := fine
	switch {
	case count[failed] > 0:
		status = failed
	case count[warning] > 0:
		status = warning
	}
	if asJSON {
		enc := json.NewEncoder(c.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(map[string]any{"status": status, "barback": version(), "findings": list}); err != nil {
			return err
		}
	} else {
		printFindings(c.stdout, list)
	}
	if count[failed] > 0 || strict && count[warning] > 0 {
		return fmt.Errorf("%d errors, %d warnings", count[failed], count[warning])
	}
	return nil
}

func printFindings(w io.Writer, list []finding) {
	for _, f := range list {
		word := f.Status
		if slices.Contains([]string{failed, warning}, word) {
			word = strings.ToUpper(word)
		}
		_, _ = fmt.Fprintf(w, "%-8s %s: %s\n", word, f.Check, strings.ReplaceAll(f.Detail, "\n", "; "))
		if f.Remedy != "" {
			_, _ = fmt.Fprintf(w, "%-8s # %s\n", "", f.Remedy)
		}
	}
}
