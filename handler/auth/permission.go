package auth

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Lists are what one identity may do: patterns of the form "[METHOD ]NAME", where NAME is
// a permission name such as servers/pg-one/operations/recovery. A pattern is a shell
// pattern as in fnmatch(3) without FNM_PATHNAME (* matches slashes, too), and covers what
// lies below the names that it matches. Deny wins over access.
type Lists struct {
	Access []string `toml:"access,omitempty" json:"access"`
	Deny   []string `toml:"deny,omitempty" json:"deny"`
}

// May reports whether the lists let method do what name stands for. HEAD needs
// what GET needs.
func (l Lists) May(method, name string) bool {
	return anyCovers(l.Access, method, name) && !anyCovers(l.Deny, method, name)
}

func anyCovers(patterns []string, method, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, method, name) })
}

// covers matches name and each of the names above it.
func covers(pattern, method, name string) bool {
	verb, pattern := split(pattern)
	if method == "HEAD" {
		method = "GET"
	}
	if verb != "" && verb != method {
		return false
	}
	for {
		if match(pattern, name) {
			return true
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return false
		}
		name = name[:i]
	}
}

func split(pattern string) (verb, name string) {
	if verb, name, ok := strings.Cut(pattern, " "); ok {
		return strings.ToUpper(verb), strings.TrimSpace(name)
	}
	return "", pattern
}

// match is path.Match with slashes hidden, so that * crosses them as in fnmatch,
// and with fnmatch's [!…].
func match(pattern, name string) bool {
	if pattern == "*" || !strings.ContainsAny(pattern, `*?[\`) { // nearly all, and nearly for nothing
		return pattern == "*" || pattern == name
	}
	ok, err := path.Match(hide.Replace(pattern), strings.ReplaceAll(name, "/", "\x00"))
	return ok && err == nil
}

var hide = strings.NewReplacer("/", "\x00", "[!", "[^")

// within reports whether outer covers all that inner does. Inner is taken for a name: a * of outer takes in whatever
// inner may stand for there. Where that cannot be told, the answer is no.
func within(inner, outer string) bool {
	verb, name := split(inner)
	method, pattern := split(outer)
	if method != "" && method != verb {
		return false
	}
	if pattern == "*" || pattern == name {
		return true
	}
	return !strings.ContainsAny(pattern, `?[]\`) && !strings.ContainsAny(name, `[\`) && covers(pattern, "", name)
}

var methods = []string{"", "GET", "POST", "DELETE"}

// CheckPattern says what is wrong with a pattern.
func CheckPattern(pattern string) error {
	verb, name := split(pattern)
	switch {
	case !slices.Contains(methods, verb):
		return fmt.Errorf("pattern %q: %s is not a method (GET, POST, DELETE)", pattern, verb)
	case name == "" || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/"):
		return fmt.Errorf("pattern %q: a name has no slash at its ends: servers/pg-one/operations", pattern)
	}
	if _, err := path.Match(strings.ReplaceAll(name, "[!", "[^"), ""); err != nil {
		return fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return nil
}
