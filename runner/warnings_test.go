package runner

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"barback/runner/barman"
	"barback/runner/operation"
)

func TestWarningsOfBarman(t *testing.T) {
	var many, kept strings.Builder
	for i := range 30 {
		fmt.Fprintf(&many, "WARNING: number %d\n", i)
		if i < maxWarnings-1 {
			fmt.Fprintf(&kept, "number %d|", i)
		}
	}
	for _, tc := range []struct{ name, printed, want string }{
		{"none", "Starting backup\nBackup completed\n", ""},
		{"lines", "WARNING: one\nCopying\nWARNING:  two \nWARNING: one\n", "one|two"},
		{"a heading", "WARNING\nYou are to review:\n\npostgresql.conf line 1: a = b\npg_hba.conf line 2: c\n\nRestore completed\n", "You are to review:; postgresql.conf line 1: a = b; pg_hba.conf line 2: c"},
		{"a heading and a line", "WARNING\nReview\n\na\nWARNING: b\nc\n", "Review; a|b"},
		{"a heading without a list", "WARNING\nReview\nRestore completed\n\nx\n", "Review"},
		{"in the middle of a line", "no WARNING: at all\nWARNINGS are none\n", ""},
		{"a line without an end", "WARNING: not yet", ""},
		{"a long line", "WARNING: " + strings.Repeat("x", 5000) + "\nWARNING: b\n", strings.Repeat("x", maxWarningLength-9) + "|b"},
		{"no UTF-8", "WARNING: a\xffb\n", "a?b"},
		{"too many", many.String(), kept.String() + "there are more warnings in the output"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, step := range []int{1, 7, 1 << 20} { // as it may come through a pipe
				var w warnings
				for p := range slices.Chunk([]byte(tc.printed), step) {
					_, _ = w.Write(p)
				}
				if got := strings.Join(w.all(), "|"); got != tc.want {
					t.Errorf("the warnings are %q, want %q", got, tc.want)
				}
			}
		})
	}
}

func TestWhatARestoredClusterLacks(t *testing.T) {
	here := `while [ $# -gt 1 ]; do shift; done; exec /bin/sh -c "$1"`
	for _, tc := range []struct {
		name, ssh string
		without   []string
		err       string
	}{
		{"nothing", "", nil, ""},
		{"what Barman 3.13 leaves out", "", []string{"pg_tblspc"}, ""},
		{"two", "", []string{"pg_logical/snapshots", "pg_twophase"}, ""},
		{"nothing, on another host", here, nil, ""},
		{"one, on another host", here, []string{"pg_tblspc"}, ""},
		{"the other host does not answer", "echo no route to host >&2; exit 255", nil, "no route to host"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target := &operation.Target{Directory: t.TempDir()}
			if tc.ssh != "" {
				target.SSH = fakeSSH(t, tc.ssh) + " postgres@db"
			}
			want := ""
			for _, name := range mayBeEmpty {
				path := filepath.Join(target.Directory, name)
				if slices.Contains(tc.without, name) {
					want += " " + path
				} else if err := os.MkdirAll(path, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			op := operation.Operation{ID: "20260102T030405-0az9kx", Target: target}
			got, err := lacking(t.Context(), barman.Host{}, op)
			if _, remedy, _ := strings.Cut(got, "mkdir -p -m 700"); remedy != want || (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("it lacks %q, %v, want a mkdir of%q and an error with %q", got, err, want, tc.err)
			}
		})
	}
	if got, err := lacking(t.Context(), barman.Host{}, operation.Operation{}); got != "" || err != nil {
		t.Errorf("a backup lacks %q, %v, want nothing", got, err)
	}
}
