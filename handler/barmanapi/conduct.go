package barmanapi

import (
	"net/http"
	"slices"

	"barback/runner/barman/manual"
)

// conduct is what may be done with a command that is no type of operation: those have checks of their own.
type conduct struct {
	looks bool     // it changes nothing
	does  bool     // it changes something, and nothing that a client could choose to harm with
	only  []string // with one of these options; without them it is refused
	never []string // these options are refused
	why   string   // it is refused
}

// conducts are of the commands that any Barman has. What is not here is refused until an administrator allows it: nobody
// knows what a command does that a newer Barman brings.
var conducts = map[string]conduct{
	"check":                    {looks: true},
	"check-archived-wal-range": {looks: true},
	"check-wal-archive":        {looks: true},
	"diagnose":                 {looks: true},
	"list-backups":             {looks: true},
	"list-files":               {looks: true},
	"list-processes":           {looks: true},
	"list-servers":             {looks: true},
	"replication-status":       {looks: true},
	"show-backup":              {looks: true},
	"show-servers":             {looks: true},
	"status":                   {looks: true},
	"sync-info":                {looks: true},
	"get-wal":                  {looks: true, only: []string{"peek", "test"}, never: []string{"output-directory"}, why: "it prints a WAL file, which no JSON can hold, or writes one where the client says"},
	"put-wal":                  {looks: true, only: []string{"test"}, why: "it takes a WAL file from its standard input, as PostgreSQL's archive_command gives it"},
	"receive-wal":              {does: true, only: []string{"stop", "reset", "create-slot", "drop-slot"}, why: "it runs until it is stopped; Barman's cron starts it"},
	"lock-directory-cleanup":   {does: true},
	"terminate-process":        {does: true},
	"export-backup":            {why: "it writes where the client says, as user barman"},
	"import-backup":            {why: "it takes into the catalog whatever file the client names"},
	"cloud-wal-archive":        {why: "it sends whatever file the client names to the cloud"},
	"cloud-wal-restore":        {why: "it writes where the client says, as user barman"},
}

// conductOf is what may be done with a command: the same for all its names.
func (a *API) conductOf(c manual.Command, given func(string) bool) (conduct, error) {
	names := append([]string{c.Name}, c.Aliases...)
	known := conduct{why: "this barback does not know what it does"}
	for _, name := range names {
		if k, ok := conducts[name]; ok {
			known = k
		}
	}
	allowed := slices.ContainsFunc(names, func(name string) bool { return slices.Contains(a.Allowed, name) })
	m := c.Conduct()
	unless := slices.ContainsFunc(m.Unless, given)
	switch {
	case allowed && (unless || !m.Endless && !m.Input && !m.Raw):
		return conduct{does: true}, nil
	case known.only != nil && !slices.ContainsFunc(known.only, given), slices.ContainsFunc(known.never, given), !known.looks && !known.does:
		return known, refuse(http.StatusUnprocessableEntity, "Not allowed here", "%s is refused: %s%s", c.Name, known.why, hint(c.Name, known))
	}
	return known, nil
}

func hint(name string, k conduct) string {
	if k.only != nil {
		return "; it can be asked with one of " + quoted(k.only)
	}
	return "; an administrator can allow it: allowed_commands in [barmanapi], " + quoted([]string{name})
}
