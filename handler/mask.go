package handler

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

// secrets are the spellings of a password in PostgreSQL's connection strings: key=value, quoted or
// not, with backslashes, and URI (libpq, "Connection Strings"); other URLs, as in hook scripts, hide
// theirs in the same way.
var secrets = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(?i)(password\s*=\s*)('(?:\\.|[^'\\])*(?:'|$)|(?:\\.|[^\s\\])+)`), "${1}*REDACTED*"},
	{regexp.MustCompile(`(://[^:@/\s]*:)[^@/\s]*@`), "${1}*REDACTED*@"},
}

// mask hides passwords in text that goes to a client. Text that is JSON is taken apart for it, as
// there a password may be escaped in many ways.
func mask(s string) string {
	if s != "" && strings.ContainsRune(`{["`, rune(s[0])) {
		if masked, ok := maskDocument([]byte(s)); ok {
			return string(masked)
		}
	}
	for _, secret := range secrets {
		s = secret.re.ReplaceAllString(s, secret.with)
	}
	return s
}

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

var secretName = regexp.MustCompile(`(?i)password|passphrase$|secret|sse_customer_key$`)

func maskValue(v any) any {
	switch v := v.(type) {
	case string:
		return mask(v)
	case []any:
		for i := range v {
			v[i] = maskValue(v[i])
		}
	case map[string]any:
		for name := range v {
			if _, text := v[name].(string); text && secretName.MatchString(name) {
				v[name] = "*REDACTED*"
			} else {
				v[name] = maskValue(v[name])
			}
		}
	}
	return v
}
