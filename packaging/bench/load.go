package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// door is a way to a program.
type door struct {
	url, token string
	process    *process
}

// do sends a request and reads the answer; any other status than want ends the measurement.
func (d *door) do(method, path, body string, want int) ([]byte, time.Duration) {
	data, took, err := d.try(method, path, body, want)
	must(err)
	return data, took
}

func (d *door) try(method, path, body string, want int) ([]byte, time.Duration, error) {
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, d.url+path, in)
	if err != nil {
		return nil, 0, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if d.token != "" {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	start := time.Now()
	res, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = res.Body.Close() }()
	var b bytes.Buffer
	if res.ContentLength > 0 {
		b.Grow(int(res.ContentLength) + bytes.MinRead)
	}
	_, err = b.ReadFrom(res.Body)
	took := time.Since(start)
	if err == nil && res.StatusCode != want {
		err = &statusError{method, path, res.StatusCode, strings.TrimSpace(b.String())}
	}
	return b.Bytes(), took, err
}

type statusError struct {
	method, path string
	status       int
	body         string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s %s = %d %s", e.method, e.path, e.status, e.body)
}

func (d *door) get(path string) time.Duration {
	_, took := d.do(http.MethodGet, path, "", http.StatusOK)
	return took
}

// post asks for an operation and gives the path of it.
func (d *door) post(body string) (string, time.Duration) {
	data, took := d.do(http.MethodPost, operations, body, http.StatusAccepted)
	var op struct {
		ID string `json:"operation_id"`
	}
	must(json.Unmarshal(data, &op))
	return operations + "/" + op.ID, took
}

// ended waits until an operation has ended, as a client would: with long polls.
func (d *door) ended(path string) string {
	for {
		req := mustHave(http.NewRequest(http.MethodGet, d.url+path, nil))
		req.Header.Set("Prefer", "wait=25")
		req.Header.Set("Authorization", "Bearer "+d.token)
		res := mustHave(client.Do(req))
		var op struct{ Status, State string }
		err := json.NewDecoder(res.Body).Decode(&op)
		_ = res.Body.Close()
		must(err)
		if op.Status != "IN_PROGRESS" {
			return op.State
		}
	}
}

// rate is what wrk saw.
type rate struct {
	perSecond float64
	p99       float64 // milliseconds; NaN if wrk has none
}

var (
	wrkRate = regexp.MustCompile(`Requests/sec: +([0-9.]+)`)
	wrkP99  = regexp.MustCompile(`(?m)^ +99% +([0-9.]+)(us|ms|s|m)$`)
	wrkBad  = regexp.MustCompile(`Non-2xx or 3xx responses: .*|Socket errors: .*`)
)

// wrk puts the load of 16 connections on a path.
func (l *lab) wrk(d *door, path string, length time.Duration) rate {
	args := []string{"-t1", "-c16", fmt.Sprintf("-d%ds", max(1, int(length.Seconds()))), "--latency", "--timeout", "20s"}
	if d.token != "" {
		args = append(args, "-H", "Authorization: Bearer "+d.token)
	}
	out := l.run(exec.Command("wrk", append(args, d.url+path)...))
	if bad := wrkBad.FindString(out); bad != "" {
		fail("wrk %s: %s\n%s", d.url+path, bad, l.logged())
	}
	return seen(out)
}

// logged is what the logs say at their ends.
func (l *lab) logged() string {
	logs, _ := filepath.Glob(l.dir + "/a.*/logs/*")
	var b strings.Builder
	for _, file := range append(logs, l.dir+"/bench.log") {
		data, _ := os.ReadFile(file)
		lines := strings.SplitAfter(strings.TrimSpace(string(data)), "\n")
		fmt.Fprintf(&b, "%s:\n%s\n", file, strings.Join(lines[max(0, len(lines)-5):], ""))
	}
	return b.String()
}

// seen reads what wrk printed.
func seen(out string) rate {
	m := wrkRate.FindStringSubmatch(out)
	if m == nil {
		fail("wrk said %s", out)
	}
	r := rate{mustHave(strconv.ParseFloat(m[1], 64)), math.NaN()}
	// wrk adds requests that others kept from being sent, and may miss its own count of them then: "0.00us".
	if p := wrkP99.FindStringSubmatch(out); p != nil && p[1] != "0.00" {
		r.p99 = mustHave(strconv.ParseFloat(p[1], 64)) * map[string]float64{"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}[p[2]]
	}
	return r
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// drain reads an answer that may be long and gives the number of its bytes.
func (d *door) drain(path string) (int64, error) {
	req, err := http.NewRequest(http.MethodGet, d.url+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+d.token)
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return 0, &statusError{http.MethodGet, path, res.StatusCode, ""}
	}
	return io.Copy(io.Discard, res.Body)
}

// poll waits for a change of an operation, for 25 seconds at most.
func (d *door) poll(path string) error {
	req, err := http.NewRequest(http.MethodGet, d.url+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+d.token)
	req.Header.Set("Prefer", "wait=25")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = &statusError{http.MethodGet, path, res.StatusCode, ""}
	}
	return err
}
