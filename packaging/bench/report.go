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
	Started time.Time `json:"started"`
	Seconds int       `json:"seconds"`
	Machine machine   `json:"machine"`
	Figures []figure  `json:"figures"`
	Growth  []growth  `json:"growth"`
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
	r.Figures = append(r.Figures, figure{id, what, b, unit, s.percentile(0), s.median(), s.percentile(100), len(s), behind})
}

func (r *report) met() bool {
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

// text is the table for a terminal.
func (r *report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d s\n%s\n\n", r.Started.Format(time.RFC3339), r.Seconds, r.Machine)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.Join(columns, "\t"))
	for _, f := range r.Figures {
		_, _ = fmt.Fprintln(w, strings.Join(f.cells(), "\t"))
	}
	_ = w.Flush()
	for _, g := range r.Growth {
		b.WriteString("\n" + g.text())
	}
	return b.String()
}

// markdown is the table for a README.
func (r *report) markdown(plot string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# barback, measured\n\n%s, in %d s. %s\n\nA verdict is about the median. Where min and max lie on both sides of a budget, or of another run's median, it is noise.\n\n", r.Started.Format("2006-01-02 15:04 MST"), r.Seconds, r.Machine)
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, f := range r.Figures {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(f.cells(), " | "))
	}
	fmt.Fprintf(&b, "\n## How cost grows\n\n![plots](%s)\n\n", plot)
	for _, g := range r.Growth {
		fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(strings.TrimSpace(g.text()), "\n", "\n    "))
	}
	return b.String()
}

// write puts the report into a folder, three times.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	base := filepath.Join(dir, r.Started.Format("20060102T150405"))
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for name, text := range map[string]string{".json": string(data) + "\n", ".md": r.markdown(filepath.Base(base) + ".svg"), ".svg": plots(r.Growth)} {
		if err := os.WriteFile(base+name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("\n%s.json, .md, .svg\n", base)
	return nil
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
	fmt.Fprintf(&b, "old: %s %s\nnew: %s %s\n\n", before.Started.Format(time.RFC3339), before.Machine, after.Started.Format(time.RFC3339), after.Machine)
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
