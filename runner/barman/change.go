package barman

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"barback/runner/rewrite"
)

// Change is an option of a section of Barman's configuration and what it is to be, as Barman reads it.
type Change struct{ Section, Option, Value string }

// member is what the change is called in a refusal.
func (ch Change) member() string { return token(ch.Section + "." + ch.Option) }

// Sections is the configuration as Barman reads it, of all of its files: options by section.
func (c *Client) Sections() (map[string]map[string]string, error) {
	if c.Host.Remote() {
		return nil, &ElsewhereError{"Barman's configuration"}
	}
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	all := map[string]map[string]string{"barman": cfg.global}
	for name, s := range cfg.servers {
		all[name] = s
	}
	for name, s := range cfg.models {
		all[name] = s
	}
	return all, nil
}

// Change sets options in Barman's configuration, all or none, and returns what Barman says about the new one. Each is set where it
// counts: in the last of the files that set it, else in the last one that has its section. Barman looks
// at a copy first; what it does not take is not written.
func (c *Client) Change(changes []Change, now time.Time) (warnings []string, err error) {
	if c.Host.Remote() {
		return nil, &ElsewhereError{"Barman's configuration"}
	}
	if err := c.checkChanges(changes); err != nil {
		return nil, err
	}
	version, err := c.Version()
	if err != nil {
		return nil, err
	}
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	unlock, err := cfg.lockUpdate(c.timeout(Question{}))
	if err != nil {
		return nil, err
	}
	defer unlock()
	t, err := c.readTree()
	if err != nil {
		return nil, err
	}
	for _, ch := range changes {
		if err := t.set(ch, version); err != nil {
			return nil, err
		}
	}
	changed := t.changed()
	for _, f := range changed {
		if err := notOurs(f.Check(), version); err != nil {
			return nil, err
		}
	}
	if len(changed) == 0 {
		return nil, nil
	}
	if warnings, err = c.try(t); err != nil {
		return nil, err
	}
	return warnings, rewrite.Replace(changed, filepath.Join(c.Cache, "saved"), now)
}

// checkChanges refuses what cannot be set, or must not be.
func (c *Client) checkChanges(changes []Change) error {
	if c.Cache == "" {
		return errors.New("there is no state directory for the last versions of Barman's configuration")
	}
	if len(changes) == 0 {
		return invalid(notMet, "", "give at least one SECTION.option=value")
	}
	for i, ch := range changes {
		if err := checkOptionName(ch.Option); err != nil {
			return invalid("A value is not allowed", ch.member(), "%q %v", ch.Option, err)
		}
		if err := checkValue(ch.Value); err != nil {
			return invalid("A value is not allowed", ch.member(), "the value %v", err)
		}
		if err := c.Policy.checkOption(ch.member(), ch.Option); err != nil {
			return err
		}
		if slices.ContainsFunc(changes[:i], func(other Change) bool { return other.Section == ch.Section && other.Option == ch.Option }) {
			return invalid("A value is not allowed", ch.member(), "is given twice")
		}
	}
	return nil
}

// tree is the files of a configuration, in the order in which they are read.
type tree struct {
	files []*rewrite.File
	auto  string // what config-update writes, and Barman reads last; empty: it is not there
}

// readTree reads all files; those that Barman cannot read it passes over, but the first.
func (c *Client) readTree() (*tree, error) {
	main, err := c.configPath()
	if err != nil {
		return nil, err
	}
	first, err := rewrite.Read(main)
	if err != nil {
		return nil, &ConfigError{main, err}
	}
	sections, err := parse(first.Text)
	if err != nil {
		return nil, &ConfigError{main, err}
	}
	t := &tree{files: []*rewrite.File{first}}
	for _, path := range new(reading).included(map[string]string{"configuration_files_directory": clean(sections["barman"]["configuration_files_directory"])}) {
		f, err := rewrite.Read(path)
		if errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, &ConfigError{path, err}
		}
		t.files = append(t.files, f)
	}
	f, err := rewrite.Read(filepath.Join(clean(sections["barman"]["barman_home"]), ".barman.auto.conf"))
	if err == nil {
		t.auto = f.Text
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return t, err
}

func (t *tree) changed() []*rewrite.File {
	return slices.DeleteFunc(slices.Clone(t.files), func(f *rewrite.File) bool { return !f.Changed() })
}

// set makes one change, where it counts.
func (t *tree) set(ch Change, version string) error {
	if sets(t.auto, ch.Section, ch.Option) {
		return refused(ch.member(), "is set in .barman.auto.conf of barman_home, which is Barman's own to write: change it with an operation config_update (POST /operations)")
	}
	in := slices.Clone(t.files)
	slices.Reverse(in)
	i := slices.IndexFunc(in, func(f *rewrite.File) bool { return sets(f.New, ch.Section, ch.Option) })
	if i < 0 {
		i = slices.IndexFunc(in, func(f *rewrite.File) bool { return sets(f.New, ch.Section, "") })
	}
	if i < 0 || ch.Section == defaultSection {
		return invalid("The request is not allowed", ch.member(), "there is no section [%s] in %s or what it includes: a server is added with a file of its own, by hand", ch.Section, t.files[0].Path)
	}
	text, err := setOption(in[i].New, ch.Section, ch.Option, spell(ch.Value, version))
	if err != nil {
		return &ConfigError{in[i].Path, err}
	}
	in[i].New = text
	return nil
}

// sets reports whether a file has the option, or (empty) the section.
func sets(text, in, option string) bool {
	_, entries, err := scan(text)
	return err == nil && lastEntry(entries, in, option) >= 0
}

// notOurs says what an administrator can do about a file of Barman's that is not user barman's.
func notOurs(err error, version string) error {
	e, ok := errors.AsType[*rewrite.NotOursError](err)
	if !ok {
		return err
	}
	why := fmt.Sprintf("; or give it to the user that runs Barman: sudo chown barman %s", e.Path)
	if dir := filepath.Dir(e.Path); e.Dir {
		base := filepath.Base(e.Path)
		why = fmt.Sprintf("; or keep it in a folder of the user that runs Barman: sudo install -d -o barman -g barman /etc/barman && sudo mv %s /etc/barman/ && sudo ln -s /etc/barman/%s %s", e.Path, base, dir)
	}
	if !older(version, "3.10") {
		why += "; or have Barman do it, with an operation config_update (POST /operations)"
	}
	return &rewrite.NotOursError{Path: e.Path, Dir: e.Dir, Why: strings.TrimSpace(e.Why + why)}
}
