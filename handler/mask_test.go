package handler

import (
	"encoding/json"
	"fmt"
	"regexp"
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
		{"in double quotes", `PGPASSWORD="se cret" psql`, "PGPASSWORD=*REDACTED* psql"},
		{"more behind a quote", `password='a'secret x`, "password=*REDACTED* x"},
		{"an @ in a URL's password", "https://u:sec@ret@h/x", "https://u:*REDACTED*@h/x"},
		{"a token in a query", "/x?token=secret", "/x?token=*REDACTED*"},
		{"another kind of token", "access_token=secret x", "access_token=*REDACTED* x"},
		{"the token of a page is none", "/x?page_token=abc", "/x?page_token=abc"},
		{"a header", "curl -H 'Authorization: Bearer secret' x", "curl -H 'Authorization: Bearer *REDACTED*' x"},
		{"a header without a scheme", "authorization=secret", "authorization=*REDACTED*"},
		{"Basic", "Authorization: Basic c2VjcmV0", "Authorization: Basic *REDACTED*"},
		{"a scheme alone", "Bearer abcdefghijklmnop", "Bearer *REDACTED*"},
		{"a JSON Web Token", "x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln y", "x eyJ*REDACTED* y"},
		{"a token of barback's", "bb_abcdefghijklmnopqrstuvwxyz", "bb_*REDACTED*"},
		{"a key of Amazon's", "AWS_SECRET_ACCESS_KEY=secret x", "AWS_SECRET_ACCESS_KEY=*REDACTED* x"},
		{"in its file", "aws_secret_access_key = secret", "aws_secret_access_key = *REDACTED*"},
		{"a key of Azure's", "AccountName=a;AccountKey=secret==", "AccountName=a;AccountKey=*REDACTED*"},
		{"a signature of Azure's", "https://h/c?sv=1&sig=secret", "https://h/c?sv=1&sig=*REDACTED*"},
		{"a key of Google's", "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY----- x", "-----BEGIN PRIVATE KEY-----*REDACTED* x"},
		{"half a key", "-----BEGIN RSA PRIVATE KEY-----\nsecret", "-----BEGIN RSA PRIVATE KEY-----*REDACTED*"},
		{"a command for a passphrase", "encryption_passphrase_command = echo secret\nx = y", "encryption_passphrase_command = *REDACTED*\nx = y"},
		{"the same in JSON", `{"encryption_passphrase_command":"echo secret","x":"y"}`, `{"encryption_passphrase_command":"*REDACTED*","x":"y"}`},
		{"an object of Python's", `{'password': 'se cret', 'x': 'y'}`, `{'password': *REDACTED* 'x': 'y'}`},
		{"an option", "x --db-password secret --y", "x --db-password *REDACTED* --y"},
		{"a user with a password", "curl -u me:secret h", "curl -u me:*REDACTED* h"},
		{"sshpass", "sshpass -p secret ssh h", "sshpass -p *REDACTED* ssh h"},
		{"a number", `{"password":12345,"n":12345}`, `{"n":12345,"password":"*REDACTED*"}`},
		{"a list", `{"token":["secret",["secret"]]}`, `{"token":["*REDACTED*",["*REDACTED*"]]}`},
		{"a server of that name", `{"password-db":{"x":"y"}}`, `{"password-db":{"x":"y"}}`},
		{"in the name of a member", `{"password=secret":"x"}`, `{"password=*REDACTED*":"*REDACTED*"}`},
		{"a pointer is none", "/password: a password has 8 characters", "/password: a password has 8 characters"},
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

// A warning quotes what stands in a configuration.
func TestWarningsAreShownWithoutPasswords(t *testing.T) {
	b := newBench(t, nil)
	op := b.ended(operation.Operation{Type: "recovery", Server: "pg-one", Result: operation.Result{BackupID: "x",
		Warnings: []string{"no pg_tblspc", "postgresql.auto.conf line 3: primary_conninfo = 'host=a password=topsecret'"}}}, operation.Succeeded, "")
	res := b.ask("GET", "/servers/pg-one/operations/"+string(op.ID), "")
	res.want(200, `"result":{"backup_id":"x","warnings":["no pg_tblspc","postgresql.auto.conf line 3: primary_conninfo = 'host=a password=*REDACTED*`)
	if strings.Contains(res.Body.String(), "topsecret") {
		t.Errorf("the operation tells the password: %s", res.Body)
	}
}

var barmanOrBearer = regexp.MustCompile(`(?i)bearer|barman`)

// Of an error that quotes what a client sent nothing is told behind the name of a secret.
func TestMaskMessage(t *testing.T) {
	for _, sent := range []string{`password='a b\'topsecret'`, `password="a b topsecret"`, "password=a\ttopsecret", `host=a 'password'= a\ topsecret`, "https://u:topsecret@h"} {
		said := maskMessage(fmt.Sprintf("%q is none of a, b", sent))
		if strings.Contains(said, "topsecret") || !strings.Contains(said, "REDACTED") {
			t.Errorf("the message with %s says %s", sent, said)
		}
	}
	if said := maskMessage("?page_size: \"x\" is not a number"); said != "?page_size: \"x\" is not a number" {
		t.Errorf("a message without a secret became %q", said)
	}
}

// What a terminal would obey does not reach it through a log.
func TestShown(t *testing.T) {
	if got, want := Shown("ä\u009b31m\x1b[2J\u202ex\x7f\xff\tpassword=x"), "ä\uFFFD31m\uFFFD[2J\uFFFDx\uFFFD\uFFFD\tpassword=*REDACTED*"; got != want {
		t.Errorf("Shown = %q, want %q", got, want)
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
		if !json.Valid([]byte(s)) && !strings.ContainsAny(s, "=:-_.") && !strings.Contains(s, "sshpass") && !barmanOrBearer.MatchString(s) && masked != s {
			t.Errorf("mask(%s) = %s, want it as it was", s, masked)
		}
	})
}

// What is not looked at for secrets holds none.
func FuzzHarmless(f *testing.F) {
	for _, s := range []string{"", "uid:33", "/servers/here:pg-one/operations", "::1", "-uann:secret", "--user:x:y", "authorization:x", "AuthoriZation:x", "paſsphrase_command:x",
		"passphrase_command:x", "a://u:p@h", "--password\tx", "sshpass\n-px", "PGPASSWORD:'x'", `"pass\u0077ord\u003dx"`, "secret=x", "eyJa.b", "token:x", "bearer abcdefghijklmnopqrst", "operation started", "a Barman abcdefghijklmnopqrst",
		"-----BEGIN PRIVATE KEY----- x", "sshpass -p x", "a -password b", "a\tb", "the main server"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !harmless(s) {
			return
		}
		for _, re := range secrets {
			if re().MatchString(s) {
				t.Errorf("%q is taken for harmless, but %v matches", s, re())
			}
		}
	})
}

func TestWhatIsHarmless(t *testing.T) {
	for s, want := range map[string]bool{"uid:33": true, "/servers/here:pg-one/operations": true, "fe80::1": true, "ann@example.org": true, "ann": true, "operation started": true, "a -password b": false, "--password\tx": false, `"a"`: false} {
		if got := harmless(s); got != want {
			t.Errorf("harmless(%q) = %v, want %v", s, got, want)
		}
	}
}
