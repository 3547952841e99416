package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// siege is a crowd that guesses passwords, through processes that each serve one request and through
// some that serve many.
type siege struct {
	*lab
	urls  []string
	mu    sync.Mutex
	codes map[string]int
}

// TestTortureLogin: wrong log-ins without end, from many processes at once. Memory and disk stay
// bounded, and whoever else logs in is let in all the while.
func TestTortureLogin(t *testing.T) {
	seed := tortureSeed(t)
	l := newYard(t, 4)
	s := &siege{lab: l, codes: map[string]int{}}
	l.barback("user", "remove", "anonymous")
	for _, name := range []string{"ann", "bob", "dave"} {
		l.addUser(name, "viewer")
	}
	token := "Bearer " + l.barback("token", "create", "ann")
	processes, each := times(3, 25), times(20, 2000) // twice as many: half of them serve once
	var servers []*exec.Cmd
	for range processes {
		url, cmd := l.serve()
		s.urls, servers = append(s.urls, url), append(servers, cmd)
	}
	const home = "198.51.100.7"
	s.must(t, "200", s.cgi(home, basicAuth("bob", annsPassword)))
	s.must(t, "200", s.http(0, basicAuth("bob", annsPassword))) // where the guessing will come from, too

	done := make(chan struct{})
	var guessing, others sync.WaitGroup
	for i := range 2 * processes {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		guessing.Go(func() {
			for range each {
				s.note(s.guess(rnd, i))
			}
		})
	}
	others.Go(func() {
		for n := 0; ; n++ {
			s.must(t, "200", s.cgi(home, basicAuth("bob", annsPassword)))
			s.must(t, "200", s.http(n%processes, basicAuth("bob", annsPassword)))
			s.must(t, "200", s.cgi("127.0.0.1", token))
			s.must(t, "200", s.http(n%processes, token))
			select {
			case <-done:
				t.Logf("bob and a token were let in %d times meanwhile", 4*(n+1))
				return
			default:
			}
		}
	})
	guessing.Wait()
	close(done)
	others.Wait()
	s.must(t, "200", s.cgi("198.51.100.8", basicAuth("dave", annsPassword))) // who never was here
	s.must(t, "200", s.cgi("198.51.100.9", basicAuth("ann", annsPassword)))  // whom they tried to be

	t.Logf("answers: %v", s.codes)
	if s.codes["429"] == 0 || s.codes["401"] == 0 || s.codes["401"] > s.codes["429"] && each > 100 {
		t.Errorf("the guesses were answered %v, want some looked at and most not", s.codes)
	}
	most := 0
	for _, cmd := range servers {
		most = max(most, peakMemory(t, cmd.Process.Pid))
	}
	if t.Logf("a serving process took at most %d KiB", most); most > 160<<10 {
		t.Errorf("a serving process took %d KiB at its peak, want at most 160 MiB", most)
	}
	files, size := 0, int64(0)
	err := filepath.WalkDir(l.state+"/auth", func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			st, err := d.Info()
			if err != nil {
				return err
			}
			files, size = files+1, size+st.Size()
		}
		return err
	})
	if err != nil || files > 10 || size > 512<<10 {
		t.Errorf("the state of log-ins is %d files of %d bytes (%v), want at most 10 of 512 KiB", files, size, err)
	}
	log, err := os.Stat(l.dir + "/audit.log")
	if err != nil || log.Size() > 6<<20 {
		t.Errorf("the audit log is %v, %v, want at most 6 MiB of it", log, err)
	} else {
		t.Logf("%d bytes of state, %d of audit log", size, log.Size())
	}
}

// guess is one wrong log-in: of one user again and again, or of names that do not exist, from few
// addresses or now and then from a new one.
func (s *siege) guess(rnd *rand.Rand, worker int) string {
	user := "ann"
	if rnd.IntN(3) > 0 {
		user = fmt.Sprint("user", rnd.IntN(1_000_000))
	}
	header := basicAuth(user, fmt.Sprint("guess", rnd.IntN(1_000_000)))
	if worker%2 == 0 {
		return s.http(worker/2, header)
	}
	remote := "203.0.113." + strconv.Itoa(rnd.IntN(4))
	if rnd.IntN(100) == 0 {
		remote = fmt.Sprintf("100.64.%d.%d", rnd.IntN(256), rnd.IntN(256))
	}
	return s.cgi(remote, header)
}

// cgi sends a request to a barback of its own, as a web server does, and returns head and body.
func (s *siege) cgi(remote, authorization string) string {
	cmd := s.command(s.bin, "--config", s.config)
	cmd.Env = append(cmd.Env, "GATEWAY_INTERFACE=CGI/1.1", "SERVER_PROTOCOL=HTTP/1.1", "REQUEST_METHOD=GET", "REQUEST_URI=/servers", "HTTP_HOST=localhost",
		"REMOTE_ADDR="+remote, "HTTP_AUTHORIZATION="+authorization)
	out, err := cmd.Output()
	if err != nil {
		return "Status: 0 " + err.Error()
	}
	return string(out)
}

func (s *siege) http(server int, authorization string) string {
	res, err := client{s.t, s.urls[server]}.try("GET", "/servers", "", "Authorization", authorization)
	if err != nil {
		return "Status: 0 " + err.Error()
	}
	return fmt.Sprintf("Status: %s\r\nRetry-After: %s\r\n\r\n%s", res.Status, res.Header.Get("Retry-After"), res.body)
}

var statusLine = regexp.MustCompile(`^Status: (\d+)`)

func codeOf(answer string) string {
	if m := statusLine.FindStringSubmatch(answer); m != nil {
		return m[1]
	}
	return answer
}

func (s *siege) must(t *testing.T, want, answer string) {
	t.Helper()
	if got := codeOf(answer); got != want {
		t.Errorf("the answer is %s, want %s", answer, want)
	}
}

// note counts the answer to a guess: refused, not looked at for now, or no room.
func (s *siege) note(answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := codeOf(answer)
	s.codes[code]++
	switch code {
	case "401":
	case "429", "503":
		if !regexp.MustCompile(`(?m)^Retry-After: \d`).MatchString(answer) {
			s.t.Errorf("a refusal for now says no Retry-After: %s", answer)
		}
	default:
		s.t.Errorf("a wrong password is answered %s, want 401, 429 or 503", answer)
	}
}

// peakMemory is the most that a process has had in memory, in KiB.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			n, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("process %d has no VmHWM", pid)
	return 0
}
