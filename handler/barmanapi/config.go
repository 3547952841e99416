package barmanapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"barback/runner/barman"
	"barback/runner/barman/manual"
)

// barmanConfig is the configuration of Barman.
type barmanConfig interface {
	Sections() (map[string]map[string]string, error)
	Settings() (map[string]manual.Setting, error)
	Change(changes []barman.Change, now time.Time) (warnings []string, err error)
}

// OwnConfig is barback's own configuration: options by section, those outside of a section under the empty name.
type OwnConfig interface {
	Sections() (map[string]map[string]any, error)
	Change(changes map[string]string, now time.Time) (message string, err error)
}

// configRoutes are the paths below /config.
func (a *API) configRoutes() []Route {
	return []Route{
		{"/config/barman", a.barmanConfig},
		{"/config/barman/help", a.settings("config/barman/help")},
		{"/config/barman/reload", a.settings("config/barman/reload")},
		{"/config/barman/change", a.changeBarman},
		{"/config/barmanapi", a.ownConfig},
		{"/config/barmanapi/change", a.changeOwn},
	}
}

// barmanConfig handles /config/barman: all that Barman's files set, secrets masked.
func (a *API) barmanConfig(r *Request) (any, error) {
	if err := r.looks("config/barman"); err != nil {
		return nil, err
	}
	return a.showBarman("")
}

func (a *API) showBarman(message string) (any, error) {
	all, err := a.BarmanConfig.Sections()
	if err != nil {
		return nil, err
	}
	return a.masked(all, message)
}

// masked wraps what may hold secrets.
func (a *API) masked(v any, message string) (any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return List{http.StatusOK, message, a.Mask(raw)}, nil
}

// setting is one parameter of Barman's configuration as barmanapi shows it.
type setting struct {
	Description string `json:"description"`
	Type        string `json:"type"`
}

// settings handles /config/barman/help and /config/barman/reload: what Barman's manual knows. It is read each time, so that there
// is nothing to reload.
func (a *API) settings(permission string) func(*Request) (any, error) {
	return func(r *Request) (any, error) {
		if err := r.looks(permission); err != nil {
			return nil, err
		}
		known, err := a.BarmanConfig.Settings()
		if err != nil {
			return nil, err
		}
		all := map[string]setting{}
		for name, s := range known {
			all[name] = setting{s.Description, s.Scope.String()}
		}
		return list(all), nil
	}
}

// looks checks a request that shows something and takes no parameters.
func (r *Request) looks(permission string) error {
	if err := r.May(permission, false); err != nil {
		return err
	}
	return r.Values.Only()
}

// changeBarman handles /config/barman/change: SECTION.option=value, any number, all or none. A section may have dots in its name.
func (a *API) changeBarman(r *Request) (any, error) {
	asked, err := r.changes("config/barman/change")
	if err != nil {
		return nil, err
	}
	var changes []barman.Change
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		i := strings.LastIndexByte(name, '.')
		if i < 0 {
			return nil, refuse(http.StatusForbidden, typeInvalid, "%s: name an option with its section, as in pg-one.description=Main", name)
		}
		changes = append(changes, barman.Change{Section: name[:i], Option: strings.ToLower(name[i+1:]), Value: asked[name]})
	}
	warnings, err := a.BarmanConfig.Change(changes, time.Now())
	if err != nil {
		return nil, err
	}
	return a.showBarman(strings.Join(warnings, "\n"))
}

// changes are the parameters of a request that sets something.
func (r *Request) changes(permission string) (map[string]string, error) {
	if err := r.May(permission, true); err != nil {
		return nil, err
	}
	asked := map[string]string{}
	for name := range r.Values {
		if name == "token" {
			continue
		}
		value, err := r.Values.Get(name)
		if err != nil {
			return nil, err
		}
		asked[name] = value
	}
	r.Target = strings.Join(slices.Sorted(maps.Keys(asked)), " ")
	if len(asked) == 0 {
		return nil, refuse(http.StatusUnauthorized, typeNotFound, "Please send a required parameter.(SECTION.option=value)")
	}
	return asked, nil
}

// ownConfig handles /config/barmanapi: barback's own configuration, secrets masked.
func (a *API) ownConfig(r *Request) (any, error) {
	if err := r.looks("config/barmanapi"); err != nil {
		return nil, err
	}
	return a.showOwn("")
}

func (a *API) showOwn(message string) (any, error) {
	all, err := a.OwnConfig.Sections()
	if err != nil {
		return nil, err
	}
	return a.masked(all, message)
}

// changeOwn handles /config/barmanapi/change.
func (a *API) changeOwn(r *Request) (any, error) {
	asked, err := r.changes("config/barmanapi/change")
	if err != nil {
		return nil, err
	}
	message, err := a.OwnConfig.Change(asked, time.Now())
	if err != nil {
		return nil, err
	}
	return a.showOwn(message)
}
