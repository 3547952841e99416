package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

const (
	plotWidth, plotHeight = 430, 280
	plotLeft, plotRight   = 60, 15
	plotTop, plotBottom   = 40, 40
	plotColumns           = 2
)

var colors = []string{"#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#b9770e"}

// plots draws each growth with logarithms on both axes, where a straight line that rises as much as it goes to the right is a
// cost that grows as its cause does.
func plots(all []growth) string {
	rows := (len(all) + plotColumns - 1) / plotColumns
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", plotColumns*plotWidth, max(1, rows)*plotHeight)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	for i, g := range all {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%plotColumns*plotWidth, i/plotColumns*plotHeight)
		g.plot(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
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

func (g growth) plot(b *strings.Builder) {
	var xs, ys []float64
	for _, l := range g.Lines {
		for _, p := range l.Points {
			xs, ys = append(xs, p[0]), append(ys, max(p[1], 1e-3))
		}
	}
	if len(xs) == 0 {
		return
	}
	x, y := span(xs, plotLeft, plotWidth-plotRight), span(ys, plotHeight-plotBottom, plotTop)
	fmt.Fprintf(b, `<text x="%d" y="16" font-size="12" font-weight="bold">%s</text>`+"\n", plotLeft, html.EscapeString(g.What))
	for e := x.low; e <= x.high; e++ {
		at := x.at(math.Pow(10, e))
		fmt.Fprintf(b, `<path d="M%.0f %.0fV%.0f" stroke="#ddd"/><text x="%.0f" y="%d" text-anchor="middle">%s</text>`+"\n", at, y.from, y.to, at, plotHeight-plotBottom+15, power(e))
	}
	for e := y.low; e <= y.high; e++ {
		at := y.at(math.Pow(10, e))
		fmt.Fprintf(b, `<path d="M%.0f %.0fH%.0f" stroke="#ddd"/><text x="%d" y="%.0f" text-anchor="end">%s</text>`+"\n", x.from, at, x.to, plotLeft-5, at+4, power(e))
	}
	fmt.Fprintf(b, `<text x="%.0f" y="%d" text-anchor="end">%s</text><text x="5" y="32">%s</text>`+"\n", x.to, plotHeight-8, html.EscapeString(g.X), html.EscapeString(g.Y))
	for i, l := range g.Lines {
		color := colors[i%len(colors)]
		var points []string
		for _, p := range l.Points {
			px, py := x.at(p[0]), y.at(max(p[1], 1e-3))
			points = append(points, fmt.Sprintf("%.1f,%.1f", px, py))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", px, py, color)
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/><text x="%d" y="%d" fill="%s">%s</text>`+"\n",
			strings.Join(points, " "), color, plotLeft+8, plotTop+12+14*i, color, html.EscapeString(l.Name))
	}
}

// power writes a power of ten as one reads it.
func power(e float64) string {
	if e >= 3 {
		return fmt.Sprintf("10^%.0f", e)
	}
	return fmt.Sprintf("%g", math.Pow(10, e))
}
