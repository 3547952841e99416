package operation

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// numbered is n bytes of an output from offset off on: lines that say where they begin.
func numbered(off, n int64) []byte {
	first := off &^ 15
	b := make([]byte, (off+n-first+15)&^15)
	for i := range b {
		b[i] = '0'
		if i&15 == 15 {
			b[i] = '\n'
			for at, digit := first+int64(i)-15, i-1; at > 0; at, digit = at/10, digit-1 {
				b[digit] += byte(at % 10)
			}
		}
	}
	return b[off-first:][:n]
}

// capped is an operation at work with a cap, and its writer.
func capped(t testing.TB, s *Store, most int64) (Operation, *os.File, *OutputWriter) {
	t.Helper()
	o := backupOf("pg-one")
	o.MaxOutput = most
	op, lock := create(t, s, o)
	w, err := s.OutputWriter(op.ID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return op, lock, w
}

// punches skips where the file system cannot free a part of a file.
func punches(t testing.TB, w *OutputWriter) {
	t.Helper()
	if w.Uncapped != nil {
		t.Skipf("the file system of %s cannot free a part of a file: %v", os.TempDir(), w.Uncapped)
	}
}

func printNumbered(t testing.TB, w *OutputWriter, n int64) {
	t.Helper()
	for end := w.size + n; w.size < end; {
		if _, err := w.Write(numbered(w.size, min(40000, end-w.size))); err != nil {
			t.Fatal(err)
		}
	}
}

func readPrinted(t testing.TB, s *Store, op Operation, offset int64, text bool) []byte {
	t.Helper()
	p, err := s.Printed(op, offset, text)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	b, err := io.ReadAll(p)
	if err != nil || int64(len(b)) != p.Size() {
		t.Fatalf("Printed from %d gives %d bytes and %v, want the %d that it announces", offset, len(b), err, p.Size())
	}
	return b
}

func TestTheGapFollowsFromSizeAndCap(t *testing.T) {
	for _, most := range []int64{MinOutput, MinOutput + 1, 3<<20 - 7, 64 << 20, 5 << 30} {
		step, last := most/4/65536*65536, gap{}
		for size := int64(0); size < 8*most; size += most/17 + 1 {
			g := gapOf(size, most)
			if size <= most && g != (gap{}) {
				t.Fatalf("gapOf(%d, %d) = %v, want nothing left out of what fits", size, most, g)
			}
			if size <= most {
				continue
			}
			if kept, tail := size-g.bytes(), size-g.to; g.from != step || g.bytes()%step != 0 || g.to < last.to || kept > most || tail < most/2 || g.bytes() >= size-most+step {
				t.Fatalf("gapOf(%d, %d) = %v: want the first quarter kept, half of the cap or more behind, no more than the cap in all, and no more left out than needed", size, most, g)
			}
			last = g
		}
		if g := gapOf(1<<40, 0); g != (gap{}) {
			t.Errorf("gapOf without a cap = %v, want nothing", g)
		}
	}
}

func TestOutputBeyondItsCap(t *testing.T) {
	s := newStore(t)
	op, _, w := capped(t, s, MinOutput)
	punches(t, w)
	const size = 20<<20 + 12345
	printNumbered(t, w, size)
	path := filepath.Join(s.dir(op.ID), "output.log")
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if used := st.Sys().(*syscall.Stat_t).Blocks * 512; st.Size() != size || used > MinOutput+256<<10 || used < MinOutput/2 {
		t.Errorf("the file has %d bytes and takes %d on the disk, want %d and about %d", st.Size(), used, size, MinOutput)
	}
	g := gapOf(size, MinOutput)
	if got := op.Omitted(s.OutputBytes(op.ID)); got != g.bytes() {
		t.Errorf("Omitted = %d, want %d", got, g.bytes())
	}
	line := func(n int64) string { return fmt.Sprintf("\n[barback: %d bytes were left out here]\n", n) }
	behind := string(numbered(g.to, size-g.to))
	for _, tc := range []struct {
		offset int64
		want   string
	}{
		{0, string(numbered(0, g.from)) + line(g.bytes()) + behind},
		{100, string(numbered(100, g.from-100)) + line(g.bytes()) + behind},
		{g.from - 1, string(numbered(g.from-1, 1)) + line(g.bytes()) + behind},
		{g.from, line(g.bytes()) + behind},
		{g.from + 7, line(g.bytes()-7) + behind},
		{g.to - 1, line(1) + behind},
		{g.to, behind},
		{g.to + 1, behind[1:]},
		{size - 1, behind[len(behind)-1:]},
		{size, ""},
		{size + 1, ""},
	} {
		for _, text := range []bool{false, true} {
			if got := readPrinted(t, s, op, tc.offset, text); string(got) != tc.want {
				t.Errorf("Printed from %d (text %v) has %d bytes: %.60q…, want %d: %.60q…", tc.offset, text, len(got), got, len(tc.want), tc.want)
			}
			if got := followed(t, s, op, tc.offset, text); got != tc.want {
				t.Errorf("followed from %d (text %v) it has %d bytes: %.60q…, want %d: %.60q…", tc.offset, text, len(got), got, len(tc.want), tc.want)
			}
		}
	}
	// Any part of the whole is what it is in the whole.
	p, err := s.Printed(op, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	whole := readPrinted(t, s, op, 0, true)
	for range 500 {
		at := rand.Int64N(p.Size())
		if rand.IntN(2) == 0 {
			at = g.from - 100 + rand.Int64N(200)
		}
		part := make([]byte, min(1+rand.Int64N(300), p.Size()-at))
		if n, err := p.ReadAt(part, at); n != len(part) || err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(part, whole[at:at+int64(n)]) {
			t.Fatalf("ReadAt(%d bytes at %d) = %d, %v %q, want %q", len(part), at, n, err, part, whole[at:at+int64(len(part))])
		}
	}
}

// followed is what a follower gets who comes now and does not wait.
func followed(t testing.TB, s *Store, op Operation, offset int64, text bool) string {
	t.Helper()
	f, err := s.Output(op.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var got strings.Builder
	if _, err := newReader(f, op, text).emit(t.Context(), offset, func(p Piece) error { got.Write(p.Bytes); return nil }); err != nil {
		t.Fatal(err)
	}
	return got.String()
}

// A copy of the state directory, or an archive, has NULs where the holes were.
func TestTheGapIsKnownWhereNoHoleIs(t *testing.T) {
	s := newStore(t)
	op, _, w := capped(t, s, MinOutput)
	punches(t, w)
	printNumbered(t, w, 3<<20)
	want := readPrinted(t, s, op, 0, false)
	path := filepath.Join(s.dir(op.ID), "output.log")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	if got := readPrinted(t, s, op, 0, false); !bytes.Equal(got, want) {
		t.Errorf("a copy without holes reads as %d bytes, %d of them NULs, want the same %d as before", len(got), bytes.Count(got, []byte{0}), len(want))
	}
}

// Where the record cannot say what the cap is, the hole does.
func TestADamagedRecordStillHasItsOutput(t *testing.T) {
	s := newStore(t)
	op, lock, w := capped(t, s, MinOutput)
	punches(t, w)
	printNumbered(t, w, 3<<20)
	want := readPrinted(t, s, op, 0, false)
	closeFile(t, lock)
	store(t, s, op.ID, "{")
	bad := wantState(t, s, op.ID, Damaged)
	if got := readPrinted(t, s, bad, 0, false); !bytes.Equal(got, want) {
		t.Errorf("the output of a damaged record has %d bytes, %d of them NULs, want %d", len(got), bytes.Count(got, []byte{0}), len(want))
	}
	small := createDead(t, s, backupOf("pg-two"))
	if err := os.WriteFile(filepath.Join(s.dir(small.ID), "output.log"), []byte("one\x00two"), 0o600); err != nil {
		t.Fatal(err)
	}
	store(t, s, small.ID, "{")
	if got := readPrinted(t, s, wantState(t, s, small.ID, Damaged), 0, false); string(got) != "one\x00two" {
		t.Errorf("the output of a damaged record is %q, want what was printed, NUL and all", got)
	}
}

// NULs that Barman prints are no gap.
func TestPrintedNULs(t *testing.T) {
	s := newStore(t)
	op, _, w := capped(t, s, MinOutput)
	nuls := make([]byte, MinOutput)
	if _, err := w.Write(nuls); err != nil {
		t.Fatal(err)
	}
	if got := readPrinted(t, s, op, 0, false); !bytes.Equal(got, nuls) {
		t.Errorf("a MiB of NULs reads as %d bytes: %.60q…, want them all", len(got), got)
	}
}

// TestAFileSystemThatCannotFree: all is kept, and read as it is.
func TestAFileSystemThatCannotFree(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("ramfs", dir, "ramfs", 0, "mode=755"); err != nil {
		t.Skipf("a file system without holes (ramfs) cannot be mounted: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, unix.MNT_DETACH) })
	s := openStore(t, filepath.Join(dir))
	op, lock, w := capped(t, s, MinOutput)
	if !errors.Is(w.Uncapped, unix.EOPNOTSUPP) {
		t.Fatalf("Uncapped = %v on ramfs, want %v", w.Uncapped, unix.EOPNOTSUPP)
	}
	printNumbered(t, w, 3<<20)
	op, err := s.Load(op.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got := readPrinted(t, s, op, 0, false); !bytes.Equal(got, numbered(0, 3<<20)) || op.Omitted(3<<20) != 0 {
		t.Errorf("where nothing can be freed %d bytes are read and %d left out, want all %d", len(got), op.Omitted(3<<20), 3<<20)
	}
	closeFile(t, lock)
}

// What was left out takes no memory when an archived output is read, and the rest reads as before.
func TestAnArchivedOutputBeyondItsCap(t *testing.T) {
	s := newStore(t)
	op, lock, w := capped(t, s, MinOutput)
	punches(t, w)
	printNumbered(t, w, 30<<20)
	want := readPrinted(t, s, op, 0, true)
	op, err := s.End(op.ID, Failed, func(*Operation) {})
	if err != nil {
		t.Fatal(err)
	}
	closeFile(t, lock)
	if _, err := s.Prune(Policy{MaxSize: 1}, time.Now(), false); err != nil {
		t.Fatal(err)
	}
	if op, err = s.Load(op.ID); err != nil || !op.Archived() {
		t.Fatalf("Load = %v, %v, want it archived", op, err)
	}
	if got := op.Omitted(s.OutputBytes(op.ID)); got != gapOf(30<<20, MinOutput).bytes() {
		t.Errorf("of an archived output %d bytes are said to be left out, want %d", got, gapOf(30<<20, MinOutput).bytes())
	}
	if got := readPrinted(t, s, op, 0, true); !bytes.Equal(got, want) {
		t.Errorf("archived the output reads as %d bytes, %d of them NULs, want the same %d as before", len(got), bytes.Count(got, []byte{0}), len(want))
	}
	var live bytes.Buffer
	if _, err := s.Follow(t.Context(), op.ID, 0, true, func(p Piece) error { live.Write(p.Bytes); return nil }); err != nil || !bytes.Equal(live.Bytes(), want) {
		t.Errorf("a follower of an archived output gets %d bytes and %v, want all %d", live.Len(), err, len(want))
	}
	f, err := s.Output(op.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile(t, f)
	if st, err := f.Stat(); err != nil || st.Sys().(*syscall.Stat_t).Blocks*512 > MinOutput+256<<10 {
		t.Errorf("an archived output is opened as %+v (%v), want but what was kept in memory", st, err)
	}
}
