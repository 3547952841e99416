package barman

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Each row is a file before and after an option of section s is set: all else is as it was.
func TestSetOptionKeepsTheRest(t *testing.T) {
	for _, tc := range []struct{ name, before, option, value, after string }{
		{"a value", "[s]\na = 1\n", "a", "2", "[s]\na = 2\n"},
		{"no blanks", "[s]\na=1\n", "a", "2", "[s]\na=2\n"},
		{"a colon", "[s]\na: 1\n", "a", "2", "[s]\na: 2\n"},
		{"another case", "[s]\nDescription = 1\n", "description", "2", "[s]\nDescription = 2\n"},
		{"an empty value", "[s]\na =\nb=\n", "a", "2", "[s]\na = 2\nb=\n"},
		{"an empty value without blanks", "[s]\na =\nb=\n", "b", "2", "[s]\na =\nb=2\n"},
		{"to an empty value", "[s]\na = 1\nb = 2\n", "a", "", "[s]\na = \nb = 2\n"},
		{"the line that counts", "[s]\na = 1\na = 2\n[t]\na = 3\n", "a", "4", "[s]\na = 1\na = 4\n[t]\na = 3\n"},
		{"the part that counts", "[s]\na = 1\n[t]\na = 2\n[s]\nb = 3\n", "a", "4", "[s]\na = 4\n[t]\na = 2\n[s]\nb = 3\n"},
		{"several lines", "[s]\na = one\n  two\n# stays\n\n\tthree\nb = 1\n", "a", "2", "[s]\na = 2\n# stays\n\nb = 1\n"},
		{"comments around", "# x\n[s] ; y\n; a = 0\na = 1\n# z\n", "a", "2", "# x\n[s] ; y\n; a = 0\na = 2\n# z\n"},
		{"what looks like a comment is of the value", "[s]\na = 1 # x\n", "a", "2", "[s]\na = 2\n"},
		{"line ends of Windows", "[s]\r\na = 1\r\nb = 2\r\n", "a", "3", "[s]\r\na = 3\r\nb = 2\r\n"},
		{"line ends of all kinds", "[s]\r\na = 1\rb = 2\nc = 3", "b", "4", "[s]\r\na = 1\rb = 4\nc = 3"},
		{"no newline at the end", "[s]\na = 1", "a", "2", "[s]\na = 2"},
		{"indented options", "[s]\n    a = 1\n    b = 2\n", "a", "3", "[s]\n    a = 3\n    b = 2\n"},
		{"a new option", "[s]\na = 1\n\n# of t\n[t]\nb = 2\n", "c", "3", "[s]\na = 1\nc = 3\n\n# of t\n[t]\nb = 2\n"},
		{"a new option at the end, without a newline", "[s]\r\na = 1", "c", "3", "[s]\r\na = 1\r\nc = 3\r\n"},
		{"a new option behind several lines", "[s]\na = 1\n  2\n\n  3\n\n[t]\n", "c", "3", "[s]\na = 1\n  2\n\n  3\nc = 3\n\n[t]\n"},
		{"a new option of an empty section", "[s]\n[t]\n", "c", "3", "[s]\nc = 3\n[t]\n"},
		{"a new option in the last part", "[s]\na = 1\n[t]\n[s]\nb = 1\n", "c", "3", "[s]\na = 1\n[t]\n[s]\nb = 1\nc = 3\n"},
		{"a new indented option", "[s]\n  a = 1\n  [t]\n", "c", "3", "[s]\n  a = 1\n  c = 3\n  [t]\n"},
		{"a new option above an indented section", "[s]\n   [t]\nb = 1\n", "c", "3", "[s]\n   c = 3\n   [t]\nb = 1\n"},
		{"the defaults are no option of the section", "[DEFAULT]\na = 1\n[s]\n", "a", "2", "[DEFAULT]\na = 1\n[s]\na = 2\n"},
		{"blanks of other languages", "[s]\n\u00a0\u3000a\u00a0=\u00a01\u00a0\n", "a", "2", "[s]\n\u00a0\u3000a\u00a0=\u00a02\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := setOption(tc.before, "s", tc.option, tc.value)
			if err != nil || got != tc.after {
				t.Errorf("setOption = %q, %v, want %q", got, err, tc.after)
			}
		})
	}
}

func TestSetOptionRefuses(t *testing.T) {
	for name, text := range map[string]string{"no such section": "[t]\na = 1\n", "only the defaults": "[DEFAULT]\na = 1\n", "a file that Barman cannot read": "[s]\nhalf a line\n", "not UTF-8": "[s]\na = \xff\n"} {
		t.Run(name, func(t *testing.T) {
			if got, err := setOption(text, "s", "a", "2"); err == nil {
				t.Errorf("setOption = %q, want an error", got)
			}
		})
	}
	for name, value := range map[string]string{"a new line": "x\ny", "a section": "x\n[t]\nactive = false", "a carriage return": "x\ry", "NUL": "x\x00y", "an escape": "\x1b[2J", "a C1 control": "x\u0085y", "not UTF-8": "\xff", "too long": strings.Repeat("x", maxValue+1), "what was masked": "host=a password=*REDACTED*"} {
		t.Run(name, func(t *testing.T) {
			if checkValue(value) == nil {
				t.Errorf("checkValue(%.20q) = nil, want an error", value)
			}
		})
	}
}

// python has the real ConfigParser read files: all their options, as they are written and as they count.
func python(t *testing.T, texts []string) []map[string]map[string][2]string {
	t.Helper()
	if _, err := os.Stat("/usr/bin/python3"); err != nil && os.Getenv("BARBACK_TEST") != "all" {
		t.Skip("there is no Python, which Barman is written in")
	}
	cmd := exec.Command("/usr/bin/python3", "-c", `
import configparser, io, json, sys
def read(text):
    cp = configparser.ConfigParser(strict=False)
    try:
        cp.read_file(io.StringIO(text, newline=None))
    except configparser.Error:
        return None
    def value(s, o):
        try:
            return cp.get(s, o)
        except configparser.Error:
            return ""
    return {s: {o: [cp.get(s, o, raw=True), value(s, o)] for o in cp._sections.get(s, cp._defaults)} for s in cp.sections() + ["DEFAULT"]}
json.dump([read(t) for t in json.load(sys.stdin)], sys.stdout)`)
	in, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("python3: %v: %s", err, stderr.String())
	}
	var all []map[string]map[string][2]string
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// raw is what a file sets as it is written; nil: it cannot be read.
func raw(text string) map[string]map[string]string {
	_, entries, err := scan(text)
	if err != nil {
		return nil
	}
	all := map[string]map[string]string{"DEFAULT": {}}
	for _, e := range entries {
		if all[e.section] == nil {
			all[e.section] = map[string]string{}
		}
		if e.option != "" {
			all[e.section][e.option] = e.value
		}
	}
	return all
}

// TestSetOptionAsPythonReadsIt makes up files, sets options in them, and has Python read all of it: it reads what
// we read, nothing else has changed, and the value is the one that was asked for.
func TestSetOptionAsPythonReadsIt(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1)) // #nosec G404
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	blanks := func() string {
		return one("", "", "", "", "  ", "    ", "\t", " \t", "\u00a0", "\x1c ", "\f", "\u2003 ")
	}
	ends := func() string { return one("\n", "\n", "\n", "\n", "\r\n", "\r") }
	values := []string{"x", "", "50%", "100%% %(a)s", "%(b)s", "[t]", "# x", "; x", "a = b", `"q"`, `'q'`, `"`, "  lead", "trail  ", "a: b", "größe 大", "\u00a0nbsp\u00a0", "`x`", "%", "%(", strings.Repeat("long ", 2000), "\u2028", "None", "host=h password='p q' user=u"}
	var texts, sections, options, asked []string
	for range 3000 {
		var b strings.Builder
		b.WriteString(one("", "", "# top"+ends(), blanks()+ends()) + one("[s]", "[s]", "[t]", "[s] ; c", blanks()+"[s]") + ends())
		for range r.IntN(9) {
			b.WriteString(blanks() + one("a = 1", "b=2", "A: 3", "c =", "[t]", "[s]", "[DEFAULT]", "# comment", "; a = 1", "", "", "more text", "d = 5"+blanks(), "e = %(a)s", "[s", "[s]]", "a\u00a0=\u00a0x", "f.g = 1") + ends())
		}
		b.WriteString(one("", "z = 9", "  ", "# end"))
		texts, sections, options, asked = append(texts, b.String()), append(sections, one("s", "t")), append(options, one("a", "b", "c", "new")), append(asked, one(values...))
	}
	before := python(t, texts)
	changed := make([]string, len(texts))
	done := 0
	for i, text := range texts {
		changed[i] = text
		if _, ok := before[i][sections[i]]; !ok {
			continue
		}
		c, err := setOption(text, sections[i], options[i], spell(asked[i], "3.4.0"))
		if err != nil {
			t.Errorf("seed %d: setOption(%q, %s, %s) = %v, want no error", seed, text, sections[i], options[i], err)
			continue
		}
		changed[i] = c
		done++
	}
	if done < 500 {
		t.Fatalf("seed %d: %d files could be changed, want more of them", seed, done)
	}
	for i, after := range python(t, changed) {
		ours := raw(changed[i])
		if (after == nil) != (ours == nil) {
			t.Fatalf("seed %d: %q can be read by Python: %v, by us: %v", seed, changed[i], after != nil, ours != nil)
		}
		if changed[i] != texts[i] {
			got := unquoted(after[sections[i]][options[i]][1])
			if got != asked[i] {
				t.Errorf("seed %d: in %q, made of %q, Python reads %q, want %q", seed, changed[i], texts[i], got, asked[i])
			}
		}
		for name, section := range after {
			theirs := map[string]string{}
			for option, v := range section {
				theirs[option] = v[0]
			}
			if !maps.Equal(theirs, ours[name]) {
				t.Errorf("seed %d: Python reads of [%s] in %q %q, we read %q", seed, name, changed[i], theirs, ours[name])
			}
			for option, v := range section {
				if was := before[i][name][option]; was[0] != v[0] && (name != sections[i] || option != options[i]) {
					t.Errorf("seed %d: %s.%s was %q and is %q, though only %s.%s was set: %q, made of %q", seed, name, option, was[0], v[0], sections[i], options[i], changed[i], texts[i])
				}
			}
		}
	}
}

// unquoted is what Barman makes of a value that ConfigParser gave it.
func unquoted(v string) string {
	if n := len(v); n >= 2 && (v[0] == '"' || v[0] == '\'') && v[n-1] == v[0] {
		return v[1 : n-1]
	}
	return v
}

func FuzzSetOption(f *testing.F) {
	f.Add("[s]\na = 1\n b\n", "a", "x")
	f.Add("[s]\r\n  [t]\r", "b", "%(a)s")
	f.Fuzz(func(t *testing.T, text, option, value string) {
		if checkValue(value) != nil || checkOptionName(option) != nil || raw(text)["s"] == nil {
			return
		}
		changed, err := setOption(text, "s", option, spell(value, "3.13.3"))
		if err != nil {
			return
		}
		was, is := raw(text), raw(changed)
		was["s"][option] = is["s"][option]
		if fmt.Sprint(was) != fmt.Sprint(is) {
			t.Errorf("setOption(%q, %q, %q) made %q of it: %q instead of %q", text, option, value, changed, is, was)
		}
		all, err := parse(changed)
		if err != nil || clean(all["s"][option]) != value && value != "None" {
			t.Errorf("%s of %q is %q, %v, want %q", option, changed, clean(all["s"][option]), err, value)
		}
	})
}
