package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/BurntSushi/toml"
	"github.com/gofrs/flock"

	"barback/runner/durable"
)

// Users is users.toml: who is known, and what they may do. Changes are made under
// the lock of users.lock beside it and replace the file whole; readers take no lock.
type Users struct{ Path string }

// table is the content of users.toml.
type table struct {
	Users map[string]Lists `toml:"users"`
}

const mode = 0o600

// UnreadableError says that nobody's rights are known: nobody is let in then.
type UnreadableError struct{ Err error }

func (e *UnreadableError) Error() string { return "the users file cannot be used: " + e.Err.Error() }
func (e *UnreadableError) Unwrap() error { return e.Err }

// Lists is what identity id may do. One that users.toml does not name may nothing.
func (u Users) Lists(id Identity) (Lists, error) {
	t, err := u.read()
	if err != nil {
		return Lists{}, &UnreadableError{err}
	}
	return t.Users[id.Name], nil
}

// All is every identity with its lists.
func (u Users) All() (map[string]Lists, error) {
	t, err := u.read()
	return t.Users, err
}

func (u Users) read() (table, error) {
	t := table{Users: map[string]Lists{}}
	data, err := os.ReadFile(u.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	meta, err := toml.Decode(string(data), &t)
	if err != nil {
		return table{}, fmt.Errorf("%s: %w", u.Path, err)
	}
	if extra := meta.Undecoded(); len(extra) > 0 {
		return table{}, fmt.Errorf("%s: unknown key %s", u.Path, extra[0])
	}
	for name, l := range t.Users {
		for _, p := range append(append([]string{}, l.Access...), l.Deny...) {
			if err := CheckPattern(p); err != nil {
				return table{}, fmt.Errorf("%s: user %s: %w", u.Path, name, err)
			}
		}
	}
	return t, nil
}

// Change applies change to the lists of name and stores the outcome. Returning false
// removes the identity.
func (u Users) Change(name string, change func(*Lists) (keep bool)) error {
	unlock, err := u.lock()
	if err != nil {
		return fmt.Errorf("lock %s: %w", u.Path, err)
	}
	defer unlock()
	t, err := u.read()
	if err != nil {
		return err
	}
	l := t.Users[name]
	if change(&l) {
		t.Users[name] = l
	} else {
		delete(t.Users, name)
	}
	var b bytes.Buffer
	b.WriteString("# Who may do what; changed by \"barback user\".\n")
	if err := toml.NewEncoder(&b).Encode(t); err != nil {
		return err
	}
	return durable.WriteFile(u.Path, b.Bytes(), mode)
}

func (u Users) lock() (unlock func(), err error) {
	path := filepath.Join(filepath.Dir(u.Path), "users.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, mode) // #nosec G304 -- beside users.toml
	if err != nil {
		return nil, err
	}
	if err := errors.Join(durable.Own(f), f.Close()); err != nil {
		return nil, err
	}
	l := flock.New(path)
	return func() { _ = l.Unlock() }, l.Lock()
}

// ValidName reports whether name can stand for an identity: what Apache vouches for is
// a login or a certificate's name.
func ValidName(name string) bool { return validName.MatchString(name) }

var validName = regexp.MustCompile(`^[\pL\pN][\pL\pN@._=,+ -]{0,254}$`)
