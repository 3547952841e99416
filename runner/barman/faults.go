package barman

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// methods are Barman's ways to make a backup; for another word it takes the first.
var methods = []string{"rsync", "postgres", "local-rsync", "snapshot", "local-to-cloud"}

// faults are what is wrong with the configuration of a server, so that Barman disables it. What Barman finds out only
// from PostgreSQL, or from a cloud, is not among them: its check tells.
func (c *config) faults(s Server) (list []string) {
	name, model := s.Name, s.ActiveModel
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
	_, there := c.models[model]
	note(model != "" && !there, "the active model %q is not in the configuration", model)
	c.conflicts(name, note)
	value := func(option string) string { return c.optionUnder(model, name, option) }
	is := func(option string) bool { return truth(value(option), false) }
	set := func(option string) bool { return value(option) != "" }
	if !s.Active || s.Passive {
		return list
	}
	own := func(option string) string { return c.setting(model, name, option) } // these are not taken from [barman]
	method := strings.ToLower(value("backup_method"))
	if !slices.Contains(methods, method) {
		method = methods[0]
	}
	note(own("conninfo") == "", "conninfo is missing")
	streams := method == "postgres" || is("streaming_archiver")
	note(streams && cmp.Or(own("streaming_conninfo"), own("conninfo")) == "", "streaming_conninfo is missing")
	note(is("streaming_archiver") && !is("archiver") && !set("slot_name"), "slot_name is missing, without which WALs that are only streamed can get lost")
	note(method == "rsync" && own("ssh_command") == "", "ssh_command is missing")
	note(method == "local-rsync" && own("ssh_command") != "", "ssh_command is set, and backup_method = local-rsync copies on this host")
	reuse := slices.Contains([]string{"copy", "link"}, strings.ToLower(value("reuse_backup")))
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

// folders are those of a server, and what they are called below its own.
var folders = [][2]string{{"backup_directory", ""}, {"basebackups_directory", "base"}, {"errors_directory", "errors"},
	{"incoming_wals_directory", "incoming"}, {"streaming_wals_directory", "streaming"}, {"wals_directory", "wals"}}

// conflicts notes folders of the server that are one and the same.
func (c *config) conflicts(name string, note func(bool, string, ...any)) {
	var options, paths []string
	for _, f := range folders {
		if path := c.folder(name, f[0], f[1]); !strings.Contains(path, "://") {
			options, paths = append(options, f[0]), append(paths, path)
		}
	}
	if distinct(paths) {
		return
	}
	seen := map[string]string{}
	for i, path := range paths {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		path = filepath.Clean(path)
		note(seen[path] != "", "%s and %s are the same folder, %s", seen[path], options[i], path)
		seen[path] = options[i]
	}
}

// distinct reports whether no path can be another one, wherever links lead: those that are there are other files, which
// is known far sooner than where they really lie.
func distinct(paths []string) bool {
	type file struct{ device, inode uint64 }
	var files []file
	for i, path := range paths {
		if path != filepath.Clean(path) || slices.Contains(paths[:i], path) {
			return false
		}
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil {
			continue
		}
		if slices.Contains(files, file{st.Dev, st.Ino}) {
			return false
		}
		files = append(files, file{st.Dev, st.Ino})
	}
	return true
}
