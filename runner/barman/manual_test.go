package barman

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"barback/runner/barman/manual"
)

// TestCommandsOfTheRealOnes: what starting Barman tells is what its parsers would print in one process, which the
// package manual compares with what they hold.
func TestCommandsOfTheRealOnes(t *testing.T) {
	for _, program := range realBarmans(t) {
		t.Run(filepath.Base(filepath.Dir(program)), func(t *testing.T) {
			cmd := exec.Command("/usr/bin/python3", "manual/testdata/truth.py", "80")
			cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH="+filepath.Join(filepath.Dir(program), "root/usr/lib/python3/dist-packages"))
			out, err := cmd.Output()
			if err != nil {
				t.Skipf("Python cannot import it: %v", err)
			}
			var truth struct {
				Help     map[string]string
				Commands []struct {
					Name string
					Help map[string]string
				}
			}
			if err := json.Unmarshal(out, &truth); err != nil {
				t.Fatal(err)
			}
			want, err := manual.ParseCommands(truth.Help["80"])
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range truth.Commands {
				i := slices.IndexFunc(want, func(w manual.Command) bool { return w.Name == c.Name })
				if i < 0 {
					t.Fatalf("%s is missing", c.Name)
				}
				if err := want[i].Describe(c.Help["80"]); err != nil {
					t.Error(err)
				}
			}
			c := &Client{Command: program, Cache: t.TempDir()}
			one, ok, err := c.CommandNamed("list-backup")
			if i := slices.IndexFunc(want, func(w manual.Command) bool { return w.Name == "list-backups" }); i < 0 || !ok || err != nil || !reflect.DeepEqual(one, want[i]) {
				t.Errorf("CommandNamed(list-backup) = %+v, %v, %v, want %+v", one, ok, err, want[i])
			}
			start := time.Now()
			settings, err := c.Settings()
			if missing, ok := errors.AsType[*ManualError](err); ok && strings.Contains(missing.Detail, "not installed") {
				t.Log(err)
			} else if s := settings["barman_home"]; err != nil || len(settings) < 80 || s.Scope != (manual.Scope{Global: true}) || s.Description == "" {
				t.Errorf("Settings = %d, %v, with barman_home %+v", len(settings), err, s)
			}
			t.Logf("%d settings in %v", len(settings), time.Since(start))
			if os.Getenv("BARBACK_TEST") != "all" {
				return // a run for each of them takes half a minute
			}
			for _, how := range []string{"asked", "kept"} {
				start := time.Now()
				got, err := c.Commands()
				if err != nil || len(got) != len(want) {
					t.Fatalf("%s: %d commands, %v, want %d", how, len(got), err, len(want))
				}
				for i := range want {
					if !reflect.DeepEqual(got[i], want[i]) {
						t.Errorf("%s: it is %+v, want %+v", how, got[i], want[i])
					}
				}
				t.Logf("%s: %d commands in %v", how, len(got), time.Since(start))
			}
		})
	}
}

// talking is a box with a Barman of some commands that notes how it was started.
func talking(t testing.TB) *box {
	t.Helper()
	b := newBox(t, map[string]string{"state/x": ""})
	b.client.Cache = filepath.Join(b.dir, "state")
	b.write(t, "main", "usage: barman [-h] {a,b,c,d,e,f,g}\n\npositional arguments:\n  {a,b,c,d,e,f,g}\n    a (b)     does it\n")
	b.write(t, "barman", `#!/bin/sh
echo "$*" >>DIR/starts
test ! -e DIR/fail-$1 || { echo "no $1" >&2; exit 1; }
case $* in
--version) echo 3.4.0 ;;
--help) while test -e DIR/hold; do sleep 0.01; done; cat DIR/main ;;
*) printf 'usage: barman %s [-h] --%s X server_name\n\noptions:\n  -h, --help  help\n  --%s X      value\n' $1 $1 $1 ;;
esac
`)
	return b
}

// started is how Barman was started since the last call, sorted.
func (b *box) started(t testing.TB) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(b.text(t, "starts")), "\n")
	slices.Sort(lines)
	b.write(t, "starts", "")
	return strings.Join(lines, ", ")
}

const everything = "--help, --version, a --help, c --help, d --help, e --help, f --help, g --help"

// wantCommands fails unless Commands, or Reload, gives those of the talking box.
func wantCommands(t testing.TB, ask func() (manual.Commands, error)) {
	t.Helper()
	list, err := ask()
	if err != nil || len(list) != 6 {
		t.Errorf("the commands are %+v, %v, want 6", list, err)
		return
	}
	c, _ := list.Find("b")
	if p, ok := c.Find("A"); c.Name != "a" || !ok || !p.Required || p.Nargs != "" {
		t.Errorf("the command b is %+v, want a with a required option", c)
	}
}

func TestCommandsAreAskedOnce(t *testing.T) {
	b := talking(t)
	for range 3 {
		c := *b.client // as a new process would have it
		wantCommands(t, c.Commands)
	}
	if got := b.started(t); got != everything {
		t.Errorf("barman was started as %s, want %s", got, everything)
	}
	if c, err := b.client.command("b"); err != nil || c.Name != "a" || b.started(t) != "" {
		t.Errorf("the command b is %+v, %v, want the one that is known", c, err)
	}
	wantCommands(t, b.client.Reload)
	if got := b.started(t); got != everything {
		t.Errorf("to reload, barman was started as %s, want %s", got, everything)
	}
	wantCommands(t, b.client.Commands)
	b.write(t, "barman", b.text(t, "barman")+"# another\n")
	wantCommands(t, b.client.Commands)
	if got := b.started(t); got != everything {
		t.Errorf("after a change of the program it was started as %s, want %s", got, everything)
	}
}

func TestOneCommandIsAskedAlone(t *testing.T) {
	b := talking(t)
	for range 2 {
		if c, err := b.client.command("d"); err != nil || len(c.Parameters) != 2 {
			t.Errorf("the command d is %+v, %v", c, err)
		}
	}
	if got := b.started(t); got != "--version, d --help" {
		t.Errorf("barman was started as %s", got)
	}
	for range 2 {
		if c, ok, err := b.client.CommandNamed("b"); c.Name != "a" || !ok || err != nil || !slices.Equal(c.Aliases, []string{"b"}) || c.Description != "does it" || len(c.Parameters) != 2 {
			t.Errorf("CommandNamed(b) = %+v, %v, %v, want a with its alias", c, ok, err)
		}
		for _, name := range []string{"x", "", "-a", "--version"} {
			if c, ok, err := b.client.CommandNamed(name); c.Name != "" || ok || err != nil {
				t.Errorf("CommandNamed(%q) = %+v, %v, %v, want none", name, c, ok, err)
			}
		}
	}
	if got := b.started(t); got != "--help, a --help" {
		t.Errorf("barman was started as %s", got)
	}
	wantCommands(t, b.client.Commands)
	if c, ok, err := b.client.CommandNamed("b"); c.Name != "a" || !ok || err != nil || b.started(t) != strings.Replace(everything, "--version, ", "", 1) {
		t.Errorf("CommandNamed(b) = %+v, %v, %v, want the one that is known", c, ok, err)
	}
}

// TestACrowdAsksOnce: all that wait while one reads get what it reads, each with a lock of its own, as processes have.
func TestACrowdAsksOnce(t *testing.T) {
	b := talking(t)
	for round, ask := range []func(*Client) (manual.Commands, error){(*Client).Commands, (*Client).Reload} {
		b.write(t, "hold", "")
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				c := *b.client
				wantCommands(t, func() (manual.Commands, error) { return ask(&c) })
			})
		}
		wait := func() int { return sleeping("TryLockContext", ".learn(") }
		eventually(t, func() string { return fmt.Sprintf("%d wait, of 9", wait()) }, func() bool { return wait() == 9 })
		b.remove(t, "hold")
		all.Wait()
		if n := strings.Count(b.started(t), "g --help"); n != 1 {
			t.Errorf("round %d: 10 at a time had barman asked %d times, want once", round, n)
		}
	}
}

func TestADamagedFileIsReadAnew(t *testing.T) {
	b := talking(t)
	wantCommands(t, b.client.Commands)
	good := b.text(t, "state/barman-help.json")
	for name, text := range map[string]string{
		"empty": "", "half": good[:len(good)/2], "no JSON": "x", "an array": "[]", "null": "null", "no Barman": "{}", "no commands": good[:strings.Index(good, `,"run"`)] + "}",
		"zeros": strings.Repeat("\x00", len(good)), "another Barman's": strings.Replace(good, "3.4.0", "3.5.0", 1),
	} {
		t.Run(name, func(t *testing.T) {
			b.started(t)
			b.write(t, "state/barman-help.json", text)
			wantCommands(t, b.client.Commands)
			if got := b.started(t); "--help, --version"+strings.TrimPrefix(got, "--help") != everything {
				t.Errorf("barman was started as %s, want all of it but --version", got)
			}
			wantCommands(t, b.client.Commands)
			if got := b.started(t); got != "" {
				t.Errorf("and then as %s, want it known", got)
			}
		})
	}
	t.Run("a folder in its place", func(t *testing.T) {
		b.remove(t, "state/barman-help.json")
		b.write(t, "state/barman-help.json/x", "")
		wantCommands(t, b.client.Commands)
		wantCommands(t, b.client.Reload)
	})
	t.Run("no state directory", func(t *testing.T) {
		for _, dir := range []string{"", filepath.Join(b.dir, "none")} {
			c := *b.client
			c.Cache = dir
			wantCommands(t, c.Commands)
			wantCommands(t, c.Reload)
		}
	})
}

func TestABarmanThatDoesNotHelp(t *testing.T) {
	b := talking(t)
	for _, tc := range []struct{ file, text, says string }{
		{"fail-d", "", "d --help"}, {"fail---help", "", "no --help"}, {"main", "Traceback", "printed no help"}, {"main", "usage: barman\n", "names no commands"},
	} {
		before := b.text(t, "main")
		b.write(t, tc.file, tc.text)
		list, said := b.client.Commands()
		if broken, ok := errors.AsType[*BrokenError](said); !ok || list != nil || !strings.Contains(said.Error(), tc.says) {
			t.Errorf("with %s %q: Commands = %v, %v (%v), want a BrokenError with %q", tc.file, tc.text, list, said, broken, tc.says)
		}
		b.remove(t, tc.file)
		b.write(t, "main", before)
	}
	wantCommands(t, b.client.Commands)
}

func TestSettingsOfThisBarman(t *testing.T) {
	page := ".TH BARMAN 5 x %s\n.SH OPTIONS\n.TP\n.B a_b\nText.\nGlobal.\n"
	pack := func(text string) string {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := w.Write([]byte(text)); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		return packed.String()
	}
	for _, tc := range []struct{ name, file, text, says string }{
		{"plain", "barman.5", fmt.Sprintf(page, "3.4.0"), ""},
		{"packed", "barman.5.gz", pack(fmt.Sprintf(page, "3.4.0")), ""},
		{"without the last number", "barman.5", fmt.Sprintf(page, "3.4"), ""},
		{"without a version", "barman.5", fmt.Sprintf(page, "x"), ""},
		{"of another Barman", "barman.5", fmt.Sprintf(page, "3.40"), "is of Barman 3.40, and Barman 3.4.0 is installed"},
		{"half", "barman.5.gz", pack(fmt.Sprintf(page, "3.4.0"))[:40], "cannot be read"},
		{"not packed", "barman.5.gz", fmt.Sprintf(page, "3.4.0"), "cannot be read"},
		{"something else", "barman.5", "hello", "explains no settings"},
		{"empty", "barman.5", "", "explains no settings"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := talking(t)
			b.write(t, "usr/share/man/man5/"+tc.file, tc.text)
			if err := os.Mkdir(filepath.Join(b.dir, "usr/bin"), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(b.client.Command, filepath.Join(b.dir, "usr/bin/barman")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("usr/bin/barman", b.client.Command); err != nil {
				t.Fatal(err)
			}
			got, err := b.client.Settings()
			if tc.says == "" {
				if want := (map[string]manual.Setting{"a_b": {Name: "a_b", Description: "Text.", Scope: manual.Scope{Global: true}}}); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("Settings = %+v, %v, want %+v", got, err, want)
				}
			} else if e, ok := errors.AsType[*ManualError](err); !ok || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), tc.file) {
				t.Errorf("Settings = %+v, %v (%v), want a ManualError with %q", got, err, e, tc.says)
			}
		})
	}
	b := talking(t)
	b.write(t, "barman", "#!/bin/sh\necho 0.9.9\n")
	if got, err := b.client.Settings(); err == nil || !strings.Contains(err.Error(), "comes with the package barman") {
		t.Errorf("Settings without a manual of this Barman = %d, %v, want an error that says where it is", len(got), err)
	}
}
