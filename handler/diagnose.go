package handler

import (
	"net/http"
	"strconv"
	"time"

	"barback/runner/barman"
)

// diagnose handles "GET /diagnose": the object of "barman diagnose". All who ask while Barman
// works get the same answer; ?max_age=N is content with one that is at most N seconds old.
func (h *handler) diagnose(w http.ResponseWriter, r *request) error {
	if err := r.may("diagnose"); err != nil {
		return err
	}
	maxAge, err := maxAge(r)
	if err != nil {
		return err
	}
	host, err := h.host(r)
	if err != nil {
		return err
	}
	a, err := host.Ask(barman.Question{Args: []string{"diagnose"}, Quoted: true, MaxAge: maxAge, Clean: h.clean()})
	if err != nil {
		return err
	}
	w.Header().Set("Age", strconv.Itoa(int(a.Age/time.Second)))
	write(w, "application/json", http.StatusOK, a.Body)
	return nil
}

// host is the Barman that the parameter of that name says; of a single one nothing has to be said.
func (h *handler) host(r *request) (*barman.Client, error) {
	c, err := h.Barman.On(r.URL.Query().Get("host"))
	if err != nil {
		return nil, badParameter("host", err.Error())
	}
	return c, nil
}

// maxAge reads the parameter of that name.
func maxAge(r *request) (time.Duration, error) {
	query := r.URL.Query()
	if !query.Has("max_age") {
		return 0, nil
	}
	n, err := strconv.ParseUint(query.Get("max_age"), 10, 31)
	if err != nil {
		return 0, badParameter("max_age", "must be a number of seconds, 0 or more")
	}
	return time.Duration(n) * time.Second, nil // #nosec G115 -- 31 bits
}
