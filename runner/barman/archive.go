package barman

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Archive is what Barman has of a server's WAL files, by its own list of them and by its folders.
type Archive struct {
	Server      string     `json:"server"`
	SegmentSize int64      `json:"segment_bytes"` // of a WAL file before it is compressed
	WALs                   // of all timelines
	Timelines   []Timeline `json:"timelines"`
	Backups     []Coverage `json:"backups"` // those that can be restored, oldest first
	Waiting     Waiting    `json:"waiting"`
}

// Timeline is what there is of one timeline.
type Timeline struct {
	Timeline int64     `json:"timeline"`
	First    string    `json:"first"`
	Last     string    `json:"last"`
	FirstAt  time.Time `json:"first_at"` // when it was written to its end
	LastAt   time.Time `json:"last_at"`
	WALs
	Gaps []Gap `json:"gaps"`
}

// Gap is where files are missing.
type Gap struct {
	After  string `json:"after"`
	Before string `json:"before"`
	Files  int64  `json:"files"`
}

// Coverage is what there is for the recovery of one backup, on its own timeline.
type Coverage struct {
	Backup   string     `json:"backup_id"`
	Timeline int64      `json:"timeline"`
	First    string     `json:"first"`    // without those from here to Needed
	Needed   string     `json:"needed"`   // it is of no use
	Complete bool       `json:"complete"` // and all of these are there
	Last     *string    `json:"last"`     // up to here a recovery can go: the next one is missing, or not there yet
	LastAt   *time.Time `json:"last_at"`
	WALs                // from First to Last
}

// Waiting are files that Barman has not archived yet.
type Waiting struct {
	Incoming  int `json:"incoming"`
	Streaming int `json:"streaming"` // one of them is the one that is being written
	Errors    int `json:"errors"`    // and those that it never will
}

// segment is a line of Barman's list of WAL files.
type segment struct {
	name  string
	bytes int64
	at    time.Time // when its last byte was written, by the clock of whoever wrote the file
}

// archive reads the list of the WAL files of a server, in the order of their names; Barman keeps it so, too.
func (c *config) archive(server string) ([]segment, error) {
	var data []byte
	var err error
	for _, path := range c.xlogdb(server) {
		if data, err = os.ReadFile(path); !errors.Is(err, fs.ErrNotExist) { // #nosec G304 -- Barman's own file
			break
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the list of WAL files cannot be read: %w", err)
	}
	list := make([]segment, 0, bytes.Count(data, []byte("\n")))
	for line := range strings.Lines(string(data)) {
		name, rest, _ := strings.Cut(line, "\t")
		size, rest, _ := strings.Cut(rest, "\t")
		stamp, _, _ := strings.Cut(rest, "\t")
		if len(name) != 24 || strings.Trim(name, "0123456789ABCDEF") != "" {
			continue // a history or backup label
		}
		if n, err := strconv.ParseInt(size, 10, 64); err == nil {
			seconds, _ := strconv.ParseFloat(stamp, 64)
			list = append(list, segment{name, n, time.UnixMicro(int64(seconds * 1e6)).UTC()})
		}
	}
	slices.SortStableFunc(list, func(a, b segment) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// defaultSegment is the size of a WAL file if nobody said another to initdb.
const defaultSegment = 16 << 20

// WALs tells of a server's archive.
func (c *Client) WALs(server string) (Archive, error) {
	if c.Host.Remote() {
		return Archive{}, &ElsewhereError{"Barman's list of WAL files"}
	}
	cfg, err := c.load()
	if err != nil {
		return Archive{}, err
	}
	backups, err := cfg.backups(server)
	if err != nil {
		return Archive{}, err
	}
	list, err := cfg.archive(server)
	if err != nil {
		return Archive{}, err
	}
	a := Archive{Server: server, SegmentSize: defaultSegment, Timelines: []Timeline{}, Backups: []Coverage{}}
	for _, b := range backups {
		a.SegmentSize = cmp.Or(b.SegmentSize, a.SegmentSize)
	}
	a.survey(list)
	for _, b := range backups {
		if b.usable() && len(b.BeginWAL) == 24 {
			a.Backups = append(a.Backups, cover(b, list, cmp.Or(b.SegmentSize, a.SegmentSize)))
		}
	}
	a.Waiting = Waiting{cfg.waiting(server, "incoming_wals_directory", "incoming"), cfg.waiting(server, "streaming_wals_directory", "streaming"), cfg.waiting(server, "errors_directory", "errors")}
	return a, nil
}

// survey sums up each timeline.
func (a *Archive) survey(list []segment) {
	for i, s := range list {
		w, _ := parseWAL(s.name)
		if i == 0 || list[i-1].name[:8] != s.name[:8] {
			a.Timelines = append(a.Timelines, Timeline{Timeline: int64(w.timeline), First: s.name, Last: s.name, FirstAt: s.at, Gaps: []Gap{}})
		}
		t := &a.Timelines[len(a.Timelines)-1]
		if n := w.number(a.SegmentSize) - number(t.Last, a.SegmentSize); n > 1 {
			t.Gaps = append(t.Gaps, Gap{t.Last, s.name, n - 1})
		}
		t.Last, t.LastAt = s.name, s.at
		t.Files, a.Files = t.Files+1, a.Files+1
		t.Bytes, a.Bytes = t.Bytes+s.bytes, a.Bytes+s.bytes
	}
}

// cover follows the WALs of a backup up to the first that is missing.
func cover(b Backup, list []segment, size int64) Coverage {
	c := Coverage{Backup: b.ID, Timeline: b.Timeline, First: b.BeginWAL, Needed: b.EndWAL}
	next := number(b.BeginWAL, size)
	i, _ := slices.BinarySearchFunc(list, b.BeginWAL, func(s segment, name string) int { return strings.Compare(s.name, name) })
	for ; i < len(list) && list[i].name[:8] == b.BeginWAL[:8] && number(list[i].name, size) <= next; i++ {
		s := list[i]
		c.Last, c.LastAt = &s.name, &s.at
		c.Files, c.Bytes = c.Files+1, c.Bytes+s.bytes
		c.Complete = c.Complete || s.name >= b.EndWAL
		next = number(s.name, size) + 1
	}
	return c
}

// number counts the segments of a timeline.
func number(name string, size int64) int64 {
	w, _ := parseWAL(name)
	return w.number(size)
}

func (s walFile) number(size int64) int64 { return int64(s.high<<32/uint64(size) + s.low) } // #nosec G115 -- fewer than 2^44

// waiting counts the files in one of the server's folders.
func (c *config) waiting(server, option, name string) int {
	entries, _ := os.ReadDir(c.folder(server, option, name))
	return len(slices.DeleteFunc(entries, func(e os.DirEntry) bool { return e.IsDir() || strings.HasPrefix(e.Name(), ".") }))
}
