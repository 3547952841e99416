package barman

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"barback/runner/pattern"
)

// Backup is one entry of a server's catalog.
type Backup struct {
	ID      string
	Name    string
	Status  string // DONE, WAITING_FOR_WALS, FAILED, STARTED, EMPTY, SYNCING; or DAMAGED, which is no word of Barman's
	Kind    string // what Barman itself calls its type, where that is all that is known
	Mode    string
	Parent  string
	EndTime time.Time
	Size    int64  // bytes of the copy, 0 while that is not known
	Data    string // folder of the copy

	Tablespaces []Tablespace
	Err         error // why its backup.info cannot be read
	*Info             // never nil
	path        string
}

// Tablespace is one beside the data folder, and where it was when the backup was made.
type Tablespace struct {
	Name, Location string
	OID            int64
}

// Type is Barman's word for how the backup was made; empty if that is not known.
func (b Backup) Type() string {
	switch {
	case b.Mode == "":
		return b.Kind
	case strings.HasPrefix(b.Mode, "snapshot"):
		return "snapshot"
	case strings.HasPrefix(b.Mode, "rsync"):
		return "rsync"
	case b.Parent != "":
		return "incremental"
	}
	return "full"
}

// usable are the backups that Barman can restore from.
func (b Backup) usable() bool { return b.Status == "DONE" || b.Status == "WAITING_FOR_WALS" }

var backupID = pattern.New(`^\d{8}T\d{6}$`)

// Backups reads the catalog of a server, oldest first. Barman before 3.13 keeps
// a backup's facts in base/ID/backup.info, later ones in meta/ID-backup.info; a catalog
// that was upgraded holds both kinds.
func (c *Client) Backups(server string) ([]Backup, error) {
	if c.Host.Remote() {
		return backupsOf(c.catalogThere(server))
	}
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	return cfg.backups(server)
}

func backupsOf(list []Entry, err error) ([]Backup, error) {
	backups := make([]Backup, len(list))
	for i, e := range list {
		backups[i] = e.Backup
	}
	return backups, err
}

func (c *config) backups(server string) ([]Backup, error) {
	if _, ok := c.servers[server]; !ok {
		return nil, &UnknownError{What: "server", Name: server}
	}
	dir := c.directory(server)
	base := filepath.Join(dir, "base")
	if d := c.servers[server]["basebackups_directory"]; d != "" {
		base = d
	}
	found := map[string]Backup{}
	for _, layout := range []struct{ dir, before, after string }{{base, "", "/backup.info"}, {filepath.Join(dir, "meta"), "-backup.info", ""}} {
		entries, err := os.ReadDir(layout.dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the catalog cannot be read: %w", err)
		}
		for _, e := range entries {
			id, ok := strings.CutSuffix(e.Name(), layout.before)
			if !ok || !backupID().MatchString(id) {
				continue
			}
			path := filepath.Join(layout.dir, e.Name()) + layout.after
			b, err := recallBackup(path, id)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
				continue // deleted in this moment, or no folder of a backup
			}
			if err != nil {
				b = Backup{ID: id, Status: "DAMAGED", Err: err, Info: &Info{}} // one of them hides no other
			}
			b.Data, b.path = filepath.Join(base, id, "data"), path
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

// Backup finds the backup that a client means: an ID, one of Barman's words, or a name.
func (c *Client) Backup(server, id string) (Backup, error) {
	if c.Host.Remote() {
		e, err := c.entryThere(server, id)
		return e.Backup, err
	}
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
		return first(newest, func(b Backup) bool { return b.usable() && b.Parent == "" && b.Kind != "incremental" })
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
