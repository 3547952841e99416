package handler

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"barback/handler/auth"
	"barback/runner/barman"
	"barback/runner/operation"
)

// A web server can have a user called anonymous (mod_authn_anon makes one), and anybody a certificate of that name:
// nobody becomes known by it, and so nobody administers barback where anonymous may "*".
func TestAnonymousByName(t *testing.T) {
	b := newBench(t, nil)                                                                             // anonymous may "*"
	for _, header := range [][]string{nil, {"Authorization", basic("anonymous", "me@example.com")}} { // which Apache has looked at
		b.askAs("anonymous", "GET", "/users", "", header...).want(401, "")
		b.askAs("anonymous", "POST", "/users", `{"name":"evil","role":"admin"}`, header...).want(401, "")
		b.askAs("anonymous", "GET", "/audit", "", header...).want(401, "")
	}
	b.askAs("anonymous", "GET", "/tokens", "").want(401, "")
	b.askAs("anonymous", "GET", "/servers", "").want(200, "")
	b.askAs("anonymous", "GET", "/servers", "", "Authorization", basic("anonymous", "me@example.com")).want(200, "")
	if _, known, err := b.auth.Users.Find("evil"); known || err != nil {
		t.Errorf("the user evil is there: %v, %v", known, err)
	}
}

// The permission to one's own tokens is written tokens/self: it is not that to the tokens of a user called self.
func TestAUserCalledSelf(t *testing.T) {
	b := newBench(t, nil)
	b.addUser("self", auth.User{Role: "admin"})
	b.addUser("bob", auth.User{Role: "viewer"})
	b.token("self")
	bob := []string{"Authorization", basic("bob", password)}
	b.ask("POST", "/tokens", `{"user":"self"}`, bob...).want(403, "tokens/self")
	if list := b.ask("GET", "/tokens", "", bob...).json()["tokens"].([]any); len(list) != 0 {
		t.Errorf("bob sees the tokens %v, want none", list)
	}
	all, err := b.auth.Tokens.List("self")
	if err != nil || len(all) != 1 {
		t.Fatalf("self has the tokens %v, %v, want one", all, err)
	}
	b.ask("DELETE", "/tokens/"+all[0].ID, "", bob...).want(404, "")
	self := []string{"Authorization", basic("self", password)}
	b.ask("POST", "/tokens", `{}`, self...).want(201, `"user":"self"`)
	b.ask("DELETE", "/tokens/"+all[0].ID, "", self...).want(204, "")
}

// Nobody is told the ID of an operation that he may not see: not by the list of servers, and not by what is in the way of his own.
func TestHiddenOperationsStayHidden(t *testing.T) {
	b := newBench(t, nil)
	b.allow(map[string]auth.Lists{"ann": {Access: []string{"*"}}, "bob": {Access: []string{"*"}, Deny: []string{"servers/pg-two/operations", "servers/*/operations/backup"}}})
	recovery := `{"type":"recovery","backup_id":"latest","destination_directory":"/srv/one/secret","remote_ssh_command":"ssh postgres@db"}`
	kind, _ := barman.KindOf("recovery", false)
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(recovery), &members); err != nil {
		t.Fatal(err)
	}
	plan, err := b.cfg.Barman.Plan(kind, barman.Request{Type: "recovery", Server: "pg-one", Body: members})
	if err != nil {
		t.Fatal(err)
	}
	hidden, _ := b.operation(operation.Operation{Type: "recovery", Server: "pg-two", Request: []byte(recovery), Target: plan.Target})
	backup, _ := b.operation(operation.Operation{Type: "backup", Server: "pg-one"})
	b.askAs("ann", "GET", "/servers", "").want(200, string(backup.ID))
	inTheWay := strings.Replace(recovery, "/srv/one/secret", "/srv/one", 1)
	b.askAs("ann", "POST", "/servers/pg-one/operations", inTheWay).want(409, `"conflicting_operation":"`+string(hidden.ID))
	for _, res := range []*reply{
		b.askAs("bob", "GET", "/servers", ""),
		b.askAs("bob", "POST", "/servers/pg-one/operations", inTheWay),
		b.askAs("bob", "GET", "/operations?scope=all", ""),
		b.askAs("bob", "GET", "/operations?server=pg-two", ""),
	} {
		if body := res.Body.String(); strings.Contains(body, string(hidden.ID)) || strings.Contains(body, "secret") || strings.Contains(body, string(backup.ID)) {
			t.Errorf("%s tells bob of what he may not see: %s", res.name, body)
		}
	}
	b.askAs("bob", "POST", "/servers/pg-one/operations", inTheWay).want(409, "in the way")
}

// A slash that is written %2F is one to barback and, depending on its configuration, none to a web server that guards paths.
func TestEncodedSlashes(t *testing.T) {
	b := newBench(t, nil)
	for _, path := range []string{"/servers%2Fpg-one/operations", "/servers/pg-one%2foperations", "/%2Fservers", "/servers%2F", "/users%2Fann", "/servers/..%2Fusers"} {
		b.ask("GET", path, "").want(400, "bad-path")
	}
	b.ask("GET", "/servers/s%207/operations", "").want(200, "")
	b.ask("GET", "/servers/a%252Fb/operations", "").want(404, "a%2Fb") // a name like any other
}

// A process of the web server connects for whoever sends it a request. It has to be in the group that may connect, which
// says nothing of those people.
func TestTheProxyIsNoMemberOfItsGroups(t *testing.T) {
	b := newBench(t, nil)
	b.allow(map[string]auth.Lists{"ops": {Access: []string{"*"}}})
	ask := func(uid, gid uint32) *reply {
		r := httptest.NewRequest("GET", "/servers", nil)
		return b.serve(r.WithContext(auth.WithPeer(r.Context(), auth.Peer{UID: uid, GID: gid})))
	}
	b.auth.Proxy = "daemon" // uid 1, on every Linux
	b.auth.Peers = auth.Peers{"gid:4242": "ops"}
	ask(1, 4242).want(401, "")
	ask(4000, 4242).want(200, "")
	b.auth.Peers = auth.Peers{"user:daemon": "ops"}
	ask(1, 4242).want(200, "") // said in so many words
}

// Tokens of a name are those of whoever had it: a new user of that name does not inherit them, however the old one went.
func TestTokensAreNotInherited(t *testing.T) {
	for name, again := range map[string]func(*auth.Users) error{
		"added": func(u *auth.Users) error { return u.Add("cy", auth.User{Role: "admin"}) },
		"allowed": func(u *auth.Users) error {
			return u.Change("cy", func(u *auth.User) bool { u.Role = "admin"; return true })
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.addUser("cy", auth.User{Role: "viewer"})
			token := b.token("cy")
			b.ask("GET", "/servers", "", "Authorization", token).want(200, "")
			b.allow(map[string]auth.Lists{"ann": {Access: []string{"*"}}}) // somebody edits the file by hand
			b.ask("GET", "/servers", "", "Authorization", token).want(401, "")
			if err := again(b.auth.Users); err != nil {
				t.Fatal(err)
			}
			b.ask("GET", "/servers", "", "Authorization", token).want(401, "")
			if list, err := b.auth.Tokens.List("cy"); err != nil || len(list) != 0 {
				t.Errorf("cy has the tokens %v, %v, want none", list, err)
			}
		})
	}
}

// A key for an operation is its user's: with another's key, nobody gets at, or is told of, another's operation.
func TestAnothersIdempotencyKey(t *testing.T) {
	b := newBench(t, nil)
	b.allow(map[string]auth.Lists{"ann": {Access: []string{"*"}}, "bob": {Access: []string{"*"}}})
	body := `{"type":"backup","queue":true}`
	ids := map[string]bool{}
	for _, user := range []string{"ann", "bob", ""} {
		if user == "" {
			b.askAs(user, "POST", "/servers/pg-one/operations", body, "Idempotency-Key", "k").want(401, "")
			continue
		}
		res := b.askAs(user, "POST", "/servers/pg-one/operations", body, "Idempotency-Key", "k")
		res.want(202, `"requested_by":"`+user)
		ids[fmt.Sprint(res.json()["operation_id"])] = true
	}
	if len(ids) != 2 {
		t.Errorf("two users with one key have the operations %v, want one each", ids)
	}
}

// To try again is to ask again: with the rights and the policy of now, under the name of who asks.
func TestARetryIsARequestOfItsOwn(t *testing.T) {
	b := newBench(t, nil)
	b.allow(map[string]auth.Lists{"ann": {Access: []string{"*"}}, "bob": {Access: []string{"servers/pg-one/operations/backup", "GET *"}}})
	op := b.ended(operation.Operation{Type: "recovery", Server: "pg-one", RequestedBy: "ann",
		Request: []byte(`{"type":"backup","backup_id":"latest","destination_directory":"/srv/x","remote_ssh_command":"sh -c id"}`)}, operation.Failed, "x")
	one := "/servers/pg-one/operations/" + string(op.ID)
	b.askAs("bob", "POST", one+"/retry", "").want(403, "operations/recovery") // though its request says backup
	b.askAs("bob", "POST", one+"/cancel", "").want(403, "operations/recovery")
	b.askAs("bob", "DELETE", one, "").want(403, "operations/recovery")
	b.askAs("ann", "POST", one+"/retry", "").want(422, "remote_ssh_command") // accepted once, under another policy
	if n := b.start.started(); n != 0 {
		t.Errorf("%d operations were begun, want none", n)
	}
}

// What is wrong with users.toml is told in the log, and not to everybody: a parser names what it stumbled over.
func TestADamagedUsersFileTellsNothing(t *testing.T) {
	b := newBench(t, nil)
	for _, text := range []string{"[users.secret]\nrole = \"boss-secret\"\n", "[users.secret]\npassword = \"$argon2id$secret\"\n", "[users.secret\n", "[users.secret]\npassword = secret\n", "secret = 1\n"} {
		if err := os.WriteFile(b.auth.Users.Path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, header := range [][]string{nil, {"Authorization", basic("ann", password)}} {
			res := b.ask("GET", "/servers", "", header...)
			res.want(503, "log says why")
			if strings.Contains(res.Body.String(), "secret") || strings.Contains(res.Body.String(), b.dir) {
				t.Errorf("users.toml with %q: the answer tells of it: %s", text, res.Body)
			}
		}
		if !strings.Contains(b.log.text(), b.auth.Users.Path) {
			t.Errorf("users.toml with %q: the log does not say where it is: %s", text, b.log.text())
		}
	}
}
