package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The page is charts in columns, below a line that says how to read them.
const (
	chartWidth, chartHeight = 430, 270
	chartLeft, chartRight   = 58, 30
	chartTop, chartBottom   = 72, 44
	chartColumns            = 2
	headHeight              = 34
)

// style is for light pages and for dark ones.
const style = `<style>
  text { font: 11px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #59636e }
  .page { fill: #ffffff } .title { fill: #1f2328; font-size: 13px; font-weight: 600 } .legend { fill: #1f2328 }
  .grid { stroke: #e3e7ec } .frame { stroke: #9aa4af; fill: none } .linear { stroke: #a9b3bd; stroke-dasharray: 1 5; stroke-linecap: round }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round } .dot { stroke: #ffffff }
  .l0 { stroke: #0969da } .l1 { stroke: #d1570a } .l2 { stroke: #1a7f37 } .l3 { stroke: #8250df }
  .d0 { fill: #0969da } .d1 { fill: #d1570a } .d2 { fill: #1a7f37 } .d3 { fill: #8250df }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 } .page { fill: #0d1117 } .title, .legend { fill: #e6edf3 }
    .grid { stroke: #21262d } .frame { stroke: #59636e } .linear { stroke: #4a525c } .dot { stroke: #0d1117 }
    .l0 { stroke: #4493f8 } .l1 { stroke: #f0883e } .l2 { stroke: #3fb950 } .l3 { stroke: #ab7df8 }
    .d0 { fill: #4493f8 } .d1 { fill: #f0883e } .d2 { fill: #3fb950 } .d3 { fill: #ab7df8 }
  }
</style>
`

// plots draws each growth with logarithms on both axes, where a cost that grows as its cause does is a straight line that rises
// as much as it goes to the right.
func plots(all []growth) string {
	all = drawn(all)
	width, height := chartColumns*chartWidth, headHeight+(len(all)+chartColumns-1)/chartColumns*chartHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">`+"\n", width, height, width, height)
	b.WriteString(style + `<rect class="page" width="100%" height="100%" rx="6"/>` + "\n")
	fmt.Fprintf(&b, `<text x="%d" y="22">Both axes are logarithmic. Along the dotted lines a cost grows as fast as its cause; what is flatter grows more slowly.</text>`+"\n", chartLeft)
	for i, g := range all {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%chartColumns*chartWidth, headHeight+i/chartColumns*chartHeight)
		g.plot(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// drawn are the charts: those of time as they are, and all memory in one.
func drawn(all []growth) []growth {
	var charts []growth
	memory := growth{What: "memory of barback (PSS)", X: "how many", Y: "MiB"}
	for _, g := range all {
		switch g.Y {
		case "ms", "s":
			charts = append(charts, g)
		case "MiB":
			for _, l := range g.Lines {
				memory.Lines = append(memory.Lines, line{g.X, l.Points})
			}
		}
	}
	if len(memory.Lines) > 0 {
		charts = append(charts, memory)
	}
	return charts
}

// axis maps the powers of ten between low and high to from … to.
type axis struct{ low, high, from, to float64 }

func (a axis) at(v float64) float64 {
	return a.from + (math.Log10(v)-a.low)/(a.high-a.low)*(a.to-a.from)
}

// span makes an axis that holds all values.
func span(values []float64, from, to float64) axis {
	a := axis{math.Inf(1), math.Inf(-1), from, to}
	for _, v := range values {
		a.low, a.high = min(a.low, math.Floor(math.Log10(v))), max(a.high, math.Ceil(math.Log10(v)))
	}
	if a.high <= a.low {
		a.high = a.low + 1
	}
	return a
}

// seen are the points of a line that have a logarithm.
func (l line) seen() [][2]float64 {
	return slices.DeleteFunc(slices.Clone(l.Points), func(p [2]float64) bool { return p[0] <= 0 || p[1] <= 0 })
}

func (g growth) plot(b *strings.Builder) {
	var xs, ys []float64
	for _, l := range g.Lines {
		for _, p := range l.seen() {
			xs, ys = append(xs, p[0]), append(ys, p[1])
		}
	}
	if len(xs) == 0 {
		return
	}
	x, y := span(xs, chartLeft, chartWidth-chartRight), span(ys, chartHeight-chartBottom, chartTop)
	fmt.Fprintf(b, `<text class="title" x="%d" y="16">%s</text>`+"\n", chartLeft, html.EscapeString(g.What))
	g.grid(b, x, y)
	for i, l := range g.Lines {
		var points, dots strings.Builder
		for _, p := range l.seen() {
			px, py := x.at(p[0]), y.at(p[1])
			fmt.Fprintf(&points, "%.1f,%.1f ", px, py)
			fmt.Fprintf(&dots, `<circle class="dot d%d" cx="%.1f" cy="%.1f" r="3.5"><title>%s: %s %s</title></circle>`, i%4, px, py, number(p[0]), number(p[1]), html.EscapeString(g.Y))
		}
		left, top := chartLeft+i%2*170, 34+i/2*16
		fmt.Fprintf(b, `<polyline class="line l%d" points="%s"/>%s`+"\n", i%4, strings.TrimSpace(points.String()), dots.String())
		fmt.Fprintf(b, `<circle class="dot d%d" cx="%d" cy="%d" r="4"/><text class="legend" x="%d" y="%d">%s</text>`+"\n", i%4, left+4, top-4, left+13, top, html.EscapeString(l.Name))
	}
}

// grid draws the axes, and the lines of a cost that grows as its cause.
func (g growth) grid(b *strings.Builder, x, y axis) {
	for e := x.low; e <= x.high; e++ {
		at := x.at(math.Pow(10, e))
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %.0fV%.0f"/><text x="%.1f" y="%.0f" text-anchor="middle">%s</text>`+"\n", at, y.from, y.to, at, y.from+16, thousands(math.Pow(10, e)))
	}
	for e := y.low; e <= y.high; e++ {
		at := y.at(math.Pow(10, e))
		fmt.Fprintf(b, `<path class="grid" d="M%.0f %.1fH%.0f"/><text x="%.0f" y="%.1f" text-anchor="end">%s</text>`+"\n", x.from, at, x.to, x.from-6, at+4, thousands(math.Pow(10, e)))
	}
	for e := y.low - (x.high - x.low) + 1; e < y.high; e++ { // from (x.low, e) upwards
		from, to := max(0, y.low-e), min(x.high-x.low, y.high-e)
		fmt.Fprintf(b, `<path class="linear" d="M%.1f %.1fL%.1f %.1f"/>`+"\n", x.at(math.Pow(10, x.low+from)), y.at(math.Pow(10, e+from)), x.at(math.Pow(10, x.low+to)), y.at(math.Pow(10, e+to)))
	}
	fmt.Fprintf(b, `<path class="frame" d="M%.0f %.0fV%.0fH%.0f"/>`+"\n", x.from, y.to, y.from, x.to)
	fmt.Fprintf(b, `<text x="%.0f" y="%.0f" text-anchor="middle">%s</text><text x="14" y="%.0f" text-anchor="middle" transform="rotate(-90 14 %.0f)">%s</text>`+"\n",
		(x.from+x.to)/2, y.from+34, html.EscapeString(g.X), (y.from+y.to)/2, (y.from+y.to)/2, html.EscapeString(g.Y))
}

// thousands writes a power of ten as one reads it.
func thousands(v float64) string {
	text := fmt.Sprintf("%g", math.Round(v*1e6)/1e6)
	if v >= 1e6 {
		return text
	}
	if v >= 1000 {
		text = fmt.Sprintf("%.0f", v)
		text = text[:len(text)-3] + "," + text[len(text)-3:]
	}
	return text
}
