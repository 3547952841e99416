package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Who a request comes from, by what its door says of it and what the client shows.
func TestIdentify(t *testing.T) {
	k := newKeeper(t)
	k.Peers = Peers{"uid:4242": "ann"}
	token, _ := k.Tokens.must(t, Token{User: "bob"})
	gone, _ := k.Tokens.must(t, Token{User: "gone"}) // of somebody who is not in users.toml
	old, _ := k.Tokens.must(t, Token{User: "bob", ExpiresAt: noon.Add(time.Second)})
	basic := func(user, password string) string {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	none := func(ctx context.Context) context.Context { return ctx }
	apache := func(ctx context.Context) context.Context { return NewContext(ctx, "cy") }
	ann := func(ctx context.Context) context.Context { return WithPeer(ctx, Peer{4242, 4242}) }
	stranger := func(ctx context.Context) context.Context { return WithPeer(ctx, Peer{0, 0}) }
	for _, tc := range []struct {
		name   string
		door   func(context.Context) context.Context
		header []string // values of Authorization
		want   Identity
		err    error
	}{
		{"nobody", none, nil, Identity{Anonymous, false, ByNobody}, nil},
		{"a password", none, []string{basic("ann", annsPassword)}, Identity{"ann", true, ByPassword}, nil},
		{"a password in other letters", none, []string{"bASIC " + strings.TrimPrefix(basic("ann", annsPassword), "Basic ")}, Identity{"ann", true, ByPassword}, nil},
		{"a wrong password", none, []string{basic("ann", "x")}, Identity{Anonymous, false, ByNobody}, ErrPassword},
		{"anonymous with a password", none, []string{basic("anonymous", "")}, Identity{Anonymous, false, ByNobody}, ErrPassword},
		{"no name", none, []string{basic("", annsPassword)}, Identity{Anonymous, false, ByNobody}, ErrPassword},
		{"a name that is a path", none, []string{basic("../ann", annsPassword)}, Identity{Anonymous, false, ByNobody}, ErrPassword},
		{"a password without end", none, []string{basic("ann", strings.Repeat("x", 20_000))}, Identity{Anonymous, false, ByNobody}, ErrPassword},
		{"Basic that is none", none, []string{"Basic !!"}, Identity{Anonymous, false, ByNobody}, ErrPassword},
		{"a token", none, []string{"Bearer " + token}, Identity{"bob", true, ByToken}, nil},
		{"a token in other letters", none, []string{"bearer  " + token}, Identity{"bob", true, ByToken}, nil},
		{"a token as a password", none, []string{basic("bob", token)}, Identity{Anonymous, false, ByNobody}, ErrPassword},
		{"a token that is none", none, []string{"Bearer x"}, Identity{Anonymous, false, ByNobody}, ErrToken},
		{"a token that has expired", none, []string{"Bearer " + old}, Identity{Anonymous, false, ByNobody}, ErrToken},
		{"a token of nobody", none, []string{"Bearer " + gone}, Identity{Anonymous, false, ByNobody}, ErrToken},
		{"no token", none, []string{"Bearer"}, Identity{Anonymous, false, ByNobody}, ErrToken},
		{"another scheme", none, []string{"Digest " + token}, Identity{Anonymous, false, ByNobody}, ErrScheme},
		{"an empty header", none, []string{""}, Identity{Anonymous, false, ByNobody}, ErrScheme},
		{"two headers", none, []string{"Bearer " + token, basic("ann", annsPassword)}, Identity{Anonymous, false, ByNobody}, ErrScheme},
		{"Apache", apache, nil, Identity{"cy", true, ByApache}, nil},
		{"Apache, which has looked at the password", apache, []string{basic("cy", "x")}, Identity{"cy", true, ByApache}, nil},
		{"Apache, which has looked at another's token", apache, []string{"Bearer eyJ"}, Identity{"cy", true, ByApache}, nil},
		{"Apache and our token", apache, []string{"Bearer " + token}, Identity{"bob", true, ByToken}, nil},
		{"Apache and our token that is revoked", apache, []string{"Bearer " + old}, Identity{Anonymous, false, ByNobody}, ErrToken},
		{"a local user", ann, nil, Identity{"ann", true, ByPeer}, nil},
		{"a local user with another's password", ann, []string{basic("bob", annsPassword)}, Identity{"bob", true, ByPassword}, nil},
		{"a local user with a wrong token", ann, []string{"Bearer x"}, Identity{Anonymous, false, ByNobody}, ErrToken},
		{"root, whom nobody mapped", stranger, nil, Identity{Anonymous, false, ByNobody}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/servers", nil)
			r = r.WithContext(tc.door(r.Context()))
			if tc.header != nil {
				r.Header["Authorization"] = tc.header
			}
			id, rights, err := k.Identify(r, noon.Add(time.Minute))
			if id != tc.want || !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) {
				t.Errorf("Identify = %+v, %v, want %+v, %v", id, err, tc.want, tc.err)
			}
			if want := tc.want.Name == "ann" || tc.want.Name == "bob"; rights.May("GET", "servers") != want {
				t.Errorf("%+v may GET servers: %v, want %v", id, !want, want)
			}
		})
	}
}

// No header but Authorization says anything about who asks, however it is spelled.
func TestHeadersForgeNobody(t *testing.T) {
	k := newKeeper(t)
	k.Peers = Peers{"uid:0": "ann"}
	for _, name := range []string{"Remote-User", "REMOTE_USER", "Remote_User", "remote_user", "X-Remote-User", "X-Forwarded-User", "X-Forwarded-Email", "X-Auth-Request-User", "Http-Remote-User", "HTTP_REMOTE_USER",
		"Redirect-Remote-User", "REDIRECT_REMOTE_USER", "Auth-Type", "AUTH_TYPE", "Proxy-Authorization", "X-Authorization", "Http-Authorization", "HTTP_AUTHORIZATION", "Www-Authenticate", "Cookie", "X-Api-Key", "Token", "X-Token",
		"X-SSL-Client-S-DN", "SSL_CLIENT_S_DN_CN", "SSL_CLIENT_VERIFY", "X-Client-Cert", "X-Peer-Uid", "Peer", "Uid", "X-Uid", "X-User", "User", "From", "X-Webauth-User", "X-Barback-User", "Identity"} {
		for _, value := range []string{"ann", "0", "uid:0", "Basic YW5uOmNvcnJlY3QgaG9yc2U=", "user=ann"} {
			r := httptest.NewRequest("GET", "/servers", nil)
			r.Header[name] = []string{value}
			if id, rights, err := k.Identify(r, noon); id.Known || rights.May("GET", "servers") || err != nil {
				t.Errorf("with %s: %s the request comes from %+v, %v, want anonymous", name, value, id, err)
			}
		}
	}
}

func TestPeers(t *testing.T) {
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid()) // #nosec G115 -- ids
	me := Peer{uid, gid}
	u := strconv.Itoa(os.Getuid())
	for _, tc := range []struct {
		name  string
		peers Peers
		peer  Peer
		want  string
	}{
		{"nobody is mapped", nil, me, ""}, {"root is nobody by default", nil, Peer{}, ""},
		{"by number", Peers{"uid:" + u: "ann"}, me, "ann"}, {"another number", Peers{"uid:" + u + "1": "ann"}, me, ""},
		{"root by name", Peers{"user:root": "ann"}, Peer{0, 0}, "ann"}, {"not root", Peers{"user:root": "ann", "uid:0": "ann"}, Peer{4242, 0}, ""},
		{"by group number", Peers{"gid:4242": "ann"}, Peer{1_000_000, 4242}, "ann"}, {"a user's number is no group's", Peers{"gid:4242": "ann", "group:4242": "ann"}, Peer{4242, 4243}, ""},
		{"by group name", Peers{"group:root": "ann"}, Peer{1_000_000, 0}, "ann"},
		{"a user comes before a group", Peers{"group:root": "group", "uid:4242": "user"}, Peer{4242, 0}, "user"},
		{"a name comes before a number", Peers{"uid:0": "number", "user:root": "name"}, Peer{0, 0}, "name"},
	} {
		if got, ok := tc.peers.identity(tc.peer, ""); got != tc.want || ok != (tc.want != "") {
			t.Errorf("%s: %v are %q, want %q", tc.name, tc.peer, got, tc.want)
		}
	}
	for key, name := range map[string]string{"root": "ann", "user:": "ann", "uid:x": "ann", "uid:-1": "ann", "uid:4294967296": "ann", "gid:": "ann", "USER:root": "ann", "user:root": "", "user:a": "../x", "user:b": "anonymous", "": "ann"} {
		if err := (Peers{key: name}).Check(); err == nil {
			t.Errorf("Check of %q = %q is nil, want it refused", key, name)
		}
	}
	if err := (Peers{"user:root": "root", "uid:0": "r", "group:dba": "dba", "gid:4294967295": "x"}).Check(); err != nil {
		t.Errorf("Check of a good mapping = %v, want no error", err)
	}
}

func TestRemote(t *testing.T) {
	for address, want := range map[string]string{"192.0.2.1:80": "192.0.2.1", "[2001:db8::1]:80": "2001:db8::1", "@": "@", "": "", "192.0.2.1": "192.0.2.1"} {
		if got := Remote(&http.Request{RemoteAddr: address}); got != want {
			t.Errorf("Remote of %q = %q, want %q", address, got, want)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	if got := Remote(r.WithContext(WithPeer(r.Context(), Peer{33, 33}))); got != "uid:33" {
		t.Errorf("Remote of a Unix socket = %q, want uid:33", got)
	}
}

// The rights of each role, over the names that there are.
func TestRoles(t *testing.T) {
	const looks, starts, all = "viewer operator admin", "operator admin", "admin"
	for _, tc := range []struct{ method, name, who string }{
		{"GET", "servers", looks}, {"HEAD", "servers/pg-one/operations/backup", looks}, {"GET", "operations/config_update", looks}, {"GET", "version", looks}, {"GET", "status/deep", looks}, {"GET", "diagnose", looks}, {"GET", "metrics", looks},
		{"POST", "servers/pg-one/operations/backup", starts}, {"POST", "servers/pg-one/operations/recovery", starts}, {"POST", "servers/pg-one/operations", starts}, {"POST", "operations/cron", starts},
		{"POST", "operations/config_update", all}, {"DELETE", "servers/pg-one/operations/backup", all}, {"DELETE", "operations/cron", all},
		{"GET", "users", all}, {"POST", "users", all}, {"GET", "users/ann", all}, {"DELETE", "users/ann", all}, {"GET", "tokens/ann", all}, {"POST", "tokens/ann", all}, {"DELETE", "tokens/ann", all}, {"GET", "audit", all},
		{"GET", "barman/list-backups", looks}, {"GET", "history/list", looks}, {"POST", "barman/backup", starts}, {"POST", "barman/recover", starts},
		{"POST", "barman/delete", all}, {"POST", "barman/config-update", all}, {"GET", "config/barman", all}, {"POST", "config/barman/change", all}, {"GET", "auth/user/list", all}, {"POST", "auth/user/add", all},
	} {
		for role := range Roles {
			r := (&User{Role: role}).Rights()
			r.known = true
			if !r.MaySelf("POST") || !r.MaySelf("GET") {
				t.Errorf("a %s may not make and see tokens of its own", role)
			}
			if want := strings.Contains(tc.who, role); r.May(tc.method, tc.name) != want {
				t.Errorf("a %s may %s %s: %v, want %v", role, tc.method, tc.name, !want, want)
			}
		}
	}
	added := (&User{Role: "viewer", Lists: Lists{Access: []string{"GET audit", "POST servers/pg-one"}, Deny: []string{"servers/pg-two", "POST tokens"}}}).Rights()
	added.known = true
	for _, tc := range []struct {
		method, name string
		want         bool
	}{
		{"GET", "audit", true}, {"POST", "servers/pg-one/operations/backup", true}, {"GET", "servers/pg-two", false}, {"GET", "servers/pg-one", true}, {"GET", "users", false},
	} {
		if got := added.May(tc.method, tc.name); got != tc.want {
			t.Errorf("a viewer with lists of its own may %s %s: %v, want %v", tc.method, tc.name, got, tc.want)
		}
	}
	if !added.MaySelf("GET") || added.MaySelf("POST") {
		t.Error("a viewer who is denied POST tokens may POST them, or GET none")
	}
	if err := CheckRole("root"); err == nil || !strings.Contains(err.Error(), "admin, operator, viewer") {
		t.Errorf("CheckRole(root) = %v, want the roles that there are", err)
	}
}

// Whatever anonymous is allowed, barback's own keys are not among it.
func TestAnonymousAdministersNothing(t *testing.T) {
	r := (&User{Role: "admin", Lists: Lists{Access: []string{"*", "users", "tokens", "audit"}}}).Rights()
	for _, name := range []string{"users", "users/ann", "tokens", "tokens/self", "tokens/ann", "audit"} {
		if r.May("GET", name) || r.May("POST", name) {
			t.Errorf("anonymous may do %s", name)
		}
	}
	if r.MaySelf("GET") {
		t.Error("anonymous may have tokens")
	}
	if !r.May("POST", "servers/pg-one/operations/backup") {
		t.Error("anonymous may not do what it was allowed")
	}
}

// A scope takes rights away and never gives any, whatever both say.
func FuzzScope(f *testing.F) {
	for _, s := range [][5]string{{"servers/*", "GET *", "GET", "servers/pg-one", "viewer"}, {"*", "POST servers", "POST", "servers/x/operations/backup", ""}, {"users", "*", "POST", "users", "operator"}, {"*", "tokens", "GET", "tokens/self", "admin"}} {
		f.Add(s[0], s[1], s[2], s[3], s[4])
	}
	f.Fuzz(func(t *testing.T, access, scope, method, name, role string) {
		user := User{Role: role, Lists: Lists{Access: []string{access}}}
		whole := user.Rights()
		whole.known = true
		part := whole
		part.scope = []string{scope}
		none := whole
		none.scope = []string{}
		if got, want := part.May(method, name), whole.May(method, name) && covers(scope, method, name); got != want {
			t.Errorf("with access to %q as %q, scope %q lets %s %q: %v, want %v", access, role, scope, method, name, got, want)
		}
		if none.May(method, name) {
			t.Errorf("an empty scope lets %s %q", method, name)
		}
		denied := user
		denied.Deny = []string{"*"}
		if rights := denied.Rights(); rights.May(method, name) {
			t.Errorf("who is denied all may %s %q", method, name)
		}
	})
}

func TestUsersWithPasswordsAndRoles(t *testing.T) {
	hash := HashPassword("correct horse")
	for name, content := range map[string]string{
		"a plain password":         "[users.ann]\npassword = \"secret\"\n",
		"a role that is not there": "[users.ann]\nrole = \"root\"\n",
		"anonymous with one":       "[users.anonymous]\npassword = \"" + hash + "\"\n",
	} {
		u := usersIn(t, content)
		if _, _, err := u.Find("ann"); err == nil || !strings.Contains(err.Error(), "user an") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want an error that names the user and no secret", name, err)
		}
	}
	u := usersIn(t, "")
	if err := u.Add("ann", User{Password: "x"}); err == nil {
		t.Error("Add of what could not be read again = nil, want an error")
	}
	if err := u.Add("ann", User{Password: hash, Role: "viewer", Lists: Lists{Access: []string{"audit"}}}); err != nil {
		t.Fatal(err)
	}
	if err := u.Add("ann", User{}); !errors.Is(err, ErrUserExists) {
		t.Errorf("Add of somebody who is there = %v, want %v", err, ErrUserExists)
	}
	if err := u.Update("bob", func(*User) {}); !errors.Is(err, ErrNoUser) {
		t.Errorf("Update of nobody = %v, want %v", err, ErrNoUser)
	}
	if got, known, err := (&Users{Path: u.Path}).Find("ann"); err != nil || !known || got.Password != hash || got.Role != "viewer" || len(got.Access) != 1 {
		t.Errorf("Find = %+v, %v, %v, want what was added", got, known, err)
	}
}

// What one process changes, others see at their next request, however soon it comes.
func TestChangesAreSeenAtOnce(t *testing.T) {
	u := usersIn(t, "")
	reader := &Users{Path: u.Path}
	for n := range 50 {
		want := []string{"a" + strconv.Itoa(n%10)}
		if err := u.Change("ann", func(user *User) bool { user.Access = want; return true }); err != nil {
			t.Fatal(err)
		}
		if got, _, err := reader.Find("ann"); err != nil || got.Access[0] != want[0] {
			t.Fatalf("after change %d another process reads %v, %v, want %v", n, got.Access, err, want)
		}
	}
	st, err := os.Stat(u.Path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(u.Path)
	if err != nil {
		t.Fatal(err)
	}
	// In the same moment, of the same size, as a coarse clock has it.
	if err := os.WriteFile(u.Path, bytes.Replace(text, []byte("a9"), []byte("b9"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(u.Path, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
	if got, _, err := reader.Find("ann"); err != nil || got.Access[0] != "b9" {
		t.Errorf("after a change in the same moment another process reads %v, %v, want b9", got.Access, err)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(u.Path, past, past); err != nil {
		t.Fatal(err)
	}
	if _, _, err := reader.Find("ann"); err != nil { // from now on it is remembered
		t.Fatal(err)
	}
	if err := u.Change("ann", func(*User) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if _, known, err := reader.Find("ann"); known || err != nil {
		t.Errorf("after the removal another process finds ann: %v, %v", known, err)
	}
}

func TestCanLogIn(t *testing.T) {
	k := New(t.TempDir(), Peers{"uid:0": "carl", "uid:1": "nobody"})
	want := func(n int) {
		t.Helper()
		if got, err := k.CanLogIn(); got != n || err != nil {
			t.Errorf("CanLogIn = %d, %v, want %d", got, err, n)
		}
	}
	want(0)
	for _, name := range []string{"ann", "bob", "carl", Anonymous} {
		if err := k.Users.Add(name, User{}); err != nil {
			t.Fatal(err)
		}
	}
	want(1)
	k.Tokens.must(t, Token{User: "bob"})
	want(2)
	if err := k.Users.Update("ann", func(u *User) { u.Password = HashPassword("correct horse") }); err != nil {
		t.Fatal(err)
	}
	want(3)
	if err := k.Remove("bob"); err != nil {
		t.Fatal(err)
	}
	want(2)
	if err := k.Remove("bob"); !errors.Is(err, ErrNoUser) {
		t.Errorf("Remove again = %v, want %v", err, ErrNoUser)
	}
	if list, err := k.Tokens.List("bob"); err != nil || len(list) != 0 {
		t.Errorf("the tokens of a removed user are %v, %v, want none", list, err)
	}
}

// What a request costs before it is looked at.
func BenchmarkIdentify(b *testing.B) {
	k := newKeeper(b)
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(k.Users.Path, past, past); err != nil {
		b.Fatal(err)
	}
	token, _ := k.Tokens.must(b, Token{User: "ann"})
	r := httptest.NewRequest("GET", "/servers", nil)
	for name, header := range map[string]string{"token": "Bearer " + token, "password": "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:"+annsPassword)), "anonymous": ""} {
		b.Run(name, func(b *testing.B) {
			r.Header.Del("Authorization")
			if header != "" {
				r.Header.Set("Authorization", header)
			}
			for b.Loop() {
				if _, _, err := k.Identify(r, noon.Add(time.Hour)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
