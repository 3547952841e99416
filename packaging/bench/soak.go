package main

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// soak is a mixed load for minutes, and what became of the processes under it.
type soak struct {
	*state
	doors   []soaked
	started time.Time

	mu      sync.Mutex
	asked   map[string]*tally // each kind of request, through each door
	young   []string          // the operations that were started last
	weights []weight
}

// soaked is a door with the name under which its requests are counted.
type soaked struct {
	*door
	name string
}

// tally counts the requests of a kind, and keeps what a client got that it did not cause.
type tally struct {
	Door   string   `json:"door"`
	Kind   string   `json:"kind"`
	Done   int      `json:"done"`
	Failed int      `json:"failed"`
	Errors []string `json:"errors,omitempty"` // the first ones
}

// weight is what the barback processes took at one moment: the one on the socket, and those of mod_fcgid. Runners come and go.
type weight struct {
	Seconds     float64 `json:"seconds"`
	Socket      float64 `json:"socket_mib"`
	Largest     float64 `json:"fcgid_largest_mib"`
	Fcgid       float64 `json:"fcgid_mib"`
	Processes   int     `json:"fcgid_processes"`
	Runners     int     `json:"runners"`
	Threads     int     `json:"threads"`
	Descriptors int     `json:"descriptors"`
	OfSocket    int     `json:"socket_descriptors"`
	Zombies     int     `json:"zombies"`
}

func runSoak(args []string) error {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	minutes := flags.Float64("minutes", 30, "")
	out := flags.String("out", "dist/bench", "")
	scripts := flags.String("lab", "packaging/lab", "")
	if err := parse(flags, args, 1); err != nil {
		return err
	}
	if *minutes < 1 {
		return errors.New("too short to say anything: --minutes 1 at least")
	}
	sound := false
	err := inLab(*scripts, flags.Arg(0), "", func(l *lab) {
		s := &soak{state: l.state("soak", 2000, ""), asked: map[string]*tally{}}
		s.fake("i=0; while [ $i -lt 20 ]; do echo \"line $i of an operation\"; sleep 0.1; i=$((i + 1)); done")
		s.socket(s.runner, "runner", s.barback, "run", "--config", s.config)
		s.doors = []soaked{{s.open(), "socket"}, {&door{url: s.apache("fcgid", s.barback, s.config), token: s.token}, "mod_fcgid"}}
		s.started = time.Now()
		s.load(time.Duration(*minutes * float64(time.Minute)))
		sound = s.report(*out)
	})
	if err == nil && !sound {
		err = errUnmet
	}
	return err
}

// load runs until the time is over, with nine clients at each door that do one thing each.
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
			{"long poll", 100 * time.Millisecond, func(d *door) error { return d.poll(s.some()) }},
		} {
			clients.Go(func() {
				for ctx.Err() == nil {
					s.note(d.name, c.kind, c.do(d.door))
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

func (s *soak) note(door, kind string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.asked[door+kind]
	if t == nil {
		t = &tally{Door: door, Kind: kind}
		s.asked[door+kind] = t
	}
	t.Done++
	if err == nil {
		return
	}
	if t.Failed++; len(t.Errors) < 5 {
		t.Errors = append(t.Errors, err.Error())
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
	if len(s.young) == 0 {
		return s.operation
	}
	return s.young[rand.IntN(len(s.young))]
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
	if s.young = append(s.young, operations+"/"+id); len(s.young) > 20 {
		s.young = s.young[1:]
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
	w := weight{Seconds: time.Since(s.started).Seconds()}
	all := running(s.barback)
	for pid, line := range all {
		if strings.Contains(line, " run ") {
			w.Runners++
			continue
		}
		m, open := pss(pid), descriptors(pid)
		if pid == s.doors[0].process.Process.Pid {
			w.Socket, w.OfSocket = m, open
		} else {
			w.Fcgid, w.Largest, w.Processes = w.Fcgid+m, max(w.Largest, m), w.Processes+1
		}
		w.Threads, w.Descriptors = w.Threads+threads(pid), w.Descriptors+open
	}
	w.Zombies = zombies(all)
	s.weights = append(s.weights, w)
}
