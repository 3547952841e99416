package manual

import (
	"strings"

	"barback/runner/pattern"
)

// block is a piece of a manual page: a heading, a word that is explained, or a paragraph's lines.
type block struct {
	kind  blockKind
	lines []string
}

type blockKind int

const (
	paragraph blockKind = iota
	section             // .SH
	subsection
	term // what .TP or a paragraph of one bold word explains
)

// roff reads the source of a manual page, as far as pandoc and docutils use the language. It asks no
// man or groff: a fresh system has neither.
type roff struct {
	blocks  []block
	open    []string // lines of the paragraph that has begun
	mark    string   // of a list's item, until its text comes
	depth   int      // of indentation
	isTerm  bool     // the next text is what .TP explains
	literal bool
}

var (
	request  = pattern.New(`^[.'][ \t]*(\S*)[ \t]*(.*)$`)
	argument = pattern.New(`"((?:[^"]|"")*)"|(\S+)`)
	boldWord = pattern.New(`^\\fB([a-z][a-z0-9_]*)\\f[PR]$`)
)

func readRoff(source string) []block {
	var r roff
	lines := strings.Split(source, "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimRight(lines[i], " \t\r")
		m := request().FindStringSubmatch(line)
		switch {
		case m == nil:
			r.text(line)
		case m[1] == "de" || m[1] == "de1":
			for i < len(lines)-1 && lines[i] != ".." {
				i++
			}
		case m[1] == "TS":
			r.flush()
			for i++; i < len(lines)-1 && !strings.HasPrefix(lines[i], ".TE"); i++ {
				r.cell(lines[i])
			}
			r.flush()
		default:
			r.request(m[1], m[2])
		}
	}
	r.flush()
	return r.blocks
}

func (r *roff) request(name, rest string) {
	switch name {
	case "SH", "SS":
		r.flush()
		kind := section
		if name == "SS" {
			kind = subsection
		}
		r.blocks = append(r.blocks, block{kind, []string{plain(words(rest))}})
		r.depth, r.literal = 0, false
	case "TP":
		r.flush()
		r.isTerm = r.depth <= 0
	case "B", "I", "BR", "RB", "BI", "IB", "IR", "RI", "SM", "SB":
		r.text(words(rest))
	case "IP":
		r.flush()
		if m := argument().FindStringSubmatch(rest); m != nil {
			r.mark = plain(m[1]+m[2]) + " "
		}
	case "RS", "INDENT":
		r.flush()
		r.depth++
	case "RE", "UNINDENT":
		r.flush()
		r.depth--
	case "nf", "EX", "fi", "EE":
		r.flush()
		r.literal = name == "nf" || name == "EX"
	case "sp", "PP", "P", "LP":
		r.flush()
	}
}

func (r *roff) text(line string) {
	switch {
	case line == "" && !r.literal:
		r.flush()
	case r.isTerm:
		r.isTerm = false
		r.blocks = append(r.blocks, block{term, []string{plain(line)}})
	default:
		r.open = append(r.open, line)
	}
}

// flush ends the paragraph that has begun.
func (r *roff) flush() {
	if len(r.open) > 0 {
		if m := boldWord().FindStringSubmatch(r.open[0]); m != nil && len(r.open) == 1 && r.depth <= 0 && r.mark == "" && !r.literal {
			r.blocks = append(r.blocks, block{term, m[1:]})
		} else {
			for i := range r.open {
				r.open[i] = plain(r.open[i])
			}
			r.open[0] = r.mark + r.open[0]
			if r.literal {
				r.open = []string{strings.Join(r.open, "\n")}
			}
			r.blocks = append(r.blocks, block{paragraph, r.open})
		}
	}
	r.open, r.mark, r.isTerm = nil, "", false
}

// cell takes a line of a table as tbl reads it: rows become lines, cells stand between bars.
func (r *roff) cell(line string) {
	switch text := strings.NewReplacer("T{", "", "T}", "", "\t", " | ").Replace(line); {
	case line == "_" || line == "=" || strings.HasSuffix(line, ";"):
	case strings.HasSuffix(line, ".") && len(r.open) == 0: // the columns' format
	case line == "T{" || len(r.open) == 0:
		r.flush()
		r.open = append(r.open, text)
	default:
		r.open[0] += text
	}
}

func words(rest string) string {
	var list []string
	for _, m := range argument().FindAllStringSubmatch(rest, -1) {
		list = append(list, strings.ReplaceAll(m[1], `""`, `"`)+m[2])
	}
	return strings.Join(list, " ")
}

var (
	escape = pattern.New(`\\(?:f(?:\[[^]]*\]|\(..|.)|\((..)|\[([^]]+)\]|s[-+]?\d|(.))`)
	glyphs = map[string]string{
		"aq": "'", "dq": `"`, "bu": "•", "em": "—", "en": "–", "lq": "“", "rq": "”", "oq": "‘", "cq": "’", "ga": "`", "ha": "^", "ti": "~",
		"rs": `\`, "co": "©", "<=": "≤", ">=": "≥", "->": "→", "mu": "×", "at": "@", "sh": "#", "Do": "$", "bv": "|",
		"-": "-", "e": `\`, " ": " ", "~": " ", "0": " ", "'": "´", "`": "`", ".": ".", `\`: `\`,
	}
)

// plain is a line without its escapes. Fonts go, and what only guides the breaking of lines, or is not known.
func plain(line string) string {
	return escape().ReplaceAllStringFunc(line, func(s string) string {
		m := escape().FindStringSubmatch(s)
		return glyphs[m[1]+m[2]+m[3]]
	})
}
