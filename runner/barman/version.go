package barman

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"barback/runner/durable"
)

// UnsupportedError says that the installed Barman is too old for a type of operation.
type UnsupportedError struct{ Kind, Since, Installed string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s needs Barman %s or later; installed is %s", e.Kind, e.Since, e.Installed)
}

func (c *Client) require(k Kind) error {
	v, err := c.Version()
	if err != nil {
		return err
	}
	if !k.Supported(v) {
		return &UnsupportedError{k.Name, k.Since, v}
	}
	return nil
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

// remembered is the file in which a version is kept, with what tells that the program changed.
type remembered struct {
	Path    string    `json:"path"`
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mtime"`
	Version string    `json:"version"`
}

var versionLine = regexp.MustCompile(`(?m)^(\d+(?:\.\d+)+)`)

// Version is the installed Barman's. Asking it costs a quarter of a second of
// Python, so that the answer is kept until the program's file changes.
func (c *Client) Version() (string, error) {
	path, err := c.Find()
	if err != nil {
		return "", err
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	now := remembered{Path: path, Size: st.Size(), ModTime: st.ModTime().UTC()}
	if old := c.recall(); old.Version != "" && old.Path == now.Path && old.Size == now.Size && old.ModTime.Equal(now.ModTime) {
		return old.Version, nil
	}
	if now.Version, err = askVersion(path); err != nil {
		return "", &BrokenError{err}
	}
	c.remember(now)
	return now.Version, nil
}

// BrokenError says that the installed Barman cannot even say its version.
type BrokenError struct{ Err error }

func (e *BrokenError) Error() string { return "Barman does not work: " + e.Err.Error() }
func (e *BrokenError) Unwrap() error { return e.Err }

// versionTimeout is far above what Python's imports take on a busy machine.
const versionTimeout = 10 * time.Second

func askVersion(path string) (string, error) {
	out, err := output(versionTimeout, []string{path, "--version"})
	if err != nil {
		return "", fmt.Errorf("%s --version %w", path, err)
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s --version: says no version", path)
	}
	return string(m[1]), nil
}

func (c *Client) cacheFile() string { return filepath.Join(c.Cache, "barman-version.json") }

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
