package barman

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// listed is a backup as "list-backups" has it.
type listed struct {
	ID        string `json:"backup_id"`
	Name      string `json:"backup_name"`
	Type      string `json:"backup_type"`
	Status    string `json:"status"`
	EndTime   string `json:"end_time_timestamp"`
	EndClock  string `json:"end_time"`   // what the host's clocks showed
	Bytes     int64  `json:"size_bytes"` // with the WAL files without which it is of no use
	Later     int64  `json:"wal_size_bytes"`
	Retention string `json:"retention_status"`
}

func (l listed) entry() Entry {
	e := Entry{Backup: Backup{ID: l.ID, Name: l.Name, Status: l.Status, Kind: l.Type, Size: l.Bytes, Info: &Info{}}, Told: true, Partial: true}
	e.Later.Bytes = l.Later
	if seconds, err := strconv.ParseInt(l.EndTime, 10, 64); err == nil {
		e.EndTime = time.Unix(seconds, 0)
	}
	if keep, ok := strings.CutPrefix(l.Retention, "KEEP:"); ok {
		e.Keep = strings.ToLower(keep)
	}
	e.Retention = retention(l.Retention)
	return e
}

// retention is a word of the policy's, if Barman said one.
func retention(s string) string {
	if slices.Contains([]string{"VALID", "OBSOLETE", "OBSOLETE*", "KEEP:FULL", "KEEP:STANDALONE"}, s) {
		return s
	}
	return "" // "-" is what is valid, and what no policy is in force for
}

// zone is what the host's clocks were ahead when the backup ended: its ID is when it was begun, by these clocks.
func (l listed) zone() (*time.Location, bool) {
	seconds, err1 := strconv.ParseInt(l.EndTime, 10, 64)
	shown, err2 := time.Parse("Mon Jan _2 15:04:05 2006", l.EndClock)
	if err1 != nil || err2 != nil {
		return nil, false
	}
	return time.FixedZone("", int(shown.Unix()-seconds)), true
}

// catalogThere is the list of a server's backups, oldest first. Of incremental ones more is asked: what they are built on.
func (c *Client) catalogThere(server string) ([]Entry, error) {
	if _, err := c.Server(server); err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := c.told(&all, 0, "list-backups", server); err != nil {
		return nil, err
	}
	var rows []listed
	if raw, ok := all[server]; ok {
		if err := json.Unmarshal(raw, &rows); err != nil {
			return nil, &AskError{Detail: fmt.Sprintf("barman list-backups printed what is not understood: %v", err)}
		}
	}
	list, at := make([]Entry, len(rows)), map[string]int{}
	var zone *time.Location
	for _, row := range rows {
		if z, ok := row.zone(); ok {
			zone = z
		}
	}
	for i, row := range rows {
		list[i] = row.entry()
		if z, ok := row.zone(); ok {
			zone = z
		}
		if zone != nil { // of one without an end, that of one beside it
			list[i].began, _ = time.ParseInLocation("20060102T150405", row.ID, zone)
		}
	}
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.ID, b.ID) })
	for i := range list {
		at[list[i].ID] = i
		if list[i].Kind == "incremental" {
			if err := c.detail(server, &list[i]); err != nil {
				return nil, err
			}
		}
	}
	for i := range list {
		for p, ok := at[list[i].Parent]; ok && len(list[i].Chain) < len(list); p, ok = at[list[p].Parent] {
			list[i].Chain = append(list[i].Chain, list[p].ID)
		}
	}
	return list, nil
}

// backupsThere are the backups of all servers, asked for at once.
func (c *Client) backupsThere() (func(server string) ([]Backup, error), error) {
	var all map[string]json.RawMessage
	if err := c.told(&all, 0, "list-backups", "all"); err != nil {
		return nil, err
	}
	return func(server string) ([]Backup, error) {
		var rows []listed
		if raw, ok := all[server]; ok {
			if err := json.Unmarshal(raw, &rows); err != nil {
				return nil, &AskError{Detail: fmt.Sprintf("barman list-backups printed what is not understood: %v", err)}
			}
		}
		list := make([]Backup, len(rows))
		for i, row := range rows {
			list[i] = row.entry().Backup
		}
		slices.SortFunc(list, func(a, b Backup) int { return strings.Compare(a.ID, b.ID) })
		return list, nil
	}, nil
}

// entryThere is all that can be known of the backup that a client means.
func (c *Client) entryThere(server, id string) (Entry, error) {
	list, err := c.catalogThere(server)
	if err != nil {
		return Entry{}, err
	}
	e, err := Pick(list, server, id)
	if err != nil {
		return e, err
	}
	var cfg *config
	var keep map[string]struct {
		Status struct {
			Message string `json:"message"`
		} `json:"keep_status"`
	}
	var errs [3]error
	var asking sync.WaitGroup
	if e.Mode == "" { // of an incremental one it was asked already
		asking.Go(func() { errs[0] = c.detail(server, &e) })
	}
	asking.Go(func() { cfg, errs[1] = c.settled(server) })
	asking.Go(func() {
		if e.Usable() {
			errs[2] = c.told(&keep, 0, "keep", "--status", server, e.ID)
		}
	})
	asking.Wait()
	for _, err := range errs {
		if err != nil {
			return e, err
		}
	}
	if word := keep[server].Status.Message; word == "full" || word == "standalone" {
		e.Keep = word
	}
	if base := cfg.servers[server]["basebackups_directory"]; base != "" {
		e.Data = path.Join(base, e.ID, "data")
	}
	return e, nil
}

// shown is a backup as "show-backup" has it. What is not there yet is missing.
type shown struct {
	Name        string `json:"backup_name"`
	Type        string `json:"backup_type"`
	Status      string `json:"status"`
	SystemID    string `json:"system_id"`
	Error       string `json:"error"`
	PostgreSQL  int64  `json:"postgresql_version"`
	PGData      string `json:"pgdata_directory"`
	ClusterSize int64  `json:"cluster_size_bytes"`
	Server      struct {
		Checksums    string `json:"data_checksums"`
		SummarizeWAL string `json:"summarize_wal"`
	} `json:"server_information"`
	Tablespaces []struct {
		Name     string `json:"name"`
		Location string `json:"location"`
		OID      int64  `json:"oid"`
	} `json:"tablespaces"`
	Snapshots any `json:"snapshots_info"`
	Base      *struct {
		Method      string  `json:"backup_method"`
		Compression string  `json:"compression"`
		Encryption  string  `json:"encryption"`
		Bytes       int64   `json:"backup_size_bytes"`
		OldBytes    int64   `json:"incremental_size_bytes"` // before 3.13
		OldSize     int64   `json:"disk_usage_bytes"`
		OldWith     int64   `json:"disk_usage_with_wals_bytes"`
		WALBytes    int64   `json:"wal_size_bytes"`
		WALs        int64   `json:"wal_num"`
		Timeline    int64   `json:"timeline"`
		BeginWAL    string  `json:"begin_wal"`
		EndWAL      string  `json:"end_wal"`
		BeginLSN    string  `json:"begin_lsn"`
		EndLSN      string  `json:"end_lsn"`
		BeginOffset int64   `json:"begin_offset"`
		EndOffset   int64   `json:"end_offset"`
		BeginTime   string  `json:"begin_time"`
		EndTime     string  `json:"end_time"`
		CopyTime    float64 `json:"copy_time_seconds"`
		Workers     int64   `json:"number_of_workers"`
	} `json:"base_backup_information"`
	Catalog struct {
		Policy   string   `json:"retention_policy"`
		Previous string   `json:"previous_backup"`
		Next     string   `json:"next_backup"`
		Parent   string   `json:"parent_backup_id"`
		Children []string `json:"children_backup_ids"`
	} `json:"catalog_information"`
	WAL struct {
		Files int64  `json:"no_of_files"`
		Bytes int64  `json:"disk_usage_bytes"`
		Last  string `json:"last_available"`
	} `json:"wal_information"`
}

// detail asks for the rest of what is known of a backup.
func (c *Client) detail(server string, e *Entry) error {
	var all map[string]shown
	if err := c.told(&all, 0, "show-backup", server, e.ID); err != nil {
		return err
	}
	s := all[server]
	i := &Info{Error: s.Error, SystemID: s.SystemID, PostgreSQL: s.PostgreSQL, PGData: s.PGData, ClusterSize: s.ClusterSize, Checksums: s.Server.Checksums,
		SummarizeWAL: s.Server.SummarizeWAL, Children: s.Catalog.Children, Snapshots: s.Snapshots}
	e.Partial = false
	e.Info, e.Parent, e.LastWAL = i, s.Catalog.Parent, s.WAL.Last
	e.Previous, e.Next = neighbour(s.Catalog.Previous), neighbour(s.Catalog.Next)
	e.Later = WALs{s.WAL.Files, s.WAL.Bytes}
	if r := retention(s.Catalog.Policy); r != "" {
		e.Retention = r
	}
	e.Tablespaces = nil
	for _, t := range s.Tablespaces {
		e.Tablespaces = append(e.Tablespaces, Tablespace{t.Name, t.Location, t.OID})
	}
	b := s.Base
	if b == nil {
		return nil
	}
	e.Mode, i.Compression, i.Encryption, i.Timeline, i.Copied = b.Method, b.Compression, b.Encryption, b.Timeline, b.Bytes
	i.BeginWAL, i.EndWAL, i.BeginLSN, i.EndLSN, i.BeginOffset, i.EndOffset = b.BeginWAL, b.EndWAL, b.BeginLSN, b.EndLSN, b.BeginOffset, b.EndOffset
	i.CopyTime, i.Workers = b.CopyTime, b.Workers
	e.Needed = WALs{b.WALs, b.WALBytes}
	if b.OldWith > 0 {
		i.Copied, e.Needed = b.OldBytes, WALs{-1, b.OldWith - b.OldSize}
	}
	e.Size -= e.Needed.Bytes // a list has both in one
	for _, t := range []struct {
		text string
		into *time.Time
	}{{b.BeginTime, &i.BeginTime}, {b.EndTime, &e.EndTime}} {
		at, err := parseTime(strings.Replace(t.text, "T", " ", 1))
		if err != nil {
			return &AskError{Detail: fmt.Sprintf("barman show-backup says that backup %s is of %q, which is no time", e.ID, t.text)}
		}
		*t.into = at
	}
	return nil
}

// neighbour is the ID of a backup, or none: Barman says so in words.
func neighbour(s string) string {
	if isBackupID(s) {
		return s
	}
	return ""
}
