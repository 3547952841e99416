package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lab is a private PostgreSQL and Barman (packaging/lab) with the programs to measure.
type lab struct {
	ctx            context.Context
	scripts        string
	dir            string
	barback, empty string
	env            map[string]string
	cred           *syscall.Credential
	ends           []func()
}

func (l *lab) up(barback, empty string) {
	l.scripts = mustHave(filepath.Abs(l.scripts))
	l.dir = mustHave(os.MkdirTemp("", "bb-bench."))
	must(os.Chmod(l.dir, 0o755))
	l.atEnd(func() { apart(l.scripts+"/down", "--quiet", l.dir) })
	l.run(exec.Command(l.scripts+"/up", "--quiet", l.dir))
	l.env = map[string]string{}
	for line := range strings.Lines(string(mustHave(os.ReadFile(l.dir + "/env")))) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		l.env[k] = strings.Trim(v, "'")
	}
	u := mustHave(user.Lookup(l.env["LAB_USER"]))
	uid, gid := mustHave(strconv.ParseUint(u.Uid, 10, 32)), mustHave(strconv.ParseUint(u.Gid, 10, 32))
	l.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	l.barback, l.empty = l.dir+"/barback", l.dir+"/empty"
	l.run(exec.Command("install", "-m", "755", barback, l.barback))
	if empty != "" {
		l.run(exec.Command("install", "-m", "755", empty, l.empty))
	}
}

// apart runs a script that cleans up, out of reach of a Ctrl-C or a time-out that ends us.
func apart(name string, args ...string) {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s: %v\n%s", name, err, out)
	}
}

// atEnd notes what has to be done when the measurement is over, the last first.
func (l *lab) atEnd(f func()) { l.ends = append(l.ends, f) }

func (l *lab) end() {
	for _, f := range slices.Backward(l.ends) {
		f()
	}
	l.ends = nil
}

// run runs cmd to its end and gives what it printed. A failure ends the measurement.
func (l *lab) run(cmd *exec.Cmd) string {
	if l.ctx.Err() != nil {
		fail("interrupted")
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if cmd.SysProcAttr == nil { // a Ctrl-C is for us alone
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	out, err := cmd.Output()
	if err != nil {
		fail("%s: %w\n%s%s%s", strings.Join(cmd.Args, " "), err, out, stderr.Bytes(), l.logged())
	}
	return string(out)
}

// command is a command of user barman.
func (l *lab) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = l.dir
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + l.dir, "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: l.cred, Setpgid: true}
	return cmd
}

// barman is Barman itself, on the same configuration.
func (l *lab) barman(args ...string) *exec.Cmd {
	return l.command(l.env["LAB_BARMAN"], append([]string{"-c", l.env["LAB_BARMAN_CONF"]}, args...)...)
}

// process is one that runs in the background.
type process struct {
	*exec.Cmd
	ended chan struct{}
}

func (l *lab) start(cmd *exec.Cmd) *process {
	log := mustHave(os.OpenFile(l.dir+"/bench.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644))
	cmd.Stderr = log
	must(cmd.Start())
	p := &process{cmd, make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		_, _ = fmt.Fprintf(log, "%s ended: %s\n", cmd.Path, cmd.ProcessState)
		_ = log.Close()
		close(p.ended)
	}()
	l.atEnd(p.kill)
	return p
}

// kill ends the process and all of its group.
func (p *process) kill() {
	_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// await waits until ok says yes.
func (l *lab) await(what string, ok func() bool) {
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if l.ctx.Err() != nil || time.Now().After(end) {
			fail("waited in vain: %s", what)
		}
	}
}

// socket plays systemd: it listens, and starts the program when somebody comes.
func (l *lab) socket(address, name string, program ...string) *process {
	args := append([]string{"--listen=" + address, "--fdname=" + name}, program...)
	if name == "runner" {
		args = append([]string{"--listen=" + address, "--accept"}, program...)
	}
	p := l.start(l.command("systemd-socket-activate", args...))
	l.await("somebody listens on "+address, func() bool {
		if strings.HasPrefix(address, "/") {
			return os.Chmod(address, 0o666) == nil
		}
		return listening(address)
	})
	return p
}

// listening looks into the kernel's table: to connect would start the program.
func listening(address string) bool {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 3 && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", n)) && fields[3] == "0A" {
			return true
		}
	}
	return false
}

// freeAddress is one on which nobody listens.
func freeAddress() string {
	ln := mustHave(net.Listen("tcp", "127.0.0.1:0"))
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// tcp opens a program on a socket of 127.0.0.1 and gives its URL.
func (l *lab) tcp(program ...string) (string, *process) {
	address := freeAddress()
	p := l.socket(address, "http", program...)
	return "http://" + address, p
}

// apache opens a program behind one of the shipped recipes and gives its URL.
func (l *lab) apache(recipe, program, config string) string {
	dir := mustHave(os.MkdirTemp(l.dir, "a.")) // short: Unix sockets lie in it
	must(os.Chmod(dir, 0o755))
	must(os.Mkdir(dir+"/run", 0o755))
	must(os.Chown(dir+"/run", int(l.cred.Uid), int(l.cred.Gid)))
	switch recipe {
	case "proxy-fcgi":
		l.socket(dir+"/run/fcgi.sock", "fcgi", program, "--config", config)
	case "proxy-http":
		l.socket(dir+"/run/http.sock", "http", program, "--config", config)
	}
	_, port, _ := strings.Cut(freeAddress(), ":")
	l.atEnd(func() { apart(l.scripts+"/apache", "stop", dir) })
	return strings.TrimSpace(l.run(exec.Command(l.scripts+"/apache", recipe, dir, port, program, config)))
}

// machine describes what all this was measured on.
func (l *lab) machine() machine {
	m := machine{CPUs: cpus(), Barman: l.env["LAB_BARMAN_VERSION"]}
	m.Barback = strings.TrimSpace(l.run(l.command(l.barback, "version")))
	m.Apache = firstWords(l.run(l.command("/usr/sbin/apache2", "-v")), "Server version: ")
	m.Kernel = strings.TrimSpace(l.run(l.command("uname", "-sr")))
	m.System = strings.Trim(lineOf("/etc/os-release", "PRETTY_NAME="), `"`)
	m.CPU = strings.TrimLeft(lineOf("/proc/cpuinfo", "model name"), "\t :")
	m.Memory = strings.TrimSpace(lineOf("/proc/meminfo", "MemTotal:"))
	m.Disk = strings.TrimSpace(l.run(l.command("stat", "-f", "-c", "%T", l.dir)))
	m.Load, _, _ = strings.Cut(string(mustHave(os.ReadFile("/proc/loadavg"))), " ")
	return m
}

// lineOf is what follows a word at the beginning of a line of a file.
func lineOf(file, word string) string {
	data, _ := os.ReadFile(file)
	return firstWords(string(data), word)
}

func firstWords(text, word string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

var transport = &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true}

var client = &http.Client{Transport: transport, Timeout: 5 * time.Minute}
