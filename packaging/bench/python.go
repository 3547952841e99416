package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

//go:embed flask_reads.py
var flaskReads []byte

// beside puts a Python server beside barback that does the same reads, for those who wonder what the one and the other cost.
func (b *bench) beside() {
	s := b.state("python", 1000, "")
	must(os.WriteFile(b.dir+"/flask_reads.py", flaskReads, 0o644))
	workers := 2*cpus() + 1 // as its manual advises
	program := []string{"/usr/bin/env", "OPERATIONS=" + filepath.Join(s.dir, "operations"), "/usr/bin/gunicorn", "--workers", fmt.Sprint(workers), "--chdir", b.dir, "flask_reads:app"}
	ours := s.open()
	url, p := b.tcp(program...)
	python := &door{url: url, process: p}
	python.get(s.operation)

	short := *b
	short.rounds, short.length = min(3, b.rounds), time.Second
	rates, p99 := short.compared(ours, python, s.operation)
	lists := inTurns(min(5, b.times), func() float64 { return ms(ours.get(operations)) }, func() float64 { return ms(python.get(operations)) })
	var cold pair
	for range b.rounds {
		cold.add(b.socketStart(s, b.barback, "--config", s.config), b.socketStart(s, program...))
	}
	b.figure("python-rate", fmt.Sprintf("for context, a Flask program on gunicorn (%d workers) that does the same reads: requests/s of barback, of its", workers), free, "×", rates.ratios(), rates.said("req/s"))
	b.figure("python-p99", "… its 99th percentile, of barback's", free, "×", p99.turned(), p99.said("ms"))
	b.figure("python-list", "… its list of 1,000 operations, of barback's", free, "×", lists.turned(), lists.said("ms"))
	b.figure("python-cold", "… its first byte of the first request on an idle socket, of barback's", free, "×", cold.turned(), cold.said("ms"))
	memory := pair{samples{pss(ours.process.Process.Pid)}, samples{pssOfGroup(p.Process.Pid)}}
	b.figure("python-memory", "… its memory (PSS), of barback's", free, "×", memory.turned(), memory.said("MiB"))
}

// pssOfGroup is the memory of all processes of a process group.
func pssOfGroup(group int) (sum float64) {
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		if fields := stat(folder); len(fields) > 2 && fields[2] == strconv.Itoa(group) {
			pid, _ := strconv.Atoi(filepath.Base(folder))
			sum += pss(pid)
		}
	}
	return sum
}
