package main

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// fake gives the state a Barman whose archive-wal and switch-wal are what script says, for what is not about Barman.
func (s *state) fake(script string) {
	barman := s.dir + ".barman"
	must(os.WriteFile(barman, fmt.Appendf(nil, "#!/bin/sh\ncase \" $* \" in *' archive-wal '*|*' switch-wal '*) %s;; *) exec %s \"$@\";; esac\n", script, s.env["LAB_BARMAN"]), 0o755))
	s.configure(fmt.Sprintf("command = %q", s.env["LAB_BARMAN"]), fmt.Sprintf("command = %q", barman))
}

func (b *bench) growPosts() {
	b.grown("posts", "POSTs at once, for operations that do nothing", "POSTs", []int{1, 2, 4, 8, 16, 32, 64}, func(n int, note func(name, unit string, y float64)) {
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
		note("202, median", "ms", took.median())
		note("202, p99", "ms", took.percentile(99))
	})
}

// printed is an operation that prints so many MiB.
func (s *state) printed(mib int) {
	s.fake(fmt.Sprintf("sleep 1; yes 'This is a line as Barman might print it, or rsync, when it has very much to tell' | head -c %dM", mib))
}

func (b *bench) growFollowers() {
	const mib = 20
	b.grown("followers", fmt.Sprintf("followers of an operation that prints %d MiB", mib), "followers", sizes(1, 100), func(n int, note func(name, unit string, y float64)) {
		seconds, most := b.followed(n, mib)
		note("until all have everything", "s", seconds)
		note("barback, at most", "MiB", most)
	})
	seconds, most := b.followed(10, 1024)
	b.figure("follow", "1 GiB of output to ten followers at once", free, "MiB/s", samples{10 * 1024 / seconds}, fmt.Sprintf("memory at most %.1f MiB", most))
}

// followed lets n follow an operation, and gives the seconds until all have got everything, and the most memory (PSS)
// that barback took.
func (b *bench) followed(n, mib int) (seconds, most float64) {
	s := b.state(fmt.Sprintf("follow-%d-%d", n, mib), 1, "")
	s.printed(mib)
	s.configure("max_open", "max_output = \"0\"\nmax_open")
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
	s.forget(s.dir + "/operations/*")
	return seconds, most
}

// growPolls lets many wait: for one operation, and each for its own.
func (b *bench) growPolls() {
	for _, of := range []struct {
		id, what, x string
		own         bool
		sizes       []int
	}{
		{"polls-one", "long polls of one operation", "polls of one operation", false, []int{1, 10, 100, 500}},
		{"polls-own", "long polls, each of its own operation", "polls of an operation each", true, []int{10, 100, 500}},
	} {
		b.grown(of.id, of.what, of.x, of.sizes, func(n int, note func(name, unit string, y float64)) {
			operations := 1
			if of.own {
				operations = n
			}
			p := b.polled(n, operations)
			note("CPU, in a second of waiting", "ms", p.waiting)
			note("CPU, to come and go", "ms", p.work)
			note("GET one meanwhile", "ms", p.other)
			note("barback", "MiB", p.memory)
			note("barback", "threads", p.threads)
		})
	}
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
	time.Sleep(2 * time.Second)
	p.waiting = (cpuTime(pid) - before) / 2
	p.memory, p.threads = pss(pid), float64(threads(pid))
	p.other = b.repeated(d, s.operation).median()
	before = cpuTime(pid)
	end()
	for range n {
		must(<-answers)
	}
	p.work += cpuTime(pid) - before
	return p
}
