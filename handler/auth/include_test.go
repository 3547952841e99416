package auth

import "testing"

// What one pattern covers of another, and that it says no where it cannot know.
func TestWithin(t *testing.T) {
	for _, tc := range []struct {
		inner, outer string
		want         bool
	}{
		{"barman", "*", true}, {"*", "*", true}, {"*", "barman", false}, {"GET barman", "barman", true}, {"barman", "GET barman", false}, {"GET barman", "POST barman", false},
		{"get barman", "GET barman", true}, {"barman/backup", "barman", true}, {"barman*", "barman", false}, {"barman", "barman*", true}, {"barman/*", "barman", true},
		{"barman/x*y", "barman/*", true}, {"barman/x*y", "barman/x*", true}, {"barman/*x", "barman/x*", false}, {"bar*/x", "bar*", true}, {"*/x", "bar*", false},
		{"barman/*", "barman/?", false}, {"barman/?", "barman/*", true}, {"barman/*", "barman/[*]", false}, {"[a/b]z", "*a", false}, {"[a-z]", "?", false}, {`\*`, `\*`, true},
		{"[a-z]", "[a-z]", true}, {"[a-z]", "*", true}, {"", "barman", false},
	} {
		if got := within(tc.inner, tc.outer); got != tc.want {
			t.Errorf("within(%q, %q) = %v, want %v", tc.inner, tc.outer, got, tc.want)
		}
	}
}

// Every name that an inner pattern lets through, an outer one does: over all short patterns of few letters.
func TestWithinIsTrue(t *testing.T) {
	letters := []string{"a", "b", "/", "*", "?", "[ab]"}
	var patterns, names []string
	for _, a := range letters {
		for _, b := range append(letters, "") {
			for _, c := range append(letters, "") {
				if p := a + b + c; CheckPattern(p) == nil {
					patterns = append(patterns, p)
				}
			}
		}
	}
	for _, a := range []string{"a", "b", "c", "*"} {
		for _, b := range []string{"", "a", "b", "c", "/", "/a", "/b", "a/"} {
			for _, c := range []string{"", "a", "b", "c"} {
				names = append(names, a+b+c)
			}
		}
	}
	for _, inner := range patterns {
		for _, outer := range patterns {
			if !within(inner, outer) {
				continue
			}
			for _, name := range names {
				if covers(inner, "GET", name) && !covers(outer, "GET", name) {
					t.Fatalf("%q is said to be within %q, and %q is in it alone", inner, outer, name)
				}
			}
		}
	}
}

func TestInclude(t *testing.T) {
	rights := func(u User) Rights {
		r := u.Rights()
		r.known = true
		return r
	}
	for _, tc := range []struct {
		name     string
		who, all User
		want     bool
	}{
		{"an admin includes all", User{Role: "admin"}, User{Role: "admin"}, true},
		{"an admin who is denied something does not", User{Role: "admin", Lists: Lists{Deny: []string{"users"}}}, User{Role: "admin"}, false},
		{"but one who is denied the same", User{Role: "admin", Lists: Lists{Deny: []string{"users"}}}, User{Role: "admin", Lists: Lists{Deny: []string{"users"}}}, true},
		{"or more", User{Role: "admin", Lists: Lists{Deny: []string{"users/x"}}}, User{Role: "admin", Lists: Lists{Deny: []string{"users"}}}, true},
		{"nobody includes an admin", User{Lists: Lists{Access: []string{"auth", "barman"}}}, User{Role: "admin"}, false},
		{"a role with exceptions includes nothing", User{Role: "operator"}, User{Lists: Lists{Access: []string{"GET servers"}}}, false},
		{"anybody includes nothing", User{}, User{}, true},
	} {
		if got := rights(tc.who).Include(tc.all); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
	scoped := rights(User{Role: "admin"})
	scoped.scope = []string{"auth"}
	if scoped.Include(User{Role: "admin"}) || !scoped.Include(User{Lists: Lists{Access: []string{"auth/user"}}}) {
		t.Error("a token with a scope does not include what is in its scope alone")
	}
}

// To be given one name of a thing is enough, and so it is to be denied one.
func TestNamesOfOneThing(t *testing.T) {
	for _, tc := range []struct {
		user User
		want bool
	}{
		{User{Lists: Lists{Access: []string{"barman/recover"}}}, true},
		{User{Lists: Lists{Access: []string{"barman/restore"}}}, true},
		{User{Lists: Lists{Access: []string{"barman"}, Deny: []string{"barman/recover"}}}, false},
		{User{Lists: Lists{Access: []string{"barman"}, Deny: []string{"barman/restore"}}}, false},
		{User{Role: "admin", Lists: Lists{Deny: []string{"barman/restore"}}}, false},
		{User{Role: "operator"}, true}, {User{Role: "viewer"}, false}, {User{}, false},
	} {
		r := tc.user.Rights()
		r.known = true
		if got := r.May("POST", "barman/restore", "barman/recover"); got != tc.want {
			t.Errorf("%+v may restore: %v", tc.user, got)
		}
	}
}
