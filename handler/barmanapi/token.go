package barmanapi

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"barback/handler/auth"
)

// audience is what our JSON Web Tokens are for.
const audience auth.Audience = "barmanapi"

// Identify says who asks and what they may: whoever shows a token, one of /auth/token or of barback's own, wants to be its
// user; else it is as everywhere. /auth takes passwords, and no token that was made of one.
func (a *API) Identify(raw *http.Request, path string, v Values, now time.Time) (auth.Identity, auth.Rights, error) {
	token := ""
	if all := v["token"]; len(all) == 1 {
		token = all[0]
	}
	scheme, value, _ := strings.Cut(raw.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Barman") || strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(value)
	}
	if token != "" && strings.HasPrefix(path, "/auth/") && !strings.HasPrefix(token, auth.TokenPrefix) {
		token = ""
	}
	if strings.HasPrefix(token, auth.TokenPrefix) {
		raw = raw.Clone(raw.Context())
		raw.Header["Authorization"] = []string{"Bearer " + token}
		token = ""
	}
	var who auth.Identity
	var rights auth.Rights
	var err error
	if token == "" {
		who, rights, err = a.Auth.Identify(raw, now)
	} else {
		who, rights, err = a.Auth.ByJWT(token, audience, now)
	}
	return who, rights, translated(err)
}

// translated says in the dialect's words why somebody was not let in.
func translated(err error) error {
	switch {
	case errors.Is(err, auth.ErrJWTExpired):
		return &Error{http.StatusUnauthorized, typeTime, "Time is up", err}
	case errors.Is(err, auth.ErrJWT), errors.Is(err, auth.ErrToken), errors.Is(err, auth.ErrScheme):
		return errToken(err)
	case errors.Is(err, auth.ErrPassword):
		return &Error{http.StatusUnauthorized, typeLogin, "Unauthorized access", err}
	}
	return err
}

// token handles /auth/token: a token of whoever logs in. He needs no permission for it, as it can do no more than he;
// to deny auth/token, or tokens, takes it away.
func (a *API) token(r *Request) (any, error) {
	if err := r.own("auth/token"); err != nil {
		return nil, err
	}
	if r.Who.How == auth.ByToken {
		return nil, refuse(http.StatusForbidden, typeDenied, "A token makes no tokens: log in with a password")
	}
	if err := r.Values.Only(); err != nil {
		return nil, err
	}
	token, err := a.Auth.SignJWT(r.Who.Name, audience, a.TokenLifetime, time.Now())
	if errors.Is(err, auth.ErrJWT) {
		return nil, refuse(http.StatusForbidden, typeDenied, "%s stands not in the list of users: there is nothing that a token could allow", r.Who.Name)
	}
	return map[string]string{"token": token}, err
}

// own lets everybody who is known ask about himself.
func (r *Request) own(permission string) error {
	r.Permission = permission
	if !r.Who.Known && r.Unknown == nil {
		return translated(auth.ErrPassword)
	}
	if !r.Rights.MaySelf(http.MethodGet) || r.Rights.Denied(http.MethodGet, permission) {
		return r.denied(permission)
	}
	return nil
}
