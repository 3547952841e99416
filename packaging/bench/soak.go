package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// soak is a mixed load for minutes, and what became of the processes under it.
type soak struct {
	*state
	doors []*door

	mu       sync.Mutex
	done     map[string]int // of each kind of request
	wrong    []string       // what a client got that it did not cause
	started  []string       // operations, the last ones
	weights  []weight
	started0 time.Time
}

// weight is what all barback processes took at one moment, runners left out.
type weight struct {
	at                              time.Duration
	memory, largest                 float64
	processes, threads, descriptors int
	zombies                         int
}

func runSoak(args []string) error {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	minutes := flags.Float64("minutes", 30, "")
	scripts := flags.String("lab", "packaging/lab", "")
	if err := parse(flags, args, 1); err != nil {
		return err
	}
	sound := false
	err := inLab(*scripts, flags.Arg(0), "", func(l *lab) {
		s := &soak{state: l.state("soak", 2000, ""), done: map[string]int{}, started0: time.Now()}
		s.fake("i=0; while [ $i -lt 20 ]; do echo \"line $i of an operation\"; sleep 0.1; i=$((i + 1)); done")
		s.socket(s.runner, "runner", s.barback, "run", "--config", s.config)
		s.doors = []*door{s.open(), {url: s.apache("fcgid", s.barback, s.config), token: s.token}}
		s.load(time.Duration(*minutes * float64(time.Minute)))
		sound = s.report()
	})
	if err == nil && !sound {
		err = errUnmet
	}
	return err
}

// load runs until the time is over, with eight clients at each door that do one thing each.
func (s *soak) load(length time.Duration) {
	ctx, stop := context.WithTimeout(s.ctx, length)
	defer stop()
	var clients sync.WaitGroup
	for _, d := range s.doors {
		for _, c := range []struct {
			kind  string
			pause time.Duration
			do    func(*door) error
		}{
			{"poll", 5 * time.Millisecond, func(d *door) error { return s.ask(d, s.some()) }},
			{"poll", 5 * time.Millisecond, func(d *door) error { return s.ask(d, s.some()) }},
			{"list", 50 * time.Millisecond, func(d *door) error { return s.ask(d, operations+"?page_size=100") }},
			{"list of all", time.Second, func(d *door) error { return s.ask(d, operations) }},
			{"servers and backups", 200 * time.Millisecond, func(d *door) error {
				return errors.Join(s.ask(d, "/servers"), s.ask(d, "/servers/pg-one/backups"))
			}},
			{"POST", 2 * time.Second, s.post},
			{"follow", 100 * time.Millisecond, func(d *door) error { _, err := d.drain(s.some() + "/output?follow=1"); return err }},
			{"cancel", 5 * time.Second, s.cancel},
		} {
			clients.Go(func() {
				for ctx.Err() == nil {
					err := c.do(d)
					s.note(c.kind, err)
					select {
					case <-ctx.Done():
					case <-time.After(c.pause):
					}
				}
			})
		}
	}
	for tick := time.NewTicker(max(length/120, time.Second)); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-tick.C:
			s.weigh()
		}
	}
	clients.Wait()
	if s.ctx.Err() != nil {
		fail("interrupted")
	}
}

func (s *soak) note(kind string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[kind]++
	if err != nil {
		s.wrong = append(s.wrong, err.Error())
	}
}

func (s *soak) ask(d *door, path string) error {
	_, _, err := d.try(http.MethodGet, path, "", http.StatusOK)
	return err
}

// some is one of the operations that were started last.
func (s *soak) some() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.started) == 0 {
		return s.operation
	}
	return s.started[rand.IntN(len(s.started))]
}

func (s *soak) post(d *door) error {
	data, _, err := d.try(http.MethodPost, operations, `{"type":"switch_wal"}`, http.StatusAccepted)
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(data), `"operation_id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started = append(s.started, operations+"/"+id); len(s.started) > 20 {
		s.started = s.started[1:]
	}
	return nil
}

// cancel asks for the end of an operation, which may have ended already: a 409.
func (s *soak) cancel(d *door) error {
	_, _, err := d.try(http.MethodPost, s.some()+"/cancel", "", http.StatusAccepted)
	if e, ok := errors.AsType[*statusError](err); ok && e.status == http.StatusConflict {
		return nil
	}
	return err
}

func (s *soak) weigh() {
	w := weight{at: time.Since(s.started0)}
	all := running(s.barback)
	for pid, line := range all {
		if strings.Contains(line, " run ") {
			continue
		}
		m := pss(pid)
		w.memory, w.largest = w.memory+m, max(w.largest, m)
		w.processes, w.threads, w.descriptors = w.processes+1, w.threads+threads(pid), w.descriptors+descriptors(pid)
	}
	w.zombies = zombies(all)
	s.weights = append(s.weights, w)
}

// report prints what became of it, and says whether all is well: the second half of the time took no more than the first.
func (s *soak) report() bool {
	n := len(s.weights)
	if n < 8 {
		fail("too short to say anything: --minutes 1 at least")
	}
	// The first quarter is for warming up.
	early, late := s.weights[n/4:n/2], s.weights[3*n/4:]
	ok := len(s.wrong) == 0
	fmt.Printf("%.1f minutes through a socket and mod_fcgid\n", s.weights[n-1].at.Minutes())
	for kind, times := range s.done {
		fmt.Printf("  %7d × %s\n", times, kind)
	}
	for _, c := range []struct {
		what  string
		slack float64 // beyond a fifth more
		of    func(weight) float64
	}{
		{"memory of one process, MiB", 1, func(w weight) float64 { return w.largest }},
		{"memory of all, MiB", 5, func(w weight) float64 { return w.memory }},
		{"processes", 3, func(w weight) float64 { return float64(w.processes) }},
		{"threads of all", 10, func(w weight) float64 { return float64(w.threads) }},
		{"descriptors of all", 15, func(w weight) float64 { return float64(w.descriptors) }},
		{"zombies", 1, func(w weight) float64 { return float64(w.zombies) }},
	} {
		var before, after samples
		for _, w := range early {
			before = append(before, c.of(w))
		}
		for _, w := range late {
			after = append(after, c.of(w))
		}
		verdict := "flat"
		if after.median() > 1.2*before.median()+c.slack {
			verdict, ok = "GROWS", false
		}
		fmt.Printf("  %-28s %s in the second quarter, %s in the last, at most %s: %s\n", c.what, number(before.median()), number(after.median()), number(after.percentile(100)), verdict)
	}
	fmt.Printf("  %d errors that no client caused\n", len(s.wrong))
	for _, e := range s.wrong[:min(10, len(s.wrong))] {
		fmt.Fprintln(os.Stdout, "    "+e)
	}
	return ok
}
