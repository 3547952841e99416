package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// growth is how something grows with something else.
type growth struct {
	ID    string `json:"id"`
	What  string `json:"what"`
	X     string `json:"x"`
	Y     string `json:"y"`
	Lines []line `json:"lines"`
}

type line struct {
	Name   string       `json:"name"`
	Points [][2]float64 `json:"points"` // x and the median
}

// at notes a point of a line.
func (g *growth) at(name string, x, y float64) {
	for i := range g.Lines {
		if g.Lines[i].Name == name {
			g.Lines[i].Points = append(g.Lines[i].Points, [2]float64{x, y})
			return
		}
	}
	g.Lines = append(g.Lines, line{name, [][2]float64{{x, y}}})
}

// exponent is how it grows at its end: 1 is linear, 0 is not at all.
func (l line) exponent() float64 {
	n := len(l.Points)
	if n < 2 {
		return math.NaN()
	}
	a, b := l.Points[n-2], l.Points[n-1]
	return math.Log(b[1]/a[1]) / math.Log(b[0]/a[0])
}

func (g growth) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s against %s)\n", g.What, g.Y, g.X)
	for _, l := range g.Lines {
		var points []string
		for _, p := range l.Points {
			points = append(points, fmt.Sprintf("%s: %s", number(p[0]), number(p[1])))
		}
		worse := ""
		if l.exponent() > 1.2 {
			worse = ", WORSE THAN LINEAR"
		}
		fmt.Fprintf(&b, "  %s: %s; at the end like x^%.1f%s\n", l.Name, strings.Join(points, ", "), l.exponent(), worse)
	}
	return b.String()
}

// grown measures for each x and notes the result.
func (b *bench) grown(id, what, x, y string, xs []int, measure func(x int, note func(name string, y float64))) {
	g := growth{ID: id, What: what, X: x, Y: y}
	for _, x := range xs {
		b.separately(func() { measure(x, func(name string, y float64) { g.at(name, float64(x), y) }) })
	}
	b.Growth = append(b.Growth, g)
}

// several is the median of so many milliseconds as a request takes.
func (b *bench) several(d *door, path string) float64 {
	var s samples
	d.get(path)
	for range max(b.times/4, 3) {
		s = append(s, ms(d.get(path)))
	}
	return s.median()
}

func (b *bench) growOperations() {
	b.grown("operations", "operations that have ended", "operations", "ms", []int{100, 1000, 10_000, b.large}, func(n int, note func(string, float64)) {
		s := b.state(fmt.Sprint("operations-", n), n, "")
		d := s.open()
		note("list, all", b.several(d, operations))
		note("list, newest 100", b.several(d, operations+"?page_size=100"))
		note("GET one", b.several(d, s.operation))
		note("GET one, by CGI", b.severalStarts(s))
		s.forget()
	})
}

func (b *bench) severalStarts(s *state) float64 {
	var took samples
	for range max(b.times/4, 3) {
		took = append(took, b.cgiStart(s, b.barback, "--config", s.config))
	}
	return took.median()
}

func (b *bench) growBackups() {
	b.run(b.barman("backup", "pg-one", "--immediate-checkpoint", "--wait"))
	b.grown("backups", "backups of a server", "backups", "ms", []int{10, 100, 1000}, func(n int, note func(string, float64)) {
		b.copyBackups("pg-one", n)
		d := b.state(fmt.Sprint("backups-", n), 1, "").open()
		note("GET backups", b.several(d, "/servers/pg-one/backups"))
		note("newest 10", b.several(d, "/servers/pg-one/backups?page_size=10"))
		start := time.Now()
		b.run(b.barman("list-backups", "pg-one"))
		note("barman list-backups", ms(time.Since(start)))
	})
}

func (b *bench) growServers() {
	b.grown("servers", "servers that Barman has", "servers", "ms", []int{1, 10, 100, 1000}, func(n int, note func(string, float64)) {
		s := b.state(fmt.Sprint("servers-", n), 1, "")
		conf := string(mustHave(os.ReadFile(b.env["LAB_BARMAN_CONF"])))
		for i := 1; i < n; i++ {
			conf += fmt.Sprintf("\n[s%04d]\ndescription = number %d\nconninfo = host=db%d dbname=postgres user=barman\nbackup_method = postgres\narchiver = on\n", i, i, i)
		}
		must(os.WriteFile(s.dir+".conf", []byte(conf), 0o644))
		config := strings.Replace(string(mustHave(os.ReadFile(s.config))), b.env["LAB_BARMAN_CONF"], s.dir+".conf", 1)
		must(os.WriteFile(s.config, []byte(config), 0o644))
		d := s.open()
		age()
		note("GET /servers", b.several(d, "/servers"))
		note("GET one operation", b.several(d, s.operation))
		note("GET one operation, by CGI", b.severalStarts(s))
	})
}

func (b *bench) growUsers() {
	b.grown("users", "users in users.toml", "users", "ms", []int{10, 100, 1000, 10_000}, func(n int, note func(string, float64)) {
		s := b.state(fmt.Sprint("users-", n), 1, "")
		file := filepath.Join(s.dir, "users.toml")
		users := string(mustHave(os.ReadFile(file)))
		for i := range n {
			users += fmt.Sprintf("\n[users.u%05d]\nrole = \"viewer\"\naccess = [\"servers/pg-%d/operations/backup\"]\n", i, i)
		}
		must(os.WriteFile(file, []byte(users), 0o600))
		d := s.open()
		d.get(s.operation)
		age()
		note("GET one operation", b.several(d, s.operation))
		note("GET one operation, by CGI", b.severalStarts(s))
	})
}

// fake gives the state a Barman whose archive-wal and switch-wal are what script says, for what is not about Barman.
func (s *state) fake(script string) {
	barman := s.dir + ".barman"
	must(os.WriteFile(barman, fmt.Appendf(nil, "#!/bin/sh\ncase \" $* \" in *' archive-wal '*|*' switch-wal '*) %s;; *) exec %s \"$@\";; esac\n", script, s.env["LAB_BARMAN"]), 0o755))
	config := strings.Replace(string(mustHave(os.ReadFile(s.config))), fmt.Sprintf("command = %q", s.env["LAB_BARMAN"]), fmt.Sprintf("command = %q", barman), 1)
	must(os.WriteFile(s.config, []byte(config), 0o644))
}

func (b *bench) growPosts() {
	b.grown("posts", "POSTs at once, each for an operation that does nothing", "POSTs", "ms", []int{1, 2, 4, 8, 16, 32, 64}, func(n int, note func(string, float64)) {
		s := b.state(fmt.Sprint("posts-", n), 1, "")
		s.fake("exit 0")
		d := s.open()
		b.socket(s.runner, "runner", s.barback, "run", "--config", s.config)
		d.get(s.operation)
		var took samples
		var mu sync.Mutex
		for range max(3, 32/n) {
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					_, d, err := d.try("POST", operations, `{"type":"switch_wal"}`, 202)
					mu.Lock()
					defer mu.Unlock()
					if took = append(took, ms(d)); err != nil {
						fmt.Fprintf(os.Stderr, "bench: %v\n", err)
					}
				})
			}
			all.Wait()
			b.await("all runners are done", func() bool { return len(running(b.barback)) <= 1 })
		}
		note("202, median", took.median())
		note("202, p99", took.percentile(99))
	})
}

// printed is an operation that prints so many MiB.
func (s *state) printed(mib int) {
	s.fake(fmt.Sprintf("sleep 1; yes 'This is a line as Barman might print it, or rsync, when it has very much to tell' | head -c %dM", mib))
}

func (b *bench) growFollowers() {
	const mib = 20
	b.grown("followers", fmt.Sprintf("followers of an operation that prints %d MiB", mib), "followers", "s", []int{1, 10, 100}, func(n int, note func(string, float64)) {
		seconds, _ := b.followed(n, mib)
		note("until all have everything", seconds)
	})
	seconds, most := b.followed(10, 1024)
	b.figure("follow", "1 GiB of output to ten followers at once", free, "MiB/s", samples{10 * 1024 / seconds}, fmt.Sprintf("memory at most %.1f MiB", most))
}

// followed lets n follow an operation, and gives the seconds until all have got everything, and the most memory (PSS)
// that barback took.
func (b *bench) followed(n, mib int) (seconds, most float64) {
	s := b.state(fmt.Sprintf("follow-%d-%d", n, mib), 1, "")
	s.printed(mib)
	config := strings.Replace(string(mustHave(os.ReadFile(s.config))), "max_open", "max_output = \"0\"\nmax_open", 1)
	must(os.WriteFile(s.config, []byte(config), 0o644))
	d := s.open()
	b.socket(s.runner, "runner", s.barback, "run", "--config", s.config)
	operation, _ := d.post(cheapest)
	var all sync.WaitGroup
	wrong := make(chan error, n)
	start := time.Now()
	for range n {
		all.Go(func() {
			if got, err := d.drain(operation + "/output?follow=1"); err != nil || got != int64(mib)<<20 {
				wrong <- fmt.Errorf("a follower got %d bytes of %d MiB: %w", got, mib, err)
			}
		})
	}
	over := make(chan struct{})
	go func() { all.Wait(); close(over) }()
	for waiting := true; waiting; {
		select {
		case <-over:
			waiting = false
		case <-time.After(200 * time.Millisecond):
			most = max(most, pss(d.process.Process.Pid))
		}
	}
	seconds = time.Since(start).Seconds() - 1
	select {
	case err := <-wrong:
		must(err)
	default:
	}
	b.await("the runner is done", func() bool { return len(running(b.barback)) <= 1 })
	s.forget()
	return seconds, most
}

func (b *bench) growPolls() {
	cpu := growth{ID: "polls", What: "long polls at once", X: "polls", Y: "ms"}
	memory := growth{ID: "polls-memory", What: "long polls at once: memory (PSS) of barback", X: "polls", Y: "MiB"}
	threads := growth{ID: "polls-threads", What: "long polls at once: threads of barback", X: "polls", Y: "threads"}
	for _, n := range []int{1, 10, 100, 500} {
		for _, operations := range slices.Compact([]int{1, n}) {
			of := "of one operation"
			if operations > 1 {
				of = "each of its own operation"
			}
			b.separately(func() {
				p := b.polled(n, operations)
				cpu.at("CPU a second while they wait, "+of, float64(n), p.waiting)
				cpu.at("CPU to take them in and answer them, "+of, float64(n), p.work)
				cpu.at("GET one meanwhile, "+of, float64(n), p.other)
				memory.at(of, float64(n), p.memory)
				threads.at(of, float64(n), p.threads)
			})
		}
	}
	b.Growth = append(b.Growth, cpu, memory, threads)
}

// polls are what barback needs for many that wait, in milliseconds of processor time and MiB.
type polls struct{ waiting, work, other, memory, threads float64 }

// polled lets n wait for the end of so many operations, as clients would: with long polls.
func (b *bench) polled(n, operations int) (p polls) {
	s := b.state(fmt.Sprint("polls-", n, "-", operations), 1, "")
	paths, end := s.hold(operations)
	d := s.open()
	d.get(s.operation)
	pid := d.process.Process.Pid
	answers := make(chan error, n)
	before := cpuTime(pid)
	for i := range n {
		go func() { answers <- d.poll(paths[i%operations]) }()
	}
	b.await("all polls are there", func() bool { return descriptors(pid) > n })
	time.Sleep(time.Second)
	p.work = cpuTime(pid) - before
	before = cpuTime(pid)
	time.Sleep(3 * time.Second)
	p.waiting = (cpuTime(pid) - before) / 3
	p.memory, p.threads = pss(pid), float64(threads(pid))
	p.other = b.several(d, s.operation)
	before = cpuTime(pid)
	end()
	for range n {
		must(<-answers)
	}
	p.work += cpuTime(pid) - before
	return p
}
