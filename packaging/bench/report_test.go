package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// measured is a run of the groups, and what it wrote.
func measured(t *testing.T, groups ...group) (*report, *report) {
	t.Helper()
	out := t.TempDir()
	b := &bench{lab: &lab{ctx: t.Context()}, report: &report{}}
	if err := b.try(func() { b.measure(groups, "", out) }); err != nil {
		t.Fatalf("measure = %v, want no error", err)
	}
	written, err := b.write(out)
	if err != nil {
		t.Fatalf("write = %v, want no error", err)
	}
	read, err := readReport(written + ".json")
	if err != nil {
		t.Fatalf("readReport = %v, want what was written", err)
	}
	return b.report, read
}

func TestAGroupThatFailsCostsItselfAlone(t *testing.T) {
	_, r := measured(t,
		group{"broken", func(b *bench) {
			b.figure("before", "before it broke", atMost(2), "ms", samples{1}, "")
			fail("no such %s\nand more", "thing")
		}},
		group{"whole", func(b *bench) { b.figure("after", "after it", atMost(2), "ms", samples{1, 1, 3}, "") }},
	)
	if len(r.Figures) != 2 || r.Figures[1].ID != "after" || r.Figures[1].Max != 3 {
		t.Errorf("the figures are %+v, want the one before the failure and the one after it", r.Figures)
	}
	if got := r.text(); !strings.Contains(got, "the group broken") || !strings.Contains(got, "FAILED") {
		t.Errorf("the table does not name the group that failed:\n%s", got)
	}
	if r.met() {
		t.Error("a run with a failure has met its budgets, want not")
	}
}

func TestWhatIsNoNumberIsNoSample(t *testing.T) {
	_, r := measured(t, group{"g", func(b *bench) {
		p := pair{samples{1, 4}, samples{0, 2}} // the ratio of the first is +Inf
		b.figure("ratio", "a ratio", free, "×", p.ratios(), "")
		b.grown("x", "x", "x", []int{1}, func(_ int, note func(name, unit string, y float64)) { note("y", "ms", math.NaN()) })
	}})
	if len(r.Figures) != 1 || r.Figures[0].Samples != 1 || r.Figures[0].Max != 2 {
		t.Errorf("the figures are %+v, want one of the one ratio that is a number", r.Figures)
	}
	if len(r.Failures) != 1 {
		t.Errorf("the failures are %v, want that of the growth that is no number", r.Failures)
	}
}

func TestWhatWrkSaw(t *testing.T) {
	for _, c := range []struct {
		name, p99 string
		want      float64
	}{
		{"microseconds", "850.00us", 0.85},
		{"milliseconds", "4.91ms", 4.91},
		{"seconds", "1.02s", 1020},
		{"nothing", "0.00us", math.NaN()},
	} {
		r := seen("  Latency Distribution\n     50%    1.00ms\n     99%    " + c.p99 + "\nRequests/sec:   3016.15\n")
		if r.perSecond != 3016.15 || r.p99 != c.want && !(math.IsNaN(r.p99) && math.IsNaN(c.want)) {
			t.Errorf("%s: seen = %+v, want 3016.15 requests/s and a 99th percentile of %g ms", c.name, r, c.want)
		}
	}
}

func TestTheReadmeShowsARunBetweenItsMarks(t *testing.T) {
	dir := t.TempDir()
	r := &report{}
	r.figure("id", "how fast", atMost(2), "ms", samples{1, 1.5, 3}, "")
	growing := growth{ID: "g", What: "a & b", X: "n", Y: "ms", Lines: []line{{"<line>", [][2]float64{{1, 0}, {10, 5}, {100, 7}}}}}
	r.Growth = []growth{growing}
	base, err := r.write(dir)
	if err != nil {
		t.Fatal(err)
	}
	readme, plot := filepath.Join(dir, "README.md"), filepath.Join(dir, "sub", "plot.svg")
	if err := errors.Join(os.Mkdir(filepath.Dir(plot), 0o755), os.WriteFile(readme, []byte("before\n"+readmeBegins+"old\n"+readmeEnds+"after\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time over what the first one wrote
		if err := runReadme([]string{"--readme", readme, "--plot", plot, base + ".json"}); err != nil {
			t.Fatalf("runReadme = %v, want no error", err)
		}
	}
	data, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	got := string(data)
	if !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "after\n") || strings.Contains(got, "old") || strings.Count(got, "how fast") != 1 || !strings.Contains(got, "](sub/plot.svg)") {
		t.Errorf("the README is %q, want the table and the plot between the marks, once", got)
	}
	svg, err := os.Open(plot)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = svg.Close() }()
	for d := xml.NewDecoder(svg); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
	}
	if err := runReadme([]string{"--readme", filepath.Join(dir, "none.md"), base + ".json"}); err == nil {
		t.Error("runReadme on a file that is not there succeeds, want an error")
	}
}
