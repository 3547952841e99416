package barmanapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"barback/handler/auth"
)

// Error is a refusal in barmanapi's words.
type Error struct {
	Status  int    `json:"status_code"`
	Type    string `json:"type"`
	Message string `json:"message"`
	err     error  // that it says in the dialect's words
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.err }

// The types of errors that scripts know.
const (
	typeNotFound   = "Not Found"
	typeInvalid    = "Invalid parameters"
	typeDenied     = "Access deny for this rest"
	typeToken      = "Invalid Client Token"
	typeLogin      = "Unauthorized access"
	typeTime       = "Token time is up"
	typeRegistered = "Registered User"
)

// ErrNoRoute says that there is no such path, or no such command.
var ErrNoRoute = errors.New("no such path; /barman/help lists the commands")

// NoRoute is what an unknown path answers; its members are swapped, as they always were.
func NoRoute() []byte {
	return []byte(`{"message":"Api Not Found","type":404,"status_code":"Not Found"}` + "\n")
}

// Refusal is the body of an error that the dialect has no words of its own for.
func Refusal(status int, title, detail string) []byte {
	body, err := json.Marshal(Error{Status: status, Type: title, Message: detail})
	if err != nil {
		return []byte(`{"status_code":500,"type":"Error","message":"Api Error"}`)
	}
	return append(body, '\n')
}

func refuse(status int, typ, format string, args ...any) error {
	return &Error{Status: status, Type: typ, Message: fmt.Sprintf(format, args...)}
}

var errParameters = refuse(http.StatusForbidden, typeInvalid, "Some parameters are invalid")

// May refuses what whoever asks must not do. changes says that it is more than looking: a GET needs what a POST would.
func (r *Request) May(permission string, changes bool) error {
	r.Permission, r.Changes = permission, r.Changes || changes
	method := http.MethodGet
	if changes {
		method = http.MethodPost
	}
	switch {
	case !r.Rights.May(method, permission):
		return r.denied(permission)
	case changes && r.Foreign != nil:
		return r.Foreign
	}
	return nil
}

func (r *Request) denied(permission string) error {
	switch {
	case r.Unknown != nil:
		return r.Unknown
	case !r.Who.Known:
		return errToken(auth.ErrToken)
	}
	return refuse(http.StatusForbidden, typeDenied, "You can not see this rest(%s)", permission)
}

func errToken(err error) error {
	return &Error{http.StatusUnauthorized, typeToken, "Token is not valid", err}
}
