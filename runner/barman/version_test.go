package barman

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOlder(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"3.4.0", "3.10", true}, {"3.9.9", "3.10", true}, {"3.10", "3.10", false}, {"3.10.0", "3.10", false}, {"3.13.3", "3.10", false},
		{"3.20.1", "3.10", false}, {"4.0", "3.10", false}, {"2.19", "3.10", true}, {"3", "3.10", true}, {"10.0.0", "9.9.9", false}, {"3.4.0", "3.4.0", false}, {"3.4.0", "3.4.1", true},
	} {
		if got := older(tc.a, tc.b); got != tc.want {
			t.Errorf("older(%s, %s) = %v, want %v", tc.a, tc.b, got, tc.want)
		}
	}
	k := Kind{Name: "x", Since: "3.10"}
	if k.Supported("3.4.0") || !k.Supported("3.10.0") || !(Kind{Name: "y"}).Supported("1.0") {
		t.Error("Supported does not follow Since")
	}
}

// counting makes the box's barman print text and note each of its starts.
func (b *box) counting(t testing.TB, text string) (starts func() int) {
	t.Helper()
	b.write(t, "barman", "#!/bin/sh\necho \"$@\" >> DIR/starts\ncat <<'EOT'\n"+text+"\nEOT\n")
	return func() int {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(b.dir, "starts"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if n := strings.Count(string(data), "--version\n"); n != strings.Count(string(data), "\n") {
			t.Errorf("barman was started as %q, want only --version", data)
		}
		return strings.Count(string(data), "\n")
	}
}

func wantVersion(t testing.TB, c *Client, want string) {
	t.Helper()
	if got, err := c.Version(); err != nil || got != want {
		t.Errorf("Version = %q, %v, want %q", got, err, want)
	}
}

func TestVersionIsAskedOnce(t *testing.T) {
	b := newBox(t, nil)
	b.client.Cache = b.dir
	starts := b.counting(t, "3.13.3 Barman by EnterpriseDB (www.enterprisedb.com)")
	for range 3 {
		c := *b.client // as a new process would have it
		wantVersion(t, &c, "3.13.3")
	}
	if n := starts(); n != 1 {
		t.Errorf("barman was started %d times for three questions, want once", n)
	}
	touch := func(path string, at time.Time) {
		t.Helper()
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	b.counting(t, "3.20.1 Barman by EnterpriseDB (www.enterprisedb.com)")
	touch(b.client.Command, time.Unix(1_700_000_000, 1))
	wantVersion(t, b.client, "3.20.1")
	touch(b.client.Command, time.Unix(1_700_000_000, 2)) // of the same size
	wantVersion(t, b.client, "3.20.1")
	if n := starts(); n != 3 {
		t.Errorf("barman was started %d times for a program that changed twice, want three times", n)
	}
	other := *b.client
	other.Command = filepath.Join(b.dir, "other", "barman")
	b.write(t, "other/barman", "#!/bin/sh\necho 3.4.0\n")
	if err := os.Chmod(other.Command, 0o755); err != nil {
		t.Fatal(err)
	}
	wantVersion(t, &other, "3.4.0")
}

func TestABrokenCacheIsOnlySlow(t *testing.T) {
	for _, tc := range []struct{ name, content string }{
		{"empty", ""}, {"half", `{"path":"`}, {"another shape", `[1]`}, {"no version", `{}`}, {"null", "null"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBox(t, map[string]string{"barman-version.json": tc.content})
			b.client.Cache = b.dir
			wantVersion(t, b.client, "3.13.3")
		})
	}
	t.Run("a folder in its place", func(t *testing.T) {
		b := newBox(t, map[string]string{"barman-version.json/x": ""})
		b.client.Cache = b.dir
		wantVersion(t, b.client, "3.13.3")
	})
	t.Run("missing folder", func(t *testing.T) {
		b := newBox(t, nil)
		b.client.Cache = filepath.Join(b.dir, "none")
		wantVersion(t, b.client, "3.13.3")
	})
	t.Run("none", func(t *testing.T) {
		b := newBox(t, nil)
		starts := b.counting(t, "3.13.3")
		wantVersion(t, b.client, "3.13.3")
		wantVersion(t, b.client, "3.13.3")
		if n := starts(); n != 2 {
			t.Errorf("barman was started %d times without a cache, want twice", n)
		}
	})
}

func TestWhatBarmanSaysOfItsVersion(t *testing.T) {
	for _, tc := range []struct{ name, script, want string }{
		{"as 3.13 says it", "echo '3.13.3 Barman by EnterpriseDB (www.enterprisedb.com)'", "3.13.3"},
		{"with an empty line", "printf '3.4.0 Barman by EnterpriseDB (www.enterprisedb.com)\\n\\n'", "3.4.0"},
		{"warnings first", "echo 'WARNING: Python 3.6 is old' >&2; echo 3.20.1 Barman", "3.20.1"},
		{"a pre-release", "echo '3.21.0a1 Barman'", "3.21.0"},
		{"nothing", "true", ""},
		{"something else", "echo Barman", ""},
		{"a single number", "echo 3", ""},
		{"a failure", "echo 3.4.0; exit 1", ""},
		{"a crash", "kill -9 $$", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBox(t, nil)
			b.client.Cache = b.dir
			b.write(t, "barman", "#!/bin/sh\n"+tc.script+"\n")
			got, err := b.client.Version()
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("Version = %q, %v, want %q", got, err, tc.want)
			}
			if _, err := os.Stat(b.client.cacheFile()); (err == nil) != (tc.want != "") {
				t.Errorf("the cache is there: %v, want it only for a version", err == nil)
			}
		})
	}
}
