package handler

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"barback/handler/auth"
)

// tokenView is a token as its user sees it, with the token itself when it is made and never again.
type tokenView struct {
	Token     string     `json:"token,omitempty"`
	ID        string     `json:"id"`
	User      string     `json:"user"`
	Name      string     `json:"name"`
	Scope     []string   `json:"scope"` // null: all that the user may
	CreatedAt time.Time  `json:"created_at"`
	CreatedBy string     `json:"created_by"`
	ExpiresAt *time.Time `json:"expires_at"` // null: never
	LastUsed  *time.Time `json:"last_used"`
}

func viewToken(t auth.Token) tokenView {
	return tokenView{ID: t.ID, User: t.User, Name: mask(t.Name), Scope: t.Scope, CreatedAt: t.CreatedAt, CreatedBy: t.CreatedBy, ExpiresAt: when(t.ExpiresAt), LastUsed: when(t.LastUsed)}
}

// mayToken asks for the permission over the tokens of a user: one's own, or another's.
func (r *request) mayToken(user string) error {
	if r.who.Known && user == r.who.Name && r.rights.MaySelf(r.Method) {
		r.permission = auth.Self
		return nil
	}
	return r.may("tokens/" + user)
}

// tokens handles "GET /tokens": one's own, and those of others that the caller may see.
func (h *handler) tokens(w http.ResponseWriter, r *request) error {
	if !r.rights.MaySelf(r.Method) {
		if err := r.may("tokens"); err != nil {
			return err
		}
	}
	all, err := h.Auth.Tokens.List("")
	if err != nil {
		return err
	}
	list := []tokenView{}
	for _, t := range all {
		if r.mayToken(t.User) == nil {
			list = append(list, viewToken(t))
		}
	}
	return answer(w, r, http.StatusOK, map[string]any{"tokens": list})
}

// addToken handles "POST /tokens": a token of one's own, or, for administrators, of another. A
// token makes none: it would outlive its end.
func (h *handler) addToken(w http.ResponseWriter, r *request) error {
	if !r.who.Known {
		return r.may("tokens")
	}
	if r.permission = auth.Self; r.who.How == auth.ByToken {
		return errTokenByToken
	}
	var c struct {
		User    string    `json:"user"`
		Name    string    `json:"name"`
		Scope   *[]string `json:"scope"`
		Expires string    `json:"expires"`
	}
	if err := h.decode(r, &c); err != nil {
		return err
	}
	if c.User == "" {
		c.User = r.who.Name
	}
	if err := r.mayToken(c.User); err != nil {
		return err
	}
	if _, known, err := h.Auth.Users.Find(c.User); err != nil {
		return err
	} else if !known {
		return invalid("/user", fmt.Sprintf("%s stands not in the list of users: there is nothing that a token could allow", c.User))
	}
	if err := checkPatterns("/scope", c.Scope); err != nil {
		return err
	}
	if c.Scope != nil && len(*c.Scope) == 0 {
		return invalid("/scope", "an empty scope allows nothing; leave it out for all that the user may")
	}
	now := time.Now()
	expires, err := auth.ParseLifetime(c.Expires, now)
	if err != nil {
		return invalid("/expires", err.Error())
	}
	t := auth.Token{User: c.User, Name: c.Name, ExpiresAt: expires, CreatedBy: r.who.Name}
	if c.Scope != nil {
		t.Scope = *c.Scope
	}
	if err := t.Check(now); err != nil {
		return invalid("", err.Error())
	}
	secret, t, err := h.Auth.Tokens.Create(t, now)
	if err != nil {
		return err
	}
	r.target = t.ID
	v := viewToken(t)
	v.Token = secret
	return answer(w, r, http.StatusCreated, v)
}

// revokeToken handles "DELETE /tokens/ID". One that the caller may not revoke is as one that never was.
func (h *handler) revokeToken(w http.ResponseWriter, r *request) error {
	r.target = r.params.ByName("id")
	if !r.rights.MaySelf(r.Method) {
		if err := r.may("tokens"); err != nil {
			return err
		}
	}
	all, err := h.Auth.Tokens.List("")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(t auth.Token) bool { return t.ID == r.target })
	if i < 0 || r.mayToken(all[i].User) != nil {
		return auth.ErrNoToken
	}
	if _, err := h.Auth.Tokens.Revoke(r.target); err != nil {
		return err
	}
	return noContent(w)
}
