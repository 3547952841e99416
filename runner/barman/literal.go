package barman

import (
	"errors"
	"strconv"
	"strings"
)

// literal reads what Python's repr wrote into a backup.info: strings, numbers, None, True, False, and lists, tuples and
// dictionaries of them. They become what encoding/json would make of the same.
func literal(text string) (any, error) {
	p := pythonText{rest: text}
	v, err := p.value(0)
	if err == nil && strings.TrimSpace(p.rest) != "" {
		err = errLiteral
	}
	return v, err
}

var errLiteral = errors.New("is not what Python would write")

// maxDepth bounds how deep values may lie in one another; Barman's lie three deep.
const maxDepth = 20

// pythonText is the rest of a text that is being read.
type pythonText struct{ rest string }

func (p *pythonText) value(depth int) (any, error) {
	p.rest = strings.TrimLeft(p.rest, " ")
	if p.rest == "" || depth > maxDepth {
		return nil, errLiteral
	}
	switch p.rest[0] {
	case '\'', '"':
		return p.text()
	case '[':
		return p.list("]", depth)
	case '(':
		return p.list(")", depth)
	case '{':
		return p.dictionary(depth)
	}
	end := strings.IndexAny(p.rest+",", ",:]}) ")
	word := p.rest[:end]
	p.rest = p.rest[end:]
	switch word {
	case "None":
		return nil, nil
	case "True", "False":
		return word == "True", nil
	}
	if n, err := strconv.ParseInt(word, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(word, 64)
	if err != nil || f-f != 0 { // infinite, or none
		return nil, errLiteral
	}
	return f, nil
}

// took reports whether the next sign is this one, and passes over it.
func (p *pythonText) took(sign string) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(p.rest, " "), sign)
	if ok {
		p.rest = rest
	}
	return ok
}

// items reads what stands between here and the closing bracket.
func (p *pythonText) items(closing string, item func() error) error {
	p.rest = p.rest[1:]
	for !p.took(closing) {
		if err := item(); err != nil {
			return err
		}
		if !p.took(",") && !strings.HasPrefix(strings.TrimLeft(p.rest, " "), closing) {
			return errLiteral
		}
	}
	return nil
}

func (p *pythonText) list(closing string, depth int) (any, error) {
	list := []any{}
	err := p.items(closing, func() error {
		v, err := p.value(depth + 1)
		list = append(list, v)
		return err
	})
	return list, err
}

func (p *pythonText) dictionary(depth int) (any, error) {
	dict := map[string]any{}
	err := p.items("}", func() error {
		key, err := p.value(depth + 1)
		name, ok := key.(string)
		if err != nil || !ok || !p.took(":") {
			return errLiteral
		}
		dict[name], err = p.value(depth + 1)
		return err
	})
	return dict, err
}

// text reads a string in the quotes that it begins with.
func (p *pythonText) text() (string, error) {
	quote, rest := p.rest[0], p.rest[1:]
	var b strings.Builder
	for rest != "" {
		if rest[0] == quote {
			p.rest = rest[1:]
			return b.String(), nil
		}
		r, _, tail, err := strconv.UnquoteChar(rest, 0)
		switch {
		case strings.HasPrefix(rest, `\'`), strings.HasPrefix(rest, `\"`):
			r, tail = rune(rest[1]), rest[2:]
		case err != nil:
			return "", errLiteral
		}
		b.WriteRune(r)
		rest = tail
	}
	return "", errLiteral
}
