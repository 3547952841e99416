package runner

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Rest gives back what the start took, and then what is left over each minute, until done is closed: a runner waits for
// hours, with many others, and who serves may have sent a long list. Most operations end before the first time.
func Rest(done <-chan struct{}) {
	for pause := time.Second; ; pause = time.Minute {
		select {
		case <-done:
			return
		case <-time.After(pause):
		}
		debug.FreeOSMemory()
		unmap()
	}
}

// unmap has the kernel take the pages of the program's file off this process; those that it goes on to use come back
// from the page cache (madvise(2), MADV_DONTNEED). The start touched nearly all of them, a waiting runner needs a fourth, and
// as long as they are mapped they count as its own and are the last to make room.
func unmap() {
	for _, m := range mappings() {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// mappings are those of files that cannot be written to, and never were: what was written is no longer the file's (Anonymous).
func mappings() (found []mapping) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	ofFile, at := false, mapping{} // what the lines are about
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Bytes()
		if name := line[0] >= 'A' && line[0] <= 'Z'; !name { // the first line of a mapping
			var mode string
			_, err := fmt.Sscanf(string(line), "%x-%x %s", &at.from, &at.to, &mode)
			ofFile = err == nil && bytes.Contains(line, []byte(" /")) && !strings.Contains(mode, "w")
		} else if ofFile && bytes.HasPrefix(line, []byte("Anonymous:")) && bytes.HasSuffix(line, []byte(" 0 kB")) {
			found = append(found, at)
		}
	}
	return found
}
