package operation

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "one\r\n\ttwo\n", "one\r\n\ttwo\n"},
		{"C0 and DEL", "a\x1b[31m\x00\x07\x7fb", "a?[31m???b"},
		{"letters", "äöü € \U0001f600", "äöü € \U0001f600"},
		{"C1 as UTF-8", "a\u0080\u009b31m\u009f\u00a0b", "a????31m??\u00a0b"},
		{"C1 as bytes", "a\x9b31m\x80\x9f", "a?31m??"},
		{"a character whose bytes are in the range of C1", "\u069b\u20ac\U0001f49b", "\u069b\u20ac\U0001f49b"},
		{"one that is cut off", "\xe2\x9b", "\xe2?"},
		{"one that is cut off by a letter", "\xe2\x9bA\xf0\x9f\x92", "\xe2?A\xf0??"},
		{"overlong and surrogate", "\xc0\x9b\xe0\x80\x9b\xed\xa0\x80", "\xc0?\xe0??\xed\xa0?"},
		{"Latin-1", "caf\xe9 \xa0\xff", "caf\xe9 \xa0\xff"},
	} {
		got := []byte(tc.in)
		if printable(got); string(got) != tc.want {
			t.Errorf("%s: printable(%q) = %q, want %q", tc.name, tc.in, got, tc.want)
		}
	}
}

// texts are fed to the reader; what it gives must not depend on how it is asked.
var texts = []string{"", "one\r\n\ttwo", "a\x1b[31m\x00\x7f", "äöü€\U0001f600", "\u0080\u009b", "\x9b\xc2", "\xe2\x9b", "\xf0\x9f\x98", "\xf0\x9f\x98\x80\xf0\x9f", "\xc2\xc2\x9b\x9b", "\xe2\xe2\x98\x83\x83"}

// FuzzText: whatever is printed, in whatever pieces it is printed and read, the text is the same, as long as
// what was printed, and without what a terminal obeys.
func FuzzText(f *testing.F) {
	for _, s := range texts {
		f.Add([]byte(s), uint(1), uint(2))
	}
	s := newStore(f)
	op := createDead(f, s, backupOf("pg-one"))
	output := filepath.Join(s.dir(op.ID), "output.log")
	f.Fuzz(func(t *testing.T, printed []byte, cut, size uint) {
		op := op
		if len(printed) > 200 {
			return
		}
		want := bytes.Clone(printed)
		printable(want)
		checkText(t, printed, want)
		at := int(cut % uint(len(printed)+1)) // #nosec G115 -- small
		// A follower, and one who asks for what there is, before the rest is printed and after.
		var live, polled []byte
		for _, op.State = range []State{Running, Failed} {
			there := printed
			if op.State == Running {
				there = printed[:at]
			}
			if err := os.WriteFile(output, there, 0o600); err != nil {
				t.Fatal(err)
			}
			live = append(live, followed(t, s, op, int64(len(live)), true)...)
			polled = append(polled, readPrinted(t, s, op, int64(len(polled)), true)...)
		}
		if !bytes.Equal(live, want) || !bytes.Equal(polled, want) {
			t.Fatalf("%q printed up to %d and then on is followed as %q and polled as %q, want %q", printed, at, live, polled, want)
		}
		p, err := s.Printed(op, 0, true)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Close() }()
		n := 1 + int64(size%7)
		for off := int64(0); off < int64(len(want)); off++ {
			part := make([]byte, min(n, int64(len(want))-off))
			if _, err := p.ReadAt(part, off); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(part, want[off:off+int64(len(part))]) {
				t.Fatalf("%d bytes of %q at %d are %q (%v), want %q", len(part), printed, off, part, err, want[off:off+int64(len(part))])
			}
			if got := readPrinted(t, s, op, off, true); !bytes.Equal(got, want[off:]) {
				t.Fatalf("%q from %d is %q, want %q", printed, off, got, want[off:])
			}
		}
	})
}

// checkText fails if text is not printed without what a terminal obeys.
func checkText(t *testing.T, printed, text []byte) {
	t.Helper()
	if len(text) != len(printed) {
		t.Fatalf("%q has %d bytes as text, want %d", printed, len(text), len(printed))
	}
	for rest := text; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		c := rest[0]
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' || c == 0x7f || n == 1 && 0x80 <= c && c <= 0x9f || 0x80 <= r && r <= 0x9f {
			t.Fatalf("the text of %q is %q: it has a control character", printed, text)
		}
		rest = rest[n:]
	}
	if utf8.Valid(printed) && (!utf8.Valid(text) || !strings.ContainsFunc(string(printed), func(r rune) bool { return r < ' ' || 0x7f <= r && r <= 0x9f }) && !bytes.Equal(text, printed)) {
		t.Fatalf("the text of %q is %q: it was UTF-8, and is so no more, or was changed without need", printed, text)
	}
}

// A character is shown when it is whole, and what will never be whole at the end.
func TestACharacterPrintedInParts(t *testing.T) {
	s := newStore(t)
	op, lock := create(t, s, backupOf("pg-one"))
	w, err := s.OutputWriter(op.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	if _, err := s.Start(op.ID, ""); err != nil {
		t.Fatal(err)
	}
	parts := []string{"a\xe2", "\x98", "\x83b", "\xf0\x9f"}
	want := []string{"a", "", "☃b", "\xf0?"}
	got := make(chan string)
	go func() {
		defer close(got)
		_, err := s.Follow(context.Background(), op.ID, 0, true, func(p Piece) error { got <- string(p.Bytes); return nil })
		if err != nil {
			t.Error(err)
		}
	}()
	for i, part := range parts {
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
		if p := readPrinted(t, s, op, 0, true); i < 3 && string(p) != strings.Join(want[:i+1], "") {
			t.Errorf("after %q what there is is %q, want %q", parts[:i+1], p, want[:i+1])
		}
		if i == 3 {
			if _, err := s.End(op.ID, Succeeded, func(*Operation) {}); err != nil {
				t.Fatal(err)
			}
			closeFile(t, lock)
		}
		if want[i] != "" {
			if p := <-got; p != want[i] {
				t.Errorf("after %q a follower gets %q, want %q", part, p, want[i])
			}
		}
	}
	if p, more := <-got; more {
		t.Errorf("behind the end a follower gets %q", p)
	}
}
