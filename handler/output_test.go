package handler

import (
	"bytes"
	"fmt"
	"io"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"barback/runner/operation"
)

// beyond is an operation that printed more than is kept of it: lines of 16 bytes.
func beyond(b *bench, lines int) (path, printed string) {
	printed = strings.Repeat("0123456789abcde\n", lines)
	op := b.ended(operation.Operation{Type: "backup", Server: "pg-one", MaxOutput: operation.MinOutput}, operation.Succeeded, printed)
	return "/servers/pg-one/operations/" + string(op.ID), printed
}

func TestOutputBeyondItsCap(t *testing.T) {
	b := newBench(t, nil)
	path, printed := beyond(b, 5<<20/16)
	view := b.ask("GET", path, "").json()["output"].(map[string]any)
	omitted := int(view["omitted"].(float64))
	if int(view["bytes"].(float64)) != len(printed) || view["incomplete"] != false || len(printed)-omitted > operation.MinOutput || len(printed)-omitted < operation.MinOutput*3/4 {
		t.Fatalf("the output is shown as %v, want all %d bytes told, and but a MiB of them kept", view, len(printed))
	}
	from := operation.MinOutput / 4
	to := from + omitted
	line := func(n int) string { return fmt.Sprintf("\n[barback: %d bytes were left out here]\n", n) }
	whole := printed[:from] + line(omitted) + printed[to:]
	mark := func(at, n int) string { return fmt.Sprintf("bytes=%d-%d", at, at+n-1) }
	for _, tc := range []struct{ query, rng, want string }{
		{"", "", whole},
		{"?raw=1", "", whole},
		{"?follow=1", "", whole},
		{"?offset=" + strconv.Itoa(from+5), "", line(omitted-5) + printed[to:]},
		{"?follow=1&offset=" + strconv.Itoa(from+5), "", line(omitted-5) + printed[to:]},
		{"?offset=" + strconv.Itoa(to+5), "", printed[to+5:]},
		{"", mark(from-3, 20), whole[from-3:][:20]},
		{"", mark(from+2, 3), whole[from+2:][:3]},
		{"", "bytes=-7", whole[len(whole)-7:]},
	} {
		var header []string
		if tc.rng != "" {
			header = []string{"Range", tc.rng}
		}
		res := b.ask("GET", path+"/output"+tc.query, "", header...)
		if got := res.Body.String(); got != tc.want {
			t.Errorf("GET output%s with Range %q gives %d bytes: %.60q…, want %d: %.60q…", tc.query, tc.rng, len(got), got, len(tc.want), tc.want)
		}
		head := res.Header()
		if length, end := head.Get("Content-Length"), head.Get("X-Output-End"); !strings.Contains(tc.query, "follow") && (length != strconv.Itoa(len(tc.want)) || end != strconv.Itoa(len(printed))) {
			t.Errorf("GET output%s with Range %q: Content-Length is %s and X-Output-End %s, want %d and %d", tc.query, tc.rng, length, end, len(tc.want), len(printed))
		}
	}
	// Events keep the offsets of what was printed.
	events := b.ask("GET", path+"/output", "", "Accept", "text/event-stream", "Last-Event-Id", strconv.Itoa(from-16)).Body.String()
	want := fmt.Sprintf("event: output\nid: %d\ndata: 0123456789abcde\n\nevent: output\nid: %d\ndata: [barback: %d bytes were left out here]\n\nevent: output\nid: %d\ndata: 0123456789abcde\n\n", from, to, omitted, to+16)
	if !strings.HasPrefix(events, want) {
		t.Errorf("the events around what was left out are %.300q, want %q", events, want)
	}
}

// A client that asks for what is new since it last asked gets each byte once, though characters come in parts.
func TestPollingByOffset(t *testing.T) {
	b := newBench(t, nil)
	op, _ := b.operation(operation.Operation{Type: "backup", Server: "pg-one"})
	w, err := b.store.OutputWriter(op.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	got, end := "", "0"
	for _, part := range []string{"a\xe2", "\x98\x83\u009b", "\x9b\xf0\x9f", "\x98\x80b"} {
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
		res := b.ask("GET", "/servers/pg-one/operations/"+string(op.ID)+"/output?offset="+end, "")
		got, end = got+res.Body.String(), res.Header().Get("X-Output-End")
	}
	if want := "a☃???\U0001f600b"; got != want || end != "12" {
		t.Errorf("polled in parts the output is %q up to %s, want %q", got, end, want)
	}
}

// Whatever the parts that it comes in, a line makes an event; a long one, or one without an end, makes several.
func TestEvents(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	event := func(id int, data string) string { return fmt.Sprintf("event: output\nid: %d\ndata: %s\n\n", id, data) }
	for _, tc := range []struct{ name, printed, want string }{
		{"lines", "one\r\ntwo\n\nthree", event(5, "one") + event(9, "two") + event(10, "") + event(15, "three")},
		{"progress drawn over itself", "a\n\r 1%\r 2%\r 3%\nb\n", event(2, "a") + event(7, " 1%") + event(11, " 2%") + event(15, " 3%") + event(17, "b")},
		{"progress that ends each state", " 1%\r 2%\r\n", event(4, " 1%") + event(9, " 2%")},
		{"a \\r at the end", "a\r", event(2, "a")},
		{"nothing but \\r", "\r\r\r\n\r\r", event(4, "") + event(6, "")},
		{"a line as long as can be", long + "\nb", event(maxLine+1, long) + event(maxLine+2, "b")},
		{"and with \\r\\n", long + "\r\nb", event(maxLine+2, long) + event(maxLine+3, "b")},
		{"a longer one", long + "y\n", event(maxLine, long) + event(maxLine+2, "y")},
		{"a much longer one", long + long + long, event(maxLine, long) + event(2*maxLine, long) + event(3*maxLine, long)},
		{"one that is cut between characters", long[1:] + "☃☃\n", event(maxLine+2, long[1:]+"☃") + event(maxLine+6, "☃")},
		{"no characters at all", long + strings.Repeat("\xbf", 7), event(maxLine+4, long+"\xbf\xbf\xbf\xbf") + event(maxLine+7, "\xbf\xbf\xbf")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, size := range []int{1, 2, 3, 4096, len(tc.printed)} {
				var got bytes.Buffer
				lines := &lineEvents{w: &got}
				for at := 0; at < len(tc.printed); at += size {
					end := min(at+size, len(tc.printed))
					if err := lines.take(operation.Piece{Bytes: []byte(tc.printed[at:end]), End: int64(end)}); err != nil {
						t.Fatal(err)
					}
					if len(lines.line) > maxLine+4 {
						t.Fatalf("%d bytes are held back, want no more than a line", len(lines.line))
					}
				}
				if err := lines.send(); err != nil || got.String() != tc.want {
					t.Fatalf("in parts of %d the events are %.300q (%v), want %.300q", size, got.String(), err, tc.want)
				}
			}
		})
	}
}

// stalled is a client that takes some bytes and then waits until others did their work.
type stalled struct {
	*httptest.ResponseRecorder
	after int
	then  func()
}

func (s *stalled) Write(p []byte) (int, error) {
	if s.after -= len(p); s.after < 0 && s.then != nil {
		then := s.then
		s.then = nil
		then()
	}
	return s.ResponseRecorder.Write(p)
}

// Who reads slower than Barman prints gets an answer that ends early, and never bytes that nobody printed.
func TestAnAnswerThatIsOvertaken(t *testing.T) {
	b := newBench(t, nil)
	op, _ := b.operation(operation.Operation{Type: "backup", Server: "pg-one", MaxOutput: operation.MinOutput})
	w, err := b.store.OutputWriter(op.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	if w.Uncapped != nil {
		t.Skipf("the file system cannot free a part of a file: %v", w.Uncapped)
	}
	print := func() {
		if _, err := io.WriteString(w, strings.Repeat("0123456789abcde\n", 2<<20/16)); err != nil {
			t.Fatal(err)
		}
	}
	print()
	res := &stalled{ResponseRecorder: httptest.NewRecorder(), after: 300 << 10, then: print}
	b.ServeHTTP(res, httptest.NewRequest("GET", "/servers/pg-one/operations/"+string(op.ID)+"/output", nil))
	got, announced := res.Body.Len(), res.Header().Get("Content-Length")
	if n, _ := strconv.Atoi(announced); got >= n || got < 256<<10 || bytes.IndexByte(res.Body.Bytes(), 0) >= 0 {
		t.Errorf("%d of %s bytes are sent, %d of them NULs, want the answer cut short", got, announced, bytes.Count(res.Body.Bytes(), []byte{0}))
	}
}

// The output has no version that a condition could be about: RFC 9110, 13.1 is for what has one.
func TestConditionsOnTheOutputAreLeftAlone(t *testing.T) {
	b := newBench(t, nil)
	op := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Failed, "some output\n")
	for _, header := range []string{"If-Match", "If-None-Match", "If-Range", "If-Modified-Since", "If-Unmodified-Since"} {
		for _, value := range []string{"*", `"x"`, "Wed, 21 Oct 2015 07:28:00 GMT"} {
			b.ask("GET", "/servers/pg-one/operations/"+string(op.ID)+"/output", "", header, value).want(200, "some output")
		}
	}
}
