package barman

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"unicode/utf8"
)

// defaultSection holds for all sections of its file.
const defaultSection = "DEFAULT"

var (
	lineEnds   = strings.NewReplacer("\r\n", "\n", "\r", "\n")
	header     = regexp.MustCompile(`^\[(.+)\]`)
	assignment = regexp.MustCompile(`^(.*?)\s*[=:]\s*(.*)$`)
	reference  = regexp.MustCompile(`%%|%\(([^)]*)\)s`)
)

// parse reads the text of a configuration file as Python's ConfigParser(strict=False) does: a line that is
// indented deeper than the option above it continues its value, empty lines within a value belong to it, only whole
// lines are comments, of two spellings of an option the later one counts.
func parse(text string) (map[string]section, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("is not UTF-8")
	}
	all := map[string]section{defaultSection: {}}
	var in section
	var option string
	indent := 0
	n := 0
	for line := range strings.Lines(lineEnds.Replace(text)) {
		n++
		line = strings.TrimSuffix(line, "\n")
		word := strings.TrimSpace(line)
		if word == "" && option != "" {
			in[option] += "\n"
		}
		if word == "" || word[0] == '#' || word[0] == ';' {
			continue
		}
		depth := len(line) - len(strings.TrimLeft(line, " \t\v\f"))
		if option != "" && depth > indent {
			in[option] += "\n" + word
			continue
		}
		indent = depth
		if m := header.FindStringSubmatch(word); m != nil {
			if all[m[1]] == nil {
				all[m[1]] = section{}
			}
			in, option = all[m[1]], ""
			continue
		}
		m := assignment.FindStringSubmatch(word)
		switch {
		case in == nil:
			return nil, fmt.Errorf("line %d %q stands before the first [section]", n, word)
		case m == nil || m[1] == "":
			return nil, fmt.Errorf("line %d %q is neither option = value nor [section]", n, word)
		}
		option = strings.ToLower(m[1])
		in[option] = m[2]
	}
	defaults := all[defaultSection]
	delete(all, defaultSection)
	for name, own := range all {
		raw := maps.Clone(defaults)
		maps.Copy(raw, own)
		all[name] = section{}
		for option := range raw {
			all[name][option] = raw.value(option, 10)
		}
	}
	return all, nil
}

// value is that of an option with what it refers to put in. What ConfigParser would not take (Barman
// refuses the whole configuration then) stays as it is written. Its depth is ConfigParser's own.
func (s section) value(option string, depth int) string {
	return reference.ReplaceAllStringFunc(strings.TrimRight(s[option], " \t\n"), func(found string) string {
		if found == "%%" {
			return "%"
		}
		name := strings.ToLower(found[2 : len(found)-2])
		if _, ok := s[name]; !ok || depth == 0 {
			return found
		}
		return s.value(name, depth-1)
	})
}
