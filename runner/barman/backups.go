package barman

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
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

// isBackupID reports whether s looks like 20260102T030405.
func isBackupID(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (i != 8 || c != 'T') {
			return false
		}
	}
	return len(s) == 15 && s[8] == 'T'
}

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

// base is the folder of the copies.
func (c *config) base(server string) string {
	return filepath.Clean(c.folder(server, "basebackups_directory", "base"))
}

func (c *config) backups(server string) ([]Backup, error) {
	if _, ok := c.servers[server]; !ok {
		return nil, &UnknownError{What: "server", Name: server}
	}
	base := c.base(server)
	list, err := readFolder(filepath.Join(c.directory(server), "meta"), "-backup.info", "")
	old, oldErr := readFolder(base, "", "/backup.info")
	if err := cmp.Or(err, oldErr); err != nil {
		return nil, fmt.Errorf("the catalog cannot be read: %w", err)
	}
	list = append(list, old...)
	slices.SortStableFunc(list, func(a, b Backup) int { return strings.Compare(a.ID, b.ID) })
	list = slices.CompactFunc(list, func(a, b Backup) bool { return a.ID == b.ID })
	for i := range list {
		list[i].Data = base + "/" + list[i].ID + "/data"
	}
	return list, nil
}

// readFolder reads the backups whose facts are in the files ID+before+after of a folder, as far as they are there.
func readFolder(dir, before, after string) ([]Backup, error) {
	f, err := os.Open(dir) // #nosec G304 -- Barman's own folder
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	list := make([]Backup, 0, len(names))
	for _, name := range names {
		id, ok := strings.CutSuffix(name, before)
		if !ok || !isBackupID(id) {
			continue
		}
		path := dir + "/" + name + after
		b, err := recallBackup(int(f.Fd()), path[len(dir)+1:], path, id)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue // deleted in this moment, or no folder of a backup
		}
		if err != nil {
			b = Backup{ID: id, Status: "DAMAGED", Err: err, Info: &Info{}} // one of them hides no other
		}
		b.path = path
		list = append(list, b)
	}
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
