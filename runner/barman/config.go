package barman

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"barback/runner/durable"
)

// ConfigError says that Barman's own configuration cannot be used.
type ConfigError struct {
	Path string
	Err  error
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("Barman's configuration %s: %v", e.Path, e.Err)
}

func (e *ConfigError) Unwrap() error { return e.Err }

// section is one section's options, names in lower case, values as Barman takes them.
type section map[string]string

// config is Barman's configuration, which is not changed once it was read, as its command line reads it: the main file,
// the include directory, then .barman.auto.conf; the later file wins, option by option.
type config struct {
	global  section
	servers map[string]section
	models  map[string]section
	there   bool // Barman told it, on another host
}

// last is what the last request read: a process has to do with one configuration.
var last atomic.Pointer[reading]

// load is the configuration as it is now. What was read for another request will do as long as
// each file of it is the one that was read.
func (c *Client) load() (*config, error) {
	if c.Host.Remote() {
		return c.loadThere()
	}
	main, err := c.configPath()
	if err != nil {
		return nil, err
	}
	if r := last.Load(); r != nil && r.main == main && r.stands() {
		return r.config, nil
	}
	r := &reading{main: main}
	if r.config, err = r.read(); err != nil {
		return nil, err
	}
	if r.lasts() {
		last.Store(r)
	}
	return r.config, nil
}

// reading is a configuration with the files that it was read from.
type reading struct {
	main   string
	files  []file
	config *config
}

// file is one of them, or a folder, as it was before it was read.
type file struct {
	path  string
	stamp durable.Stamp
}

func (r *reading) note(path string) { r.files = append(r.files, file{path, durable.StampOf(path)}) }

// stands reports whether all files are still as they were.
func (r *reading) stands() bool {
	return !slices.ContainsFunc(r.files, func(f file) bool { return durable.StampOf(f.path) != f.stamp })
}

// lasting is a variable for tests, whose files are young.
var lasting = durable.Stamp.Lasting

// lasts reports whether the next change of any of them will be seen.
func (r *reading) lasts() bool {
	return !slices.ContainsFunc(r.files, func(f file) bool { return !lasting(f.stamp) })
}

func (r *reading) read() (*config, error) {
	cfg := &config{global: section{}, servers: map[string]section{}, models: map[string]section{}}
	all := map[string]section{}
	if err := r.merge(all, r.main); err != nil {
		return nil, &ConfigError{r.main, err}
	}
	for _, path := range r.included(all["barman"]) {
		if err := r.merge(all, path); err != nil && !errors.Is(err, fs.ErrPermission) { // unreadable ones are passed over by Barman, too
			return nil, &ConfigError{path, err}
		}
	}
	if home := all["barman"]["barman_home"]; home != "" {
		if err := r.merge(all, filepath.Join(home, ".barman.auto.conf")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, &ConfigError{home + "/.barman.auto.conf", err}
		}
	}
	for name, s := range all {
		switch {
		case name == "barman":
			cfg.global = s
		case truth(s["model"], false):
			cfg.models[name] = s
		default:
			cfg.servers[name] = s
		}
	}
	if cfg.global["barman_home"] == "" {
		return nil, &ConfigError{r.main, errors.New("barman_home is not set in [barman]")}
	}
	return cfg, nil
}

// included lists the files of configuration_files_directory: *.conf, not hidden, sorted, not recursive.
func (r *reading) included(global section) []string {
	dir := global["configuration_files_directory"]
	if dir == "" {
		return nil
	}
	var paths []string
	r.note(dir)
	entries, _ := os.ReadDir(dir) // sorted
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".conf") && !strings.HasPrefix(name, ".") {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths
}

// merge reads one file over what is there. Options of its [DEFAULT] hold in each of its sections.
func (r *reading) merge(all map[string]section, path string) error {
	r.note(path)
	data, _, err := durable.ReadFile(path)
	if err != nil {
		return err
	}
	sections, err := parse(string(data))
	if err != nil {
		return err
	}
	for name, s := range sections {
		if all[name] == nil {
			all[name] = s
		}
		for option, value := range s {
			all[name][option] = clean(value)
		}
	}
	return nil
}

// clean takes off one pair of quotes around a whole value of one line and reads None as unset.
func clean(v string) string {
	v = strings.TrimSpace(v)
	if n := len(v); n >= 2 && !strings.Contains(v, "\n") && (v[0] == '"' || v[0] == '\'') && v[n-1] == v[0] {
		v = v[1 : n-1]
	}
	if v == "None" {
		return ""
	}
	return strings.ReplaceAll(v, "%%", "%") // Barman from 3.13 on reads values twice
}

// truth reads a boolean as Barman does; what is none of its words is the default.
func truth(v string, def bool) bool {
	switch strings.ToLower(v) {
	case "true", "t", "yes", "1", "on":
		return true
	case "false", "f", "no", "0", "off":
		return false
	}
	return def
}

// names lists the servers in alphabetical order.
func (c *config) names() []string { return slices.Sorted(maps.Keys(c.servers)) }

// directory is where the server's catalog lies.
func (c *config) directory(server string) string {
	if d := c.servers[server]["backup_directory"]; d != "" {
		return d
	}
	return filepath.Join(c.global["barman_home"], server)
}

// trees lists the folders on the Barman host that no restore may touch.
func (c *Client) trees() ([]string, error) {
	if c.Host.Remote() {
		return c.treesThere() // what the policy forbids is on this host
	}
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	return append(cfg.trees(), c.Policy.Forbidden...), nil
}

// trees lists the folders that are Barman's own.
func (c *config) trees() []string {
	t := []string{c.global["barman_home"]}
	for name, s := range c.servers {
		t = append(t, c.directory(name))
		for _, option := range []string{"basebackups_directory", "wals_directory", "incoming_wals_directory", "streaming_wals_directory", "errors_directory"} {
			if dir := s[option]; filepath.IsAbs(dir) {
				t = append(t, dir)
			}
		}
	}
	return t
}
