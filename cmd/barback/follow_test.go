package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// gated is a barman that prints a line, waits until a file is there, and prints more.
const gated = `#!/bin/sh
case "$*" in *--version*) echo 3.4.0; exit;; esac
printf 'one\033[31m\n'
while [ ! -e GATE ]; do sleep 0.05; done
echo two
`

// TestFollow: output arrives while the operation runs, and the answer ends with it.
func TestFollow(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	cases := []struct{ name, query, accept, first, rest string }{
		{"text", "?follow=1", "", "one?[31m", "two\n"},
		{"text from an offset", "?follow=1&offset=3", "", "?[31m", "two\n"},
		{"raw", "?follow=1&raw=1", "", "one\x1b[31m", "two\n"},
		{"events", "", "text/event-stream", "event: output|id: 9|data: one?[31m", "\nevent: output\nid: 13\ndata: two\n\nevent: state\ndata: {\"state\":\"succeeded\",\"status\":\"DONE\"}\n\n"},
	}
	for _, d := range []door{doors[0], doors[1], doors[3], doors[6]} {
		t.Run(d.name, func(t *testing.T) {
			l := *l
			l.t = t
			gate, fake := l.dir+"/gate", l.dir+"/fake-barman"
			if err := os.WriteFile(fake, []byte(strings.ReplaceAll(gated, "GATE", gate)), 0o755); err != nil { // #nosec G306 -- a program
				t.Fatal(err)
			}
			if err := os.WriteFile(l.config, []byte(l.text(l.state, fake, l.env["LAB_BARMAN_CONF"])), 0o644); err != nil { // #nosec G306
				t.Fatal(err)
			}
			c := client{t, d.open(&l)}
			for _, tc := range cases {
				t.Run(tc.name, func(t *testing.T) {
					_ = os.Remove(gate)
					path := client{t, c.url}.post(backups, `{"type":"backup"}`)
					req, err := http.NewRequestWithContext(t.Context(), "GET", c.url+path+"/output"+tc.query, nil)
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("Accept", tc.accept)
					res, err := http.DefaultClient.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = res.Body.Close() }()
					in := bufio.NewReader(res.Body)
					for want := range strings.SplitSeq(tc.first, "|") {
						if got, err := in.ReadString('\n'); err != nil || got != want+"\n" {
							t.Fatalf("before the end the output says %q (%v), want %q", got, err, want)
						}
					}
					if err := os.WriteFile(gate, nil, 0o644); err != nil { // #nosec G306
						t.Fatal(err)
					}
					if got, err := io.ReadAll(in); err != nil || string(got) != tc.rest {
						t.Errorf("the rest of the output is %q (%v), want %q", got, err, tc.rest)
					}
					documented(t, http.MethodGet, path+"/output", reply{Response: res})
				})
			}
		})
	}
}
