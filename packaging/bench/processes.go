package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

func cpus() int { return runtime.NumCPU() }

// pss is a process's share of the memory, in MiB; 0 if it is gone.
func pss(pid int) float64 {
	kib, _ := strconv.ParseFloat(strings.TrimSuffix(lineOf(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:"), " kB"), 64)
	return kib / 1024
}

func threads(pid int) int {
	n, _ := strconv.Atoi(lineOf(fmt.Sprintf("/proc/%d/status", pid), "Threads:"))
	return n
}

func descriptors(pid int) int {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(list)
}

// running are the processes of a program, with their command lines.
func running(program string) map[int]string {
	found := map[int]string{}
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if exe, err := os.Readlink(link); err != nil || exe != program {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		found[pid] = string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
	}
	return found
}

// zombies are the dead children of a process that it has not asked after.
func zombies(parents map[int]string) (n int) {
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		fields := stat(folder)
		if len(fields) < 2 || fields[0] != "Z" {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		if _, ours := parents[parent]; ours {
			n++
		}
	}
	return n
}

// stat is what stands in a process's folder of /proc behind its name, its state first (proc(5)); none if it is gone.
func stat(folder string) []string {
	data, _ := os.ReadFile(folder + "/stat")
	_, rest, _ := strings.Cut(string(data), ") ")
	return strings.Fields(rest)
}

// coldStarts: each request starts a program.
func (b *bench) coldStarts() {
	s := b.state("cold", 100, "")
	var cgi, socket pair
	for range b.times {
		cgi.add(b.cgiStart(s, b.barback, "--config", s.config), b.cgiStart(s, b.empty))
	}
	for range b.times / 2 {
		socket.add(b.socketStart(s, b.barback, "--config", s.config), b.socketStart(s, b.empty))
	}
	b.figure("cold-cgi", "first byte of a CGI program, over an empty one's", atMost(10), "ms", cgi.differences(), cgi.said("ms"))
	b.figure("cold-socket", "first byte of the first request on an idle socket, over an empty program's", atMost(10), "ms", socket.differences(), socket.said("ms"))
}

// cgiStart runs a program as a web server does, and gives the milliseconds to its first byte.
func (b *bench) cgiStart(s *state, program ...string) float64 {
	cmd := b.command(program[0], program[1:]...)
	cmd.Env = append(cmd.Env, "GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=GET", "SERVER_PROTOCOL=HTTP/1.1", "SERVER_NAME=localhost", "SCRIPT_NAME=",
		"HTTP_HOST=localhost", "REMOTE_ADDR=127.0.0.1", "REQUEST_URI="+s.operation, "PATH_INFO="+s.operation, "HTTP_AUTHORIZATION=Bearer "+s.token)
	out := mustHave(cmd.StdoutPipe())
	start := time.Now()
	must(cmd.Start())
	first := make([]byte, 12)
	n, _ := out.Read(first)
	took := ms(time.Since(start))
	_ = cmd.Wait()
	if string(first[:n]) != "Status: 200 " {
		fail("%v began with %q", program, first[:n])
	}
	return took
}

func (b *bench) socketStart(s *state, program ...string) float64 {
	url, p := b.tcp(program...)
	defer p.kill()
	address := strings.TrimPrefix(url, "http://")
	start := time.Now()
	conn := mustHave(net.Dial("tcp", address))
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	mustHave(fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", s.operation, s.token))
	first := make([]byte, 12)
	mustHave(conn.Read(first))
	took := ms(time.Since(start))
	if string(first) != "HTTP/1.1 200" {
		fail("%v began with %q", program, first)
	}
	return took
}

// memory of a runner while Barman copies, alone on the machine: what processes of one program share is its own then.
func (b *bench) memory() {
	s := b.state("memory", 100, "idle_timeout = \"1s\"")
	door := s.open()
	b.socket(s.runner, "runner", s.barback, "run", "--config", s.config)
	operation, _ := door.post(`{"type":"backup","bwlimit":200}`)
	transport.CloseIdleConnections()
	b.await("barback leaves when it is idle", func() bool { return len(running(b.barback)) <= 1 })
	var took samples
	count := 0
	for range 20 {
		time.Sleep(100 * time.Millisecond)
		for pid := range running(b.barback) {
			took = append(took, pss(pid))
			count = threads(pid)
		}
	}
	if len(took) == 0 {
		fail("the backup has no runner: its end came too soon")
	}
	b.figure("memory-runner", "memory (PSS) of one runner", atMost(10), "MiB", took, fmt.Sprintf("%d threads", count))
	s.run(exec.Command("runuser", "-u", b.env["LAB_USER"], "--", s.barback, "op", "cancel", filepath.Base(operation), "--config", s.config))
	b.await("the backup ends", func() bool { return len(running(b.barback)) == 0 })
	b.figure("memory-idle", "processes of barback when nobody asks", atMost(0), "processes", samples{float64(len(running(b.barback)))}, "")
}

// cpuTime is the milliseconds of processor time that a process's threads have taken.
func cpuTime(pid int) (took float64) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, file := range files {
		data, _ := os.ReadFile(file)
		ran, _, _ := strings.Cut(string(data), " ")
		nanoseconds, _ := strconv.ParseFloat(ran, 64)
		took += nanoseconds / 1e6
	}
	return took
}
