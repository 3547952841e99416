package handler

import "regexp"

// secrets are the spellings of a password in PostgreSQL's connection strings: key=value and
// URI (libpq, 34.1.1), also inside JSON, where quotes are escaped.
var secrets = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(?i)(password\s*=\s*)('(?:[^'\\"]|\\.)*'|[^\s"'\\]+)`), "${1}*REDACTED*"},
	{regexp.MustCompile(`(?i)(postgres(?:ql)?://[^:@/\s"]*:)[^@/\s"]*@`), "${1}*REDACTED*@"},
}

// mask hides passwords in text that goes to a client.
func mask(s string) string {
	for _, secret := range secrets {
		s = secret.re.ReplaceAllString(s, secret.with)
	}
	return s
}
