package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// course is how one thing went: the medians of the second quarter of the time, of the middle and of the last quarter. The first
// quarter is for warming up.
type course struct {
	What   string  `json:"what"`
	Early  float64 `json:"early"`
	Middle float64 `json:"middle"`
	Late   float64 `json:"late"`
	Most   float64 `json:"most"`
	Flat   bool    `json:"flat"`
}

// soakReport is what a soak came to, as it is written to a file.
type soakReport struct {
	Started  time.Time `json:"started"`
	Minutes  float64   `json:"minutes"`
	Machine  machine   `json:"machine"`
	Courses  []course  `json:"courses"`
	Requests []*tally  `json:"requests"`
	Log      int       `json:"log_errors"` // errors in barback's own log
	Weights  []weight  `json:"weights"`
}

// courses judges: what is in the last quarter a fifth more than in the second, and the slack besides, grows.
func courses(weights []weight) (all []course) {
	n := len(weights)
	if n < 8 {
		fail("the machine was too busy to look eight times")
	}
	for _, c := range []struct {
		what  string
		slack float64
		of    func(weight) float64
	}{
		{"memory of the process on the socket, MiB (PSS)", 1, func(w weight) float64 { return w.Socket }},
		{"memory of the largest process of mod_fcgid, MiB", 1, func(w weight) float64 { return w.Largest }},
		{"memory of all processes of mod_fcgid, MiB", 5, func(w weight) float64 { return w.Fcgid }},
		{"processes of mod_fcgid", 3, func(w weight) float64 { return float64(w.Processes) }},
		{"runners", 4, func(w weight) float64 { return float64(w.Runners) }},
		{"threads of all but runners", 10, func(w weight) float64 { return float64(w.Threads) }},
		{"descriptors of the process on the socket", 10, func(w weight) float64 { return float64(w.OfSocket) }},
		{"descriptors of all but runners", 20, func(w weight) float64 { return float64(w.Descriptors) }},
		{"zombies", 1, func(w weight) float64 { return float64(w.Zombies) }},
	} {
		of := func(from, to int) (s samples) {
			for _, w := range weights[from:to] {
				s = append(s, c.of(w))
			}
			return s
		}
		early, late := of(n/4, n/2).median(), of(3*n/4, n).median()
		all = append(all, course{c.what, early, of(3*n/8, 5*n/8).median(), late, of(0, n).percentile(100), late <= 1.2*early+c.slack})
	}
	return all
}

// report prints and writes what became of it, and says whether all is well.
func (s *soak) report(dir string) bool {
	r := soakReport{Started: s.started.UTC().Truncate(time.Second), Minutes: s.weights[len(s.weights)-1].Seconds / 60, Machine: s.machine(),
		Courses: courses(s.weights), Log: s.loggedErrors(), Weights: s.weights}
	r.Requests = slices.SortedFunc(maps.Values(s.asked), func(a, b *tally) int { return cmp.Or(cmp.Compare(a.Door, b.Door), cmp.Compare(a.Kind, b.Kind)) })
	text := r.markdown()
	fmt.Print(text)
	must(os.MkdirAll(dir, 0o755))
	base := filepath.Join(dir, "soak-"+r.Started.Format("20060102T150405"))
	must(os.WriteFile(base+".json", append(mustHave(json.MarshalIndent(r, "", "  ")), '\n'), 0o644))
	must(os.WriteFile(base+".md", []byte(text), 0o644))
	fmt.Printf("\n%s.json, .md\n", base)
	return r.sound()
}

func (r soakReport) sound() bool {
	return r.Log == 0 && !slices.ContainsFunc(r.Courses, func(c course) bool { return !c.Flat }) &&
		!slices.ContainsFunc(r.Requests, func(t *tally) bool { return t.Failed > 0 })
}

func (r soakReport) markdown() string {
	var b strings.Builder
	var rows [][]string
	fmt.Fprintf(&b, "# barback, soaked\n\n%s, %.1f minutes of mixed load through a socket and mod_fcgid. %s.\n\n", r.Started.Format("2006-01-02 15:04 MST"), r.Minutes, r.Machine)
	for _, c := range r.Courses {
		verdict := "flat"
		if !c.Flat {
			verdict = "GROWS"
		}
		rows = append(rows, []string{c.What, number(c.Early), number(c.Middle), number(c.Late), number(c.Most), verdict})
	}
	table(&b, []string{"what", "second quarter", "middle", "last quarter", "most", "verdict"}, rows)
	rows = nil
	for _, t := range r.Requests {
		rows = append(rows, []string{t.Door, t.Kind, fmt.Sprint(t.Done), fmt.Sprint(t.Failed), strings.ReplaceAll(strings.Join(t.Errors, "; "), "\n", " ")})
	}
	b.WriteString("\n")
	table(&b, []string{"door", "request", "times", "errors that no client caused", "the first of them"}, rows)
	fmt.Fprintf(&b, "\nErrors in barback's log: %d.\n", r.Log)
	return b.String()
}

// loggedErrors counts what barback itself called an error.
func (l *lab) loggedErrors() (n int) {
	logs, _ := filepath.Glob(l.dir + "/a.*/logs/*error.log")
	for _, file := range append(logs, l.dir+"/bench.log") {
		data, _ := os.ReadFile(file)
		text := strings.ReplaceAll(string(data), `\"`, `"`)
		n += strings.Count(text, `"level":"error"`) + strings.Count(text, `"level":"fatal"`) + strings.Count(text, "panic:")
	}
	return n
}
