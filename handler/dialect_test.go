package handler

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"barback/handler/auth"
	"barback/handler/barmanapi"
	"barback/runner/operation"
)

// helps are what a small Barman says of its commands, in argparse's form.
var helps = map[string]string{
	"main": `usage: barman [-h] [-c CONFIG] {backup,check,delete,list-server,list-servers,recover,restore,export-backup,newfangled} ...

positional arguments:
  {backup,check,delete,list-server,list-servers,recover,restore,export-backup,newfangled}
    backup              Make a backup
    check               Check servers
    delete              Delete a backup
    list-servers (list-server)
                        List the servers
    restore (recover)   Restore a server
    export-backup       Export a backup
    newfangled          Do something new

options:
  -h, --help            show this help message and exit
`,
	"backup": `usage: barman backup [-h] [--jobs NJOBS] [--immediate-checkpoint] [--odd ODD] server_name [server_name ...]

Make a backup

positional arguments:
  server_name           the servers

options:
  -h, --help            show this help message and exit
  --jobs NJOBS, -j NJOBS
                        run so many at once
  --immediate-checkpoint
                        do not wait
  --odd ODD             what no type of operation has
`,
	"check": `usage: barman check [-h] [--nagios] [--level {low,high}] server_name [server_name ...]

Check servers

positional arguments:
  server_name           the servers

options:
  -h, --help            show this help message and exit
  --nagios              for a monitor
  --level {low,high}    how much
`,
	"delete": `usage: barman delete [-h] server_name backup_id

Delete a backup

positional arguments:
  server_name           the server
  backup_id             the backup

options:
  -h, --help            show this help message and exit
`,
	"list-servers": `usage: barman list-servers [-h] [--minimal]

List the servers

options:
  -h, --help            show this help message and exit
  --minimal             machine readable
`,
	"restore": `usage: barman restore [-h] [--remote-ssh-command SSH] [--tablespace NAME:LOCATION] server_name backup_id destination_directory

Restore a server

positional arguments:
  server_name           the server
  backup_id             the backup
  destination_directory
                        where to

options:
  -h, --help            show this help message and exit
  --remote-ssh-command SSH
                        how to get there
  --tablespace NAME:LOCATION
                        where else to
`,
	"export-backup": `usage: barman export-backup [-h] server_name backup_id output_directory

Export a backup

positional arguments:
  server_name           the server
  backup_id             the backup
  output_directory      where to

options:
  -h, --help            show this help message and exit
`,
	"newfangled": `usage: barman newfangled [-h] server_name

Do something new

positional arguments:
  server_name           the server

options:
  -h, --help            show this help message and exit
`,
}

// talking is a Barman that says of itself what helps has, and prints its arguments, each in brackets.
const talking = `#!/bin/sh
dir=$(dirname "$0")
for last; do :; done
case "$*" in
--version) echo '3.20.1 Barman by EnterpriseDB (www.enterprisedb.com)' ;;
--help) cat "$dir/help/main.txt" ;;
*--help) cat "$dir/help/$1.txt" ;;
*)
	shift 2
	printf '[%s]' "$@"
	printf '\n\tpassword=sesame\n'
	case "$*" in *level=high*) echo 'out of order' >&2; exit 3 ;; *level=low*) exec sleep 60 ;; esac ;;
esac
`

// newDialect is a bench with such a Barman and an administrator.
func newDialect(t *testing.T, change func(*Config)) (b *bench, as []string) {
	t.Helper()
	b = newBench(t, func(c *Config) {
		c.Dialect = barmanapi.Config{TokenLifetime: time.Hour, Async: []string{"recover", "restore"}}
		c.Deadline = 20 * time.Second
		if change != nil {
			change(c)
		}
	})
	b.write("barman", talking)
	if err := os.Chmod(filepath.Join(b.dir, "barman"), 0o700); err != nil { // #nosec G302 -- a program
		t.Fatal(err)
	}
	for name, text := range helps {
		b.write("help/"+name+".txt", text)
	}
	b.addUser("root", auth.User{Role: "admin"})
	return b, []string{"Authorization", basic("root", password)}
}

// jwt logs in.
func (b *bench) jwt(user string) string {
	b.t.Helper()
	res := b.ask("GET", "/auth/token", "", "Authorization", basic(user, password))
	token, _ := res.json()["token"].(string)
	if res.Code != 200 || token == "" {
		b.t.Fatalf("/auth/token = %d %s", res.Code, res.Body)
	}
	return token
}

func TestDialectTokens(t *testing.T) {
	b, as := newDialect(t, nil)
	b.allow(map[string]auth.Lists{"ann": {Access: []string{"barman"}}})
	b.addUser("root", auth.User{Role: "admin"})
	b.addUser("eve", auth.User{Lists: auth.Lists{Access: []string{"*"}, Deny: []string{"auth/token"}}})
	token := b.jwt("root")
	for name, header := range map[string][]string{"Bearer": {"Authorization", "Bearer " + token}, "Barman": {"Authorization", "Barman " + token}, "barman": {"Authorization", "barman " + token}} {
		b.ask("GET", "/history/list", "", header...).wantWords(200, `"list":[]`)
		_ = name
	}
	b.ask("GET", "/history/list?token="+token, "").wantWords(200, `"list":[]`)
	b.ask("POST", "/history/list", form("token", token), "Content-Type", "application/x-www-form-urlencoded").wantWords(200, `"list":[]`)
	b.ask("POST", "/history/list", `{"token":"`+token+`"}`).wantWords(200, `"list":[]`)
	b.ask("GET", "/history/list", "", "Authorization", b.token("root")).wantWords(200, `"list":[]`) // one of barback's own
	b.ask("GET", "/history/list?token=x", "").wantWords(401, `{"status_code":401,"type":"Invalid Client Token","message":"Token is not valid"}`)
	b.ask("GET", "/history/list", "").wantWords(401, "Token is not valid")
	b.ask("GET", "/history/list?token="+token+"&token="+token, "").wantWords(401, "Token is not valid")
	b.ask("GET", "/auth/token", "", "Authorization", "Bearer "+token).wantWords(401, "Token is not valid")
	b.ask("GET", "/auth/token", "", "Authorization", b.token("root")).wantWords(403, "makes no tokens")
	b.ask("GET", "/auth/token", "").wantWords(401, "Unauthorized access")
	b.ask("GET", "/auth/token", "", "Authorization", basic("root", "guess")).wantWords(401, "Unauthorized access")
	b.ask("GET", "/auth/token", "", "Authorization", basic("eve", password)).wantWords(403, "You can not see this rest(auth/token)")
	b.ask("GET", "/auth/user", "", as...).wantWords(200, `"list":{"access":[],"deny":[],"role":"admin"}`)
	old, err := b.auth.SignJWT("root", "barmanapi", time.Second, time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	b.ask("GET", "/history/list?token="+old, "").wantWords(401, `{"status_code":401,"type":"Token time is up","message":"Time is up"}`)
	for _, path := range []string{"/servers", "/users", "/operations"} { // it is one of the dialect
		b.ask("GET", path, "", "Authorization", "Bearer "+token).want(401, "")
	}
	for _, text := range []string{token, "sesame", password} {
		if strings.Contains(b.log.text(), text) {
			t.Errorf("the log holds %q:\n%s", text, b.log.text())
		}
	}
}

// A token ends with all that its user has lost.
func TestDialectTokensEnd(t *testing.T) {
	for name, end := range map[string]struct {
		do     func(b *bench) error
		status int
	}{
		"the password is changed": {func(b *bench) error {
			return b.auth.Users.Update("bob", func(u *auth.User) { u.Password = auth.HashPassword("another one") })
		}, 401},
		"the user is removed": {func(b *bench) error { return b.auth.Remove("bob") }, 401},
		"the user is another one": {func(b *bench) error {
			if err := b.auth.Remove("bob"); err != nil {
				return err
			}
			return b.auth.Users.Add("bob", auth.User{Role: "admin"})
		}, 401},
		"it is denied": {func(b *bench) error {
			return b.auth.Users.Update("bob", func(u *auth.User) { u.Deny = []string{"history"} })
		}, 403},
		"the key is another one":       {func(b *bench) error { return b.auth.Keys.Rotate() }, 401},
		"the algorithm is another one": {func(b *bench) error { b.auth.Keys.Algorithm = "HS512"; return nil }, 401},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := newDialect(t, nil)
			b.addUser("bob", auth.User{Role: "admin"})
			token := b.jwt("bob")
			b.ask("GET", "/history/list?token="+token, "").want(200, "")
			if err := end.do(b); err != nil {
				t.Fatal(err)
			}
			b.ask("GET", "/history/list?token="+token, "").want(end.status, "")
		})
	}
}

func TestDialectUsers(t *testing.T) {
	b, as := newDialect(t, nil)
	add := func(method string, pairs ...string) *reply {
		if method == "GET" {
			return b.ask("GET", "/auth/user/add?"+form(pairs...), "", as...)
		}
		return b.ask("POST", "/auth/user/add", form(pairs...), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, as...)...)
	}
	add("GET", "username", "a", "password", password).wantWords(200, `"list":{"access":["auth","barman","config","history"],"deny":[]}`)
	add("POST", "username", "b", "password", password, "access", "['barman','auth/user/list']", "deny", "['barman/delete']").wantWords(200, `"list":{"access":["barman","auth/user/list"],"deny":["barman/delete"]}`)
	b.ask("POST", "/auth/user/add", `{"username":"c","password":"`+password+`","access":["history"],"deny":[]}`, as...).wantWords(200, `"access":["history"]`)
	add("GET", "username", "a", "password", password).wantWords(403, `"type":"Registered User"`)
	add("GET", "password", password).wantWords(404, `"message":"Parameter Not Found(username)"`)
	add("GET", "username", "d").wantWords(404, `"message":"Parameter Not Found(password)"`)
	for name, pairs := range map[string][]string{
		"a short password": {"username", "d", "password", "1258"}, "a misspelled parameter": {"username", "d", "password", password, "acces", "['x']"},
		"a list that is none": {"username", "d", "password", password, "access", "[barman]"}, "a list with code in it": {"username", "d", "password", password, "access", "['a' + 'b']"},
		"half a list": {"username", "d", "password", password, "access", "['barman'"}, "a pattern that is none": {"username", "d", "password", password, "deny", "['/barman']"},
		"a name that is none": {"username", "../d", "password", password}, "two names": {"username", "d", "username", "e", "password", password},
		"a password for anonymous": {"username", "anonymous", "password", password},
	} {
		if res := add("GET", pairs...); res.Code != 403 {
			t.Errorf("user/add with %s = %d %s, want 403", name, res.Code, res.Body)
		}
	}
	b.ask("GET", "/auth/user/change?"+form("username", "b", "deny", "[]"), "", as...).wantWords(200, `"list":{"access":["barman","auth/user/list"],"deny":[]}`)
	b.ask("GET", "/auth/user/change?"+form("username", "b", "access", "[]", "password", "a new password"), "", as...).wantWords(200, `"access":["auth","barman","config","history"]`)
	b.ask("GET", "/auth/user", "", "Authorization", basic("b", "a new password")).wantWords(200, `"access":["auth"`)
	b.ask("GET", "/auth/user/change?username=nope", "", as...).wantWords(403, `"message":"Username not found(nope)"`)
	b.ask("GET", "/auth/user/change", "", as...).wantWords(404, `Parameter Not Found(username)`)
	res := b.ask("GET", "/auth/user/list", "", as...)
	res.wantWords(200, `"c":{"access":["history"],"deny":[]}`)
	if strings.Contains(res.Body.String(), "argon2") {
		t.Errorf("the list of users holds hashes: %s", res.Body)
	}
	e := b.entries()[0]
	if e.Path != "/auth/user/change" || e.Result == "ok" {
		t.Errorf("the newest entry of the audit log is %+v, want the refused change", e)
	}
	if i := slices.IndexFunc(b.entries(), func(e auth.Entry) bool {
		return e.Path == "/auth/user/add" && e.Method == "GET" && e.Target == "a" && e.Result == "ok" && e.Identity == "root"
	}); i < 0 {
		t.Errorf("the audit log does not have the user that a GET added: %+v", b.entries())
	}
	// Entries stand for all that begins with them, and only those.
	u, _, err := b.auth.Users.Find("c")
	if rights := u.Rights(); err != nil || !rights.May("GET", "history/list") || rights.May("GET", "historical") {
		t.Errorf("history of c lets through %v, %v", u, err)
	}
}

// Whoever may change users gets no more by that than he has, neither himself nor by another.
func TestDialectNobodyRises(t *testing.T) {
	b, _ := newDialect(t, nil)
	b.addUser("clerk", auth.User{Lists: auth.Lists{Access: []string{"auth/user*", "barman"}, Deny: []string{"barman/delete"}}})
	b.addUser("strong", auth.User{Lists: auth.Lists{Access: []string{"*"}}})
	b.addUser("boss", auth.User{Role: "admin"})
	as := []string{"Authorization", basic("clerk", password)}
	for name, tc := range map[string]struct {
		path   string
		pairs  []string
		status int
	}{
		"himself, all":                {"change", []string{"username", "clerk", "access", "[]"}, 403},
		"himself, a star":             {"change", []string{"username", "clerk", "access", "['*']"}, 403},
		"himself, another name":       {"change", []string{"username", "clerk", "access", "['users']"}, 403},
		"himself, no deny":            {"change", []string{"username", "clerk", "deny", "[]"}, 403},
		"himself, a wider pattern":    {"change", []string{"username", "clerk", "access", "['bar']"}, 403},
		"himself, a class":            {"change", []string{"username", "clerk", "access", "['[a-z]arman']"}, 403},
		"himself, less":               {"change", []string{"username", "clerk", "access", "['auth/user','barman/list']"}, 200},
		"his password":                {"change", []string{"username", "clerk", "password", password}, 200},
		"the password of an admin":    {"change", []string{"username", "boss", "password", "a new password"}, 403},
		"the password of all access":  {"change", []string{"username", "strong", "password", "a new password"}, 403},
		"all access taken away":       {"change", []string{"username", "strong", "access", "['barman']", "deny", "['barman/delete']"}, 403},
		"a new user with everything":  {"add", []string{"username", "n1", "password", password}, 403},
		"a new user without his deny": {"add", []string{"username", "n2", "password", password, "access", "['barman']"}, 403},
		"a new user like him":         {"add", []string{"username", "n3", "password", password, "access", "['barman']", "deny", "['barman/delete']"}, 200},
	} {
		before := b.usersFile()
		res := b.ask("GET", "/auth/user/"+tc.path+"?"+form(tc.pairs...), "", as...)
		if res.Code != tc.status || (b.usersFile() == before) != (tc.status == 403) {
			t.Errorf("%s: %d %s, want %d", name, res.Code, res.Body, tc.status)
		}
		if err := os.WriteFile(b.auth.Users.Path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *bench) usersFile() string {
	b.t.Helper()
	text, err := os.ReadFile(b.auth.Users.Path)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

func TestDialectCommands(t *testing.T) {
	b, as := newDialect(t, nil)
	for _, path := range []string{"/barman/help", "/barman/reload"} {
		res := b.ask("GET", path, "", as...)
		res.wantWords(200, `"delete":{"description":"Delete a backup","required":["server_name","backup_id"],"optional":{}}`)
		res.wantWords(200, `"check":{"description":"Check servers","required":["server_name"],"optional":{"level":{"description":"how much","values":"low/high"},"nagios":{"description":"for a monitor","values":"TRUE/FALSE"}}}`)
		res.wantWords(200, `"list-server":{`)
	}
	b.ask("GET", "/barman/recover/help", "", as...).wantWords(200, `"required":["server_name","backup_id","destination_directory"]`)
	for _, path := range []string{"/barman", "/barman/nope", "/barman/nope/help", "/barman/check/nope", "/barman/check/help/x", "/barman/--help", "/barman/-c", "/auth", "/auth/nope", "/auth/user/nope", "/history", "/history/x", "/config"} {
		b.ask("GET", path, "", as...).wantWords(404, `{"message":"Api Not Found","type":404,"status_code":"Not Found"}`)
	}
	for _, tc := range []struct{ query, printed string }{
		{"list-servers", "[list-servers]"}, {"list-server?minimal=TRUE", "[list-servers][--minimal]"}, {"list-servers?minimal=FALSE", "[list-servers]"},
		{"check?server_name=pg-one", "[check][pg-one]"}, {"check?SERVERNAME=pg-one&NAGIOS=TRUE", "[check][--nagios][pg-one]"}, {"check?SERVER-NAME=pg-one&server_name=pg-two", ""},
		{"check?server_name=pg-one&server_name=pg-two", "[check][pg-one][pg-two]"}, {"check?server_name=all", "[check][all]"}, {"check?server_name=s+7", "[check][s 7]"},
	} {
		res := b.ask("GET", "/barman/"+tc.query, "", as...)
		if tc.printed == "" {
			res.wantWords(403, "Some parameters are invalid")
			continue
		}
		res.wantWords(200, `{"status_code":200,"message":"","list":["`+tc.printed+`","password=*REDACTED*"]}`)
	}
	b.ask("GET", "/barman/check?server_name=pg-one&level=high", "", as...).wantWords(200, `{"status_code":3,"message":"out of order","list":["[check][--level=high][pg-one]","password=*REDACTED*"]}`)
	if list, _, err := b.store.List(operation.Query{}); err != nil || len(list) != 0 {
		t.Errorf("commands that only look left operations: %v, %v", list, err)
	}
	for _, tc := range []struct {
		query  string
		status int
		words  string
	}{
		{"check", 401, "Please send a required parameter.(server_name)"}, {"check?server_name=", 401, "Please send a required parameter.(server_name)"},
		{"check?server_name=pg-one&x=1", 403, "Some parameters are invalid"}, {"check?server_name=pg-one&help=TRUE", 403, "Some parameters are invalid"},
		{"check?server_name=pg-one&config=/x", 403, "Some parameters are invalid"}, {"check?server_name=pg-one&level=odd", 403, "level must be one of low, high"},
		{"check?server_name=pg-one&nagios=1", 403, "nagios is TRUE or FALSE"}, {"check?server_name=--help", 400, "must not begin with a dash"}, {"check?server_name=a%0Ab", 400, "control characters"},
		{"check?server_name=nope", 404, "Server 'nope' does not exist"}, {"backup?server_name=all", 422, "one server at a time"}, {"backup?server_name=pg-one&server_name=pg-two", 422, "one server at a time"},
		{"backup?server_name=pg-one&odd=1", 422, "does not do backup with odd"}, {"backup?server_name=pg-one&jobs=-1", 400, "must not begin with a dash"}, {"backup?server_name=pg-one&jobs=x", 400, "whole number"},
		{"backup?server_name=pg-off", 409, "inactive"}, {"export-backup?server_name=pg-one&backup_id=latest&output_directory=/x", 422, "it writes where the client says"},
		{"newfangled?server_name=pg-one", 422, "does not know what it does"},
		{"restore?server_name=pg-one&backup_id=latest&destination_directory=/etc/../x", 400, "destination_directory"},
		{"restore?server_name=pg-one&backup_id=latest&destination_directory=/srv/x&remote_ssh_command=ssh+a%3Bid", 422, "remote_ssh_command"},
		{"restore?server_name=pg-one&backup_id=nope&destination_directory=/srv/x", 404, "nope"},
		{"restore?server_name=pg-one&backup_id=latest&destination_directory=/srv/x&tablespace=x", 403, "NAME:FOLDER"},
	} {
		b.ask("GET", "/barman/"+tc.query, "", as...).wantWords(tc.status, tc.words)
	}
	if n := b.start.started(); n != 0 {
		t.Errorf("refused commands started %d operations", n)
	}
	for _, method := range []string{"HEAD", "PUT", "DELETE"} {
		if res := b.ask(method, "/barman/backup?server_name=pg-one", "", as...); res.Code != 405 || b.start.started() != 0 {
			t.Errorf("%s of a command = %d, with %d operations, want 405", method, res.Code, b.start.started())
		}
	}
	b.ask("GET", "/barman/backup?server_name=pg-one", "", append([]string{"Sec-Fetch-Site", "cross-site"}, as...)...).wantWords(403, "another site")
}

// What a command is a type of operation for is one: with its checks, its record, its place among the others.
func TestDialectOperations(t *testing.T) {
	b, as := newDialect(t, func(c *Config) { c.Deadline = time.Millisecond; c.Dialect.Allowed = []string{"newfangled"} })
	for _, tc := range []struct {
		query, kind, server string
		command             []string
	}{
		{"recover?SERVERNAME=pg-one&backup_id=latest&destination_directory=/srv/x&overwrite=TRUE", "recovery", "pg-one", []string{"recover", "pg-one", "20260101T000000", "/srv/x"}},
		{"backup?server_name=pg-one&jobs=2&immediate_checkpoint=TRUE", "backup", "pg-one", []string{"backup", "--immediate-checkpoint", "--jobs=2", "pg-one"}},
		{"newfangled?server_name=pg-two", "command", "pg-two", []string{"newfangled", "pg-two"}},
		{"check?server_name=pg-two&level=low", "command", "pg-two", []string{"check", "--level=low", "pg-two"}}, // it is slow
	} {
		res := b.ask("GET", "/barman/"+tc.query, "", as...)
		res.wantWords(200, `"message":"For result /history/result?ticket=`)
		var body struct{ List struct{ Ticket string } }
		if err := json.Unmarshal(res.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		op, err := b.store.Load(operation.ID(body.List.Ticket))
		if err != nil || op.Type != tc.kind || op.Server != tc.server || op.RequestedBy != "root" || fmt.Sprint(op.Command[3:]) != fmt.Sprint(tc.command) {
			t.Errorf("%s is %+v (%v), want a %s of %s: %q", tc.query, op, err, tc.kind, tc.server, tc.command)
		}
		b.ask("GET", "/servers/"+tc.server+"/operations/"+body.List.Ticket, "", as...).want(200, `"requested_by":"root"`)
		result := "/history/result?ticket=" + body.List.Ticket
		b.ask("GET", result, "", as...).wantWords(200, `{"status_code":-99,"message":"Command not execute yet."}`)
		w, err := b.store.OutputWriter(op.ID)
		if err == nil {
			_, err = w.Write([]byte("one\n\ttwo password=sesame\n"))
			_ = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.store.Start(op.ID, ""); err != nil {
			t.Fatal(err)
		}
		code := 4
		if _, err := b.store.End(op.ID, operation.Failed, func(op *operation.Operation) {
			op.ExitCode, op.Error = &code, &operation.Failure{Title: "x", Detail: "it failed"}
		}); err != nil {
			t.Fatal(err)
		}
		want := `{"status_code":4,"message":"it failed","list":["one","two password=*REDACTED*"]}`
		b.ask("GET", result, "", as...).wantWords(200, want)
		b.ask("GET", "/history/list", "", as...).wantWords(200, `"command":"`+tc.command[0]+`","ticket":"`+body.List.Ticket+`","result":`+want)
	}
	month := time.Now().Format("200601")
	b.ask("GET", "/history/list?past="+month, "", as...).wantWords(200, `"command":"recover"`)
	b.ask("GET", "/history/list?past=199901", "", as...).wantWords(200, `"list":[]`)
	for _, past := range []string{"1999", "199913", "x", "2026-1", "../../x"} {
		b.ask("GET", "/history/list?"+form("past", past), "", as...).wantWords(403, "YYYYMM")
	}
	for _, ticket := range []string{"nope", "../x", "20260101T000000-aaaaaa"} {
		b.ask("GET", "/history/result?"+form("ticket", ticket), "", as...).wantWords(404, "There is no such ticket")
	}
	b.ask("GET", "/history/result", "", as...).wantWords(401, "Please send a required parameter.(ticket)")
}

// A ticket opens nothing to those who may not see the operation, and what is denied by a server's name or by one of a command's is denied here.
func TestDialectSecrets(t *testing.T) {
	b, _ := newDialect(t, nil)
	for name, lists := range map[string]auth.Lists{
		"mine":    {Access: []string{"barman", "history"}},
		"other":   {Access: []string{"barman", "history"}},
		"sees":    {Access: []string{"history", "servers"}},
		"noprod":  {Access: []string{"*"}, Deny: []string{"servers/pg-two"}},
		"norest":  {Access: []string{"*"}, Deny: []string{"barman/recover"}},
		"noback":  {Access: []string{"*"}, Deny: []string{"servers/*/operations/backup"}},
		"oldname": {Access: []string{"barman/list-server"}},
	} {
		b.addUser(name, auth.User{Lists: lists})
	}
	as := func(name string) []string { return []string{"Authorization", basic(name, password)} }
	op := b.ended(operation.Operation{Type: "backup", Server: "pg-one", RequestedBy: "mine"}, operation.Succeeded, "printed\n")
	for name, status := range map[string]int{"mine": 200, "sees": 200, "other": 404} {
		b.ask("GET", "/history/result?ticket="+string(op.ID), "", as(name)...).want(status, "")
		res := b.ask("GET", "/history/list", "", as(name)...)
		res.want(200, "")
		if seen := strings.Contains(res.Body.String(), string(op.ID)); seen != (status == 200) {
			t.Errorf("%s sees the operation in the list: %v", name, seen)
		}
	}
	for _, tc := range []struct {
		who, query string
		status     int
	}{
		{"noprod", "check?server_name=pg-one", 200}, {"noprod", "check?server_name=pg-two", 403}, {"noprod", "check?server_name=pg-one&server_name=pg-two", 403}, {"noprod", "check?server_name=all", 403},
		{"noprod", "backup?server_name=pg-two", 403}, {"noprod", "delete?server_name=pg-two&backup_id=x", 403},
		{"norest", "restore?server_name=pg-one&backup_id=latest&destination_directory=/srv/x", 403}, {"norest", "recover?server_name=pg-one&backup_id=latest&destination_directory=/srv/x", 403},
		{"noback", "backup?server_name=pg-one", 403}, {"noback", "check?server_name=pg-one", 200},
		{"oldname", "list-server", 200}, {"oldname", "list-servers", 200}, {"oldname", "check?server_name=pg-one", 403},
		{"other", "check?x=1", 403},
	} {
		b.ask("GET", "/barman/"+tc.query, "", as(tc.who)...).want(tc.status, "")
	}
}

// dialectAccess is who may do what, in the columns of access. A star marks what changes something.
var dialectAccess = []row{
	{"/auth/token", "---+++-"}, // by a password
	{"/auth/user", "--++++-"},
	{"/auth/user/list", "-----+-"},
	{"/auth/user/change?username=plain&deny=[]*", "-----+-"},
	{"/auth/user/add?username=new%d&password=long+enough*", "-----+-"},
	{"/barman/help", "-+-+++-"},
	{"/barman/reload", "-+-+++-"},
	{"/barman/list-servers", "-+-+++-"},
	{"/barman/check?server_name=pg-one", "-+-+++-"},
	{"/barman/check/help", "-+-+++-"},
	{"/barman/backup?server_name=pg-one*", "-+--++-"},
	{"/barman/delete?server_name=pg-one&backup_id=latest*", "-+---+-"},
	{"/history/list", "-+-+++-"},
	{"/history/result?ticket=TICKET", "-+-+++-"},
	{"/config/barman", "-----+-"},
	{"/config/barman/help", "-----+-"},
	{"/config/barman/reload", "-----+-"},
	{"/config/barman/change?pg-one.description=x%d*", "-----+-"},
	{"/config/barmanapi", "-----+-"},
	{"/config/barmanapi/change?barback.log_level=info*", "-----+-"},
}

func TestDialectAccess(t *testing.T) {
	b, _ := newDialect(t, func(c *Config) { c.OwnConfig, c.Deadline = &fakeOwn{}, 100*time.Millisecond })
	for _, route := range b.table() {
		_, path, _ := strings.Cut(route, " ")
		begins := strings.Split(path, ":")[0]
		if barmanapi.Owns(path) && !slices.ContainsFunc(dialectAccess, func(r row) bool { return strings.HasPrefix(r.what, begins) }) {
			t.Errorf("%s is not in the table: who may do that?", path)
		}
	}
	callers := b.callers()
	b.addUser("anonymous*", auth.User{})
	b.copies()
	op := b.ended(operation.Operation{Type: "backup", Server: "pg-one"}, operation.Succeeded, "printed\n")
	n := 0
	for _, row := range dialectAccess {
		target, changes := strings.CutSuffix(strings.Replace(row.what, "TICKET", string(op.ID), 1), "*")
		for _, c := range callers {
			for _, method := range []string{"GET", "POST"} {
				n++
				b.endAll()
				to := target
				if strings.Contains(to, "%d") {
					to = fmt.Sprintf(to, n)
				}
				r := httptest.NewRequest(method, to, nil)
				r.RemoteAddr = fmt.Sprintf("10.%d.%d.1:1", n/250, n%250)
				mark := row.who[c.column]
				if row.what == "/auth/token" && c.how == auth.ByToken {
					mark = '-'
				}
				before := b.audited()
				res := b.serve(c.send(r))
				want := map[bool]int{true: 200, false: 403}[mark == '+']
				if mark == '-' && c.as == auth.Anonymous {
					want = 401
				}
				skip := strings.HasPrefix(row.what, "/config") || strings.HasPrefix(row.what, "/barman/delete") // these tell what is wrong with the installation
				if res.Code != want && (!skip || mark != '+' || res.Code == 401 || res.Code == 403) {
					t.Errorf("%s: %s %s = %d %s, want %d", c.name, method, to, res.Code, res.Body, want)
				}
				if noted := b.audited() > before; !noted && (changes && mark == '+' || mark == '-' && c.column != nobody) {
					t.Errorf("%s: %s %s = %d is not in the audit log", c.name, method, to, res.Code)
				}
			}
		}
	}
}

// Fifty who change users at once lose nothing of each other.
func TestDialectUsersAtOnce(t *testing.T) {
	b, as := newDialect(t, nil)
	for i := range 50 {
		if err := b.auth.Users.Add(fmt.Sprint("u", i), auth.User{}); err != nil {
			t.Fatal(err)
		}
	}
	b.ask("GET", "/auth/user", "", as...).want(200, "") // the password is known from here on
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			b.ask("GET", "/auth/user/change?"+form("username", fmt.Sprint("u", i), "access", fmt.Sprintf("['barman/c%d']", i)), "", as...).want(200, "")
		})
	}
	all.Wait()
	res := b.ask("GET", "/auth/user/list", "", as...)
	for i := range 50 {
		res.wantWords(200, fmt.Sprintf(`"u%d":{"access":["barman/c%d"],"deny":[]}`, i, i))
	}
}
