package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"barback/runner/barman"
)

// shells are those that "barback completion" writes for.
var shells = map[string]func(w io.Writer, name string, list []word){"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}

// completion is "barback completion": a script for a shell, from the table of verbs.
func completion(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	write, ok := shells[c.args[0]]
	if !ok {
		return usageError(fmt.Sprintf("%q is none of the shells %s", c.args[0], strings.Join(slices.Sorted(maps.Keys(shells)), ", ")))
	}
	write(c.stdout, c.program.name, words(c.program.verbs))
	return nil
}

// word is a step of a command line: what stands behind barback so far, and what may come next.
type word struct {
	before string // "", "op", "op start"
	next   []choice
}

// choice is one thing that may come next, and what it is.
type choice struct{ text, help string }

// words lists all steps, the empty one first.
func words(verbs []verb) []word {
	list := []word{{}}
	add := func(before string, c choice) {
		at := slices.IndexFunc(list, func(w word) bool { return w.before == before })
		if at < 0 {
			list, at = append(list, word{before: before}), len(list)
		}
		if !slices.ContainsFunc(list[at].next, func(o choice) bool { return o.text == c.text }) {
			list[at].next = append(list[at].next, c)
		}
	}
	add("", choice{"help", "list the verbs"})
	add("", choice{"--config", "path of barback.toml"})
	for _, v := range verbs {
		if v.name == "" || v.internal() {
			continue
		}
		noun, rest, two := strings.Cut(v.name, " ")
		if two {
			add("", choice{noun, "about: " + noun})
			add(noun, choice{rest, v.help})
		} else {
			add("", choice{noun, v.help})
		}
		for _, c := range append(v.flags(), v.values()...) {
			add(v.name, c)
		}
	}
	return list
}

// internal verbs are no business of people.
func (v verb) internal() bool { return strings.HasPrefix(v.help, "(internal)") }

// flags asks the verb itself: it makes its flags before it reads the first argument, which is --help.
func (v verb) flags() []choice {
	var list []choice
	v.flagSet().VisitAll(func(f *flag.Flag) {
		dashes := "--"
		if len(f.Name) == 1 {
			dashes = "-"
		}
		_, usage := flag.UnquoteUsage(f)
		list = append(list, choice{dashes + f.Name, usage})
	})
	return append(list, choice{"--help", "say more"})
}

func (v verb) flagSet() *flag.FlagSet {
	c := &call{stdout: io.Discard, stderr: io.Discard, flags: flag.NewFlagSet(v.name, flag.ContinueOnError), args: []string{"--help"}}
	c.flags.SetOutput(io.Discard)
	c.configPath = c.flags.String("config", "", "`path` of barback.toml")
	_ = v.run(c) // flag.ErrHelp
	return c.flags
}

// values are arguments that can be listed.
func (v verb) values() []choice {
	var names []string
	switch v.name {
	case "op start":
		names = append(barman.Names(false), barman.Names(true)...)
	case "user role":
		names = []string{"viewer", "operator", "admin", "none"}
	case "completion":
		names = slices.Sorted(maps.Keys(shells))
	}
	var list []choice
	for _, name := range names {
		list = append(list, choice{text: name})
	}
	return list
}

// steps writes the branches of a case over what stands behind barback so far, the longest first.
func steps(w io.Writer, list []word, branch func(word) string) {
	for _, step := range slices.Backward(list) {
		pattern := fmt.Sprintf("%q|%q*", step.before, step.before+" ")
		if noun := slices.ContainsFunc(list, func(o word) bool { return strings.HasPrefix(o.before, step.before+" ") }); noun || step.before == "" {
			pattern = fmt.Sprintf("%q", step.before) // behind it comes a verb, and nothing else
		}
		_, _ = fmt.Fprintf(w, "\t%s) %s ;;\n", pattern, branch(step))
	}
}

func bashCompletion(w io.Writer, name string, list []word) {
	_, _ = fmt.Fprint(w, `# Completion for bash, as "barback completion bash" prints it.
_barback() {
	local cur=${COMP_WORDS[COMP_CWORD]} words=
	COMPREPLY=()
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	--config | --from) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
	esac
	case "${COMP_WORDS[*]:1:COMP_CWORD-1}" in
`)
	steps(w, list, func(step word) string {
		var texts []string
		for _, c := range step.next {
			texts = append(texts, c.text)
		}
		return "words='" + strings.Join(texts, " ") + "'"
	})
	_, _ = fmt.Fprintf(w, `	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _barback %s
`, name)
}

func zshCompletion(w io.Writer, name string, list []word) {
	_, _ = fmt.Fprintf(w, `#compdef %s
# Completion for zsh, as "barback completion zsh" prints it.
local -a choices
case $words[CURRENT-1] in
--config | --from) _files; return ;;
esac
case "${(j: :)words[2,CURRENT-1]}" in
`, name)
	steps(w, list, func(step word) string {
		var texts []string
		for _, c := range step.next {
			texts = append(texts, single(strings.ReplaceAll(c.text, ":", `\:`)+":"+c.help))
		}
		return "choices=(" + strings.Join(texts, " ") + ")"
	})
	_, _ = fmt.Fprint(w, "esac\n_describe barback choices\n")
}

func fishCompletion(w io.Writer, name string, list []word) {
	_, _ = fmt.Fprintf(w, `# Completion for fish, as "barback completion fish" prints it.
function __barback_behind
	set -l words (commandline -opc)
	set -e words[1]
	string match -q -r -- "^$argv[1]\$" "$words"
end
complete -c %[1]s -f
complete -c %[1]s -l config -r -F -d 'path of barback.toml'
`, name)
	for _, step := range list {
		behind := step.before
		if step.before != "" && !slices.ContainsFunc(list, func(o word) bool { return strings.HasPrefix(o.before, step.before+" ") }) {
			behind += "( .*)?"
		}
		for _, c := range step.next {
			if c.text != "--config" {
				_, _ = fmt.Fprintf(w, "complete -c %s -n %s -a %s -d %s\n", name, single("__barback_behind \""+behind+"\""), c.text, single(c.help))
			}
		}
	}
}

// single puts text into single quotes, for each of the shells.
func single(text string) string { return "'" + strings.ReplaceAll(text, "'", `'"'"'`) + "'" }
