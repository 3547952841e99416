package barman

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"barback/runner/durable"
)

// Entry is a backup with its place in the catalog.
type Entry struct {
	Backup
	Keep      string // full or standalone: it is kept whatever the retention policy says; empty: it is not
	Previous  string // the usable backup before it, by age
	Next      string
	Chain     []string // of an incremental one: its parent, and so on up to the full one
	Needed    WALs     // from its begin to its end: no restore without them
	Later     WALs     // after its end, up to the end of the next one
	LastWAL   string   // the newest of both
	Abandoned bool     // it is STARTED, and nobody works on it
	Told      bool     // Barman told of it, on another host: nobody knows whether it is abandoned
	Partial   bool     // it did so in a list, which leaves much out
	began     time.Time
	Retention string // what the retention policy says of it, in Barman's words; empty: nothing, or there is none
}

// Began is when it was begun, to the second where that has to do; zero if it is not known.
func (e Entry) Began() time.Time {
	if e.Info != nil && !e.BeginTime.IsZero() {
		return e.BeginTime
	}
	return e.began
}

// Open reports whether it was begun and has no end.
func (e Entry) Open() bool { return e.Status == "STARTED" || e.Status == "EMPTY" }

// Usable reports whether Barman can restore from it.
func (e Entry) Usable() bool { return e.usable() }

// WALs are files of the archive.
type WALs struct {
	Files int64 `json:"files"` // -1: nobody says
	Bytes int64 `json:"bytes"`
}

// Entry is the backup that a client means, as Client.Backup has it.
func (c *Client) Entry(server, id string) (Entry, error) {
	if c.Host.Remote() {
		return c.entryThere(server, id)
	}
	list, err := c.Catalog(server)
	if err != nil {
		return Entry{}, err
	}
	return Pick(list, server, id)
}

// Catalog is the whole catalog of a server, oldest first. A Barman on another host does not tell all of it.
func (c *Client) Catalog(server string) ([]Entry, error) {
	if c.Host.Remote() {
		return c.catalogThere(server)
	}
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	backups, err := cfg.backups(server)
	if err != nil {
		return nil, err
	}
	archive, err := cfg.archive(server)
	if err != nil {
		return nil, err
	}
	at, kept := make(map[string]int, len(backups)), cfg.kept(server, backups)
	list := make([]Entry, len(backups))
	for i, b := range backups {
		list[i].Backup, list[i].Keep, at[b.ID] = b, kept[b.ID], i
	}
	var previous *Entry
	for i := range list {
		e := &list[i]
		for p, ok := at[e.Parent]; ok && len(e.Chain) < len(list); p, ok = at[list[p].Parent] {
			e.Chain = append(e.Chain, list[p].ID)
		}
		if !e.usable() {
			continue
		}
		if previous != nil {
			e.Previous, previous.Next = previous.ID, e.ID
			previous.count(archive, e.EndWAL)
		}
		previous = e
	}
	if previous != nil {
		previous.count(archive, "")
	}
	cfg.lookAbandoned(server, list)
	if policy, enforced := cfg.policy(server); enforced {
		policy.judge(list, time.Now())
	}
	return list, nil
}

// Pick finds what a client means, as Client.Backup does.
func Pick(list []Entry, server, id string) (Entry, error) {
	backups, _ := backupsOf(list, nil)
	b, ok := pick(backups, id)
	if !ok {
		return Entry{}, &UnknownError{What: "backup", Name: id, Server: server}
	}
	return list[slices.IndexFunc(list, func(e Entry) bool { return e.ID == b.ID })], nil
}

// kept reads the annotations of "barman keep". Barman from 3.13 on has them beside the backups' other facts.
func (c *config) kept(server string, list []Backup) map[string]string {
	found := map[string]string{}
	note := func(id, path string) {
		target, _ := os.ReadFile(path) // #nosec G304 -- Barman's own file
		found[id] = strings.TrimSpace(string(target))
	}
	dir := filepath.Join(c.directory(server), "meta")
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), "-keep"); ok && isBackupID(id) {
			note(id, filepath.Join(dir, e.Name()))
		}
	}
	base, err := os.Open(c.base(server))
	if err != nil {
		return found
	}
	defer func() { _ = base.Close() }()
	for _, b := range list {
		if name := b.ID + "/annotations/keep"; found[b.ID] == "" && durable.StampIn(int(base.Fd()), name) != (durable.Stamp{}) {
			note(b.ID, filepath.Join(base.Name(), name))
		}
	}
	return found
}

// count sums up the WAL files of the backup's timeline from its begin to last, the end of the next one.
func (e *Entry) count(archive []segment, last string) {
	if len(e.BeginWAL) != 24 {
		return
	}
	i := sort.Search(len(archive), func(i int) bool { return archive[i].name >= e.BeginWAL })
	for ; i < len(archive) && archive[i].name[:8] == e.BeginWAL[:8] && (last == "" || archive[i].name <= last); i++ {
		sum := &e.Later
		if archive[i].name <= e.EndWAL {
			sum = &e.Needed
		}
		sum.Files++
		sum.Bytes += archive[i].bytes
		e.LastWAL = archive[i].name
	}
}

// lookAbandoned finds the backups that were begun and that nobody makes any more: Barman never sets them
// right. One process at a time makes backups of a server, and holds the lock of that.
func (c *config) lookAbandoned(server string, list []Entry) {
	begun := func(b Backup) bool { return b.Status == "STARTED" || b.Status == "EMPTY" }
	var open []*Entry
	for i := range list {
		if begun(list[i].Backup) {
			open = append(open, &list[i])
		}
	}
	if open == nil {
		return
	}
	dir := c.global["barman_lock_directory"]
	if dir == "" {
		dir = c.global["barman_home"]
	}
	held, err := locked(filepath.Join(dir, "."+server+"-backup.lock"))
	if err != nil {
		return // who cannot tell says nothing
	}
	newest := slices.MaxFunc(open, func(a, b *Entry) int { return a.BeginTime.Compare(b.BeginTime) }) // IDs go back when summer ends
	for _, e := range open {
		if held && (e == newest || e.Status == "EMPTY") {
			continue
		}
		// It may have ended, and set the lock free, since its file was read.
		now, _, err := readBackup(e.path, e.ID)
		if e.Abandoned = err == nil && begun(now); !e.Abandoned && err == nil {
			now.Data, now.path = e.Data, e.path
			e.Backup = now
		}
	}
}

// locked reports whether somebody holds a flock on the file. It is looked up: to try the lock, if
// for a moment only, could make a backup fail that begins in it.
func locked(path string) (bool, error) {
	st, err := os.Stat(path)
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	inode := ":" + strconv.FormatUint(st.Sys().(*syscall.Stat_t).Ino, 10) + " " // devices have other numbers there on some file systems
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if line := sc.Text(); strings.Contains(line, " FLOCK ") && strings.Contains(line, inode) {
			return true, nil
		}
	}
	return false, sc.Err()
}
