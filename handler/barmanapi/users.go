package barmanapi

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"barback/handler/auth"
)

// lists are what a user may do, as barmanapi shows them. Of a role it knows nothing.
type lists struct {
	Access []string `json:"access"`
	Deny   []string `json:"deny"`
	Role   string   `json:"role,omitempty"`
}

func show(u auth.User) lists {
	return lists{append([]string{}, names(u.Access)...), append([]string{}, names(u.Deny)...), u.Role}
}

// To barmanapi an entry of a list stands for all that begins with it, and no entries for everything there is.
var everything = []string{"auth", "barman", "config", "history"}

// patterns makes a list of barmanapi's one of ours.
func patterns(names []string) []string {
	list := make([]string, 0, len(names))
	for _, p := range names {
		if !slices.Contains(everything, p) && !strings.HasSuffix(p, "*") {
			p += "*"
		}
		list = append(list, p)
	}
	return list
}

// names undoes patterns.
func names(patterns []string) (list []string) {
	for _, p := range patterns {
		list = append(list, strings.TrimSuffix(p, "*"))
	}
	return list
}

// self handles /auth/user: the lists of whoever asks.
func (a *API) self(r *Request) (any, error) {
	if err := r.own("auth/user"); err != nil {
		return nil, err
	}
	if err := r.Values.Only(); err != nil {
		return nil, err
	}
	u, _, err := a.Auth.Users.Find(r.Who.Name)
	return list(show(u)), err
}

// users handles /auth/user/list.
func (a *API) users(r *Request) (any, error) {
	if err := r.May("auth/user/list", false); err != nil {
		return nil, err
	}
	if err := r.Values.Only(); err != nil {
		return nil, err
	}
	all, err := a.Auth.Users.All()
	if err != nil {
		return nil, &auth.UnreadableError{Err: err}
	}
	views := map[string]lists{}
	for name, u := range all {
		views[name] = show(u)
	}
	return list(views), nil
}

// changeUser handles /auth/user/change.
func (a *API) changeUser(r *Request) (any, error) {
	name, change, err := a.change(r, "auth/user/change")
	if err != nil {
		return nil, err
	}
	if _, known, err := a.Auth.Users.Find(name); err != nil {
		return nil, err
	} else if !known {
		return nil, refuse(http.StatusForbidden, typeNotFound, "Username not found(%s)", name)
	}
	var now auth.User
	var refused error
	err = a.Auth.Users.Update(name, func(u *auth.User) {
		before := *u
		change(u)
		if refused = r.mayMake(name, before, *u); refused != nil {
			*u = before
		}
		now = *u
	})
	if err = errors.Join(err, refused); err != nil {
		return nil, err
	}
	return list(show(now)), nil
}

// addUser handles /auth/user/add.
func (a *API) addUser(r *Request) (any, error) {
	name, change, err := a.change(r, "auth/user/add")
	if err != nil {
		return nil, err
	}
	if !auth.ValidName(name) {
		return nil, refuse(http.StatusForbidden, typeInvalid, "username: a name has letters, digits and @._=,+ -, and begins with one of the first two")
	}
	if len(r.Values["password"]) == 0 {
		return nil, absent("password")
	}
	u := auth.User{Lists: auth.Lists{Access: everything}}
	change(&u)
	if err := r.mayMake(name, auth.User{Lists: auth.Lists{Deny: u.Deny}}, u); err != nil {
		return nil, err
	}
	err = a.Auth.Users.Add(name, u)
	if errors.Is(err, auth.ErrUserExists) {
		return nil, refuse(http.StatusForbidden, typeRegistered, "There is a user of this name already(%s)", name)
	}
	return list(show(u)), err
}

// mayMake refuses to make a user that may do more than whoever asks, and to become one.
func (r *Request) mayMake(name string, before, after auth.User) error {
	if r.Rights.Include(before) && r.Rights.Include(after) {
		return nil
	}
	return refuse(http.StatusForbidden, typeDenied, "%s may do what you may not, or would: your own access has to include it, and your own deny has to be among its deny", name)
}

// change reads what is to be done to a user. What is not given stays as it is. With access, its role
// goes: to barmanapi access is all there is.
func (a *API) change(r *Request, permission string) (name string, change func(*auth.User), err error) {
	if err := r.May(permission, true); err != nil {
		return "", nil, err
	}
	if err := r.Values.Only("username", "password", "access", "deny"); err != nil {
		return "", nil, err
	}
	if name, err = r.Values.Get("username"); err != nil {
		return "", nil, err
	}
	r.Target = name
	if name == "" {
		return "", nil, absent("username")
	}
	hash, err := a.hash(r, name)
	if err != nil {
		return "", nil, err
	}
	access, err := readList(r.Values, "access")
	if err != nil {
		return "", nil, err
	}
	deny, err := readList(r.Values, "deny")
	return name, func(u *auth.User) {
		if hash != "" {
			u.Password = hash
		}
		if access != nil {
			u.Role, u.Access = "", access
		}
		if access != nil && len(access) == 0 {
			u.Access = everything
		}
		if deny != nil {
			u.Deny = deny
		}
	}, err
}

// hash is of the password that is given, if one is.
func (a *API) hash(r *Request, name string) (string, error) {
	password, err := r.Values.Get("password")
	if err != nil || password == "" {
		return "", err
	}
	if name == auth.Anonymous {
		return "", refuse(http.StatusForbidden, typeInvalid, "password: anonymous has none")
	}
	if err := auth.CheckPassword(password); err != nil {
		return "", refuse(http.StatusForbidden, typeInvalid, "password: %v", err)
	}
	return a.Auth.Hash(password)
}

// readList reads a list of patterns; nil: it is not given. It is written as barmanapi took it, ['barman', 'auth/user'],
// or given several times, one pattern each.
func readList(v Values, name string) ([]string, error) {
	values, given := v[name]
	if !given || len(values) == 1 && values[0] == "" {
		return nil, nil
	}
	if len(values) == 1 && strings.HasPrefix(values[0], "[") {
		inside, ok := strings.CutSuffix(strings.TrimSpace(values[0][1:]), "]")
		if !ok {
			return nil, badList(name)
		}
		values = nil
		for _, item := range strings.Split(strings.TrimSuffix(strings.TrimSpace(inside), ","), ",") {
			if strings.TrimSpace(inside) == "" {
				break
			}
			item = strings.TrimSpace(item)
			if len(item) < 2 || item[0] != item[len(item)-1] || item[0] != '\'' && item[0] != '"' {
				return nil, badList(name)
			}
			values = append(values, item[1:len(item)-1])
		}
	}
	list := patterns(values)
	for i, p := range list {
		if err := auth.CheckPattern(p); err != nil || values[i] == "" || strings.ContainsAny(p, `'"`) {
			return nil, badList(name)
		}
	}
	return list, nil
}

func badList(name string) error {
	return refuse(http.StatusForbidden, typeInvalid, "%s: write a list such as ['barman','auth/user/list'], of names without slashes at their ends", name)
}

func absent(name string) error {
	return refuse(http.StatusNotFound, typeNotFound, "Parameter Not Found(%s)", name)
}

// ListsOf makes lists of ours of those that barmanapi kept of a user: to it no access at all was access to everything.
func ListsOf(access, deny string) (auth.Lists, error) {
	a, err := readList(Values{"access": {access}}, "access")
	if err != nil {
		return auth.Lists{}, err
	}
	if len(a) == 0 {
		a = everything
	}
	d, err := readList(Values{"deny": {deny}}, "deny")
	return auth.Lists{Access: a, Deny: d}, err
}
