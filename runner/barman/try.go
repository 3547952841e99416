package barman

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"barback/runner/pattern"
	"barback/runner/rewrite"
)

// try has Barman read a copy of the configuration as it would become, and returns what it warns of. "list-servers" starts
// nothing and connects to nothing, and sets up every server: what Barman thinks of their options it prints, or writes to
// its log, with exit code 0. So what it says of the copy is compared with what it says of the configuration as it is.
func (c *Client) try(t *tree) (warnings []string, err error) {
	for _, left := range c.copies() {
		_ = os.RemoveAll(left) // of a process that was killed; the lock is ours
	}
	after, err := c.opinion(t, func(f *rewrite.File) string { return f.New })
	if err != nil || len(after) == 0 {
		return nil, err
	}
	before, err := c.opinion(t, func(f *rewrite.File) string { return f.Text })
	if err != nil {
		return nil, err
	}
	after = slices.DeleteFunc(after, func(r remark) bool { return slices.Contains(before, r) })
	var bad []Field
	for _, r := range after {
		if r.refuses() {
			bad = append(bad, Field{"", r.text})
		}
		warnings = append(warnings, r.text)
	}
	if len(bad) > 0 {
		return nil, &InvalidError{Summary: "Barman does not take this", Fields: bad, Hopeless: true}
	}
	return warnings, nil
}

func (c *Client) copies() []string {
	list, _ := filepath.Glob(filepath.Join(c.Cache, "barman-copy.*")) // the pattern is right
	return list
}

// remark is what Barman says of a configuration.
type remark struct{ level, text string }

// notTaken are the words by which Barman says that it goes on without what an option says, or takes another value.
var notTaken = pattern.New(`(?i)invalid|ignoring|unsupported|not supported|unknown|negative value|fallback|disabled`)

func (r remark) refuses() bool { return r.level != "WARNING" || notTaken().MatchString(r.text) }

// logged is the first line of a record in Barman's log.
var logged = pattern.New(`(?m)^\d{4}-\d\d-\d\d [\d:,]+ \[\d+\] \S+ (WARNING|ERROR|CRITICAL): (.*)$`)

// opinion is what Barman says of a configuration whose files have these texts.
func (c *Client) opinion(t *tree, text func(*rewrite.File) string) ([]remark, error) {
	dir, err := os.MkdirTemp(c.Cache, "barman-copy.") // 0700: it may hold passwords
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := t.write(dir, text); err != nil {
		return nil, err
	}
	program, err := c.Find()
	if err != nil {
		return nil, err
	}
	real := func(s string) string { // Barman names files of the copy
		s = strings.ReplaceAll(s, dir+"/barman.conf", t.files[0].Path)
		return strings.ReplaceAll(s, dir+"/include", filepath.Dir(t.files[len(t.files)-1].Path))
	}
	out, err := c.Host.output(c.timeout(Question{}), []string{program, "-f", "json", "-c", filepath.Join(dir, "barman.conf"), "list-servers"})
	if failed, ok := errors.AsType[*AskError](err); ok && !failed.Timeout {
		return []remark{{"ERROR", real(strings.TrimSuffix(failed.Detail, "\nSee log file for more details."))}}, nil
	} else if err != nil {
		return nil, err
	}
	remarks, err := read(out)
	if err != nil {
		return nil, err
	}
	log, err := os.ReadFile(filepath.Join(dir, "log")) // #nosec G304 -- made here
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, m := range logged().FindAllStringSubmatch(string(log), -1) {
		remarks = append(remarks, remark{m[1], m[2]})
	}
	for i := range remarks {
		remarks[i].text = real(remarks[i].text)
	}
	slices.SortFunc(remarks, func(a, b remark) int { return cmp.Or(cmp.Compare(a.text, b.text), cmp.Compare(a.level, b.level)) })
	return slices.CompactFunc(remarks, func(a, b remark) bool { return a.text == b.text }), nil
}

// read is what "list-servers" says in JSON. That Barman disables a server stands in the server's description.
func read(out []byte) ([]remark, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(out, &doc); err != nil {
		return nil, &AskError{Detail: fmt.Sprintf("barman list-servers printed no JSON object, but %.200q", out)}
	}
	var remarks []remark
	for name, raw := range doc {
		var server struct{ Description string }
		var messages []string
		switch {
		case name == "_INFO" || json.Unmarshal(raw, &server) == nil && !strings.HasSuffix(server.Description, "(WARNING: disabled)"):
		case json.Unmarshal(raw, &messages) == nil:
			for _, text := range messages {
				remarks = append(remarks, remark{strings.TrimPrefix(name, "_"), text})
			}
		default:
			remarks = append(remarks, remark{"WARNING", fmt.Sprintf("server %s would be disabled: barman check %s says why, as soon as it is", name, name)})
		}
	}
	return remarks, nil
}

// write lays a copy of the files into a folder. It includes its own ones and has a log of its own; of all
// else the paths stay.
func (t *tree) write(dir string, text func(*rewrite.File) string) error {
	include := filepath.Join(dir, "include")
	if err := os.Mkdir(include, 0o700); err != nil {
		return err
	}
	main := text(t.files[0])
	for _, own := range [][2]string{{"configuration_files_directory", include}, {"log_file", filepath.Join(dir, "log")}, {"log_level", "WARNING"}} {
		changed, err := setOption(main, "barman", own[0], strings.ReplaceAll(own[1], "%", "%%%%"))
		if err != nil {
			return &ConfigError{t.files[0].Path, err}
		}
		main = changed
	}
	for i, f := range t.files {
		path, content := filepath.Join(include, filepath.Base(f.Path)), text(f)
		if i == 0 {
			path, content = filepath.Join(dir, "barman.conf"), main
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// lockUpdate takes the lock that Barman's own config-update holds while it works: two of us exclude each other by it, and so do we and
// Barman.
func (c *config) lockUpdate(limit time.Duration) (unlock func(), err error) {
	dir := cmp.Or(c.global["barman_lock_directory"], c.global["barman_home"])
	return rewrite.Lock(filepath.Join(dir, ".config-update.lock"), limit)
}
