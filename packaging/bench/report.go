package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// report is what one run came to, as it is written to a file.
type report struct {
	Started  time.Time `json:"started"`
	Seconds  int       `json:"seconds"`
	Options  string    `json:"options,omitempty"` // what made it less than a whole run
	Machine  machine   `json:"machine"`
	Figures  []figure  `json:"figures"`
	Failures []failure `json:"failures,omitempty"`
	Steady   []steady  `json:"steady"`
	Growth   []growth  `json:"growth"`
}

// failure is a group of measurements that could not be taken to its end.
type failure struct {
	Group string `json:"group"`
	Error string `json:"error"`
}

// steady is something that is the same in each round, and how much it varied all the same: that is the machine's doing.
type steady struct {
	What   string  `json:"what"`
	Unit   string  `json:"unit"`
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

func (s steady) String() string {
	return fmt.Sprintf("%s %s … %s %s (%.0f %% of the median)", s.What, number(s.Min), number(s.Max), s.Unit, 100*(s.Max-s.Min)/s.Median)
}

type machine struct {
	Barback string `json:"barback"`
	Barman  string `json:"barman"`
	Apache  string `json:"apache"`
	System  string `json:"system"`
	Kernel  string `json:"kernel"`
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	Memory  string `json:"memory"`
	Disk    string `json:"disk"`
	Load    string `json:"load"` // of the minute before: what else the machine did
}

func (m machine) String() string {
	return fmt.Sprintf("%s; %d × %s, %s of memory, %s; %s, %s; Barman %s, %s; load average before: %s",
		m.Barback, m.CPUs, m.CPU, m.Memory, m.Disk, m.System, m.Kernel, m.Barman, m.Apache, m.Load)
}

// figure is one line of the table.
type figure struct {
	ID      string  `json:"id"`
	What    string  `json:"what"`
	Budget  budget  `json:"budget"`
	Unit    string  `json:"unit"`
	Min     float64 `json:"min"`
	Median  float64 `json:"median"`
	Max     float64 `json:"max"`
	Samples int     `json:"samples"`
	Behind  string  `json:"behind,omitempty"` // the figures behind a ratio
}

// budget is what a median may be; of a line without one the figure is for comparison.
type budget struct {
	Least *float64 `json:"least,omitempty"`
	Most  *float64 `json:"most,omitempty"`
}

var free budget

func atLeast(x float64) budget { return budget{Least: &x} }
func atMost(x float64) budget  { return budget{Most: &x} }

func (b budget) String() string {
	switch {
	case b.Least != nil:
		return "≥ " + number(*b.Least)
	case b.Most != nil:
		return "≤ " + number(*b.Most)
	}
	return "–"
}

func (f figure) met() bool {
	return (f.Budget.Least == nil || f.Median >= *f.Budget.Least) && (f.Budget.Most == nil || f.Median <= *f.Budget.Most)
}

func (f figure) verdict() string {
	switch {
	case f.Budget == free:
		return "–"
	case f.met():
		return "met"
	}
	return "NOT MET"
}

// figure notes a line of the table.
func (r *report) figure(id, what string, b budget, unit string, s samples, behind string) {
	if s = s.finite(); len(s) == 0 {
		fail("%s: nothing was measured", id)
	}
	r.Figures = append(r.Figures, figure{id, what, b, unit, s.percentile(0), s.median(), s.percentile(100), len(s), behind})
}

// same notes what has no reason to vary.
func (r *report) same(what, unit string, s samples) {
	if s = s.finite(); len(s) > 1 {
		r.Steady = append(r.Steady, steady{what, unit, s.percentile(0), s.median(), s.percentile(100)})
	}
}

func (r *report) met() bool {
	if len(r.Failures) > 0 {
		return false
	}
	for _, f := range r.Figures {
		if !f.met() {
			return false
		}
	}
	return true
}

func (f figure) cells() []string {
	return []string{f.What, strings.TrimSpace(f.Budget.String() + " " + f.Unit), number(f.Min), number(f.Median), number(f.Max), fmt.Sprint(f.Samples), f.Behind, f.verdict()}
}

var columns = []string{"what", "budget", "min", "median", "max", "n", "behind it (ours / theirs)", "verdict"}

// rows are the lines of the table; a group that failed has one, too.
func (r *report) rows() [][]string {
	var rows [][]string
	for _, f := range r.Figures {
		rows = append(rows, f.cells())
	}
	for _, f := range r.Failures {
		said, _, _ := strings.Cut(f.Error, "\n")
		rows = append(rows, []string{"the group " + f.Group, "", "", "", "", "", said, "FAILED"})
	}
	return rows
}

// noise says how much the machine itself varied.
func (r *report) noise() string {
	if len(r.Steady) == 0 {
		return ""
	}
	var said []string
	for _, s := range r.Steady {
		said = append(said, s.String())
	}
	return "A verdict is about the median. What varies by itself on this machine, from round to round: " + strings.Join(said, "; ") + "."
}

// title says when, on what, and whether that was all.
func (r *report) title() string {
	partly := ""
	if r.Options != "" {
		partly = " (not a whole run: " + r.Options + ")"
	}
	return fmt.Sprintf("%s, in %d s%s. %s.", r.Started.Format("2006-01-02 15:04 MST"), r.Seconds, partly, r.Machine)
}

// text is the table for a terminal.
func (r *report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.title())
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.Join(columns, "\t"))
	for _, cells := range r.rows() {
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush()
	fmt.Fprintf(&b, "\n%s\n", r.noise())
	for _, g := range r.Growth {
		b.WriteString("\n" + g.text())
	}
	return b.String()
}

// markdown is all of it for people.
func (r *report) markdown(plot string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# barback, measured\n\n%s\n\n", r.title())
	table(&b, columns, r.rows())
	fmt.Fprintf(&b, "\n%s\n\n## How cost grows\n\n![plots](%s)\n\n", r.noise(), plot)
	for _, g := range r.Growth {
		fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(strings.TrimSpace(g.text()), "\n", "\n    "))
	}
	return b.String()
}

func table(b *strings.Builder, columns []string, rows [][]string) {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, cells := range rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
}

// write puts the report into a folder, three times; a whole run is the latest, too.
func (r *report) write(dir string) (base string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	names := []string{r.Started.Format("20060102T150405")}
	if r.Options == "" {
		names = append(names, "latest")
	}
	for _, name := range names {
		for end, text := range map[string]string{".json": string(data) + "\n", ".md": r.markdown(name + ".svg"), ".svg": plots(r.Growth)} {
			if err := os.WriteFile(filepath.Join(dir, name+end), []byte(text), 0o644); err != nil {
				return "", err
			}
		}
	}
	return filepath.Join(dir, names[0]), nil
}

func readReport(file string) (*report, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &report{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// compare shows two runs. What lies within both ranges is called noise.
func compare(before, after *report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "old: %s\nnew: %s\n\n", before.title(), after.title())
	old := map[string]figure{}
	for _, f := range before.Figures {
		old[f.ID] = f
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "what\tunit\told\tnew\tchange\tverdict")
	for _, f := range after.Figures {
		was, known := old[f.ID]
		change := "new"
		switch {
		case known && f.Min <= was.Max && was.Min <= f.Max:
			change = fmt.Sprintf("%+.0f %% (noise)", 100*(f.Median/was.Median-1))
		case known:
			change = fmt.Sprintf("%+.0f %%", 100*(f.Median/was.Median-1))
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.ID, f.Unit, number(was.Median), number(f.Median), change, f.verdict())
	}
	_ = w.Flush()
	return b.String()
}
