package barman

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"

	"barback/runner/pattern"
)

// defaultSection holds for all sections of its file.
const defaultSection = "DEFAULT"

var reference = pattern.New(`%%|%\(([^)]*)\)s`)

// entry is a section's header, or an option of one, and where it stands.
type entry struct {
	section string
	option  string // in lower case; empty: a header
	value   string // as it is written, the lines of it joined
	line    int    // counted from 0
	more    []int  // the lines that go on with the value
}

// scan reads the text of a configuration file as Python's ConfigParser(strict=False) does: a line that is
// indented deeper than the option above it continues its value, empty lines within a value belong to it, only whole
// lines are comments. lines are as they stand, with their ends.
func scan(text string) (lines []string, entries []entry, err error) {
	if !utf8.ValidString(text) {
		return nil, nil, errors.New("is not UTF-8")
	}
	lines = split(text)
	in, inside := "", false
	var last *entry // the option whose value may go on
	depth := 0      // of its line
	for n, line := range lines {
		word := strings.TrimFunc(line, blank)
		if word == "" && last != nil {
			last.value += "\n"
		}
		if word == "" || word[0] == '#' || word[0] == ';' {
			continue
		}
		indent := utf8.RuneCountInString(indentation(line))
		if last != nil && indent > depth {
			last.value += "\n" + word
			last.more = append(last.more, n)
			continue
		}
		depth = indent
		if end := strings.LastIndexByte(word, ']'); word[0] == '[' && end > 1 {
			in, inside, last = word[1:end], true, nil
			entries = append(entries, entry{section: in, line: n})
			continue
		}
		i := strings.IndexAny(word, "=:")
		switch {
		case !inside:
			return nil, nil, fmt.Errorf("line %d %q stands before the first [section]", n+1, word)
		case i <= 0:
			return nil, nil, fmt.Errorf("line %d %q is neither option = value nor [section]", n+1, word)
		}
		entries = append(entries, entry{section: in, option: strings.ToLower(strings.TrimRightFunc(word[:i], blank)), value: strings.TrimFunc(word[i+1:], blank), line: n})
		last = &entries[len(entries)-1]
	}
	for i := range entries {
		entries[i].value = strings.TrimRightFunc(entries[i].value, blank)
	}
	return lines, entries, nil
}

// split cuts text behind each end of a line: LF, CR or both, as Python does.
func split(text string) (lines []string) {
	for text != "" {
		end := strings.IndexAny(text, "\r\n") + 1
		switch {
		case end == 0:
			end = len(text)
		case strings.HasPrefix(text[end-1:], "\r\n"):
			end++
		}
		lines, text = append(lines, text[:end]), text[end:]
	}
	return lines
}

// blank is what Python takes for white space.
func blank(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f }

// indentation is the white space that a line begins with.
func indentation(line string) string { return line[:len(line)-len(strings.TrimLeftFunc(line, blank))] }

// parse reads what the text of a configuration file sets. Of two spellings of an option the later one counts.
func parse(text string) (map[string]section, error) {
	_, entries, err := scan(text)
	if err != nil {
		return nil, err
	}
	all := map[string]section{defaultSection: {}}
	for _, e := range entries {
		if all[e.section] == nil {
			all[e.section] = section{}
		}
		if e.option != "" {
			all[e.section][e.option] = e.value
		}
	}
	defaults := all[defaultSection]
	delete(all, defaultSection)
	for _, s := range all {
		for option, value := range defaults {
			if _, own := s[option]; !own {
				s[option] = value
			}
		}
		s.refer()
	}
	return all, nil
}

// refer puts in what values refer to; few do.
func (s section) refer() {
	whole := section{}
	for option, value := range s {
		if strings.Contains(value, "%") {
			whole[option] = s.value(option)
		}
	}
	maps.Copy(s, whole)
}

// value is that of an option with what it refers to put in. What ConfigParser would not take (Barman
// refuses the whole configuration then) stays as it is written.
func (s section) value(option string) string {
	if v, ok := s.expand(option, 10); ok {
		return v
	}
	return s[option]
}

// expand gives up at the first reference that leads nowhere, or deeper than ConfigParser goes: of those that refer
// to themselves several times there would be no end.
func (s section) expand(option string, depth int) (v string, ok bool) {
	if !strings.Contains(s[option], "%") {
		return s[option], true
	}
	ok = true
	v = reference().ReplaceAllStringFunc(s[option], func(found string) string {
		if found == "%%" {
			return "%"
		}
		name := strings.ToLower(found[2 : len(found)-2])
		if _, known := s[name]; !ok || !known || depth == 0 {
			ok = false
			return found
		}
		var within string
		within, ok = s.expand(name, depth-1)
		return within
	})
	return v, ok
}

// ParseINI reads the text of any file that Python's ConfigParser reads: options by section, those of [DEFAULT] in each.
func ParseINI(text string) (map[string]map[string]string, error) {
	sections, err := parse(text)
	if err != nil {
		return nil, err
	}
	all := map[string]map[string]string{}
	for name, s := range sections {
		all[name] = s
	}
	return all, nil
}
