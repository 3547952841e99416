package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// systemCalls counts what a GET asks of the kernel: a figure that no noise touches.
func (b *bench) systemCalls() {
	s := b.state("calls", 100, "")
	ours := s.open()
	url, p := b.tcp(b.empty)
	empty := &door{url: url, process: p}
	ours.get(s.operation) // notes when the token was used
	age()
	for _, m := range []struct{ id, what, path string }{
		{"calls-get", "system calls of a GET of one operation", s.operation},
		{"calls-list", "system calls of a list of 100 operations", operations},
	} {
		var count samples
		var most string
		for range 3 {
			n, names := b.traced(ours, m.path)
			count, most = append(count, n), names
		}
		theirs, _ := b.traced(empty, m.path)
		b.figure(m.id, m.what, free, "calls", count, fmt.Sprintf("%s; an empty handler's: %s", most, number(theirs)))
	}
}

// traced gives the number of system calls for each GET, and the names of the most frequent ones.
func (b *bench) traced(d *door, path string) (float64, string) {
	const requests = 200
	d.get(path)
	pid := d.process.Process.Pid
	out := b.dir + "/strace"
	strace := b.start(exec.Command("strace", "-f", "-c", "-S", "calls", "-o", out, "-p", strconv.Itoa(pid)))
	b.await("strace looks on", func() bool {
		return lineOf(fmt.Sprintf("/proc/%d/status", pid), "TracerPid:") != "0"
	})
	for range requests {
		d.get(path)
	}
	must(strace.Process.Signal(syscall.SIGINT))
	<-strace.ended
	var all float64
	var names []string
	for line := range strings.Lines(string(mustHave(os.ReadFile(out)))) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		calls, err := strconv.ParseFloat(fields[3], 64)
		if name := fields[len(fields)-1]; err == nil && name == "total" {
			all = calls
		} else if err == nil && calls >= requests/2 {
			names = append(names, fmt.Sprintf("%s %.0f", name, calls/requests))
		}
	}
	return all / requests, strings.Join(slices.Compact(names), ", ")
}
