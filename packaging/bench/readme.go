package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	readmeBegins = "<!-- bench: `make bench-readme` writes what follows -->\n"
	readmeEnds   = "<!-- /bench -->\n"
)

// runReadme shows a run in the README: the table, and the plot, which has to lie in the tree for it.
func runReadme(args []string) error {
	flags := flag.NewFlagSet("readme", flag.ContinueOnError)
	readme := flags.String("readme", "README.md", "")
	plot := flags.String("plot", "packaging/bench/plot.svg", "")
	if err := parse(flags, args, 1); err != nil {
		return err
	}
	r, err := readReport(flags.Arg(0))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(*readme)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(text), readmeBegins)
	_, after, ends := strings.Cut(rest, readmeEnds)
	if !begins || !ends {
		return fmt.Errorf("%s has no lines %q and %q to write between", *readme, strings.TrimSpace(readmeBegins), strings.TrimSpace(readmeEnds))
	}
	link, err := filepath.Rel(filepath.Dir(*readme), *plot)
	if err != nil {
		return err
	}
	if err := os.WriteFile(*plot, []byte(plots(r.Growth)), 0o644); err != nil {
		return err
	}
	return os.WriteFile(*readme, []byte(before+readmeBegins+r.brief(link)+readmeEnds+after), 0o644)
}

// brief is the report for the README: one column of figures, and the plot.
func (r *report) brief(plot string) string {
	var b strings.Builder
	var rows [][]string
	for _, c := range r.rows() {
		rows = append(rows, []string{c[0], c[1], fmt.Sprintf("**%s** (%s … %s)", c[3], c[2], c[4]), c[6], c[7]})
	}
	fmt.Fprintf(&b, "\n%s\n\n", r.title())
	table(&b, []string{"what", "budget", "median (min … max)", "behind it (ours / theirs)", "verdict"}, rows)
	fmt.Fprintf(&b, "\n%s\n\n![How cost grows: with operations, backups, servers, users, POSTs, followers and long polls](%s)\n\n", r.noise(), plot)
	return b.String()
}
