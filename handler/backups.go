package handler

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"barback/runner/barman"
	"barback/runner/pattern"
)

// backupView is one backup of a list. The names are those of Barman's JSON, where it has one.
type backupView struct {
	ID           string     `json:"backup_id"`
	Name         *string    `json:"backup_name"`
	Type         *string    `json:"backup_type"`
	Status       string     `json:"status"`
	BeginTime    *time.Time `json:"begin_time"`
	EndTime      *time.Time `json:"end_time"`
	SizeBytes    *int64     `json:"size_bytes"`     // of the copy, and of the WAL files without which it is of no use
	WALSizeBytes *int64     `json:"wal_size_bytes"` // of those that came later, up to the next backup
	Keep         *string    `json:"keep"`
	Retention    *string    `json:"retention_status"`
	Parent       *string    `json:"parent_backup_id"`
	Children     []string   `json:"children_backup_ids"`
	Error        *string    `json:"error"`
	Abandoned    *bool      `json:"abandoned"`
	Damaged      bool       `json:"damaged"`
	Advice       string     `json:"advice,omitempty"`
	Links        struct {
		Self   string `json:"self"`
		Server string `json:"server"`
	} `json:"links"`
}

// backupDetail is one backup that was asked for. What its copy is made of is null until it is there.
type backupDetail struct {
	backupView
	Server      string             `json:"server"`
	SystemID    *string            `json:"system_id"`
	PostgreSQL  *int64             `json:"postgresql_version"`
	PGData      *string            `json:"pgdata_directory"`
	ClusterSize *int64             `json:"cluster_size_bytes"`
	Tablespaces []tablespaceView   `json:"tablespaces"`
	Snapshots   any                `json:"snapshots_info"`
	ServerInfo  serverInformation  `json:"server_information"`
	Base        *baseInformation   `json:"base_backup_information"`
	Catalog     catalogInformation `json:"catalog_information"`
	WAL         *walInformation    `json:"wal_information"`
}

type tablespaceView struct {
	Name     string `json:"name"`
	Location string `json:"location"`
	OID      int64  `json:"oid"`
}

type serverInformation struct {
	Checksums    *string `json:"data_checksums"`
	SummarizeWAL *string `json:"summarize_wal"`
}

type baseInformation struct {
	Method      *string  `json:"backup_method"`
	Compression *string  `json:"compression"`
	Encryption  *string  `json:"encryption"`
	Bytes       int64    `json:"backup_size_bytes"`
	WithWALs    int64    `json:"backup_size_with_wals_bytes"`
	WALBytes    int64    `json:"wal_size_bytes"`
	WALs        *int64   `json:"wal_num"`
	Timeline    int64    `json:"timeline"`
	BeginWAL    string   `json:"begin_wal"`
	EndWAL      string   `json:"end_wal"`
	BeginLSN    string   `json:"begin_lsn"`
	EndLSN      string   `json:"end_lsn"`
	BeginOffset int64    `json:"begin_offset"`
	EndOffset   int64    `json:"end_offset"`
	CopyTime    *float64 `json:"copy_time_seconds"`
	Workers     *int64   `json:"number_of_workers"`
}

type catalogInformation struct {
	Previous *string `json:"previous_backup"`
	Next     *string `json:"next_backup"`
	Root     *string `json:"root_backup_id"`
	Chain    *int64  `json:"chain_size"`
}

type walInformation struct {
	Files int64   `json:"no_of_files"`
	Bytes int64   `json:"disk_usage_bytes"`
	Last  *string `json:"last_available"`
}

// What to do about a backup that is not as it should be.
const (
	adviceAbandoned = "nobody works on this backup any more, and Barman leaves it as it is: make another one, and delete this one (barman delete)"
	adviceDamaged   = "Barman cannot go by this file: bring it back from a copy of Barman's disk, or remove the backup by hand"
)

var backupStatuses = []string{"DONE", "WAITING_FOR_WALS", "FAILED", "STARTED", "EMPTY", "SYNCING", "DAMAGED"}

var backupID = pattern.New(`^\d{8}T\d{6}$`)

// backups handles "GET /servers/NAME/backups": the newest first.
func (h *handler) backups(w http.ResponseWriter, r *request) error {
	server := r.params.ByName("server")
	if err := r.may("servers/" + server + "/backups"); err != nil {
		return err
	}
	list, err := h.Barman.Catalog(server)
	if err != nil {
		return err
	}
	q := parameters{Values: r.URL.Query()}
	statuses, since, until := q.choice("status", backupStatuses), q.when("since"), q.when("until")
	limit, before := q.page(backupID().MatchString)
	if err := q.refused(); err != nil {
		return err
	}
	views, page, path := []backupView{}, map[string]any{}, h.serverPath(server)
	for i := range list {
		e := &list[len(list)-1-i]
		// When a damaged one was made nobody knows: it is in every time.
		began := e.Began()
		if before != "" && e.ID >= before || len(statuses) > 0 && !slices.Contains(statuses, e.Status) ||
			!began.IsZero() && (!since.IsZero() && began.Before(since) || !until.IsZero() && !began.Before(until)) {
			continue
		}
		if limit > 0 && len(views) == limit {
			page["next_page_token"] = nextPage(w, r, path+"/backups", []string{"page_size", "since", "status", "until"}, views[limit-1].ID)
			break
		}
		views = append(views, h.backupView(path, e))
	}
	page["backups"] = views
	return answer(w, r, http.StatusOK, page)
}

// backup handles "GET /servers/NAME/backups/ID"; instead of an ID it takes Barman's words and names of backups, and "auto"
// with a target in the query.
func (h *handler) backup(w http.ResponseWriter, r *request) error {
	server := r.params.ByName("server")
	if err := r.may("servers/" + server + "/backups"); err != nil {
		return err
	}
	id := r.params.ByName("id")
	if id == "auto" {
		var err error
		if id, err = h.Barman.Auto(server, r.URL.Query()); err != nil {
			return ofQuery(err)
		}
	}
	e, err := h.Barman.Entry(server, id)
	if err != nil {
		return err
	}
	return answer(w, r, http.StatusOK, h.backupDetail(server, e))
}

// ofQuery is the refusal of a body's members as that of parameters.
func ofQuery(err error) error {
	if e, ok := errors.AsType[*barman.InvalidError](err); ok {
		for i := range e.Fields {
			e.Fields[i].Pointer = "?" + strings.TrimPrefix(e.Fields[i].Pointer, "/")
		}
	}
	return err
}

// backupView is a backup of the server with this path.
func (h *handler) backupView(server string, e *barman.Entry) backupView {
	v := backupView{
		ID: e.ID, Name: optional(e.Name), Type: optional(e.Type()), Status: e.Status, BeginTime: when(e.BeginTime), EndTime: when(e.EndTime),
		Keep: optional(e.Keep), Retention: optional(e.Retention), Parent: optional(e.Parent), Children: e.Children, Error: optional(maskMessage(e.Error)),
		Damaged: e.Err != nil,
	}
	v.Links.Self, v.Links.Server = server+"/backups/"+url.PathEscape(e.ID), server
	if e.Children == nil && !e.Partial {
		v.Children = []string{}
	}
	if !e.Told || !e.Open() {
		v.Abandoned = &e.Abandoned
	}
	if e.Usable() {
		size := e.Size + e.Needed.Bytes
		v.SizeBytes, v.WALSizeBytes = &size, &e.Later.Bytes
	}
	if e.Abandoned {
		v.Advice = adviceAbandoned
	}
	if e.Err != nil {
		v.Error, v.Advice = optional(maskMessage(e.Err.Error())), adviceDamaged
	}
	return v
}

func (h *handler) backupDetail(server string, e barman.Entry) backupDetail {
	v := backupDetail{
		backupView: h.backupView(h.serverPath(server), &e), Server: server, SystemID: optional(e.SystemID), PostgreSQL: positive(e.PostgreSQL), PGData: optional(e.PGData),
		ClusterSize: positive(e.ClusterSize), Tablespaces: []tablespaceView{}, Snapshots: e.Snapshots,
		ServerInfo: serverInformation{optional(e.Checksums), optional(e.SummarizeWAL)},
		Catalog:    catalogInformation{Previous: optional(e.Previous), Next: optional(e.Next)},
	}
	for _, t := range e.Tablespaces {
		v.Tablespaces = append(v.Tablespaces, tablespaceView(t))
	}
	if n := int64(len(e.Chain)); n > 0 {
		size := n + 1
		v.Catalog.Root, v.Catalog.Chain = &e.Chain[n-1], &size
	}
	if !e.Usable() {
		return v
	}
	v.Base = &baseInformation{
		Method: optional(e.Mode), Compression: optional(e.Compression), Encryption: optional(e.Encryption), Bytes: e.Copied, WithWALs: e.Copied + e.Needed.Bytes,
		WALBytes: e.Needed.Bytes, Timeline: e.Timeline, BeginWAL: e.BeginWAL, EndWAL: e.EndWAL, BeginLSN: e.BeginLSN, EndLSN: e.EndLSN,
		BeginOffset: e.BeginOffset, EndOffset: e.EndOffset, Workers: positive(e.Workers),
	}
	if e.Needed.Files >= 0 {
		v.Base.WALs = &e.Needed.Files
	}
	if e.CopyTime > 0 {
		v.Base.CopyTime = &e.CopyTime
	}
	v.WAL = &walInformation{e.Later.Files, e.Later.Bytes, optional(e.LastWAL)}
	return v
}

// positive is n, or null if it is not known.
func positive(n int64) *int64 {
	if n <= 0 {
		return nil
	}
	return &n
}
