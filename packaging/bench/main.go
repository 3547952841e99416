// Command bench measures barback against its budgets, in one run and on one machine: what is compared is measured in turns, a
// round of barback and a round of its partner, so that what else the machine does falls on both. "make bench" starts it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const usage = `usage: bench run [--quick] [--only PATTERN] [--out DIR] [--lab PACKAGING/LAB] BARBACK EMPTY
       bench compare OLD.json NEW.json
       bench soak [--minutes N] [--lab PACKAGING/LAB] BARBACK

run      measures every line of the table of budgets and how cost grows, prints the table, and writes it to DIR as
         JSON, Markdown and SVG. Exit code 3: a budget is NOT MET.
compare  shows two such runs side by side.
soak     puts a mixed load on barback through mod_fcgid and a socket and reports what became of its memory,
         descriptors and processes. Exit code 3: something leaked, or a client got an error that it did not cause.

run and soak need root (they act as the users barman and www-data), wrk, and what packaging/lab/install installs.
`

// errUnmet says that all was measured, and is not as it should be.
var errUnmet = errors.New("not as it should be")

func main() {
	verbs := map[string]func([]string) error{"run": runAll, "compare": runCompare, "soak": runSoak}
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
	err := inLab(*scripts, flags.Arg(0), flags.Arg(1), func(l *lab) {
		r.Machine = l.machine()
		b := &bench{lab: l, report: r, effort: thorough, only: *only}
		if *quick {
			b.effort = hasty
		}
		b.measure()
	})
	if err != nil {
		return err
	}
	r.Seconds = int(time.Since(r.Started).Seconds())
	fmt.Print(r.text())
	if err := r.write(*out); err != nil {
		return err
	}
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

// broken is what went wrong so that nothing more can be measured; inLab makes an error of it.
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
	defer func() {
		switch p := recover().(type) {
		case nil:
		case broken:
			if err = p.error; ctx.Err() != nil {
				err = errors.New("interrupted")
			}
		default:
			panic(p)
		}
	}()
	l.up(barback, empty)
	do(l)
	return nil
}
