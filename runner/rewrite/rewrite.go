// Package rewrite replaces configuration files that people edit, too. Several are replaced together or not at all; each
// keeps its owner, group and permissions, and its last versions are saved. A file that is not this user's to write
// is refused before anything is done, and so is one that has changed since it was read. Symbolic links are followed: the file
// that they lead to is replaced, and they stay. Callers hold a lock. A crash in between two of several files leaves the first new
// and the second old, each whole.
package rewrite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner/durable"
)

// File is a configuration file as it was read.
type File struct {
	Path string // as it is known
	Text string
	New  string // what is to stand in it
	real string // where symbolic links lead
	info fs.FileInfo
}

// Read reads a file. What is to stand in it is what does.
func Read(path string) (*File, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(real) // #nosec G304 -- a configuration file
	return &File{path, string(data), string(data), real, info}, err
}

// Changed reports whether something else is to stand in the file.
func (f *File) Changed() bool { return f.New != f.Text }

// NotOursError refuses a file that this user cannot replace.
type NotOursError struct {
	Path string // where symbolic links lead
	Dir  bool   // it is the folder that cannot be written in
	Why  string
}

func (e *NotOursError) Error() string { return e.Why }

// ErrMeanwhile says that somebody else has written the file since it was read.
var ErrMeanwhile = errors.New("was changed by somebody else at the same moment: look at it, and try again")

// Check says why the file cannot be replaced.
func (f *File) Check() error {
	st := f.info.Sys().(*syscall.Stat_t)
	dir := filepath.Dir(f.real)
	at, err := os.Stat(dir)
	if err != nil {
		return err
	}
	above := at.Sys().(*syscall.Stat_t)
	me := os.Geteuid()
	switch {
	case !f.info.Mode().IsRegular():
		return &NotOursError{f.real, false, f.real + " is no regular file"}
	case st.Nlink > 1:
		return &NotOursError{f.real, false, fmt.Sprintf("%s has %d names (hard links), of which only one would be changed: make it a file of its own", f.real, st.Nlink)}
	case int(st.Uid) != me:
		return &NotOursError{f.real, false, fmt.Sprintf("%s belongs to %s, and barback runs as %s: change it as %s", f.real, name(st.Uid), name(uint32(me)), name(st.Uid))} // #nosec G115 -- a user ID
	case f.info.Mode().Perm()&0o200 == 0:
		return &NotOursError{f.real, false, fmt.Sprintf("%s is write-protected: chmod u+w %s", f.real, f.real)}
	case me == 0 && above.Uid != 0, unix.Access(dir, unix.W_OK|unix.X_OK) != nil:
		if err := unix.Access(dir, unix.W_OK|unix.X_OK); errors.Is(err, unix.EROFS) {
			return fmt.Errorf("%s: %w", dir, err)
		}
		return &NotOursError{f.real, true, fmt.Sprintf("%s cannot be replaced, as its folder %s belongs to %s, and barback runs as %s: change it as %s", f.real, dir, name(above.Uid), name(uint32(me)), name(above.Uid))} // #nosec G115 -- a user ID
	}
	return nil
}

func name(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "user " + id
}

// Replace writes those of the files that are to change, all or none. Their last versions are saved below the folder saved, by
// their paths, under the time.
func Replace(files []*File, saved string, now time.Time) error {
	files = slices.DeleteFunc(slices.Clone(files), func(f *File) bool { return !f.Changed() })
	for _, f := range files {
		if err := f.Check(); err != nil {
			return err
		}
	}
	staged := make([]*durable.Staged, 0, len(files))
	for _, f := range files {
		if err := f.save(saved, now); err != nil {
			return fmt.Errorf("save the last version of %s: %w", f.real, err)
		}
		s, err := f.stage(f.New)
		if err != nil {
			return fmt.Errorf("write %s: %w", f.real, err)
		}
		defer s.Discard()
		staged = append(staged, s)
	}
	for i, f := range files {
		err := f.unchanged()
		if err == nil {
			err = staged[i].Commit()
		}
		if err != nil {
			return errors.Join(append([]error{fmt.Errorf("%s: %w", f.real, err)}, undo(files[:i])...)...)
		}
	}
	return nil
}

// undo puts back what stood there before.
func undo(files []*File) (failed []error) {
	for _, f := range files {
		s, err := f.stage(f.Text)
		if err == nil {
			err = s.Commit()
			s.Discard()
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s was changed and could not be changed back: %w", f.real, err))
		}
	}
	return failed
}

func (f *File) unchanged() error {
	now, err := os.Stat(f.real)
	if err != nil {
		return err
	}
	if !os.SameFile(now, f.info) || now.Size() != f.info.Size() || !now.ModTime().Equal(f.info.ModTime()) {
		return ErrMeanwhile
	}
	return nil
}

// stage writes the text with the group and the permissions of the file; its owner is this user.
func (f *File) stage(text string) (*durable.Staged, error) {
	st := f.info.Sys().(*syscall.Stat_t)
	return durable.Stage(f.real, f.info.Mode().Perm(), func(to *os.File) error {
		if _, err := to.WriteString(text); err != nil {
			return err
		}
		if err := to.Chown(-1, int(st.Gid)); err != nil {
			return fmt.Errorf("keep its group: %w", err)
		}
		return keepACL(f.real, to)
	})
}

// keepACL gives a file the access control list of another one, if that has one.
func keepACL(from string, to *os.File) error {
	const acl = "system.posix_acl_access"
	buf := make([]byte, 64<<10)
	n, err := unix.Getxattr(from, acl, buf)
	if err != nil {
		return nil //nolint:nilerr // there is none, or the file system has none at all
	}
	return unix.Fsetxattr(int(to.Fd()), acl, buf[:n], 0) // #nosec G115 -- a descriptor
}

// versions is how many are saved of a file.
const versions = 20

// save keeps what stands in the file now.
func (f *File) save(saved string, now time.Time) error {
	dir := filepath.Join(saved, f.real)
	if err := makeDirs(saved, f.real); err != nil {
		return err
	}
	old, err := os.ReadDir(dir) // sorted: by time
	if err != nil {
		return err
	}
	path := filepath.Join(dir, now.UTC().Format("20060102T150405.000000Z"))
	if err := durable.WriteFile(path, []byte(f.Text), 0o600); err != nil {
		return err
	}
	for _, e := range old[:max(0, len(old)+1-versions)] {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// makeDirs makes the folder of a file's versions: they may hold passwords.
func makeDirs(saved, path string) error {
	dir := saved
	for _, step := range strings.Split(path, "/") {
		dir = filepath.Join(dir, step)
		if err := durable.MakeDir(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}
