package barmanapi

import (
	"errors"
	"io"
	"net/http"
	"time"

	"barback/runner/barman"
	"barback/runner/operation"
)

// entry is one asynchronous command of a month.
type entry struct {
	Date    string `json:"date"` // YYYYmmddHHMMSS, here
	Command string `json:"command"`
	Ticket  string `json:"ticket"`
	Result  any    `json:"result"`
}

// maxResults bounds what the results of a list may hold together; each can be asked for by its ticket.
const maxResults = 4 << 20

// pending is the result of what has not ended. It has no list, as barmanapi's has none.
type pending struct {
	StatusCode int    `json:"status_code"`
	Message    string `json:"message"`
}

// history handles /history/list: the operations of this month, or of ?past=YYYYMM, archived or not. Everybody sees his
// own, and those that he may see as operations.
func (a *API) history(r *Request) (any, error) {
	if err := r.May("history/list", false); err != nil {
		return nil, err
	}
	if err := r.Values.Only("past"); err != nil {
		return nil, err
	}
	past, err := r.Values.Get("past")
	if err != nil {
		return nil, err
	}
	since, ok := month(time.Now().Format("200601"))
	if past != "" {
		since, ok = month(past)
	}
	if !ok {
		return nil, wrong("past", "must be a month, YYYYMM")
	}
	found, _, err := a.Records.List(operation.Query{Since: since, Until: since.AddDate(0, 1, 0), Keep: func(s operation.Summary) bool {
		return r.asked(s.RequestedBy) || r.Sees(s.Server, s.Type)
	}})
	if err != nil {
		return nil, err
	}
	entries, size := []entry{}, int64(0)
	for _, s := range found {
		op, err := a.Records.Load(s.ID)
		if errors.Is(err, operation.ErrNotFound) {
			continue // forgotten just now
		}
		if err != nil {
			return nil, err
		}
		size += a.Records.OutputBytes(op.ID)
		result, err := a.told(op, size <= maxResults)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{op.CreatedAt.Local().Format("20060102150405"), barman.CommandOf(op), string(op.ID), result})
	}
	return list(entries), nil
}

// historyResult handles /history/result. A ticket is the ID of an operation, and opens it for those who may see it.
func (a *API) historyResult(r *Request) (any, error) {
	if err := r.May("history/result", false); err != nil {
		return nil, err
	}
	if err := r.Values.Only("ticket"); err != nil {
		return nil, err
	}
	ticket, err := r.Values.Get("ticket")
	if err != nil {
		return nil, err
	}
	if ticket == "" {
		return nil, refuse(http.StatusUnauthorized, typeNotFound, "Please send a required parameter.(ticket)")
	}
	r.Target = ticket
	op := operation.Operation{}
	id, err := operation.ParseID(ticket)
	if err == nil {
		op, err = a.Records.Load(id)
	}
	if errors.Is(err, operation.ErrNotFound) || err == nil && !r.asked(op.RequestedBy) && !r.Sees(op.Server, op.Type) {
		return nil, &Error{http.StatusNotFound, typeNotFound, "There is no such ticket", err}
	}
	if err != nil {
		return nil, err
	}
	return a.told(op, true)
}

// told is how an operation ended, if it has, with what it printed or a word where that is.
func (a *API) told(op operation.Operation, whole bool) (any, error) {
	if !op.State.Final() {
		return pending{notYet, "Command not execute yet."}, nil
	}
	if !whole {
		return a.ended(op, "The output is left out here, as all of them together are too long: ask for it with the ticket"), nil
	}
	text, err := a.printed(op)
	return a.ended(op, text), err
}

// The status_code of what has not ended, and of what failed without an exit code.
const (
	notYet = -99
	noExit = -1
)

// ended is the result of an operation that has ended.
func (a *API) ended(op operation.Operation, text string) List {
	exit, why := 0, ""
	if op.State != operation.Succeeded {
		exit, why = noExit, string(op.State)
	}
	if op.ExitCode != nil && (*op.ExitCode != 0 || op.State == operation.Succeeded) {
		exit = *op.ExitCode
	}
	if op.Error != nil {
		why = op.Error.Detail
	}
	return a.result(exit, text, why)
}

// printed is what Barman printed in an operation, as text.
func (a *API) printed(op operation.Operation) (string, error) {
	out, err := a.Records.Printed(op, 0, true)
	if errors.Is(err, operation.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = out.Close() }()
	text, err := io.ReadAll(out)
	return string(text), err
}

// asked reports whether the identity asked for the operation itself.
func (r *Request) asked(by string) bool { return r.Who.Known && r.Who.Name == by }

// month is the time at which YYYYMM begins, here.
func month(s string) (time.Time, bool) {
	at, err := time.ParseInLocation("200601", s, time.Local)
	return at, err == nil && len(s) == 6
}
