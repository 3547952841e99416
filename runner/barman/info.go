package barman

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"barback/runner/durable"
)

// Info is what a backup.info holds beside the members of Backup. What Barman does not know is 0 or empty.
type Info struct {
	BeginTime        time.Time
	BeginWAL, EndWAL string
	BeginLSN, EndLSN string
	BeginOffset      int64
	EndOffset        int64
	Timeline         int64
	Copied           int64 // bytes that had to be copied
	ClusterSize      int64 // bytes of the cluster when the backup was made
	PostgreSQL       int64 // its version: 150018
	Error            string
	PGData           string
	SystemID         string
	Compression      string
	Encryption       string
	Checksums        string
	SummarizeWAL     string
	Children         []string // those that are incremental to this one
	CopyTime         float64  // seconds
	Workers          int64
	SegmentSize      int64 // bytes of a WAL file
	Snapshots        any   // as Barman has it
}

// readBackup reads a backup.info: lines key=value in alphabetical order, None for null. One that Barman did not write to its
// end, or could not read, is an error: it tells of no backup that anybody could rely on.
func readBackup(path, id string) (Backup, durable.Stamp, error) {
	data, stamp, err := durable.ReadFile(path)
	if err != nil {
		return Backup{}, stamp, err
	}
	b := Backup{ID: id, Status: "EMPTY", Info: &Info{}}
	if !utf8.Valid(data) {
		return b, stamp, &damagedError{path, errors.New("it is not UTF-8")}
	}
	if err := b.read(string(data)); err != nil {
		return b, stamp, &damagedError{path, err}
	}
	return b, stamp, nil
}

type damagedError struct {
	path string
	err  error
}

func (e *damagedError) Error() string {
	return fmt.Sprintf("%s is damaged: %v", e.path, e.err)
}

func (b *Backup) read(text string) error {
	i := b.Info
	whole := false
	for line := range strings.Lines(text) {
		if word := strings.TrimSpace(line); word == "" || word[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if key = strings.TrimSpace(key); !ok || !strings.HasSuffix(line, "\n") {
			return fmt.Errorf("it ends within the line %q", key)
		}
		whole = whole || key == "version" // in all of Barman's versions one of the last
		if value = strings.TrimSpace(value); value == "None" {
			continue
		}
		var err error
		text, number := b.field(key)
		switch {
		case text != nil:
			*text = strings.Clone(value) // the whole file is not to be kept for it
		case number != nil:
			*number, err = strconv.ParseInt(value, 10, 64)
		case key == "begin_time":
			i.BeginTime, err = parseTime(value)
		case key == "end_time":
			b.EndTime, err = parseTime(value)
		case key == "children_backup_ids":
			i.Children = strings.Split(strings.Clone(value), ",")
		case key == "tablespaces":
			b.Tablespaces, err = tablespaces(strings.Clone(value))
		case key == "copy_stats":
			err = i.copied(value)
		case key == "snapshots_info":
			i.Snapshots, err = literal(strings.Clone(value))
		}
		if err != nil {
			return fmt.Errorf("its %s cannot be read: %w", key, err)
		}
	}
	if !whole {
		return errors.New("its end is missing")
	}
	return nil
}

// field is where the value of a key goes that is a text, or a number.
func (b *Backup) field(key string) (text *string, number *int64) {
	i := b.Info
	switch key {
	case "status":
		return &b.Status, nil
	case "backup_name":
		return &b.Name, nil
	case "mode":
		return &b.Mode, nil
	case "parent_backup_id":
		return &b.Parent, nil
	case "begin_wal":
		return &i.BeginWAL, nil
	case "end_wal":
		return &i.EndWAL, nil
	case "begin_xlog":
		return &i.BeginLSN, nil
	case "end_xlog":
		return &i.EndLSN, nil
	case "error":
		return &i.Error, nil
	case "pgdata":
		return &i.PGData, nil
	case "systemid":
		return &i.SystemID, nil
	case "compression":
		return &i.Compression, nil
	case "encryption":
		return &i.Encryption, nil
	case "data_checksums":
		return &i.Checksums, nil
	case "summarize_wal":
		return &i.SummarizeWAL, nil
	case "size":
		return nil, &b.Size
	case "deduplicated_size":
		return nil, &i.Copied
	case "cluster_size":
		return nil, &i.ClusterSize
	case "begin_offset":
		return nil, &i.BeginOffset
	case "end_offset":
		return nil, &i.EndOffset
	case "timeline":
		return nil, &i.Timeline
	case "xlog_segment_size":
		return nil, &i.SegmentSize
	case "version":
		return nil, &i.PostgreSQL
	}
	return nil, nil
}

// parseTime reads Barman's times. Old ones have no zone: they are this host's.
func parseTime(value string) (t time.Time, err error) {
	for _, layout := range []string{"2006-01-02 15:04:05.999999999-07:00", "2006-01-02 15:04:05.999999999", "Mon Jan _2 15:04:05 2006"} {
		if t, err = time.ParseInLocation(layout, value, time.Local); err == nil {
			return t, nil
		}
	}
	return t, errors.New("it is no time")
}

// copied reads how long the copy took. What else stands there is of no use without its origin.
func (i *Info) copied(value string) error {
	v, err := literal(value)
	stats, _ := v.(map[string]any)
	switch n := stats["copy_time"].(type) {
	case int64:
		i.CopyTime = float64(n)
	case float64:
		i.CopyTime = n
	}
	if i.Workers, _ = stats["number_of_workers"].(int64); i.Workers == 0 && i.CopyTime > 0 {
		i.Workers = 1
	}
	return err
}

// tablespaces reads a list of tuples: [('name', 16387, '/location'), …].
func tablespaces(list string) ([]Tablespace, error) {
	v, err := literal(list)
	rows, ok := v.([]any)
	if err != nil || !ok {
		return nil, fmt.Errorf("the tablespaces %s cannot be read", list)
	}
	var found []Tablespace
	for _, row := range rows {
		cells, _ := row.([]any)
		if len(cells) != 3 {
			return nil, fmt.Errorf("the tablespaces %s cannot be read", list)
		}
		name, named := cells[0].(string)
		oid, numbered := cells[1].(int64)
		location, located := cells[2].(string)
		if slices.Contains([]bool{named, numbered, located}, false) {
			return nil, fmt.Errorf("the tablespaces %s cannot be read", list)
		}
		found = append(found, Tablespace{name, location, oid})
	}
	return found, nil
}
