package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the generated parts of packaging/man anew")

// generated are the parts of the man pages that follow from something else: the table of verbs, the shipped
// configuration, the description of the API.
var generated = map[string]func(t *testing.T) string{
	"barback.1":      manVerbs,
	"barback.toml.5": manKeys,
	"barback.7":      manPaths,
}

const (
	manBegin = ".\\\" Written by \"make man\" from here\n"
	manEnd   = ".\\\" to here.\n"
)

// TestManPages holds what the pages say against what it follows from.
func TestManPages(t *testing.T) {
	for page, generate := range generated {
		path := filepath.Join(root(t), "packaging/man", page)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, ok1 := strings.Cut(string(text), manBegin)
		_, after, ok2 := strings.Cut(rest, manEnd)
		if !ok1 || !ok2 {
			t.Fatalf("%s has no lines %q and %q", page, manBegin, manEnd)
		}
		want := before + manBegin + generate(t) + manEnd + after
		switch {
		case want == string(text):
		case *update:
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil { // #nosec G306 -- a page to read
				t.Fatal(err)
			}
		default:
			t.Errorf("packaging/man/%s does not say what is so any more: make man", page)
		}
	}
}

// TestManPagesAreRead: the tools that show them find nothing wrong.
func TestManPagesAreRead(t *testing.T) {
	groff := tool(t, "groff")
	for page := range generated {
		out, err := exec.Command(groff, "-mandoc", "-ww", "-z", filepath.Join(root(t), "packaging/man", page)).CombinedOutput() // #nosec G204
		if err != nil || len(out) > 0 {
			t.Errorf("groff %s: %v\n%s", page, err, out)
		}
	}
}

// roff escapes text: a hyphen is one that can be copied, no line is a request, and all is ASCII.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	text = regexp.MustCompile(`[^\x00-\x7f]`).ReplaceAllStringFunc(text, func(s string) string { return fmt.Sprintf(`\[u%04X]`, []rune(s)[0]) })
	lines := strings.Split(text, "\n")
	for n, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[n] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// item writes an entry of a list: its heading as it is, not read by mdoc.
func item(b *strings.Builder, heading, text string) {
	fmt.Fprintf(b, ".It Sy \"%s\"\n%s\n", strings.ReplaceAll(roff(heading), `"`, `\(dq`), roff(text))
}

func manVerbs(*testing.T) string {
	var b strings.Builder
	b.WriteString(".Bl -tag -width Ds\n")
	for _, v := range verbs {
		item(&b, strings.TrimSpace("barback "+v.name+" "+v.args), v.help+".")
		var flags strings.Builder
		v.flagSet().VisitAll(func(f *flag.Flag) {
			if f.Name == "config" {
				return
			}
			value, usage := flag.UnquoteUsage(f)
			dashes := "--"
			if len(f.Name) == 1 {
				dashes = "-"
			}
			if !slices.Contains([]string{"", "0", "false"}, f.DefValue) {
				usage += " (default: " + f.DefValue + ")"
			}
			item(&flags, strings.TrimSpace(dashes+f.Name+" "+value), usage)
		})
		if flags.Len() > 0 {
			b.WriteString(".Bl -tag -width Ds -compact\n" + flags.String() + ".El\n")
		}
	}
	return b.String() + ".El\n"
}

var tomlKey = regexp.MustCompile(`^([a-z_]+) = (.*)$`)

// manKeys makes entries of the shipped configuration: the comment above a key is its description.
func manKeys(t *testing.T) string {
	text, err := os.ReadFile(filepath.Join(root(t), "packaging/barback.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(".Ss Above all tables\n.Bl -tag -width Ds\n")
	blocks := strings.Split(strings.TrimSpace(string(text)), "\n\n")
	for _, block := range blocks[1:] { // the first one is the head of the file
		var said, keys []string
		lines := strings.Split(block, "\n")
		for n := 0; n < len(lines); n++ {
			line := lines[n]
			if m := tomlKey.FindStringSubmatch(line); m != nil {
				for strings.HasPrefix(m[2], "[") && !strings.Contains(m[2], "]") && n+1 < len(lines) {
					n++
					m[2] += " " + strings.TrimSpace(lines[n])
				}
				keys = append(keys, m[1]+" = "+m[2])
			} else if strings.HasPrefix(line, "[") {
				fmt.Fprintf(&b, ".El\n.Ss %s\n.Bl -tag -width Ds\n", roff(line))
			} else {
				said = append(said, strings.TrimSpace(strings.TrimPrefix(line, "#")))
			}
		}
		for n, key := range keys {
			if n < len(keys)-1 {
				item(&b, key, "As below.")
			} else {
				item(&b, key, strings.Join(said, "\n"))
			}
		}
		if len(keys) == 0 {
			b.WriteString(".It An example:\n.Bd -literal\n" + roff(strings.Join(said, "\n")) + "\n.Ed\n")
		}
	}
	return b.String() + ".El\n"
}

// manPaths lists what the description of the API has.
func manPaths(t *testing.T) string {
	text, err := os.ReadFile(filepath.Join(root(t), "handler/openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths yaml.Node `yaml:"paths"`
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(".Bl -tag -width Ds\n")
	for n := 0; n < len(doc.Paths.Content); n += 2 {
		path, methods := doc.Paths.Content[n].Value, doc.Paths.Content[n+1].Content
		for m := 0; m < len(methods); m += 2 {
			var operation struct {
				Summary string `yaml:"summary"`
			}
			if methods[m].Value == "parameters" {
				continue
			}
			if err := methods[m+1].Decode(&operation); err != nil {
				t.Fatal(err)
			}
			item(&b, strings.ToUpper(methods[m].Value)+" "+path, operation.Summary+".")
		}
	}
	return b.String() + ".El\n"
}

// TestCompletion asks bash what comes next.
func TestCompletion(t *testing.T) {
	bash := tool(t, "bash")
	var script strings.Builder
	if code := run(programs[0], []string{"completion", "bash"}, &script, os.Stderr); code != 0 {
		t.Fatalf("barback completion bash = %d", code)
	}
	for line, want := range map[string]string{
		"op sta":                  "start",
		"op start --ser":          "--server",
		"op start --server x bac": "backup",
		"user role alice op":      "operator",
		"comp":                    "completion",
		"completion z":            "zsh",
		"run":                     "",
		"op nonsense ":            "",
		"token create al --sc":    "--scope",
	} {
		cmd := exec.Command(bash, "-c", script.String()+`
			COMP_WORDS=(barback $LINE); [[ $LINE != *" " ]] || COMP_WORDS+=("")
			COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); complete -p barback >/dev/null && _barback && echo "${COMPREPLY[*]}"`) // #nosec G204
		cmd.Env = append(os.Environ(), "LINE="+line)
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("behind %q bash offers %q (%v), want %q", "barback "+line, got, err, want)
		}
	}
}

// TestCompletionNamesEachVerb, in each shell.
func TestCompletionNamesEachVerb(t *testing.T) {
	for shell := range shells {
		var script strings.Builder
		if code := run(programs[0], []string{"completion", shell}, &script, os.Stderr); code != 0 {
			t.Fatalf("barback completion %s = %d", shell, code)
		}
		for _, v := range verbs {
			for _, word := range strings.Fields(v.name) {
				if !v.internal() && !strings.Contains(script.String(), word) {
					t.Errorf("the completion of %s does not know %q", shell, v.name)
				}
			}
		}
		if path, err := exec.LookPath(shell); err == nil {
			cmd := exec.Command(path, "-n") // #nosec G204
			cmd.Stdin = strings.NewReader(script.String())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s -n: %v\n%s", shell, err, out)
			}
		}
	}
}
