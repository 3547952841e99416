package manual

import (
	"fmt"
	"strings"
	"testing"
)

// odd is argparse's help of what no Barman has, or not yet.
const odd = `usage: barman odd [-h] (--one | --two N) [--red | --blue {a,b-c}] --must MUST
                  -m {x,y} [--pair P P] [--many MANY [MANY ...]]
                  [--any [ANY ...]] [--gcp-zone GCP_ZONE]
                  server_name {full,incremental} [files ...]

Does odd things with two lines. It is long, and breaks at a well-known place,
It is long, and breaks at a well-known place, It is long, and breaks at a
well-known place,

positional arguments:
  server_name           where
  {full,incremental}    what
  files                 which

options:
  -h, --help            show this help message and exit
  --one                 the first
  --two N               the second
  --red
  --blue {a,b-c}
  --must MUST           has to be given
  -m {x,y}, --mode {x,y}
                        has to be given
  --pair P P            two of them
  --many MANY [MANY ...]
                        more
  --any [ANY ...]

cloud options:
  What only a cloud needs:

  --gcp-zone GCP_ZONE   a zone

The end: of it.
`

// line is a parameter in short.
func (p Parameter) line() string {
	return fmt.Sprintf("%s%s nargs=%s required=%v %s%s: %s", p.Name, p.Spellings, p.Nargs, p.Required, p.Choices, p.Metavar, p.Description)
}

func TestOddHelp(t *testing.T) {
	for name, tc := range map[string]struct{ help, from, to string }{
		"Python 3.11":    {odd, "", ""},
		"Python 3.13":    {odd, "-m {x,y}, --mode {x,y}", "-m, --mode {x,y}"},
		"Python 3.9":     {odd, "options:\n  -h", "optional arguments:\n  -h"},
		"Python 3.8":     {odd, "[files ...]", "[files [files ...]]"},
		"lines end CRLF": {odd, "\n", "\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Command{Name: "odd"}
			if err := c.Describe(strings.ReplaceAll(tc.help, tc.from, tc.to)); err != nil {
				t.Fatal(err)
			}
			const long = "It is long, and breaks at a well-known place,"
			if want := "Does odd things with two lines. " + strings.Join([]string{long, long, long}, " "); c.Description != want {
				t.Errorf("the description is %q, want %q", c.Description, want)
			}
			var got []string
			for _, p := range c.Parameters {
				got = append(got, p.line())
			}
			want := []string{
				"server_name[] nargs= required=true []: where",
				"{full,incremental}[] nargs= required=true [full incremental]: what", // its name is not in a help
				"files[] nargs=* required=false []: which",
				"help[-h --help] nargs=0 required=false []: show this help message and exit",
				"one[--one] nargs=0 required=false []: the first",
				"two[--two] nargs= required=false []N: the second",
				"red[--red] nargs=0 required=false []: ",
				"blue[--blue] nargs= required=false [a b-c]: ",
				"must[--must] nargs= required=true []MUST: has to be given",
				"mode[-m --mode] nargs= required=true [x y]: has to be given",
				"pair[--pair] nargs=2 required=false []P: two of them",
				"many[--many] nargs=+ required=false []MANY: more",
				"any[--any] nargs=* required=false []ANY: ",
				"gcp-zone[--gcp-zone] nargs= required=false []GCP_ZONE: a zone",
			}
			if got, want := strings.Join(got, "\n"), strings.Join(want, "\n"); got != want {
				t.Errorf("the parameters are\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestCommandsWithoutText(t *testing.T) {
	list, err := ParseCommands("usage: barman [-h] {a,b,c,d} ...\n\npositional arguments:\n  {a,b,c,d}\n    b (c, d)     does\n                 something\n\noptions:\n  -h, --help  show this help\n\nBarman: the end\n")
	if got := fmt.Sprint(list); err != nil || got != "[{a []  []} {b [c d] does something []}]" {
		t.Errorf("ParseCommands = %s, %v", got, err)
	}
}

func TestNoHelp(t *testing.T) {
	for _, text := range []string{"", "3.4.0 Barman", "Traceback (most recent call last):\n", "usage", strings.Repeat("x", 1000)} {
		list, err := ParseCommands(text)
		var c Command
		if said := c.Describe(text); list != nil || err == nil || said == nil || len(said.Error()) > 300 {
			t.Errorf("%q is taken for help: %v, %v, %v", text, list, err, said)
		}
	}
	if _, err := ParseCommands("usage: barman [-h]\n\noptions:\n  -h, --help  show this help\n"); err == nil {
		t.Error("a help without commands is taken")
	}
}

// FuzzHelp: what prints another help than argparse's gets an error or a list, and no panic.
func FuzzHelp(f *testing.F) {
	f.Add(odd)
	f.Add("usage: x -\n\na:\n  -\n  --, -\n      x\n\x00")
	f.Add(".SH OPTIONS\n.TP\n.B a\nGlobal.\n.TS\nl.\nT{\n")
	f.Fuzz(func(t *testing.T, text string) {
		var c Command
		if err := c.Describe(text); err == nil && c.Parameters == nil {
			t.Errorf("Describe(%q) gives neither an error nor parameters", text)
		}
		for _, p := range c.Parameters {
			if p.Positional() != (p.Spellings == nil) || p.Positional() && p.Name == "" {
				t.Errorf("%q has the parameter %+v", text, p)
			}
		}
		if list, err := ParseCommands(text); err == nil && len(list) == 0 {
			t.Errorf("ParseCommands(%q) gives neither an error nor commands", text)
		}
		if page, err := ParsePage(text); err == nil && len(page.Settings) == 0 {
			t.Errorf("ParsePage(%q) gives neither an error nor settings", text)
		}
	})
}

func TestFind(t *testing.T) {
	c := Command{Parameters: []Parameter{{Name: "server_name"}, {Name: "remote-ssh-command", Spellings: []string{"--remote-ssh-command"}}}}
	for _, tc := range []struct{ name, want string }{
		{"server_name", "server_name"}, {"SERVER_NAME", "server_name"}, {"SERVERNAME", "server_name"}, {"servername", "server_name"}, {"Server-Name", "server_name"},
		{"remote-ssh-command", "remote-ssh-command"}, {"--remote-ssh-command", "remote-ssh-command"}, {"REMOTE_SSH_COMMAND", "remote-ssh-command"}, {"remotesshcommand", "remote-ssh-command"},
		{"server", ""}, {"server name", ""}, {"", ""}, {"--", ""}, {"server_name2", ""},
	} {
		p, ok := c.Find(tc.name)
		if p.Name != tc.want || ok != (tc.want != "") {
			t.Errorf("Find(%q) = %q, %v, want %q", tc.name, p.Name, ok, tc.want)
		}
	}
	list := Commands{{Name: "restore", Aliases: []string{"recover"}}, {Name: "verify-backup"}}
	for name, want := range map[string]string{"restore": "restore", "recover": "restore", "verify-backup": "verify-backup", "verify_backup": "", "": ""} {
		if c, ok := list.Find(name); c.Name != want || ok != (want != "") {
			t.Errorf("Find(%q) = %q, %v, want %q", name, c.Name, ok, want)
		}
	}
}
