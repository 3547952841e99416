package handler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"barback/handler/auth"
	"barback/runner/barman"
)

// userView is an identity as administrators see it. What its password is made into stays out.
type userView struct {
	Name     string   `json:"name"`
	Role     string   `json:"role"`
	Access   []string `json:"access"`
	Deny     []string `json:"deny"`
	Password bool     `json:"password"` // it can log in with one
	Tokens   int      `json:"tokens"`
}

func viewUser(name string, u auth.User, tokens []auth.Token) userView {
	v := userView{Name: name, Role: u.Role, Access: append([]string{}, u.Access...), Deny: append([]string{}, u.Deny...), Password: u.Password != ""}
	for _, t := range tokens {
		if t.User == name {
			v.Tokens++
		}
	}
	return v
}

// users handles "GET /users".
func (h *handler) users(w http.ResponseWriter, r *request) error {
	if err := r.may("users"); err != nil {
		return err
	}
	all, err := h.Auth.Users.All()
	if err != nil {
		return &auth.UnreadableError{Err: err}
	}
	tokens, err := h.Auth.Tokens.List("")
	if err != nil {
		return err
	}
	list := []userView{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, viewUser(name, all[name], tokens))
	}
	return answer(w, r, http.StatusOK, map[string]any{"users": list})
}

// user handles "GET /users/NAME".
func (h *handler) user(w http.ResponseWriter, r *request) error {
	name, err := h.userName(r)
	if err != nil {
		return err
	}
	return h.showUser(w, r, http.StatusOK, name)
}

func (h *handler) userName(r *request) (string, error) {
	r.target = r.params.ByName("user")
	return r.target, r.may("users/" + r.target)
}

func (h *handler) found(name string) (auth.User, error) {
	u, known, err := h.Auth.Users.Find(name)
	if err == nil && !known {
		err = auth.ErrNoUser
	}
	return u, err
}

func (h *handler) showUser(w http.ResponseWriter, r *request, status int, name string) error {
	u, err := h.found(name)
	if err != nil {
		return err
	}
	tokens, err := h.Auth.Tokens.List(name)
	if err != nil {
		return err
	}
	return answer(w, r, status, viewUser(name, u, tokens))
}

// userChange is the body of a POST: what is missing stays as it is.
type userChange struct {
	Name     string    `json:"name"`
	Password *string   `json:"password"`
	Role     *string   `json:"role"`
	Access   *[]string `json:"access"`
	Deny     *[]string `json:"deny"`
}

// addUser handles "POST /users".
func (h *handler) addUser(w http.ResponseWriter, r *request) error {
	if err := r.may("users"); err != nil {
		return err
	}
	var c userChange
	if err := h.decode(r, &c); err != nil {
		return err
	}
	r.target = c.Name
	if !auth.ValidName(c.Name) {
		return invalid("/name", "a name has letters, digits and @._=,+ -, and begins with one of the first two")
	}
	change, err := h.checked(c, c.Name)
	if err != nil {
		return err
	}
	var u auth.User
	change(&u)
	if err := h.Auth.Users.Add(c.Name, u); err != nil {
		return err
	}
	return h.showUser(w, r, http.StatusCreated, c.Name)
}

// changeUser handles "POST /users/NAME".
func (h *handler) changeUser(w http.ResponseWriter, r *request) error {
	name, err := h.userName(r)
	if err != nil {
		return err
	}
	var c userChange
	if err := h.decode(r, &c); err != nil {
		return err
	}
	if c.Name != "" && c.Name != name {
		return invalid("/name", "a name cannot be changed")
	}
	if _, err := h.found(name); err != nil {
		return err
	}
	change, err := h.checked(c, name)
	if err != nil {
		return err
	}
	if err := h.Auth.Users.Update(name, change); err != nil {
		return err
	}
	return h.showUser(w, r, http.StatusOK, name)
}

// checked is a change that can be made, its password hashed.
func (h *handler) checked(c userChange, name string) (func(*auth.User), error) {
	if c.Role != nil {
		if err := auth.CheckRole(*c.Role); err != nil {
			return nil, invalid("/role", err.Error())
		}
	}
	for list, patterns := range map[string]*[]string{"access": c.Access, "deny": c.Deny} {
		if err := checkPatterns("/"+list, patterns); err != nil {
			return nil, err
		}
	}
	hash := ""
	if c.Password != nil {
		if name == auth.Anonymous {
			return nil, invalid("/password", "anonymous has none")
		}
		err := auth.CheckPassword(*c.Password)
		if err != nil {
			return nil, invalid("/password", err.Error())
		}
		if hash, err = h.Auth.Hash(*c.Password); err != nil {
			return nil, err
		}
	}
	return func(u *auth.User) {
		if c.Password != nil {
			u.Password = hash
		}
		if c.Role != nil {
			u.Role = *c.Role
		}
		if c.Access != nil {
			u.Access = *c.Access
		}
		if c.Deny != nil {
			u.Deny = *c.Deny
		}
	}, nil
}

func checkPatterns(pointer string, patterns *[]string) error {
	if patterns == nil {
		return nil
	}
	for i, p := range *patterns {
		if err := auth.CheckPattern(p); err != nil {
			return invalid(fmt.Sprintf("%s/%d", pointer, i), err.Error())
		}
	}
	return nil
}

// removeUser handles "DELETE /users/NAME": its tokens end with it.
func (h *handler) removeUser(w http.ResponseWriter, r *request) error {
	name, err := h.userName(r)
	if err != nil {
		return err
	}
	if err := h.Auth.Remove(name); err != nil {
		return err
	}
	return noContent(w)
}

func noContent(w http.ResponseWriter) error {
	w.Header()["Content-Type"] = nil // or CGI would sniff one
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// decode reads a JSON object whose members are all known: a misspelled one must not be taken for
// one that is not there.
func (h *handler) decode(r *request, into any) error {
	raw, err := h.sent(r)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return bodyError("the body is not what is wanted here: " + err.Error())
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return bodyError("something stands behind the JSON object")
	}
	return nil
}

func invalid(pointer, detail string) error {
	return &barman.InvalidError{Summary: "The request is not allowed", Fields: []barman.Field{{Pointer: pointer, Detail: detail}}}
}
