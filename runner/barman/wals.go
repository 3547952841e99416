package barman

import (
	"cmp"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"barback/runner/pattern"
)

// walName is a segment's name: timeline, and the two halves of its number.
var walName = pattern.New(`^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$`)

// walFile is one WAL file that Barman has.
type walFile struct {
	timeline uint32
	high     uint64
	low      uint64
	at       time.Time // when its last byte was written, by the clock of whoever wrote the file
}

func parseWAL(name string) (s walFile, ok bool) {
	m := walName().FindStringSubmatch(name)
	if m == nil {
		return s, false
	}
	timeline, err1 := strconv.ParseUint(m[1], 16, 32)
	high, err2 := strconv.ParseUint(m[2], 16, 64)
	low, err3 := strconv.ParseUint(m[3], 16, 64)
	return walFile{timeline: uint32(timeline), high: high, low: low}, err1 == nil && err2 == nil && err3 == nil // #nosec G115 -- parsed as 32 bits
}

// end is the first place behind it.
func (s walFile) end(size int64) lsn { return lsn(s.high<<32 + (s.low+1)*uint64(size)) } // #nosec G115 -- a power of two

// reach is how far WALs go.
type reach struct {
	timeline uint32 // the highest there is
	end      lsn
	at       time.Time
	files    int
}

func (r *reach) add(s walFile, size int64, most uint32) {
	r.timeline = max(r.timeline, s.timeline)
	if most != 0 && s.timeline > most {
		return
	}
	r.files++
	r.end = max(r.end, s.end(size))
	if s.at.After(r.at) {
		r.at = s.at
	}
}

// reach reads how far a server's WALs go on timelines up to most (0: all): those in the archive, and, if staged
// are meant too, those that Barman takes in before a recovery.
func (c *config) reach(server string, size int64, most uint32, staged bool) reach {
	var r reach
	archived, _ := c.archive(server) // what cannot be read, nothing is known of
	for _, w := range archived {
		if s, ok := parseWAL(w.name); ok {
			s.at = w.at
			r.add(s, size, most)
		}
	}
	for _, dir := range []string{c.folder(server, "incoming_wals_directory", "incoming"), c.folder(server, "streaming_wals_directory", "streaming")} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			s, ok := parseWAL(e.Name())
			if info, err := e.Info(); ok && staged && err == nil {
				s.at = info.ModTime()
				r.add(s, size, most)
			}
		}
	}
	return r
}

// xlogdb are the places where the list of a server's WALs may be; Barman before 3.13 had one name for it.
func (c *config) xlogdb(server string) []string {
	wals := c.folder(server, "wals_directory", "wals")
	dir := cmp.Or(c.option(server, "xlogdb_directory"), wals)
	return []string{filepath.Join(dir, server+"-xlog.db"), filepath.Join(wals, "xlog.db")}
}

// folder is where an option says, or below the server's own.
func (c *config) folder(server, option, name string) string {
	if dir := c.servers[server][option]; dir != "" {
		return dir
	}
	return filepath.Join(c.directory(server), name)
}

// option is the value that holds for a server: its active model's, its own, or the one for all. What is empty or None
// in its own section is not taken from elsewhere.
func (c *config) option(server, name string) string {
	return c.optionUnder(c.activeModel(server), server, name)
}

// optionUnder is option for who knows the active model.
func (c *config) optionUnder(model, server, name string) string {
	if value := c.models[model][name]; value != "" {
		return value
	}
	if value, own := c.servers[server][name]; own {
		return value
	}
	return c.global[name]
}
