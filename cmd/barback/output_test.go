package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// talkative is a Barman that prints 40 MiB in numbered lines, and waits for a file before the last one.
const talkative = `#!/bin/sh
[ "$1" = --version ] && { echo 3.4.0; exit; }
echo "Starting backup"
seq -f %015.0f 2621440
while [ ! -e "${0%/*}/gate" ]; do sleep 0.05; done
echo "Backup completed"
`

// TestOutputHasACap: a real runner keeps head and tail of what a Barman prints that prints too much; everybody
// is told what is missing, while it runs and afterwards.
func TestOutputHasACap(t *testing.T) {
	t.Parallel()
	l := newYard(t, 2)
	l.write("barman", talkative, 0o755)
	text, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	l.write("barback.toml", strings.Replace(string(text), "[runner]\n", "[runner]\nmax_output = \"1MiB\"\n", 1), 0o644)
	url, _ := l.serve()
	c := client{t, url}
	const first, last, size = "Starting backup\n", "Backup completed\n", 40<<20 + 16 + 17
	path := c.post("/servers/pg-a/operations", `{"type":"backup"}`)
	res, err := http.Get(url + path + "/output?follow=1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	documented(t, http.MethodGet, path+"/output", reply{Response: res})
	follower := bufio.NewReader(res.Body)
	if got, err := follower.ReadString('\n'); got != first {
		t.Fatalf("a follower gets %q first (%v), want %q", got, err, first)
	}
	var out map[string]any
	eventually(t, 30*time.Second, func() string { return fmt.Sprint(out) }, func() bool {
		out = c.do("GET", path, "").json(t)["output"].(map[string]any)
		return out["bytes"] == float64(size-len(last))
	})
	l.write("gate", "", 0o644)
	rest, err := io.ReadAll(follower)
	if err != nil || bytes.IndexByte(rest, 0) >= 0 || !bytes.HasSuffix(rest, []byte("000000002621440\n"+last)) {
		t.Errorf("the follower gets %d bytes (%v), %d of them NULs, want all up to the end", len(rest), err, bytes.Count(rest, []byte{0}))
	}
	out = c.mustEnd(path, "succeeded")["output"].(map[string]any)
	omitted, _ := out["omitted"].(float64)
	if kept := size - int64(omitted); out["bytes"] != float64(size) || out["incomplete"] != false || kept > 1<<20 || kept < 768<<10 {
		t.Errorf("the output is %v, want %d bytes, about a MiB of them kept", out, size)
	}
	id := path[strings.LastIndex(path, "/")+1:]
	st, err := os.Stat(l.state + "/operations/" + id + "/output.log")
	if err != nil {
		t.Fatal(err)
	}
	if used := st.Sys().(*syscall.Stat_t).Blocks * 512; st.Size() != size || used > 1<<20+256<<10 {
		t.Errorf("the file of %d bytes takes %d on the disk, want about a MiB", st.Size(), used)
	}
	line := fmt.Sprintf("\n[barback: %d bytes were left out here]\n", int64(omitted))
	whole := c.do("GET", path+"/output", "")
	printed := l.must(l.command(l.bin, "op", "output", "--config", l.config, id))
	followed := l.must(l.command(l.bin, "op", "output", "-f", "--config", l.config, id))
	for name, got := range map[string]string{"GET": string(whole.body), "op output": printed, "op output -f": followed} {
		if len(got) != size-int(omitted)+len(line) || !strings.HasPrefix(got, first+"000000000000001\n") || strings.Count(got, line) != 1 || !strings.HasSuffix(got, "000000002621440\n"+last) {
			t.Errorf("%s gives %d bytes, from %.40q on, want head, one line %q and tail", name, len(got), got, line)
		}
	}
	if got := c.do("GET", path+"/output", "", "Range", "bytes=-17"); got.StatusCode != http.StatusPartialContent || string(got.body) != last {
		t.Errorf("the last 17 bytes are %d %q, want %q", got.StatusCode, got.body, last)
	}
}
