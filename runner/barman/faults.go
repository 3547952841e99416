package barman

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// methods are Barman's ways to make a backup; for another word it takes the first.
var methods = []string{"rsync", "postgres", "local-rsync", "snapshot", "local-to-cloud"}

// faults are what is wrong with the configuration of a server, so that Barman disables it. What Barman finds out only
// from PostgreSQL, or from a cloud, is not among them: its check tells.
func (c *config) faults(name string) (list []string) {
	if c.there {
		if truth(c.servers[name]["disabled"], false) {
			list = append(list, "Barman disables it for what its configuration says; barman list-servers on its host, and Barman's log, say more")
		}
		return list
	}
	note := func(wrong bool, format string, args ...any) {
		if wrong {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	model := c.activeModel(name)
	_, there := c.models[model]
	note(model != "" && !there, "the active model %q is not in the configuration", model)
	c.conflicts(name, note)
	is := func(option string) bool { return truth(c.option(name, option), false) }
	set := func(option string) bool { return c.option(name, option) != "" }
	s := c.server(name)
	if !s.Active || s.Passive {
		return list
	}
	own := c.settings(name) // these are not taken from [barman]
	method := strings.ToLower(c.option(name, "backup_method"))
	if !slices.Contains(methods, method) {
		method = methods[0]
	}
	note(own["conninfo"] == "", "conninfo is missing")
	streams := method == "postgres" || is("streaming_archiver")
	note(streams && cmp.Or(own["streaming_conninfo"], own["conninfo"]) == "", "streaming_conninfo is missing")
	note(is("streaming_archiver") && !is("archiver") && !set("slot_name"), "slot_name is missing, without which WALs that are only streamed can get lost")
	note(method == "rsync" && own["ssh_command"] == "", "ssh_command is missing")
	note(method == "local-rsync" && own["ssh_command"] != "", "ssh_command is set, and backup_method = local-rsync copies on this host")
	reuse := slices.Contains([]string{"copy", "link"}, strings.ToLower(c.option(name, "reuse_backup")))
	for _, f := range []struct {
		wrong   bool
		option  string
		methods []string // that do not take it
	}{
		{set("tablespace_bandwidth_limit"), "tablespace_bandwidth_limit", []string{"postgres", "snapshot"}},
		{reuse, "reuse_backup", []string{"postgres", "snapshot"}},
		{is("network_compression"), "network_compression", []string{"postgres", "snapshot"}},
		{set("backup_compression"), "backup_compression", []string{"rsync", "local-rsync", "snapshot"}},
		{set("bandwidth_limit"), "bandwidth_limit", []string{"snapshot"}},
	} {
		note(f.wrong && slices.Contains(f.methods, method), "%s cannot be used with backup_method = %s", f.option, method)
	}
	for _, option := range []string{"snapshot_disks", "snapshot_instance", "snapshot_provider"} {
		note(method == "snapshot" && !set(option), "%s is missing", option)
	}
	return list
}

// conflicts notes folders of the server that are one and the same.
func (c *config) conflicts(name string, note func(bool, string, ...any)) {
	seen := map[string]string{}
	for _, f := range [][2]string{{"backup_directory", ""}, {"basebackups_directory", "base"}, {"errors_directory", "errors"},
		{"incoming_wals_directory", "incoming"}, {"streaming_wals_directory", "streaming"}, {"wals_directory", "wals"}} {
		path := c.folder(name, f[0], f[1])
		if strings.Contains(path, "://") {
			continue
		}
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		path = filepath.Clean(path)
		note(seen[path] != "", "%s and %s are the same folder, %s", seen[path], f[0], path)
		seen[path] = f[0]
	}
}
