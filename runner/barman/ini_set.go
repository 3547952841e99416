package barman

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"barback/runner/pattern"
)

// setOption puts a value, as it is to be written, in place of the one that counts of an option in a section of a file; an
// option that the section has not comes behind its last one. Everything else stays byte for byte: comments, order,
// indentation, the ends of lines. What it returns was read again: it sets this option, and all others as before.
func setOption(text, in, option, value string) (string, error) {
	lines, before, err := scan(text)
	if err != nil {
		return "", err
	}
	at := lastEntry(before, in, option)
	if at >= 0 {
		lines = replaceValue(lines, before[at], value)
	} else if at = lastEntry(before, in, ""); at >= 0 {
		lines, at = insertOption(lines, before, at, option+" = "+value)
	} else {
		return "", errors.New("has no such section")
	}
	changed := strings.Join(lines, "")
	_, after, err := scan(changed)
	if err != nil {
		return "", err
	}
	want := slices.Clone(before)
	if len(after) > len(before) {
		want = slices.Insert(want, at, entry{section: in, option: option})
	}
	want[at].value = strings.TrimFunc(value, blank)
	if !slices.EqualFunc(after, want, func(a, b entry) bool {
		return a.section == b.section && a.option == b.option && a.value == b.value
	}) {
		return "", errors.New("cannot be changed without changing other options: its indentation is too uneven; change it by hand")
	}
	return changed, nil
}

// lastEntry is the place of the one that counts; -1 if there is none.
func lastEntry(entries []entry, in, option string) int {
	for i, e := range slices.Backward(entries) {
		if e.section == in && e.option == option {
			return i
		}
	}
	return -1
}

// replaceValue writes another value behind the name of an option. Comments between the lines of the old one stay.
func replaceValue(lines []string, e entry, value string) []string {
	line := lines[e.line]
	i := strings.IndexAny(line, "=:") + 1
	head, rest := line[:i], line[i:]
	old := strings.TrimRight(rest, "\r\n")
	gap := old[:len(old)-len(strings.TrimLeftFunc(old, blank))]
	if gap == old && strings.HasSuffix(strings.TrimRight(head, "=:"), " ") {
		gap = " "
	}
	lines[e.line] = head + gap + value + rest[len(old):]
	for _, n := range slices.Backward(e.more) {
		lines = slices.Delete(lines, n, n+1)
	}
	return lines
}

// insertOption adds a line to the last part of the section whose header is entry at, behind its last option. It is
// indented as that one is, so that it is read as an option of its own and the next line as before.
func insertOption(lines []string, entries []entry, at int, line string) ([]string, int) {
	above, end := at, at+1
	for end < len(entries) && entries[end].option != "" {
		above = end
		end++
	}
	last := entries[above].line
	if more := entries[above].more; len(more) > 0 {
		last = more[len(more)-1]
	}
	indent := indentation(lines[entries[above].line])
	if above == at && end < len(entries) { // below a header any line may stand
		if next := indentation(lines[entries[end].line]); utf8.RuneCountInString(next) > utf8.RuneCountInString(indent) {
			indent = next
		}
	}
	newline := lines[last][len(strings.TrimRight(lines[last], "\r\n")):]
	if newline == "" {
		newline = lines[0][len(strings.TrimRight(lines[0], "\r\n")):]
		if newline == "" {
			newline = "\n"
		}
		lines[last] += newline
	}
	return slices.Insert(lines, last+1, indent+line+newline), end
}

// spell is a text as it has to be written so that Barman reads just that: what would be taken off stands in
// quotes, a percent sign is none that refers to another option.
func spell(value, version string) string {
	percent := "%%"
	if !older(version, "3.10") { // which reads values twice
		percent = "%%%%"
	}
	written := strings.ReplaceAll(value, "%", percent)
	n := len(value)
	quoted := n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0]
	if quoted || strings.TrimFunc(value, blank) != value {
		written = `"` + written + `"`
	}
	return written
}

// maxValue is more than any option of Barman's needs.
const maxValue = 64 << 10

// checkValue says why a text can be no value of an option.
func checkValue(value string) error {
	switch {
	case len(value) > maxValue:
		return errors.New("is longer than 64 KiB")
	case !utf8.ValidString(value):
		return errors.New("is not UTF-8")
	case strings.ContainsFunc(value, unicode.IsControl):
		return errors.New("has a control character: a value is one line of text")
	case strings.Contains(value, "*REDACTED*"):
		return errors.New("is what passwords are shown as: send the password itself, or leave the option as it is")
	}
	return nil
}

// The length is compared apart: a bound in a pattern makes it cost each start of the program a tenth of a millisecond.
var optionName = pattern.New(`^[a-z][a-z0-9_]*$`)

// checkOptionName says why a text can be no name of an option.
func checkOptionName(name string) error {
	if len(name) > 100 || !optionName().MatchString(name) {
		return errors.New("is no name of an option: it has lower-case letters, digits and _")
	}
	return nil
}
