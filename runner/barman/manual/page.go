package manual

import (
	"fmt"
	"strings"

	"barback/runner/pattern"
)

// page is a help of Barman's, which is argparse's: a usage, a description, and sections of entries.
type page struct {
	usage, description string
	entries            []entry
}

// entry is indented by two, or by four where it is a command; its text stands behind two blanks or
// more, or on the lines below, which are indented further.
type entry struct {
	section, title, text string
}

const positionals = "positional arguments:" // the first section; the others hold options

var entryLine = pattern.New(`^(?:  |    )(\S+(?: \S+)*)(?: {2,}(\S.*))?$`)

func parsePage(help string) (page, error) {
	var p page
	usage, rest, _ := strings.Cut(strings.ReplaceAll(help, "\r\n", "\n"), "\n\n")
	usage, ok := strings.CutPrefix(strings.TrimSpace(usage), "usage: ")
	if !ok {
		return p, fmt.Errorf("printed no help, but %q", help[:min(len(help), 200)])
	}
	p.usage = strings.Join(strings.Fields(usage), " ")
	section, lines := "", strings.Split(rest, "\n")
	for i, text := range lines {
		m, last := entryLine().FindStringSubmatch(text), len(p.entries)-1
		switch {
		case strings.HasSuffix(text, ":") && text[0] != ' ' && (i == 0 || lines[i-1] == "") && i+1 < len(lines) && strings.HasPrefix(lines[i+1], "  "):
			section = text
		case section == "":
			p.description = join(p.description, strings.TrimSpace(text))
		case m != nil && (section == positionals || m[1][0] == '-'):
			p.entries = append(p.entries, entry{section, m[1], m[2]})
		case last >= 0 && p.entries[last].section == section && strings.HasPrefix(text, "     "):
			p.entries[last].text = join(p.entries[last].text, strings.TrimSpace(text))
		}
	}
	return p, nil
}

// join puts a broken line together: argparse breaks at a blank, or behind a hyphen within a word.
func join(a, b string) string {
	if a == "" || b == "" || strings.HasSuffix(a, "-") && !strings.HasSuffix(a, " -") {
		return a + b
	}
	return a + " " + b
}
