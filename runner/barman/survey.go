package barman

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// spot is what the file systems of the Barman host say of a path.
type spot struct {
	there bool
	real  string // with the symbolic links followed in the part of it that exists
	disk  string // the file system where it is, or would be; empty: that is not known
	free  int64  // bytes there
}

// survey looks at paths on the Barman host.
func (c *Client) survey(paths ...string) (map[string]spot, error) {
	if c.Host.Remote() {
		return c.surveyThere(paths)
	}
	spots := map[string]spot{}
	for _, path := range paths {
		s := spot{real: resolved(path)}
		_, err := os.Stat(path)
		s.there = err == nil
		var st syscall.Statfs_t
		if syscall.Statfs(existing(path), &st) == nil {
			s.disk, s.free = strconv.FormatUint(uint64(st.Fsid.X__val[0])<<32|uint64(uint32(st.Fsid.X__val[1])), 16), int64(st.Bavail)*st.Bsize // #nosec G115 -- blocks of a disk
		}
		spots[path] = s
	}
	return spots, nil
}

// surveyScript prints three lines for each path: whether it is there, where it really is, and its file system: ID, free blocks and their size.
const surveyScript = `for path; do
	if [ -e "$path" ]; then echo there; else echo none; fi
	readlink -m -- "$path" || exit 1
	while [ ! -e "$path" ] && [ "$path" != / ]; do path=$(dirname -- "$path"); done
	stat -f -c '%i %a %S' -- "$path" || echo
done`

func (c *Client) surveyThere(paths []string) (map[string]spot, error) {
	out, err := c.Host.output(c.timeout(Question{}), append([]string{"/bin/sh", "-c", surveyScript, "barback-survey"}, paths...))
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != 3*len(paths) {
		return nil, c.Host.unreached("it does not say what it was asked of "+strings.Join(paths, ", ")+": its login shell must print nothing of its own", false)
	}
	spots := map[string]spot{}
	for i, path := range paths {
		s := spot{there: lines[3*i] == "there", real: lines[3*i+1]}
		if disk := strings.Fields(lines[3*i+2]); len(disk) == 3 {
			blocks, err1 := strconv.ParseInt(disk[1], 10, 64)
			size, err2 := strconv.ParseInt(disk[2], 10, 64)
			if err1 == nil && err2 == nil {
				s.disk, s.free = disk[0], blocks*size
			}
		}
		spots[path] = s
	}
	return spots, nil
}

// Shell is what a shell command prints on the host, which ssh leads to.
func (h Host) Shell(timeout time.Duration, command string) (string, error) {
	out, err := h.output(timeout, []string{"/bin/sh", "-c", command})
	return string(out), err
}

// resolved follows the symbolic links in the part of path that exists.
func resolved(path string) string {
	path = filepath.Clean(path)
	for dir, rest := path, ""; ; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == "/" || dir == "." {
			return path
		}
	}
}

// existing is the part of path that exists.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == "/" {
			return path
		}
		path = filepath.Dir(path)
	}
}
