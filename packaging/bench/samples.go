package main

import (
	"fmt"
	"math"
	"slices"
)

// samples are what was measured of one thing.
type samples []float64

// finite leaves out what is no number: what could not be had, or its ratio to something.
func (s samples) finite() samples {
	return slices.DeleteFunc(slices.Clone(s), func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) })
}

func (s samples) percentile(p float64) float64 {
	sorted := slices.Sorted(slices.Values(s.finite()))
	if len(sorted) == 0 {
		return math.NaN()
	}
	return sorted[min(len(sorted)-1, int(p/100*float64(len(sorted))))]
}

func (s samples) median() float64 {
	sorted := slices.Sorted(slices.Values(s.finite()))
	switch n := len(sorted); {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return sorted[n/2]
	default:
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
}

// pair holds what was measured in turns of two things.
type pair struct{ ours, theirs samples }

func (p *pair) add(ours, theirs float64) {
	p.ours, p.theirs = append(p.ours, ours), append(p.theirs, theirs)
}

// inTurns measures both n times, now the one first and now the other, and once more before to warm up.
func inTurns(n int, ours, theirs func() float64) pair {
	var p pair
	for i := range n + 1 {
		if i%2 == 0 {
			p.add(ours(), theirs())
		} else {
			first := theirs()
			p.add(ours(), first)
		}
	}
	return p.rest()
}

// rest leaves out the first of both, which warmed up.
func (p *pair) rest() pair { return pair{p.ours[1:], p.theirs[1:]} }

func (p *pair) ratios() samples {
	return p.combined(func(a, b float64) float64 { return a / b })
}

// turned are the ratios the other way round: so many times as much as ours.
func (p *pair) turned() samples {
	return p.combined(func(a, b float64) float64 { return b / a })
}

func (p *pair) differences() samples {
	return p.combined(func(a, b float64) float64 { return a - b })
}

func (p *pair) combined(f func(a, b float64) float64) samples {
	out := make(samples, len(p.ours))
	for i := range out {
		out[i] = f(p.ours[i], p.theirs[i])
	}
	return out
}

// said gives the two medians behind a ratio.
func (p *pair) said(unit string) string {
	return fmt.Sprintf("%s / %s %s", number(p.ours.median()), number(p.theirs.median()), unit)
}

// number writes a figure with as many digits as mean something.
func number(x float64) string {
	switch a := math.Abs(x); {
	case a >= 100 || x == math.Trunc(x):
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.2f", x)
	}
}
