package handler

import (
	"encoding/json"
	"strings"
	"testing"

	"barback/runner/operation"
)

func TestMask(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"nothing to hide", "host=a dbname=b", "host=a dbname=b"},
		{"a password", "host=a password=secret dbname=b", "host=a password=*REDACTED* dbname=b"},
		{"at the end", "password=secret", "password=*REDACTED*"},
		{"blanks around =", "password = secret x", "password = *REDACTED* x"},
		{"upper case", "PASSWORD=secret", "PASSWORD=*REDACTED*"},
		{"in quotes", "password='se cret' x", "password=*REDACTED* x"},
		{"in quotes, with a quote", `password='se\'secret' x`, "password=*REDACTED* x"},
		{"in quotes, with a backslash", `password='se\\' x`, "password=*REDACTED* x"},
		{"empty", "password='' x", "password=*REDACTED* x"},
		{"of a key", "sslpassword=secret", "sslpassword=*REDACTED*"},
		{"two of them", "password=a x password=b", "password=*REDACTED* x password=*REDACTED*"},
		{"in a URI", "postgresql://u:secret@h/d", "postgresql://u:*REDACTED*@h/d"},
		{"in a short URI", "postgres://u:secret@h", "postgres://u:*REDACTED*@h"},
		{"escaped in a URI", "postgres://u:s%40ecret@h", "postgres://u:*REDACTED*@h"},
		{"without a user", "postgres://:secret@h", "postgres://:*REDACTED*@h"},
		{"in the query of a URI", "postgres://h/d?user=u&password=secret", "postgres://h/d?user=u&password=*REDACTED*"},
		{"a URI without one", "postgres://u@h:5432/d", "postgres://u@h:5432/d"},
		{"in another URL", "curl https://u:secret@h/x", "curl https://u:*REDACTED*@h/x"},
		{"a variable of the environment", "PGPASSWORD=secret psql", "PGPASSWORD=*REDACTED* psql"},
		{"a port is none", "postgres://h:5432/d", "postgres://h:5432/d"},
		{"in JSON", `{"conninfo":"host=a password=secret"}`, `{"conninfo":"host=a password=*REDACTED*"}`},
		{"in quotes in JSON", `{"conninfo":"password='se cret' x"}`, `{"conninfo":"password=*REDACTED* x"}`},
		{"a double quote in JSON", `{"conninfo":"password='se\"cret' x"}`, `{"conninfo":"password=*REDACTED* x"}`},
		{"a URI in JSON", `{"a":"postgres://u:secret@h/d","b":"x@y"}`, `{"a":"postgres://u:*REDACTED*@h/d","b":"x@y"}`},
		{"an @ in another member", `{"a":"postgres://u:p","b":"x@y"}`, `{"a":"postgres://u:p","b":"x@y"}`},
		{"the word alone", "password", "password"},
		{"JSON and more", `{"a":1}]`, `{"a":1}]`},
		{"passfile is none", "passfile=/x", "passfile=/x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := mask(tc.text); got != tc.want {
				t.Errorf("mask(%s) = %s, want %s", tc.text, got, tc.want)
			}
		})
	}
}

// The request of an operation is shown without the passwords that it holds, in whatever way a
// JSON encoder spelled them.
func TestRequestsAreShownWithoutPasswords(t *testing.T) {
	b := newBench(t, nil)
	for _, tc := range []struct{ name, conninfo string }{
		{"plain", `host=a password=topsecret`},
		{"slashes as PHP writes them", `postgresql:\/\/u:topsecret@h\/d`},
		{"a letter that is escaped", `host=a passw\u006frd=topsecret`},
		{"a password that begins with an escape", `password=\u0074opsecret`},
		{"a quote in the password", `password='x\\'topsecret'`},
		{"a backslash in the password", `password=x\\\\topsecret`},
		{"an apostrophe in the password", `password=x'topsecret`},
		{"a double quote in the password", `password=x\"topsecret`},
		{"a tab before the password", `password=\ttopsecret`},
		{"a double quote in a URI", `postgres://u:x\"topsecret@h`},
	} {
		request := `{"type":"config_update","changes":[{"scope":"server","server_name":"pg-one","conninfo":"` + tc.conninfo + `"}]}`
		if !json.Valid([]byte(request)) {
			t.Fatalf("%s: the test's request is not JSON", tc.name)
		}
		op := b.ended(operation.Operation{Type: "config_update", Request: json.RawMessage(request), Command: []string{"barman", "config-update", request}}, operation.Failed, "")
		res := b.ask("GET", "/operations/"+string(op.ID), "")
		res.want(200, "REDACTED")
		if strings.Contains(res.Body.String(), "opsecret") {
			t.Errorf("%s: the operation tells the password: %s", tc.name, res.Body)
		}
	}
}

// Masked JSON is JSON, and nothing is lost but what was hidden.
func FuzzMask(f *testing.F) {
	for _, s := range []string{
		`{"a":"password=x"}`, `{"a":"password='x\"y' z"}`, `{"a":"password='x\\' z"}`, `{"a":"postgres://u:p@h"}`, `{"a":"postgres://u:p","b":"x@y"}`, `{"password=":"x"}`,
		`["password= ","x"]`, `{"a":"password=\u0061"}`, `{"a":"password='\u0022'"}`, `"password='\\"`, `"password='"`, `"postgres://\\:\\@"`, `{"a":"password = ' \\\\' "}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		masked := mask(s)
		if json.Valid([]byte(s)) && !json.Valid([]byte(masked)) {
			t.Errorf("mask(%s) = %s, which is no JSON any more", s, masked)
		}
		if !json.Valid([]byte(s)) && !strings.Contains(strings.ToLower(s), "password") && !strings.Contains(s, "://") && masked != s {
			t.Errorf("mask(%s) = %s, want it as it was", s, masked)
		}
	})
}
