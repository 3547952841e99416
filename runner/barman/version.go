package barman

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"barback/runner/durable"
	"barback/runner/pattern"
)

// UnsupportedError says that the installed Barman is too old for a type of operation, or for one of its members.
type UnsupportedError struct{ Kind, Member, Since, Installed string }

func (e *UnsupportedError) Error() string {
	what := e.Kind
	if e.Member != "" {
		what = e.Member + " of a " + e.Kind
	}
	return fmt.Sprintf("%s needs Barman %s or later; installed is %s", what, e.Since, e.Installed)
}

// require makes sure that the installed Barman can do what a command of the kind asks for. It is asked only
// about what older ones do not have.
func (c *Client) require(k Kind, argv []string) error {
	if k.Since != "" {
		v, err := c.Version()
		if err != nil {
			return err
		}
		if !k.Supported(v) {
			return &UnsupportedError{Kind: k.Name, Since: k.Since, Installed: v}
		}
	}
	for _, arg := range argv {
		flag, _, _ := strings.Cut(arg, "=")
		i := slices.IndexFunc(k.Options, func(o Option) bool { return o.from() != "" && (flag == long(o.Name) || flag == long("no_"+o.Name)) })
		if i < 0 {
			continue
		}
		if ok, err := c.Has(k, k.Options[i]); err != nil {
			return err
		} else if !ok {
			v, err := c.Version()
			if err != nil {
				return err
			}
			return &UnsupportedError{k.Name, k.Options[i].Name, k.Options[i].from(), v}
		}
	}
	return nil
}

// from is the first Barman with which the option can be used; empty: all.
func (o Option) from() string { return cmp.Or(o.Works, o.Since) }

// Has reports whether the installed Barman's command knows the option: its help says so.
func (c *Client) Has(k Kind, o Option) (bool, error) {
	if o.Works != "" {
		v, err := c.Version()
		return err == nil && !older(v, o.Works), err
	}
	if o.Since == "" {
		return true, nil
	}
	command, err := c.command(k.Command)
	_, ok := command.Find(o.Name)
	return ok, err
}

// older compares dotted numbers.
func older(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		m, _ := strconv.Atoi(x[i])
		n, _ := strconv.Atoi(y[i])
		if m != n {
			return m < n
		}
	}
	return len(x) < len(y)
}

// remembered is what the program told of itself, in a file, with what tells that the program changed.
type remembered struct {
	Path    string    `json:"path"`
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mtime"`
	Version string    `json:"version"`
	Asked   time.Time `json:"asked,omitzero"` // of a program on another host
}

// versionAge is how long a program on another host is taken for the one that it was: nobody sees its file change.
const versionAge = 5 * time.Minute

// same reports whether both tell of one file, as it was at one time.
func (r remembered) same(o remembered) bool {
	return r.Path == o.Path && r.Size == o.Size && r.ModTime.Equal(o.ModTime)
}

var versionLine = pattern.New(`(?m)^(\d+(?:\.\d+)+)`)

// Version is the installed Barman's. Asking it costs a quarter of a second of
// Python, so that the answer is kept until the program's file changes.
func (c *Client) Version() (string, error) {
	r, err := c.installed()
	return r.Version, err
}

func (c *Client) installed() (remembered, error) {
	now, err := c.program()
	if err != nil {
		return remembered{}, err
	}
	if old := c.recall(); old.Version != "" && old.same(now) && (!c.Host.Remote() || time.Since(old.Asked).Abs() < versionAge) {
		return old, nil
	}
	if now.Version, err = c.askVersion(); err != nil {
		return remembered{}, &BrokenError{err}
	}
	if c.Host.Remote() {
		now.Asked = time.Now().UTC()
	}
	c.remember(now)
	return now, nil
}

// program is what tells one installed program from the next.
func (c *Client) program() (remembered, error) {
	path, err := c.Find()
	if err != nil {
		return remembered{}, err
	}
	if c.Host.Remote() {
		return remembered{Path: strings.Join(append(slices.Clone(c.Host.SSH), path), " ")}, nil
	}
	st, err := os.Stat(path)
	if err != nil {
		return remembered{}, err
	}
	return remembered{Path: path, Size: st.Size(), ModTime: st.ModTime().UTC()}, nil
}

// BrokenError says that the installed Barman cannot even say its version.
type BrokenError struct{ Err error }

func (e *BrokenError) Error() string { return "Barman does not work: " + e.Err.Error() }
func (e *BrokenError) Unwrap() error { return e.Err }

// versionTimeout is far above what Python's imports take on a busy machine.
const versionTimeout = 10 * time.Second

// run is what the program prints that needs no configuration.
func (c *Client) run(timeout time.Duration, args ...string) ([]byte, error) {
	path, err := c.Find()
	if err != nil {
		return nil, err
	}
	if c.Host.Remote() {
		timeout += connectTime
	}
	out, err := c.Host.output(timeout, append([]string{path}, args...))
	if err != nil {
		err = fmt.Errorf("%s %s %w", path, strings.Join(args, " "), err)
	}
	return out, err
}

func (c *Client) askVersion() (string, error) {
	out, err := c.run(versionTimeout, "--version")
	if err != nil {
		return "", err
	}
	m := versionLine().FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s --version: says no version", c.Command)
	}
	return string(m[1]), nil
}

func (c *Client) cacheFile() string {
	return filepath.Join(c.Cache, c.Host.file("barman-version")+".json")
}

func (c *Client) recall() (r remembered) {
	if c.Cache == "" {
		return r
	}
	b, err := os.ReadFile(c.cacheFile())
	if err != nil || json.Unmarshal(b, &r) != nil {
		return remembered{}
	}
	return r
}

// remember keeps r; that it could not is no error, only slow.
func (c *Client) remember(r remembered) {
	if c.Cache == "" {
		return
	}
	b, err := json.Marshal(r)
	if err != nil {
		return
	}
	_ = durable.WriteFile(c.cacheFile(), b, 0o640)
}
