package main

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"barback/runner/pattern"
)

// optionType is the Go type of an option of the configuration; table is empty for those outside of one.
func optionType(table, key string) (reflect.Type, bool) {
	t := reflect.TypeFor[config]()
	if table != "" {
		field, ok := tagged(t, table)
		if !ok || field.Kind() != reflect.Struct {
			return nil, false
		}
		t = field
	}
	field, ok := tagged(t, key)
	return field, ok && field.Kind() != reflect.Struct
}

func tagged(t reflect.Type, name string) (reflect.Type, bool) {
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("toml"); tag == name && tag != "" {
			return t.Field(i).Type, true
		}
	}
	return nil, false
}

// spell writes a value as TOML has it for the type of its option. Lists are given as TOML writes them.
func spell(table, key, text string) (string, error) {
	t, ok := optionType(table, key)
	if !ok {
		return "", errors.New("is no option of barback's configuration")
	}
	var v any = text
	switch {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		if err := reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
			return "", err
		}
	case t.Kind() == reflect.String:
	case t.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return "", fmt.Errorf("%q is neither true nor false", text)
		}
		v = b
	case t.Kind() == reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return "", fmt.Errorf("%q is no whole number", text)
		}
		v = n
	case t == reflect.TypeFor[[]string]():
		var list struct{ X []string }
		if meta, err := toml.Decode("X = "+text, &list); err != nil || len(meta.Keys()) != 1 {
			return "", fmt.Errorf("%q is no list such as [\"backup\", \"cron\"]", text)
		}
		v = list.X
	default:
		return "", errors.New("is a table, which is edited in the file")
	}
	out, err := toml.Marshal(map[string]any{"x": v})
	return strings.TrimSpace(strings.TrimPrefix(string(out), "x = ")), err
}

var (
	tomlLine    = pattern.New(`[^\n]*\n|[^\n]+$`)
	tableHeader = pattern.New(`^\s*\[\s*([A-Za-z0-9_-]+)\s*\]\s*(#.*)?$`)
)

// setKey puts a value, as TOML writes it, in place of what a key of a table has; a key that is not there comes behind the last one
// of its table, and a table at the end. All else stays byte for byte: comments, order, blank lines. What it returns
// was read again: it sets this key, and all others as before.
func setKey(text, table, key, literal string) (string, error) {
	var before map[string]any
	if _, err := toml.Decode(text, &before); err != nil {
		return "", err
	}
	lines := tomlLine().FindAllString(text, -1)
	here, last := "", -1
	for i := 0; i < len(lines); {
		word := strings.TrimSpace(lines[i])
		switch {
		case word == "" || word[0] == '#':
			i++
		case word[0] == '[':
			here = "[" // of another kind
			if m := tableHeader().FindStringSubmatch(word); m != nil {
				here = m[1]
			}
			if here == table {
				last = i
			}
			i++
		default:
			end, err := endOfEntry(lines, i)
			if err != nil {
				return "", err
			}
			name, _, _ := strings.Cut(word, "=")
			if here == table && strings.TrimSpace(name) == key {
				entry := replaceEntry(strings.Join(lines[i:end], ""), literal)
				return verified(before, strings.Join(lines[:i], "")+entry+strings.Join(lines[end:], ""), table, key, literal)
			}
			if here == table {
				last = end - 1
			}
			i = end
		}
	}
	line := key + " = " + literal + "\n"
	switch {
	case last >= 0:
		if !strings.HasSuffix(lines[last], "\n") {
			lines[last] += "\n"
		}
		lines = slices.Insert(lines, last+1, line)
	case table == "":
		lines = slices.Insert(lines, 0, line)
	default:
		if n := len(lines); n > 0 && !strings.HasSuffix(lines[n-1], "\n") {
			lines[n-1] += "\n"
		}
		lines = append(lines, "\n["+table+"]\n", line)
	}
	return verified(before, strings.Join(lines, ""), table, key, literal)
}

// endOfEntry is the line behind an entry: the first one with which it can be read.
func endOfEntry(lines []string, from int) (int, error) {
	for end := from + 1; end <= len(lines); end++ {
		var any map[string]any
		if _, err := toml.Decode(strings.Join(lines[from:end], ""), &any); err == nil {
			return end, nil
		}
	}
	return 0, fmt.Errorf("line %d is no entry of its own", from+1)
}

// replaceEntry writes another value in an entry. A comment behind it stays.
func replaceEntry(entry, literal string) string {
	head, rest, _ := strings.Cut(entry, "=")
	value := strings.TrimLeft(rest, " \t")
	gap := rest[:len(rest)-len(value)]
	for end := range len(value) + 1 {
		behind := strings.TrimSpace(value[end:])
		if behind != "" && behind[0] != '#' {
			continue
		}
		var any map[string]any
		if _, err := toml.Decode("x = "+value[:end], &any); err == nil {
			return head + "=" + gap + literal + value[end:]
		}
	}
	return entry
}

// verified is the new text if it says what the old one did, and the new value.
func verified(before map[string]any, text, table, key, literal string) (string, error) {
	var after, value map[string]any
	if _, err := toml.Decode(text, &after); err != nil {
		return "", fmt.Errorf("is written in a form that only an editor can change: %w", err)
	}
	if _, err := toml.Decode("x = "+literal, &value); err != nil {
		return "", err
	}
	in := before
	if table != "" {
		if before[table] == nil {
			before[table] = map[string]any{}
		}
		in, _ = before[table].(map[string]any)
	}
	if in != nil {
		in[key] = value["x"]
	}
	var a, b bytes.Buffer
	if err := errors.Join(toml.NewEncoder(&a).Encode(before), toml.NewEncoder(&b).Encode(after)); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
		return "", errors.New("is written in a form that only an editor can change")
	}
	return text, nil
}
