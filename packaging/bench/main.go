// Command bench measures barback against its budgets, in one run and on one machine: what is compared is measured in turns, a
// round of barback and a round of its partner, so that what else the machine does falls on both. "make bench" starts it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: bench run [--quick] [--only PATTERN] [--out DIR] [--lab PACKAGING/LAB] BARBACK EMPTY
       bench compare OLD.json NEW.json
       bench readme [--readme FILE] [--plot FILE] RUN.json
       bench soak [--minutes N] [--out DIR] [--lab PACKAGING/LAB] BARBACK

run      measures every line of the table of budgets and how cost grows, prints the table, and writes it to DIR as
         JSON, Markdown and SVG (and as latest.*, if it was a whole run). A group of measurements that fails costs
         itself alone. Exit code 3: a budget is NOT MET, or a group failed.
         --quick measures less often and shorter; --only measures the groups of this name, as in "apache", "growth"
         or "growth-p*".
compare  shows two such runs side by side.
readme   puts a run's table between the marks in README.md, and its plot beside the harness.
soak     puts a mixed load on barback through mod_fcgid and a socket and reports what became of its memory,
         descriptors and processes. Exit code 3: something leaked, or a client got an error that it did not cause.

run and soak need root (they act as the users barman and www-data), wrk, and what packaging/lab/install installs.
`

// errUnmet says that all was measured, and is not as it should be.
var errUnmet = errors.New("not as it should be")

func main() {
	verbs := map[string]func([]string) error{"run": runAll, "compare": runCompare, "readme": runReadme, "soak": runSoak}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	switch err := verbs[os.Args[1]](os.Args[2:]); {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(os.Stderr, usage)
	case errors.Is(err, errUnmet):
		os.Exit(3)
	default:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// parse reads the flags of a verb and wants so many arguments behind them.
func parse(flags *flag.FlagSet, args []string, want int) error {
	flags.Usage = func() {}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != want {
		return fmt.Errorf("%d arguments, not %d; see bench --help", want, flags.NArg())
	}
	return nil
}

func runAll(args []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "")
	only := flags.String("only", "", "")
	out := flags.String("out", "dist/bench", "")
	scripts := flags.String("lab", "packaging/lab", "")
	if err := parse(flags, args, 2); err != nil {
		return err
	}
	if _, err := filepath.Match(*only, ""); err != nil {
		return fmt.Errorf("--only %s: %w", *only, err)
	}
	r := &report{Started: time.Now().UTC().Truncate(time.Second)}
	how := thorough
	if *quick {
		how, r.Options = hasty, "--quick"
	}
	if *only != "" {
		r.Options = strings.TrimSpace(r.Options + " --only " + *only)
	}
	err := inLab(*scripts, flags.Arg(0), flags.Arg(1), func(l *lab) {
		r.Machine = l.machine()
		b := &bench{lab: l, report: r, effort: how}
		b.measure(groups, *only, *out)
	})
	if len(r.Figures)+len(r.Growth)+len(r.Failures) == 0 {
		return cmp.Or(err, errors.New("nothing was measured; see bench --help"))
	}
	fmt.Print(r.text())
	base, writing := r.write(*out)
	if err = errors.Join(err, writing); err != nil {
		return err
	}
	fmt.Printf("\n%s.json, .md, .svg\n", base)
	if !r.met() {
		return errUnmet
	}
	return nil
}

func runCompare(args []string) error {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	if err := parse(flags, args, 2); err != nil {
		return err
	}
	before, err := readReport(flags.Arg(0))
	if err != nil {
		return err
	}
	after, err := readReport(flags.Arg(1))
	if err != nil {
		return err
	}
	fmt.Print(compare(before, after))
	return nil
}

// broken is what went wrong so that it cannot be measured; try makes an error of it.
type broken struct{ error }

func must(err error) {
	if err != nil {
		panic(broken{err})
	}
}

func mustHave[T any](v T, err error) T {
	must(err)
	return v
}

func fail(format string, args ...any) { panic(broken{fmt.Errorf(format, args...)}) }

// inLab runs do on a fresh lab, and takes it down whatever happens.
func inLab(scripts, barback, empty string, do func(*lab)) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("it acts as the users barman and www-data: run it as root")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	l := &lab{ctx: ctx, scripts: scripts}
	defer l.end()
	return l.try(func() {
		l.up(barback, empty)
		do(l)
	})
}

// try makes an error of what broke.
func (l *lab) try(do func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case broken:
			if err = p.error; l.ctx.Err() != nil {
				err = errors.New("interrupted")
			}
		default:
			panic(p)
		}
	}()
	do()
	return nil
}
