package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"barback/runner/barman"
	"barback/runner/rewrite"
)

// outside is what the options that stand outside of a table are called among the sections of barmanapi's dialect.
const outside = "barback"

// changeable are the options that may be set over REST: none with which an administrator of barback could do
// more than before. What is not named here is edited where it stands.
var changeable = []string{
	"barback.idle_timeout", "barback.max_body", "barback.log_level", "barman.timeout", "barman.deadline",
	"runner.max_parallel", "runner.launch_timeout", "runner.stop_grace", "runner.max_open", "runner.max_output",
	"retention.archive_after", "retention.max_operations", "retention.max_size", "retention.delete_archives_after",
	"barmanapi.async_commands", "barmanapi.token_lifetime",
}

// fixed says of the others why not. The last pattern takes them all.
var fixed = []struct{ pattern, why string }{
	{"barman.mask_passwords", "it is what hides passwords from whoever asks"},
	{"barman.*", "it decides what runs as the user of Barman, and where"},
	{"restore.*", "it limits what may be asked for over REST"},
	{"barmanapi.*", "it limits what may be asked for over REST"},
	{"targets.*", "it limits what may be asked for over REST"},
	{"config_update.*", "it limits what may be asked for over REST"},
	{"auth.*", "it decides who is who"},
	{"barback.trusted_proxy_*", "it decides who is who"},
	{"audit.*", "it decides whether what is done over REST is written down"},
	{"barback.state_dir", "users, locks and operations lie there"},
	{"barback.base_path", "barback would no longer be found where it is"},
	{"runner.socket", "it decides who runs operations"},
	{"*", "it is none of those that are harmless"},
}

// ownConfig is barback.toml for the handler: it is read anew each time, as the file is what is changed.
type ownConfig struct{ cfg config }

// Sections is the configuration in force: the file over the defaults.
func (o ownConfig) Sections() (map[string]map[string]any, error) {
	c, err := loadConfig(o.cfg.path)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := writeConfig(&b, c); err != nil {
		return nil, err
	}
	var all map[string]any
	if _, err := toml.Decode(b.String(), &all); err != nil {
		return nil, err
	}
	sections := map[string]map[string]any{outside: {}}
	for name, v := range all {
		if table, ok := v.(map[string]any); ok {
			sections[name] = table
		} else {
			sections[outside][name] = v
		}
	}
	return sections, nil
}

// Change sets options of the file, all or none, if barback can work with them. Everything else in it stays.
func (o ownConfig) Change(changes map[string]string, now time.Time) (message string, err error) {
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if err := o.mayChange(name); err != nil {
			return "", err
		}
	}
	return o.set(changes, now)
}

// set is Change of any options.
func (o ownConfig) set(changes map[string]string, now time.Time) (message string, err error) {
	unlock, err := rewrite.Lock(filepath.Join(o.cfg.StateDir, "config.lock"), 10*time.Second)
	if err != nil {
		return "", err
	}
	defer unlock()
	f, err := rewrite.Read(o.cfg.path)
	if err != nil {
		return "", fmt.Errorf("configuration: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		table, key, _ := strings.Cut(name, ".")
		if table == outside {
			table = ""
		}
		literal, err := spell(table, key, changes[name])
		if err != nil {
			return "", refuseOption(name, false, err.Error())
		}
		if f.New, err = setKey(f.New, table, key, literal); err != nil {
			return "", refuseOption(name, false, err.Error())
		}
	}
	fresh := defaults()
	fresh.path = o.cfg.path
	if _, err := fresh.decode([]byte(f.New)); err != nil {
		return "", refuseOption(strings.Join(slices.Sorted(maps.Keys(changes)), " "), false, err.Error())
	}
	err = rewrite.Replace([]*rewrite.File{f}, filepath.Join(o.cfg.StateDir, "saved"), now)
	if e, ok := errors.AsType[*rewrite.NotOursError](err); ok {
		err = &rewrite.NotOursError{Path: e.Path, Dir: e.Dir, Why: e.Why + ", and then run barback config check"}
	}
	return "processes that run already go on with what they have read", err
}

func (o ownConfig) mayChange(name string) error {
	covers := func(pattern string) bool { ok, err := path.Match(pattern, name); return ok && err == nil }
	if o.cfg.path == "" {
		return refuseOption(name, true, "there is no configuration file, and the defaults are in force: an administrator makes "+defaultConfig)
	}
	if slices.Contains(changeable, name) {
		return nil
	}
	table, key, ok := strings.Cut(name, ".")
	if _, known := optionType(strings.TrimPrefix(table, outside), key); !ok || !known && table != "targets" {
		return refuseOption(name, false, "is no option of barback's configuration; GET /config/barmanapi lists them as SECTION and option, those outside of a section under "+outside)
	}
	i := slices.IndexFunc(fixed, func(f struct{ pattern, why string }) bool { return covers(f.pattern) || f.pattern == "*" })
	return refuseOption(name, true, fmt.Sprintf("cannot be set over REST, as %s: edit %s on the host, and run barback config check", fixed[i].why, cmp.Or(o.cfg.path, defaultConfig)))
}

func refuseOption(name string, policy bool, why string) error {
	return &barman.InvalidError{Summary: "The configuration cannot be changed like this", Fields: []barman.Field{{Pointer: "/" + name, Detail: why}}, Policy: policy}
}
