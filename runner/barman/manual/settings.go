package manual

import (
	"errors"
	"strings"

	"barback/runner/pattern"
)

// Page is Barman's manual of its configuration, barman.5.
type Page struct {
	Version  string // of the Barman that it describes, perhaps without the last number; empty: it does not say
	Settings map[string]Setting
}

var (
	numbers    = pattern.New(`\d+(?:\.\d+)+`)
	identifier = pattern.New(`^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$`)
	scopeLine  = pattern.New(`^(?:Scope: *)?((?:Global|Server|Model)(?: ?/ ?[A-Za-z]+)*)\.$`)
)

// ParsePage reads the source of barman.5, as pandoc (until 3.11) or docutils wrote it.
func ParsePage(source string) (Page, error) {
	page := Page{Settings: map[string]Setting{}}
	for line := range strings.SplitSeq(source, "\n") {
		if rest, ok := strings.CutPrefix(line, ".TH "); ok {
			page.Version = numbers().FindString(rest)
		}
	}
	var now *explained
	inside := false
	for _, b := range readRoff(source) {
		switch {
		case b.kind == section:
			now.end(page.Settings)
			now, inside = nil, b.lines[0] == "OPTIONS"
		case !inside:
		case b.kind == term:
			now.end(page.Settings)
			now = &explained{Setting: Setting{Name: b.lines[0]}}
		case b.kind == subsection && now != nil && now.Scope != (Scope{}): // a group of others begins
			now.end(page.Settings)
			now = nil
		case now != nil:
			now = now.add(b.lines, page.Settings)
		}
	}
	now.end(page.Settings)
	if len(page.Settings) == 0 {
		return page, errors.New("explains no settings under OPTIONS")
	}
	return page, nil
}

// explained is a setting whose text is being read.
type explained struct {
	Setting
	paragraphs []string
}

// add takes a paragraph. A line of it may be the scope; if a bare name follows that,
// it is the next setting's, which 3.4.0 forgot to set apart (log_file).
func (e *explained) add(lines []string, all map[string]Setting) *explained {
	var text []string
	for i, line := range lines {
		if m := scopeLine().FindStringSubmatch(line); m != nil {
			_ = e.Scope.UnmarshalText([]byte(m[1])) // fails for nothing
		} else if i > 0 && scopeLine().MatchString(lines[i-1]) && identifier().MatchString(line) {
			e.paragraphs = append(e.paragraphs, strings.Join(text, " "))
			e.end(all)
			e, text = &explained{Setting: Setting{Name: line}}, nil
		} else {
			text = append(text, line)
		}
	}
	e.paragraphs = append(e.paragraphs, strings.Join(text, " "))
	return e
}

// end puts the setting among the others.
func (e *explained) end(all map[string]Setting) {
	if e == nil || !identifier().MatchString(e.Name) {
		return
	}
	var texts []string
	for _, p := range e.paragraphs {
		if p != "" {
			texts = append(texts, p)
		}
	}
	e.Description = strings.Join(texts, "\n\n")
	all[e.Name] = e.Setting
}
