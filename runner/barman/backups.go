package barman

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Backup is one entry of a server's catalog.
type Backup struct {
	ID      string
	Name    string
	Status  string // DONE, WAITING_FOR_WALS, FAILED, STARTED, EMPTY, SYNCING
	Mode    string
	Parent  string
	EndTime time.Time
	Size    int64  // bytes of the copy, 0 while that is not known
	Data    string // folder of the copy

	Tablespaces []Tablespace
	Err         error // why its backup.info cannot be read
}

// Tablespace is one beside the data folder, and where it was when the backup was made.
type Tablespace struct{ Name, Location string }

// usable are the backups that Barman can restore from.
func (b Backup) usable() bool { return b.Status == "DONE" || b.Status == "WAITING_FOR_WALS" }

var backupID = regexp.MustCompile(`^\d{8}T\d{6}$`)

// Backups reads the catalog of a server, oldest first. Barman before 3.13 keeps
// a backup's facts in base/ID/backup.info, later ones in meta/ID-backup.info; a catalog
// that was upgraded holds both kinds.
func (c *Client) Backups(server string) ([]Backup, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	if _, ok := cfg.servers[server]; !ok {
		return nil, &UnknownError{What: "server", Name: server}
	}
	return cfg.backups(server)
}

func (c *config) backups(server string) ([]Backup, error) {
	dir := c.directory(server)
	base := filepath.Join(dir, "base")
	if d := c.servers[server]["basebackups_directory"]; d != "" {
		base = d
	}
	found := map[string]Backup{}
	for _, layout := range []struct{ dir, before, after string }{{base, "", "/backup.info"}, {filepath.Join(dir, "meta"), "-backup.info", ""}} {
		entries, _ := os.ReadDir(layout.dir)
		for _, e := range entries {
			id, ok := strings.CutSuffix(e.Name(), layout.before)
			if !ok {
				continue
			}
			path := filepath.Join(layout.dir, e.Name()) + layout.after
			if !backupID.MatchString(id) {
				continue
			}
			b, err := readBackup(path, id)
			b.Data = filepath.Join(base, id, "data")
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted in this moment
			}
			if err != nil {
				b = Backup{ID: id, Status: "UNREADABLE", Err: err} // one of them hides no other
			}
			found[id] = b
		}
	}
	list := make([]Backup, 0, len(found))
	for _, b := range found {
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b Backup) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// readBackup reads a backup.info: key=value lines, None for null (see the file itself).
func readBackup(path, id string) (Backup, error) {
	data, err := os.ReadFile(path) // #nosec G304 -- Barman's own file
	if err != nil {
		return Backup{}, err
	}
	b := Backup{ID: id, Status: "EMPTY"}
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		key, value, _ := strings.Cut(sc.Text(), "=")
		if value == "None" {
			continue
		}
		switch key {
		case "status":
			b.Status = value
		case "backup_name":
			b.Name = value
		case "tablespaces":
			if b.Tablespaces, err = tablespaces(value); err != nil {
				b.Tablespaces = []Tablespace{{Name: "(" + err.Error() + ")"}} // there are some, and no restore goes over them unseen
			}
		case "size":
			b.Size, _ = strconv.ParseInt(value, 10, 64)
		case "mode":
			b.Mode = value
		case "parent_backup_id":
			b.Parent = value
		case "end_time":
			b.EndTime, _ = time.Parse("2006-01-02 15:04:05.999999999-07:00", value)
		}
	}
	return b, sc.Err()
}

// A list of Python tuples: [('name', 16387, '/location'), …]; a string that holds a single
// quote is written in double ones.
var tablespace = regexp.MustCompile(`^\((?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"), \d+, (?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\)(?:, )?`)

// tablespaces reads the list. One that cannot be read is an error: a restore would otherwise go
// over tablespaces that nobody saw.
func tablespaces(list string) ([]Tablespace, error) {
	rest, ok := strings.CutPrefix(list, "[")
	if rest, ok2 := strings.CutSuffix(rest, "]"); ok && ok2 {
		var found []Tablespace
		for rest != "" {
			m := tablespace.FindStringSubmatch(rest)
			if m == nil {
				return nil, fmt.Errorf("the tablespaces %s cannot be read", list)
			}
			unquote := strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\"`, `"`)
			found = append(found, Tablespace{unquote.Replace(m[1] + m[2]), unquote.Replace(m[3] + m[4])})
			rest = rest[len(m[0]):]
		}
		return found, nil
	}
	return nil, fmt.Errorf("the tablespaces %s cannot be read", list)
}

// Backup finds the backup that a client means: an ID, one of Barman's words, or a name.
func (c *Client) Backup(server, id string) (Backup, error) {
	list, err := c.Backups(server)
	if err != nil {
		return Backup{}, err
	}
	b, ok := pick(list, id)
	if !ok {
		return Backup{}, &UnknownError{What: "backup", Name: id, Server: server}
	}
	return b, nil
}

// words are the names of backups that Barman reserves; a backup of such a name could not be asked for.
var words = map[string]bool{"latest": true, "last": true, "oldest": true, "first": true, "last-failed": true, "latest-full": true, "last-full": true, "auto": true}

// pick resolves id in a catalog that is sorted by age. The words mean what they mean in
// Barman: latest and oldest look only at backups that can be restored, last-failed at FAILED ones.
func pick(list []Backup, id string) (Backup, bool) {
	newest := slices.Clone(list)
	slices.Reverse(newest)
	first := func(list []Backup, match func(Backup) bool) (Backup, bool) {
		if i := slices.IndexFunc(list, match); i >= 0 {
			return list[i], true
		}
		return Backup{}, false
	}
	switch id {
	case "":
		return Backup{}, false
	case "latest", "last":
		return first(newest, Backup.usable)
	case "oldest", "first":
		return first(list, Backup.usable)
	case "last-failed":
		return first(newest, func(b Backup) bool { return b.Status == "FAILED" })
	case "latest-full", "last-full":
		return first(newest, func(b Backup) bool { return b.usable() && b.Parent == "" })
	}
	if b, ok := first(list, func(b Backup) bool { return b.ID == id }); ok {
		return b, true
	}
	var named []Backup
	for _, b := range list {
		if b.usable() && b.Name == id { // Barman, too, looks for names among these alone
			named = append(named, b)
		}
	}
	if len(named) == 1 {
		return named[0], true
	}
	return Backup{}, false
}
