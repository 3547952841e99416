package runner

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// ofFiles is how much of this process's memory is pages of files, in KiB.
func ofFiles(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestUnmapGivesBackThePagesOfTheProgram(t *testing.T) {
	for _, m := range mappings() {
		if _, _, err := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_POPULATE_READ); err != 0 {
			t.Skipf("MADV_POPULATE_READ: %v", err)
		}
	}
	before := ofFiles(t)
	unmap()
	if after := ofFiles(t); after > before/2 {
		t.Errorf("%d KiB of the program are mapped, and %d were before", after, before)
	}
}

func TestUnmapLeavesWhatWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("file"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	page, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(page) }()
	copy(page, "ours")
	unmap()
	if string(page[:4]) != "ours" {
		t.Errorf("a page that can be written to holds %q", page[:4])
	}
	if err := unix.Mprotect(page, unix.PROT_READ); err != nil { // as a dynamic linker does when it is done
		t.Fatal(err)
	}
	unmap()
	if string(page[:4]) != "ours" {
		t.Errorf("a page that was written to holds %q", page[:4])
	}
}
