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
	length time.Duration // of one load, in whole seconds
	large  int           // operations in the largest state directory
	many   int           // servers in the largest catalog
}

var (
	thorough = effort{rounds: 5, times: 30, length: 2 * time.Second, large: 100_000, many: 1000}
	hasty    = effort{rounds: 2, times: 8, length: time.Second, large: 10_000, many: 100}
)

// bench is one run.
type bench struct {
	*lab
	*report
	effort
}

// group is what is measured together: if something of it fails, its rest is not measured.
type group struct {
	name    string
	measure func(*bench)
}

// groups are what is measured, in this order: first what is small and wants a quiet machine.
var groups = []group{
	{"socket", (*bench).overSocket},
	{"apache-fcgid", behind("fcgid", "mod_fcgid")},
	{"apache-proxy-fcgi", behind("proxy-fcgi", "mod_proxy_fcgi")},
	{"apache-proxy-http", behind("proxy-http", "proxy to the Unix socket")},
	{"posts", (*bench).posts},
	{"operations", (*bench).operations},
	{"backups", (*bench).backups},
	{"cold", (*bench).coldStarts},
	{"memory", (*bench).memory},
	{"diagnose", (*bench).diagnose},
	{"calls", (*bench).systemCalls},
	{"python", (*bench).beside},
	{"growth-backups", (*bench).growBackups},
	{"growth-servers", (*bench).growServers},
	{"growth-users", (*bench).growUsers},
	{"growth-posts", (*bench).growPosts},
	{"growth-followers", (*bench).growFollowers},
	{"growth-polls", (*bench).growPolls},
}

// wanted says whether only names a group: itself, the word that it begins with, or a pattern. "" names all.
func wanted(only, group string) bool {
	ok, _ := path.Match(only, group)
	return ok || only == "" || strings.HasPrefix(group, only+"-")
}

// measure takes one group after the other, and writes what there is after each.
func (b *bench) measure(groups []group, only, out string) {
	options := b.Options
	for _, g := range groups {
		if !wanted(only, g.name) {
			continue
		}
		start := time.Now()
		b.Options = strings.TrimSpace(options + " as far as " + g.name)
		fmt.Fprintf(os.Stderr, "bench: %s", g.name)
		if err := b.try(func() { b.separately(func() { g.measure(b) }) }); err != nil {
			b.Failures = append(b.Failures, failure{g.name, err.Error()})
			fmt.Fprintf(os.Stderr, " failed: %v", err)
		}
		fmt.Fprintf(os.Stderr, " (%.0f s)\n", time.Since(start).Seconds())
		b.Seconds = int(time.Since(b.Started).Seconds())
		mustHave(b.write(out))
		if b.ctx.Err() != nil {
			fail("interrupted")
		}
	}
	b.Options = options
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
	b.figure("http-rate", "GET one operation, HTTP socket, 16 connections: requests/s, of an empty handler's", atLeast(0.5), "×", rates.ratios(), rates.said("req/s"))
	b.figure("http-p99", "… its 99th percentile, of the empty one's", atMost(2), "×", p99.ratios(), p99.said("ms"))
	b.figure("memory-serving", "memory (PSS) of a barback after that load", atMost(15), "MiB", samples{pss(ours.process.Process.Pid)}, fmt.Sprintf("%d threads", threads(ours.process.Process.Pid)))
	b.same("the empty handler on a socket", "req/s", rates.theirs)
}

func behind(recipe, name string) func(*bench) {
	return func(b *bench) {
		s := b.state(recipe, 100, "")
		ours := &door{url: b.apache(recipe, b.barback, s.config), token: s.token}
		empty := &door{url: b.apache(recipe, b.empty, s.config)}
		if recipe == "fcgid" { // It starts its processes one by one, while requests wait for a second.
			b.wrk(ours, s.operation, 2*b.length)
			b.wrk(empty, s.operation, 2*b.length)
		}
		rates, p99 := b.compared(ours, empty, s.operation)
		b.figure(recipe+"-rate", "the same behind Apache, "+name+": requests/s, of an empty handler's behind the same directives", atLeast(0.9), "×", rates.ratios(), rates.said("req/s"))
		b.figure(recipe+"-p99", "… its 99th percentile, of the empty one's", free, "×", p99.ratios(), p99.said("ms"))
		b.same("the empty handler behind "+name, "req/s", rates.theirs)
	}
}

// cheapest is the operation that Barman has done soonest.
const cheapest = `{"type":"archive_wal"}`

// posts starts operations by the runner socket, in turns with a plain Barman that does the same, and without the socket.
func (b *bench) posts() {
	s := b.state("posts", 100, "")
	door := s.open()
	var forked, handed samples
	operate := func(took *samples) float64 {
		start := time.Now()
		operation, accepted := door.post(cheapest)
		*took = append(*took, ms(accepted))
		if state := door.ended(operation); state != "succeeded" {
			fail("%s is %s", operation, state)
		}
		return ms(time.Since(start))
	}
	for range b.times + 1 {
		operate(&forked)
	}
	b.socket(s.runner, "runner", s.barback, "run", "--config", s.config)
	whole := inTurns(b.times, func() float64 { return operate(&handed) }, func() float64 { return b.takes(b.barman("archive-wal", "pg-one")) })
	for _, way := range []struct {
		id, how string
		took    samples
	}{{"post-socket", "a runner of the runner socket", handed[1:]}, {"post-fork", "a runner started by the request", forked[1:]}} {
		b.figure(way.id, "POST → 202 with "+way.how, atMost(12), "ms", way.took, fmt.Sprintf("p99 %.1f ms", way.took.percentile(99)))
	}
	b.figure("overhead", "POST → DONE for the cheapest operation, of what plain barman takes", atMost(1.10), "×", whole.ratios(), whole.said("ms"))
	b.same("plain barman archive-wal", "ms", whole.theirs)
}

// takes runs a command and says how many milliseconds it took.
func (b *bench) takes(c *exec.Cmd) float64 {
	start := time.Now()
	b.run(c)
	return ms(time.Since(start))
}

func (b *bench) backups() {
	b.oneBackup("pg-one")
	b.copyBackups("pg-one", "pg-one", 100)
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
	took := inTurns(max(2, b.rounds-1), func() float64 { return ms(door.get("/diagnose")) },
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
	s.configure(fmt.Sprintf("command = %q", b.env["LAB_BARMAN"]), fmt.Sprintf("command = %q", wrapper))
	door := s.open()
	door.get(s.operation)
	var runs, others samples
	for range max(2, b.rounds-2) {
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
