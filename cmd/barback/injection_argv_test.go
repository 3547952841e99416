package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// argv is what Barman has to be told for a body, read from the body alone. ok is false for a body
// that no Barman may be started for.
func (p parameter) argv(body map[string]any) (args []string, ok bool) {
	w := &wanted{body: body, ok: true}
	switch body["type"] {
	case "backup":
		w.args = []string{"backup"}
		w.flags("wait").pairs("immediate_checkpoint").numbers("jobs", "wait_timeout", "bwlimit", "retry_times", "retry_sleep").flags("no_retry").
			numbers("jobs_start_batch_size", "jobs_start_batch_period").words("name", "reuse_backup").pairs("manifest").numbers("keepalive_interval", "check_timeout").
			words("cloud_staging_max_size", "cloud_staging_directory").backups("incremental")
		return append(w.args, p.server()), w.ok
	case "recovery":
		w.args = []string{"recover"}
		w.numbers("bwlimit", "jobs", "retry_times", "retry_sleep").flags("no_retry").numbers("jobs_start_batch_size", "jobs_start_batch_period").
			pairs("get_wal").flags("standby_mode").pairs("network_compression").words("recovery_conf_filename", "staging_location", "combine_mode").pairs("delta_restore").
			numbers("recovery_option_port").flags("partial_wal", "skip_archive_wal").words("snapshot_recovery_zone", "gcp_zone", "azure_resource_group", "aws_region").
			words("recovery_staging_path", "local_staging_path", "staging_path", "staging_wal_directory").moment().
			scalars("target_xid").words("target_lsn", "target_name").flags("target_immediate").scalars("target_tli").flags("exclusive").words("target_action")
		if spaces, _ := body["tablespaces"].(map[string]any); p.kind == "tablespace" && spaces["ts"] != nil {
			w.args = append(w.args, fmt.Sprintf("--tablespace=ts:%v", spaces["ts"]))
		}
		if ssh, _ := body["remote_ssh_command"].(string); ssh != "" {
			w.args = append(w.args, "--remote-ssh-command="+strings.Join(strings.Fields(ssh), " "))
		} else if body["target"] == "prod" {
			w.args = append(w.args, "--remote-ssh-command=ssh postgres@prod")
		}
		id, dest := fmt.Sprint(body["backup_id"]), body["destination_directory"]
		if id == "latest" || id == "all" {
			id = yardBackup
		}
		return append(w.args, p.server(), id, fmt.Sprint(dest)), w.ok && id == yardBackup
	case "delete", "keep", "verify_backup", "generate_manifest", "check_backup", "sync_backup":
		id := fmt.Sprint(body["backup_id"])
		if id == "latest" && body["type"] != "sync_backup" {
			id = yardBackup
		}
		if w.args = []string{strings.ReplaceAll(fmt.Sprint(body["type"]), "_", "-")}; body["type"] == "keep" {
			w.words("target")
			if w.ok = w.ok && len(w.args) == 2; w.ok && w.args[1] == "--target=release" {
				w.args[1] = "--release"
			}
		}
		return append(w.args, p.server(), id), w.ok
	case "switch_wal":
		w.args = []string{"switch-wal"}
		w.flags("force", "archive").numbers("archive_timeout")
		return append(w.args, p.server()), w.ok
	case "archive_wal", "rebuild_xlogdb", "sync_wals":
		return []string{strings.ReplaceAll(fmt.Sprint(body["type"]), "_", "-"), p.server()}, true
	case "check", "status", "replication_status":
		return []string{"-f", "json", strings.ReplaceAll(fmt.Sprint(body["type"]), "_", "-"), p.server()}, true
	case "cron":
		return []string{"cron"}, true
	case "config_switch":
		if reset, _ := body["reset"].(bool); reset {
			return []string{"config-switch", "pg-a", "--reset"}, true
		}
		model, ok := body["model_name"].(string)
		return []string{"config-switch", "pg-a", model}, ok
	case "config_update":
		doc, err := json.Marshal(body["changes"])
		return []string{"config-update", string(doc)}, err == nil
	}
	return nil, false
}

// wanted collects the arguments that members stand for.
type wanted struct {
	body map[string]any
	args []string
	ok   bool
}

func (w *wanted) each(names []string, f func(name string, v any) (arg string, ok bool)) *wanted {
	for _, name := range names {
		if v, there := w.body[name]; there && v != nil {
			arg, ok := f("--"+strings.ReplaceAll(name, "_", "-"), v)
			if w.ok = w.ok && ok; arg != "" {
				w.args = append(w.args, arg)
			}
		}
	}
	return w
}

func (w *wanted) flags(names ...string) *wanted {
	return w.each(names, func(name string, v any) (string, bool) {
		on, ok := v.(bool)
		return map[bool]string{true: name}[on], ok
	})
}

func (w *wanted) numbers(names ...string) *wanted {
	return w.each(names, func(name string, v any) (string, bool) {
		number, _ := v.(json.Number)
		n, err := strconv.ParseInt(string(number), 10, 64)
		return fmt.Sprintf("%s=%d", name, n), err == nil
	})
}

func (w *wanted) words(names ...string) *wanted {
	return w.each(names, func(name string, v any) (string, bool) {
		s, ok := v.(string)
		return name + "=" + s, ok
	})
}

// pairs are options with a counterpart, each of which may be given.
func (w *wanted) pairs(names ...string) *wanted {
	for _, name := range names {
		w.each([]string{name}, func(long string, v any) (string, bool) {
			on, ok := v.(bool)
			return map[bool]string{true: long, false: "--no-" + strings.TrimPrefix(long, "--")}[on], ok
		}).flags("no_" + name)
	}
	return w
}

// scalars are numbers or words.
func (w *wanted) scalars(names ...string) *wanted {
	return w.each(names, func(name string, v any) (string, bool) {
		_, number := v.(json.Number)
		_, word := v.(string)
		return fmt.Sprintf("%s=%v", name, v), number || word
	})
}

// backups are backups of the yard.
func (w *wanted) backups(names ...string) *wanted {
	return w.each(names, func(name string, v any) (string, bool) {
		return name + "=" + yardBackup, v == "latest" || v == yardBackup
	})
}

// moment is target_time, in time_zone.
func (w *wanted) moment() *wanted {
	return w.each([]string{"target_time"}, func(name string, v any) (string, bool) {
		zone, zoned := w.body["time_zone"].(string)
		where, err := time.LoadLocation(zone)
		if err != nil {
			return "", false
		}
		layout := time.RFC3339Nano
		if zoned {
			layout = "2006-01-02T15:04:05"
		}
		at, err := time.ParseInLocation(layout, strings.Replace(fmt.Sprint(v), " ", "T", 1), where)
		return name + "=" + at.UTC().Format("2006-01-02 15:04:05.999999-07:00"), err == nil
	})
}
