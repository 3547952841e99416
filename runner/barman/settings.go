package barman

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the script
	"fmt"
	"io"
	"strings"

	"barback/runner/barman/manual"
)

//go:embed find-manual.sh
var findManual string

// maxPage is far above what a manual page has: 100 kB.
const maxPage = 16 << 20

// ManualError says that there is no manual of the installed Barman's configuration.
type ManualError struct{ Detail string }

func (e *ManualError) Error() string {
	return e.Detail + "; the page barman.5 comes with the package barman, unless the system keeps no manuals (path-exclude of /usr/share/man in /etc/dpkg/dpkg.cfg.d)"
}

// Settings are the parameters of the installed Barman's configuration, by name, as its manual has them. Manuals
// forget some: a name that is not here may be a setting all the same, and a scope may be empty.
func (c *Client) Settings() (map[string]manual.Setting, error) {
	of, err := c.installed()
	if err != nil {
		return nil, err
	}
	path, err := c.Find()
	if err != nil {
		return nil, err
	}
	out, err := c.Host.output(versionTimeout, []string{"/bin/sh", "-c", findManual, "find-manual", path})
	if _, unreached := Unreached(err); unreached {
		return nil, err
	}
	if err != nil {
		return nil, &ManualError{fmt.Sprintf("the search for Barman's manual %v", err)}
	}
	found, source, _ := bytes.Cut(out, []byte("\n"))
	if len(found) == 0 {
		return nil, &ManualError{"Barman's manual is not installed: there is no man5/barman.5 or barman.5.gz beside the program, in /usr/local/share/man or in /usr/share/man"}
	}
	if strings.HasSuffix(string(found), ".gz") {
		if source, err = unpack(source); err != nil {
			return nil, &ManualError{fmt.Sprintf("%s cannot be read: %v", found, err)}
		}
	}
	page, err := manual.ParsePage(string(source))
	if err != nil {
		return nil, &ManualError{fmt.Sprintf("%s %v", found, err)}
	}
	if v := page.Version; v != "" && of.Version != v && !strings.HasPrefix(of.Version, v+".") {
		return nil, &ManualError{fmt.Sprintf("%s is of Barman %s, and Barman %s is installed", found, v, of.Version)}
	}
	return page.Settings, nil
}

func unpack(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxPage))
}
