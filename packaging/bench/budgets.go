package main

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"time"
)

// effort is how long and how often is measured.
type effort struct {
	rounds int           // of what takes seconds
	times  int           // of what takes milliseconds
	length time.Duration // of one load
	large  int           // operations in the largest state directory
}

var (
	thorough = effort{rounds: 5, times: 40, length: 3 * time.Second, large: 100_000}
	hasty    = effort{rounds: 2, times: 8, length: time.Second, large: 20_000}
)

// bench is one run.
type bench struct {
	*lab
	*report
	effort
	only string // a pattern: the groups that are measured
}

// groups are what is measured, in this order: first what is small and wants a quiet machine.
var groups = []struct {
	name    string
	measure func(*bench)
}{
	{"socket", (*bench).overSocket},
	{"apache", (*bench).behindApache},
	{"post", (*bench).posts},
	{"overhead", (*bench).overhead},
	{"lists", (*bench).lists},
	{"backups", (*bench).backups},
	{"cold", (*bench).coldStarts},
	{"memory", (*bench).memory},
	{"diagnose", (*bench).diagnose},
	{"growth-operations", (*bench).growOperations},
	{"growth-backups", (*bench).growBackups},
	{"growth-servers", (*bench).growServers},
	{"growth-users", (*bench).growUsers},
	{"growth-posts", (*bench).growPosts},
	{"growth-followers", (*bench).growFollowers},
	{"growth-polls", (*bench).growPolls},
}

func (b *bench) measure() {
	for _, g := range groups {
		if ok, _ := path.Match(b.only, g.name); b.only != "" && !ok {
			continue
		}
		start := time.Now()
		fmt.Fprintf(os.Stderr, "bench: %s", g.name)
		b.separately(func() { g.measure(b) })
		fmt.Fprintf(os.Stderr, " (%.0f s)\n", time.Since(start).Seconds())
	}
}

// separately ends what do started when it is done, so that one measurement does not weigh on the next.
func (b *bench) separately(do func()) {
	before := b.ends
	b.ends = nil
	defer func() { b.end(); b.ends = before; transport.CloseIdleConnections() }()
	do()
}

// compared measures the same load on two doors, in turns, and gives the samples of our rates and of the others', and of the
// 99th percentiles. The first round is for warming up.
func (b *bench) compared(ours, empty *door, path string) (rates, p99 pair) {
	for round := range b.rounds + 1 {
		var us, them rate
		if round%2 == 0 {
			us, them = b.wrk(ours, path, b.length), b.wrk(empty, path, b.length)
		} else {
			them, us = b.wrk(empty, path, b.length), b.wrk(ours, path, b.length)
		}
		if round > 0 {
			rates.add(us.perSecond, them.perSecond)
			p99.add(us.p99, them.p99)
		}
	}
	return rates, p99
}

func (b *bench) overSocket() {
	s := b.state("socket", 100, "")
	ours := s.open()
	url, _ := b.tcp(b.empty)
	rates, p99 := b.compared(ours, &door{url: url}, s.operation)
	b.figure("http-rate", "GET one operation, HTTP socket, 16 connections: requests a second, of an empty handler's", atLeast(0.5), "×", rates.ratios(), rates.said("req/s"))
	b.figure("http-p99", "… its 99th percentile, of the empty one's", atMost(2), "×", p99.ratios(), p99.said("ms"))
	b.figure("memory-serving", "memory (PSS) of a barback after that load", atMost(15), "MiB", samples{pss(ours.process.Process.Pid)}, fmt.Sprintf("%d threads", threads(ours.process.Process.Pid)))
}

func (b *bench) behindApache() {
	for _, d := range []struct{ recipe, name string }{{"fcgid", "mod_fcgid"}, {"proxy-fcgi", "mod_proxy_fcgi"}, {"proxy-http", "proxy to the Unix socket"}} {
		b.separately(func() {
			s := b.state(d.recipe, 100, "")
			ours := &door{url: b.apache(d.recipe, b.barback, s.config), token: s.token}
			empty := &door{url: b.apache(d.recipe, b.empty, s.config)}
			rates, p99 := b.compared(ours, empty, s.operation)
			b.figure(d.recipe+"-rate", "the same behind Apache, "+d.name+": requests a second, of an empty handler's behind the same directives", atLeast(0.9), "×", rates.ratios(), rates.said("req/s"))
			b.figure(d.recipe+"-p99", "… its 99th percentile, of the empty one's", free, "×", p99.ratios(), p99.said("ms"))
		})
	}
}

// cheapest is the operation that Barman has done soonest.
const cheapest = `{"type":"archive_wal"}`

func (b *bench) posts() {
	for _, socket := range []bool{true, false} {
		s := b.state(fmt.Sprint("post-", socket), 100, "")
		door, how, id := s.open(), "a runner started by the request", "post-fork"
		if socket {
			how, id = "a runner of the runner socket", "post-socket"
			b.socket(s.runner, "runner", s.barback, "run", "--config", s.config)
		}
		var took samples
		for range b.times + 1 {
			operation, d := door.post(cheapest)
			took = append(took, ms(d))
			door.ended(operation)
		}
		took = took[1:]
		b.figure(id, "POST → 202 with "+how, atMost(12), "ms", took, fmt.Sprintf("p99 %.1f ms", took.percentile(99)))
	}
}

func (b *bench) overhead() {
	s := b.state("overhead", 100, "")
	door := s.open()
	b.socket(s.runner, "runner", s.barback, "run", "--config", s.config)
	took := inTurns(b.times, func() float64 {
		start := time.Now()
		operation, _ := door.post(cheapest)
		if state := door.ended(operation); state != "succeeded" {
			fail("%s is %s", operation, state)
		}
		return ms(time.Since(start))
	}, func() float64 { return b.takes(b.barman("archive-wal", "pg-one")) })
	b.figure("overhead", "POST → DONE for the cheapest operation, of what plain barman takes", atMost(1.10), "×", took.ratios(), took.said("ms"))
}

// takes runs a command and says how many milliseconds it took.
func (b *bench) takes(c *exec.Cmd) float64 {
	start := time.Now()
	b.run(c)
	return ms(time.Since(start))
}

func (b *bench) lists() {
	for _, l := range []struct {
		id, what, query string
		n               int
		limit           float64
	}{
		{"list-10000", "list of 10,000 operations, all", "", 10_000, 15},
		{"list-newest", fmt.Sprintf("list of the newest 100 of %d operations", b.large), "?page_size=100", b.large, 5},
	} {
		b.separately(func() {
			s := b.state(l.id, l.n, "")
			door := s.open()
			door.get(operations + l.query)
			var took samples
			for range b.times {
				took = append(took, ms(door.get(operations+l.query)))
			}
			b.figure(l.id, l.what, atMost(l.limit), "ms", took, "")
			s.forget()
		})
	}
}

func (b *bench) backups() {
	b.run(b.barman("backup", "pg-one", "--immediate-checkpoint", "--wait"))
	b.copyBackups("pg-one", 100)
	s := b.state("backups", 1, "")
	door := s.open()
	var took pair
	for range b.rounds * 2 {
		took.add(b.takes(b.barman("list-backups", "pg-one")), ms(door.get("/servers/pg-one/backups")))
	}
	took = took.rest()
	b.figure("backups", "backups of a server with 100, so much faster than barman list-backups", atLeast(100), "×", took.ratios(), took.said("ms"))
}

func (b *bench) diagnose() {
	s := b.state("diagnose", 100, "")
	door := s.open()
	took := inTurns(b.rounds, func() float64 { return ms(door.get("/diagnose")) },
		func() float64 { return b.takes(b.barman("diagnose")) })
	b.figure("diagnose", "GET /diagnose, of what barman diagnose takes", atMost(1.05), "×", took.ratios(), took.said("ms"))
	b.tenDiagnoses()
}

// tenDiagnoses counts the Barmans that ten requests at once start, and looks how long others wait meanwhile.
func (b *bench) tenDiagnoses() {
	s := b.state("ten", 100, "")
	counter := s.dir + ".runs"
	wrapper := s.dir + ".barman"
	must(os.WriteFile(wrapper, []byte(fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *diagnose*) echo >>%s;; esac\nexec %s \"$@\"\n", counter, b.env["LAB_BARMAN"])), 0o755))
	config := string(mustHave(os.ReadFile(s.config)))
	must(os.WriteFile(s.config, []byte(strings.Replace(config, fmt.Sprintf("command = %q", b.env["LAB_BARMAN"]), fmt.Sprintf("command = %q", wrapper), 1)), 0o644))
	door := s.open()
	door.get(s.operation)
	var runs, others samples
	for range b.rounds {
		_ = os.Remove(counter)
		var ten sync.WaitGroup
		for range 10 {
			ten.Go(func() { _, _, _ = door.try("GET", "/diagnose", "", 200) })
		}
		over := make(chan struct{})
		go func() { ten.Wait(); close(over) }()
		for waiting := true; waiting; {
			select {
			case <-over:
				waiting = false
			case <-time.After(5 * time.Millisecond):
				others = append(others, ms(door.get(s.operation)))
			}
		}
		data, _ := os.ReadFile(counter)
		runs = append(runs, float64(len(data)))
	}
	b.figure("diagnose-ten", "runs of Barman for ten GET /diagnose at once", atMost(1), "runs", runs, "")
	b.figure("diagnose-others", "… GET one operation meanwhile", free, "ms", others, fmt.Sprintf("p99 %.1f ms", others.percentile(99)))
}
