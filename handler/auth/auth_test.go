package auth

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestIdentity(t *testing.T) {
	if got := FromContext(t.Context()); got != (Identity{Name: Anonymous, How: ByNobody}) {
		t.Errorf("the identity of a request that nobody vouches for = %+v, want anonymous", got)
	}
	if got := FromContext(NewContext(t.Context(), "")); got != (Identity{Name: Anonymous, How: ByNobody}) {
		t.Errorf("the identity of an empty name = %+v, want anonymous", got)
	}
	if got := FromContext(NewContext(t.Context(), "ann")); got != (Identity{Name: "ann", Known: true, How: ByApache}) {
		t.Errorf("the identity that a door vouches for = %+v, want ann, known", got)
	}
}

func TestPatterns(t *testing.T) {
	for _, tc := range []struct {
		pattern, method, name string
		want                  bool
	}{
		{"servers", "GET", "servers", true},
		{"servers", "GET", "servers/pg-one/operations/recovery", true}, // what lies below
		{"servers", "GET", "serversx", false},
		{"server", "GET", "servers", false},
		{"servers/pg-one", "GET", "servers", false}, // what lies above
		{"servers/pg-one", "POST", "servers/pg-one/operations", true},
		{"servers/pg-one", "POST", "servers/pg-one2/operations", false},
		{"servers/pg-one", "POST", "servers/pg-two", false},
		{"*", "POST", "servers/pg-one/operations/recovery", true},
		{"*", "GET", "", true},
		{"servers/*", "GET", "servers", false},
		{"servers/*/operations", "POST", "servers/pg-one/operations/backup", true},
		{"servers/*/operations", "POST", "servers/pg-one", false},
		{"servers/*", "GET", "servers/a/b/c", true}, // * crosses slashes
		{"*/recovery", "POST", "servers/pg-one/operations/recovery", true},
		{"*recovery", "POST", "servers/pg-one/operations/recovery", true},
		{"s*y", "POST", "servers/pg-one/operations/recovery", true},
		{"servers/pg-?", "GET", "servers/pg-1", true},
		{"servers/pg-?", "GET", "servers/pg-12", false},
		{"servers?pg-1", "GET", "servers/pg-1", true}, // as in fnmatch without FNM_PATHNAME
		{"servers/pg-[12]", "GET", "servers/pg-1", true},
		{"servers/pg-[12]", "GET", "servers/pg-3", false},
		{"servers/pg-[!12]", "GET", "servers/pg-3", true},
		{"servers/pg-[!12]", "GET", "servers/pg-1", false},
		{"servers/pg-[^12]", "GET", "servers/pg-3", true},
		{"servers/pg-[a-c]", "GET", "servers/pg-b", true},
		{"servers/größe", "GET", "servers/größe", true},
		{"servers/gr?ße", "GET", "servers/größe", true},
		{"Servers", "GET", "servers", false},
		{"", "GET", "servers", false},
		{"GET servers", "GET", "servers/x", true},
		{"GET servers", "POST", "servers/x", false},
		{"GET servers", "HEAD", "servers/x", true}, // HEAD needs what GET needs
		{"POST servers", "HEAD", "servers/x", false},
		{"servers", "HEAD", "servers/x", true},
		{"get servers", "GET", "servers", true},
		{"DELETE *", "DELETE", "operations/backup", true},
		{"DELETE *", "GET", "operations/backup", false},
		{"POST   servers", "POST", "servers", true},
		{"[", "GET", "[", false}, // a broken pattern covers nothing
		{"servers/[", "GET", "servers", false},
	} {
		lists := Lists{Access: []string{"nothing", tc.pattern}}
		if got := lists.May(tc.method, tc.name); got != tc.want {
			t.Errorf("with access to %q, May(%s, %q) = %v, want %v", tc.pattern, tc.method, tc.name, got, tc.want)
		}
		deny := Lists{Access: []string{"*"}, Deny: []string{"nothing", tc.pattern}}
		if got := deny.May(tc.method, tc.name); got == tc.want {
			t.Errorf("with %q denied, May(%s, %q) = %v, want %v", tc.pattern, tc.method, tc.name, got, !tc.want)
		}
	}
}

func TestDenyWins(t *testing.T) {
	l := Lists{Access: []string{"servers/pg-one", "servers/pg-one/operations/recovery"}, Deny: []string{"POST servers/*/operations/recovery"}}
	for _, tc := range []struct {
		method, name string
		want         bool
	}{
		{"POST", "servers/pg-one/operations/recovery", false},
		{"GET", "servers/pg-one/operations/recovery", true},
		{"POST", "servers/pg-one/operations/backup", true},
		{"GET", "servers/pg-one", true},
		{"GET", "servers", false},
	} {
		if got := l.May(tc.method, tc.name); got != tc.want {
			t.Errorf("May(%s, %q) = %v, want %v", tc.method, tc.name, got, tc.want)
		}
	}
	if (Lists{}).May("GET", "servers") || (Lists{Deny: []string{"x"}}).May("GET", "servers") {
		t.Error("who has no access list may something, want nothing")
	}
}

func TestCheckPattern(t *testing.T) {
	for _, p := range []string{"*", "servers", "servers/pg-one/operations/recovery", "GET servers", "post servers/*", "DELETE *", "servers/[!a]x", "servers/[^a]x", "a/[b-d]/?", `a\*`} {
		if err := CheckPattern(p); err != nil {
			t.Errorf("CheckPattern(%q) = %v, want no error", p, err)
		}
	}
	for _, tc := range []struct{ pattern, says string }{
		{"", "slash"}, {"GET ", "slash"}, {"/servers", "slash"}, {"servers/", "slash"}, {"GET /servers", "slash"},
		{"HEAD servers", "HEAD is not a method"}, {"PATCH servers", "PATCH is not a method"}, {"servers pg-one", "SERVERS is not a method"},
		{"servers/[", "syntax"}, {"servers/[]", "syntax"}, {"servers/[a", "syntax"}, {`servers\`, "syntax"}, {"[!", "syntax"}, {"a/[b-]", "syntax"},
	} {
		if err := CheckPattern(tc.pattern); err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), fmt.Sprintf("%q", tc.pattern)) {
			t.Errorf("CheckPattern(%q) = %v, want it refused with %q", tc.pattern, err, tc.says)
		}
	}
}

func TestValidName(t *testing.T) {
	for _, name := range []string{"ann", "anonymous", "größe", "a@b.example", "CN=ann, O=Example", "a_b-c+d", "7", strings.Repeat("é", 255)} {
		if !ValidName(name) {
			t.Errorf("ValidName(%q) = false, want true", name)
		}
	}
	for _, name := range []string{"", " ann", "-x", ".x", "a/b", "a\nb", "a\n", "a\x00", "a*", "a:b", "a\"b", strings.Repeat("x", 256), strings.Repeat("é", 256), "a\xff"} {
		if ValidName(name) {
			t.Errorf("ValidName(%q) = true, want false", name)
		}
	}
}

func usersIn(t testing.TB, content string) *Users {
	t.Helper()
	u := &Users{Path: filepath.Join(t.TempDir(), "users.toml")}
	if content != "" {
		if err := os.WriteFile(u.Path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return u
}

func TestUsers(t *testing.T) {
	u := usersIn(t, "[users.anonymous]\naccess = [\"GET servers\"]\n[users.\"CN=ann, O=x\"]\naccess = [\"*\"]\ndeny = [\"DELETE *\"]\n[users.empty]\n")
	for _, tc := range []struct {
		name  string
		want  Lists
		known bool
	}{
		{Anonymous, Lists{Access: []string{"GET servers"}}, true},
		{"CN=ann, O=x", Lists{Access: []string{"*"}, Deny: []string{"DELETE *"}}, true},
		{"empty", Lists{}, true},
		{"nobody", Lists{}, false},
		{"", Lists{}, false},
	} {
		if got, known, err := u.Find(tc.name); err != nil || known != tc.known || !reflect.DeepEqual(got.Lists, tc.want) {
			t.Errorf("Find(%q) = %+v, %v, %v, want %+v, %v", tc.name, got, known, err, tc.want, tc.known)
		}
	}
}

func TestUsersThatAreMissingMayNothing(t *testing.T) {
	u := usersIn(t, "")
	for _, name := range []string{Anonymous, "ann"} {
		if got, known, err := u.Find(name); err != nil || known || !reflect.DeepEqual(got, User{}) {
			t.Errorf("Find(%s) without users.toml = %+v, %v, want nothing", name, got, err)
		}
	}
	if all, err := u.All(); err != nil || len(all) != 0 {
		t.Errorf("All without users.toml = %v, %v, want nobody", all, err)
	}
}

func TestUsersThatCannotBeRead(t *testing.T) {
	for _, tc := range []struct{ name, content, says string }{
		{"not TOML", "[users", "users.toml"},
		{"an unknown table", "[people.ann]\naccess = []\n", "unknown key people"},
		{"an unknown key", "[users.ann]\nallow = [\"*\"]\n", "unknown key users.ann.allow"},
		{"a misspelled list", "[users.ann]\nAccess = [\"*\"]\nacess = []\n", "unknown key"},
		{"a word for a list", "[users.ann]\naccess = \"*\"\n", "users.toml"},
		{"a number in a list", "[users.ann]\naccess = [1]\n", "users.toml"},
		{"a pattern that is broken", "[users.ann]\naccess = [\"servers/[\"]\n", "user ann"},
		{"a denied pattern that is broken", "[users.ann]\naccess = [\"*\"]\ndeny = [\"/servers\"]\n", "user ann"},
		{"half a file", "[users.ann]\naccess = [\"*", "users.toml"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := usersIn(t, tc.content)
			l, _, err := u.Find("ann")
			if err == nil || !strings.Contains(err.Error(), tc.says) || !reflect.DeepEqual(l, User{}) {
				t.Errorf("Find = %+v, %v, want nothing, and an error with %q", l, err, tc.says)
			}
			if err := u.Change("bob", func(*User) bool { return true }); err == nil {
				t.Error("Change of a file that cannot be read = nil, want an error: it would lose the others")
			}
			if got, _ := os.ReadFile(u.Path); string(got) != tc.content {
				t.Errorf("users.toml is now %q, want it untouched", got)
			}
		})
	}
	t.Run("a folder", func(t *testing.T) {
		u := &Users{Path: t.TempDir()}
		if _, _, err := u.Find("ann"); err == nil {
			t.Error("Find in a folder = nil, want an error")
		}
	})
}

func TestChange(t *testing.T) {
	u := usersIn(t, "")
	allow := func(name string, patterns ...string) {
		t.Helper()
		if err := u.Change(name, func(l *User) bool { l.Access = append(l.Access, patterns...); return true }); err != nil {
			t.Fatal(err)
		}
	}
	allow("ann", "*")
	allow("CN=bob, O=\"x\"", "GET servers")
	allow("ann", "servers")
	st, err := os.Stat(u.Path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != 0o600 {
		t.Errorf("the mode of users.toml = %v, want -rw-------", st.Mode())
	}
	all, err := u.All()
	for name, user := range all {
		if user.Since.IsZero() {
			t.Errorf("%s was added at no time", name)
		}
		user.Since = time.Time{}
		all[name] = user
	}
	want := map[string]User{"ann": {Lists: Lists{Access: []string{"*", "servers"}}}, "CN=bob, O=\"x\"": {Lists: Lists{Access: []string{"GET servers"}}}}
	if err != nil || !reflect.DeepEqual(all, want) {
		t.Errorf("All = %v, %v, want %v", all, err, want)
	}
	if err := u.Change("ann", func(*User) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if all, err := u.All(); err != nil || len(all) != 1 {
		t.Errorf("All after ann was removed = %v, %v, want bob alone", all, err)
	}
	if err := u.Change("nobody", func(*User) bool { return false }); err != nil {
		t.Errorf("removing nobody = %v, want no error", err)
	}
	if err := (&Users{Path: filepath.Join(t.TempDir(), "none", "users.toml")}).Change("ann", func(*User) bool { return true }); err == nil {
		t.Error("Change in a folder that is not there = nil, want an error")
	}
	entries, err := os.ReadDir(filepath.Dir(u.Path))
	if err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v, %v, want users.toml and users.lock", entries, err)
	}
}

func TestChangesFromManySidesLoseNothing(t *testing.T) {
	u := usersIn(t, "")
	const writers, each = 8, 5
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				pattern := fmt.Sprintf("w%d/%d", w, i)
				if err := (&Users{Path: u.Path}).Change("ann", func(l *User) bool { l.Access = append(l.Access, pattern); return true }); err != nil {
					t.Errorf("Change = %v, want no error", err)
				}
				if _, _, err := u.Find("ann"); err != nil {
					t.Errorf("a reader in between gets %v, want no error", err)
				}
			}
		})
	}
	all.Wait()
	l, _, err := u.Find("ann")
	if err != nil || len(l.Access) != writers*each {
		t.Errorf("%d of %d changes are there (%v), want all", len(l.Access), writers*each, err)
	}
}

// A pattern that CheckPattern lets through can be matched; with no wildcard it covers itself
// and what lies below, and nothing else; * covers all; and what the lists deny nobody may.
func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{{"servers/*", "servers/pg-one"}, {"GET servers/[!a]", "servers/b"}, {"servers/pg-one", "servers/pg-one/x"}, {"[", "["}, {"POST *", "x"}, {`a\`, "a"}, {"a b c", "b c"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		may := Lists{Access: []string{pattern}}.May("GET", name)
		if CheckPattern(pattern) != nil {
			return
		}
		verb, plain := split(pattern)
		if verb != "" && verb != "GET" && may {
			t.Errorf("%q lets GET do %q", pattern, name)
		}
		if (Lists{Access: []string{"*"}, Deny: []string{pattern}}).May("GET", name) == may {
			t.Errorf("%q as a denial is not the contrary of itself as access, for %q", pattern, name)
		}
		if !strings.ContainsAny(plain, `*?[\`) && (verb == "" || verb == "GET") {
			if want := name == plain || strings.HasPrefix(name, plain+"/"); may != want {
				t.Errorf("May(GET, %q) with %q = %v, want %v", name, pattern, may, want)
			}
		}
		if _, err := path.Match(plain, ""); err != nil && !strings.Contains(plain, "[!") {
			t.Errorf("CheckPattern accepts %q, which cannot be matched: %v", pattern, err)
		}
	})
}
