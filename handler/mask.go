package handler

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"barback/handler/auth"
	"barback/runner/pattern"
)

// value is what stands behind the name of a secret: in quotes, as libpq and shells have them, or up to the next blank.
// What follows a closing quote at once goes with it.
const value = `(?:'(?:\\.|[^'\\])*(?:'|$)|"(?:\\.|[^"\\])*(?:"|$))(?:\\.|[^\s\\])*|(?:\\.|[^\s\\])+`

// names are what secrets are called in connection strings, environments, URLs and configurations. The page_token
// of a list is none.
const names = `(?:pass(?:word|wd|phrase)|secret\w*|(?:access|account|api|customer|private|shared|storage)[_-]?key|signature|\bsig|` +
	`\b(?:(?:access|api|auth|aws_session|bearer|id|refresh|sas|security|session|x-amz-security)[_-]?)?token)`

// secrets are the spellings of what must not be told; each leaves what its groups matched. Passwords in
// PostgreSQL's connection strings are key=value or in a URI (libpq, "Connection Strings"); hook scripts hold other
// URLs, headers and options of programs.
var secrets = []func() *regexp.Regexp{
	pattern.New(`(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`),
	pattern.New(`(?i)(passphrase_command["']?\s*[=:]\s*)[^\n]+`), // often "echo" and the passphrase
	pattern.New(`(?i)(authorization["']?\s*[=:]\s*["']?(?:[a-z]+[ \t]+)?)[^\s"',]+`),
	pattern.New(`(?i)(\b(?:bearer|barman) +)[a-z0-9._~+/=-]{16,}`),
	pattern.New(`(\beyJ)[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?`), // a JSON Web Token
	pattern.New(`(\b` + auth.TokenPrefix + `)[a-z2-7]{20,}`),
	pattern.New(`(?is)(` + names + `\\*["']?\s*=\s*)(?:` + value + `)`),
	pattern.New(`(?is)(` + names + `\\*["']\s*:\s*)(?:` + value + `)`), // an object that is no JSON, such as Python's
	pattern.New(`(?is)(--?[a-z0-9-]*` + names + `[ \t]+)(?:` + value + `)`),
	pattern.New(`(?is)(\bsshpass\s+-p\s*|(?:^|\s)(?:-u|--user|--proxy-user)[ =]?[^\s:/]+:)(?:` + value + `)`),
	pattern.New(`(:(?://|~1~1)[^:@/\s]*:)[^/\s]*(@)`), // ~1: in a JSON pointer
}

const redacted = "*REDACTED*"

// mask hides secrets in text that goes to a client or a log. Text that is JSON is taken apart for it, as
// there a secret may be escaped in many ways.
func mask(s string) string {
	if harmless(s) {
		return s
	}
	if strings.ContainsRune(`{["`, rune(s[0])) {
		if masked, ok := maskDocument([]byte(s)); ok {
			return string(masked)
		}
	}
	for _, re := range secrets {
		s = re().ReplaceAllString(s, "${1}"+redacted+"${2}")
	}
	return s
}

// harmless reports whether none of secrets can match: in what most texts are, which is names, paths, addresses and plain
// words. Each request has some, and to try all expressions takes longer than all else that is done for it.
func harmless(s string) bool {
	if strings.ContainsAny(s, "=\"'") || strings.Contains(s, "eyJ") || strings.Contains(s, auth.TokenPrefix) {
		return false
	}
	blank, colon := strings.ContainsAny(s, " \t\n\f\r"), strings.Contains(s, ":")
	if !blank && !colon {
		return true
	}
	lower := strings.ToLower(s)
	if blank {
		return !colon && !strings.Contains(s, "-") && !strings.Contains(lower, "bearer") && !strings.Contains(lower, "barman")
	}
	ascii := !strings.ContainsFunc(s, func(c rune) bool { return c > unicode.MaxASCII })
	return ascii && !strings.Contains(s, "@") && !strings.HasPrefix(s, "-") && !strings.Contains(lower, "authorization") && !strings.Contains(lower, "passphrase_command")
}

// maskMessage cuts text off where a secret begins: an error may quote what a client sent, and in
// quoted text nobody can tell where a secret ends.
func maskMessage(s string) string {
	if s == "" {
		return s
	}
	cut := len(s)
	for _, re := range secrets {
		if m := re().FindStringSubmatchIndex(s); m != nil {
			cut = min(cut, m[3])
		}
	}
	if cut == len(s) {
		return s
	}
	return s[:cut] + redacted + " (what follows is left out, as it may be secret)"
}

// maskPath is mask for the path of a URL.
func maskPath(escaped string) string {
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return escaped
	}
	if masked := mask(path); masked != path {
		return (&url.URL{Path: masked}).EscapedPath()
	}
	return escaped
}

// Shown is text as a log may hold it: without secrets, and without what a terminal would obey or
// show somewhere else, such as C1 control characters and those that turn the direction of writing.
func Shown(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '\n' || c == '\t' || unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}, mask(s))
}

// ShownError is Shown for an error.
func ShownError(err error) string { return Shown(maskMessage(err.Error())) }

// maskJSON is a request without its passwords; null if there is none.
func maskJSON(raw json.RawMessage) json.RawMessage {
	if masked, ok := maskDocument(raw); ok {
		return masked
	}
	return json.RawMessage("null")
}

func maskDocument(raw []byte) (json.RawMessage, bool) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if !json.Valid(raw) || dec.Decode(&v) != nil {
		return nil, false
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(maskValue(v))
	return bytes.TrimSpace(b.Bytes()), err == nil
}

// secretName is a member whose whole value is secret. page_token is none.
var secretName = pattern.New(`(?i)password|passwd|passphrase|secret|authorization|` + names + `$`)

func maskValue(v any) any {
	switch v := v.(type) {
	case string:
		return mask(v)
	case []any:
		for i := range v {
			v[i] = maskValue(v[i])
		}
	case map[string]any:
		masked := make(map[string]any, len(v))
		for name, value := range v {
			if secretName().MatchString(name) {
				masked[mask(name)] = hide(value)
			} else {
				masked[mask(name)] = maskValue(value)
			}
		}
		return masked
	}
	return v
}

// hide masks what a member holds whose name says that it is secret. An object is no secret: a server may be
// called "password-db".
func hide(v any) any {
	switch v := v.(type) {
	case string, json.Number:
		return redacted
	case []any:
		for i := range v {
			v[i] = hide(v[i])
		}
		return v
	}
	return maskValue(v)
}
