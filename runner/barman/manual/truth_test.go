package manual

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// truth is what argparse and Barman's code know of one Barman.
type truth struct {
	suite    string
	Version  string
	Python   string
	Help     map[string]string
	Commands []struct {
		Name, Description string
		Aliases           []string
		Parameters        []action
		Help              map[string]string
	}
	Settings map[string][]string
}

type action struct {
	Dest, Kind, Description string
	Spellings, Choices      []string
	Metavar                 *string
	Nargs                   any
	Required, Hidden        bool
}

// widths of the terminal: what we ask for, what a pipe has, and some others.
var widths = []string{"5000", "80", "120"}

// truths are those of the Barmans of this machine.
func truths(t *testing.T) []truth {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(cmp.Or(os.Getenv("BARBACK_LAB_CACHE"), "/var/cache/barback-lab"), "barman", "*", "barman"))
	if path, err := exec.LookPath("barman"); err == nil && len(found) == 0 {
		found = []string{path}
	}
	if len(found) == 0 {
		t.Skip("there is no Barman on this machine: packaging/lab/install")
	}
	list := make([]truth, len(found))
	for i, path := range found {
		cmd := exec.Command("/usr/bin/python3", append([]string{"testdata/truth.py"}, widths...)...)
		cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH="+filepath.Join(filepath.Dir(path), "root/usr/lib/python3/dist-packages"))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Skipf("Python cannot import the Barman of %s: %v\n%s", path, err, &stderr)
		}
		if err := json.Unmarshal(out, &list[i]); err != nil {
			t.Fatal(err)
		}
		list[i].suite = filepath.Base(filepath.Dir(path))
	}
	return list
}

// entry is how an action of argparse's must come out. What is not in a help is left away: the type of a value, its
// default, and whether an option may be given several times.
func (a action) entry() Parameter {
	p := Parameter{Name: a.Dest, Spellings: a.Spellings, Required: a.Required, Choices: a.Choices, Description: a.Description}
	if len(a.Spellings) > 0 {
		p.Name = strings.TrimLeft(slices.MaxFunc(a.Spellings, func(a, b string) int { return cmp.Compare(len(a), len(b)) }), "-")
	} else if a.Metavar != nil {
		p.Name = *a.Metavar
	}
	switch n := a.Nargs.(type) {
	case string:
		p.Nargs = n
	case float64:
		p.Nargs = string(rune('0' + int(n)))
	}
	switch {
	case p.Positional() || p.Flag() || a.Choices != nil:
	case a.Metavar != nil:
		p.Metavar = *a.Metavar
	default:
		p.Metavar = strings.ToUpper(a.Dest)
	}
	return p
}

// TestCommandsAreThoseOfArgparse: for every command of every Barman all that its help says is what argparse knows.
func TestCommandsAreThoseOfArgparse(t *testing.T) {
	for _, barman := range truths(t) {
		t.Run(barman.Version, func(t *testing.T) {
			for _, width := range widths {
				list, err := ParseCommands(barman.Help[width])
				if err != nil {
					t.Fatal(err)
				}
				if len(list) != len(barman.Commands) || len(list) < 20 {
					t.Errorf("%d commands were found, want %d", len(list), len(barman.Commands))
				}
				parameters := 0
				for name := range conducts {
					if c, ok := list.Find(name); !ok || c.Name != name {
						t.Errorf("there is no command %s", name)
					}
				}
				for _, want := range barman.Commands {
					got, ok := list.Find(want.Name)
					if !ok || got.Name != want.Name {
						t.Errorf("%s is %+v", want.Name, got)
						continue
					}
					if err := got.Describe(want.Help[width]); err != nil {
						t.Errorf("%s: %v", want.Name, err)
					}
					want.Aliases = slices.DeleteFunc(want.Aliases, func(a string) bool { return a == want.Name })
					slices.Sort(got.Aliases)
					slices.Sort(want.Aliases)
					if !slices.Equal(got.Aliases, want.Aliases) {
						t.Errorf("the aliases of %s are %q, want %q", want.Name, got.Aliases, want.Aliases)
					}
					if got.Description != want.Description {
						t.Errorf("at width %s %s is described as\n%s, want\n%s", width, want.Name, got.Description, want.Description)
					}
					var entries []Parameter
					for _, positional := range []bool{true, false} {
						for _, a := range want.Parameters {
							if e := a.entry(); e.Positional() == positional && !a.Hidden { // a hidden one is nowhere in a help
								entries = append(entries, e)
							}
						}
					}
					if len(got.Parameters) != len(entries) {
						t.Errorf("%s has %d parameters, want %d", want.Name, len(got.Parameters), len(entries))
						continue
					}
					keys := map[string]bool{}
					for i, e := range entries {
						if !reflect.DeepEqual(got.Parameters[i], e) {
							t.Errorf("at width %s of %s came\n%+v, want\n%+v", width, want.Name, got.Parameters[i], e)
						}
						if found, ok := got.Find(strings.ToUpper(strings.ReplaceAll(e.Name, "-", "_"))); !ok || found.Name != e.Name || keys[Key(e.Name)] {
							t.Errorf("%s of %s cannot be told from another", e.Name, want.Name)
						}
						keys[Key(e.Name)] = true
					}
					parameters += len(entries)
					for _, option := range got.Conduct().Unless {
						if p, ok := got.Find(option); !ok || p.Positional() {
							t.Errorf("%s has no option %s, on which its conduct depends", got.Name, option)
						}
					}
				}
				t.Logf("width %s: %d commands, %d parameters", width, len(list), parameters)
			}
			for _, c := range barman.Commands {
				for _, a := range c.Parameters {
					if a.Hidden || a.Kind == "_AppendAction" || a.Metavar != nil && a.Choices != nil {
						t.Logf("not in the help: %s %s %q hidden: %v, given several times: %v, its choices: %q", c.Name, a.Dest, a.Spellings, a.Hidden, a.Kind == "_AppendAction", a.Choices)
					}
				}
			}
		})
	}
}

func manualOf(t *testing.T, barman truth) string {
	t.Helper()
	var packed []byte
	var err error
	for _, prefix := range []string{filepath.Join(cmp.Or(os.Getenv("BARBACK_LAB_CACHE"), "/var/cache/barback-lab"), "barman", barman.suite, "root"), ""} {
		if packed, err = os.ReadFile(prefix + "/usr/share/man/man5/barman.5.gz"); err == nil {
			break
		}
	}
	if err != nil {
		t.Skip("this machine keeps no manuals")
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	source, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// TestSettingsAreThoseOfTheCode: every setting that Barman's code reads is found, but those that no line of its manual names,
// and every scope that the manual gives.
func TestSettingsAreThoseOfTheCode(t *testing.T) {
	for _, barman := range truths(t) {
		t.Run(barman.Version, func(t *testing.T) {
			source := manualOf(t, barman)
			page, err := ParsePage(source)
			if err != nil {
				t.Fatal(err)
			}
			if page.Version == "" || !strings.HasPrefix(barman.Version, page.Version) {
				t.Fatalf("the manual is of %q, want %s", page.Version, barman.Version)
			}
			var named []string // lines that hold nothing but a name
			scopes := 0
			_, options, _ := strings.Cut(source, "\n.SH OPTIONS\n")
			options, _, _ = strings.Cut(options, "\n.SH ")
			for line := range strings.SplitSeq(options, "\n") {
				named = append(named, strings.NewReplacer(".B ", "", `\fB`, "", `\fP`, "", `\-`, "-").Replace(line))
				if strings.HasPrefix(line, "Scope: ") || line == "Global." || line == "Server." || strings.EqualFold(line, "Global/Server.") {
					scopes++
				}
			}
			code := barman.Settings
			for _, key := range slices.Concat(code["Global"], code["ServerConfig.KEYS"], code["ModelConfig.KEYS"]) {
				s, ok := page.Settings[key]
				switch {
				case !ok && slices.Contains(named, key):
					t.Errorf("%s is in the manual, but was not found", key)
				case !ok:
					t.Logf("the manual lacks %s", key)
				case s.Name != key || s.Description == "":
					t.Errorf("%s is %+v", key, s)
				}
			}
			for key, s := range page.Settings {
				inServer := slices.Contains(code["ServerConfig.KEYS"], key)
				want := Scope{
					Global: slices.Contains(code["ServerConfig.BARMAN_KEYS"], key) || slices.Contains(code["Global"], key),
					Server: inServer, Model: slices.Contains(code["ModelConfig.KEYS"], key),
				}
				switch {
				case want == Scope{}:
					t.Logf("the code knows nothing of %s", key)
				case s.Scope == Scope{}:
					t.Logf("the manual gives no scope for %s", key)
				default:
					scopes--
					if s.Scope != want {
						t.Logf("%s is %v in the manual, and %v in the code", key, s.Scope, want)
					}
				}
			}
			if scopes != 0 {
				t.Errorf("%d scopes of the manual were not found", scopes)
			}
			t.Logf("%d settings", len(page.Settings))
		})
	}
}
