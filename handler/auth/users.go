package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/BurntSushi/toml"
	"github.com/gofrs/flock"

	"barback/runner/durable"
)

// Users is users.toml: who is known, and what they may do. Changes are made under
// the lock of users.lock beside it and replace the file whole; readers take no lock.
type Users struct {
	Path   string
	fresh  func(name string) (n int, err error) // called before a name is added: what is left of who had it must end
	memory durable.Kept[table]
}

// User is one identity in users.toml.
type User struct {
	Password string `toml:"password,omitempty"` // an Argon2id hash, or one of barmanapi's; empty: no log-in with a password
	Role     string `toml:"role,omitempty"`     // one of Roles
	Lists
	Since time.Time `toml:"since,omitzero"` // when it was added
}

// stamp changes with the password, and tells an identity from one that had the name before.
func (user *User) stamp() string {
	sum := sha256.Sum256([]byte(user.Password + " " + user.Since.UTC().Format(time.RFC3339Nano)))
	return hex.EncodeToString(sum[:16])
}

// table is the content of users.toml.
type table struct {
	Users map[string]User `toml:"users"`
}

const mode = 0o600

// UnreadableError says that nobody's rights, or who it is, can be known: nobody is let in then.
type UnreadableError struct{ Err error }

func (e *UnreadableError) Error() string {
	return "the files of users and log-ins cannot be used: " + e.Err.Error()
}
func (e *UnreadableError) Unwrap() error { return e.Err }

// The reasons why a user cannot be added, or changed.
var (
	ErrUserExists = errors.New("there is such an identity already")
	ErrNoUser     = errors.New("there is no such identity")
)

// Find is the identity of a name; the zero User if users.toml does not name it.
func (u *Users) Find(name string) (user User, known bool, err error) {
	t, err := u.read()
	if err != nil {
		return User{}, false, &UnreadableError{err}
	}
	user, known = t.Users[name]
	return user, known, nil
}

// All is every identity.
func (u *Users) All() (map[string]User, error) {
	t, err := u.read()
	return maps.Clone(t.Users), err
}

// read parses the file, or takes what it was at the last time if it is the same one.
func (u *Users) read() (table, error) {
	if t, ok := u.memory.Recall(u.Path); ok {
		return t, nil
	}
	t, stamp, err := u.load()
	if err == nil {
		u.memory.Keep(u.Path, t, stamp)
	}
	return t, err
}

// load reads the file itself. One that is not there names nobody.
func (u *Users) load() (table, durable.Stamp, error) {
	data, stamp, err := durable.ReadFile(u.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return table{Users: map[string]User{}}, durable.Stamp{}, nil
	}
	if err != nil {
		return table{}, stamp, err
	}
	t, err := u.parse(data)
	return t, stamp, err
}

func (u *Users) parse(data []byte) (table, error) {
	t := table{Users: map[string]User{}}
	meta, err := toml.Decode(string(data), &t)
	if err != nil {
		return table{}, fmt.Errorf("%s: %w", u.Path, err)
	}
	if extra := meta.Undecoded(); len(extra) > 0 {
		return table{}, fmt.Errorf("%s: unknown key %s", u.Path, extra[0])
	}
	for name, user := range t.Users {
		if err := user.check(name); err != nil {
			return table{}, fmt.Errorf("%s: user %s: %w", u.Path, name, err)
		}
	}
	return t, nil
}

func (user *User) check(name string) error {
	for _, p := range slices.Concat(user.Access, user.Deny) {
		if err := CheckPattern(p); err != nil {
			return err
		}
	}
	if user.Password != "" {
		if name == Anonymous {
			return errors.New("anonymous has no password: it is who gives none")
		}
		if _, _, _, err := parsePHC(user.Password); err != nil && !legacyHash().MatchString(user.Password) {
			return err
		}
	}
	return CheckRole(user.Role)
}

// CheckRole says what is wrong with a role. Empty is none.
func CheckRole(role string) error {
	if _, ok := Roles[role]; ok || role == "" {
		return nil
	}
	return fmt.Errorf("%q is none of the roles %s", role, strings.Join(slices.Sorted(maps.Keys(Roles)), ", "))
}

// Rights are what the user may do.
func (user *User) Rights() Rights { return Rights{role: Roles[user.Role], own: user.Lists} }

// Add makes a new identity.
func (u *Users) Add(name string, user User) error {
	return u.edit(func(t table) error {
		if _, ok := t.Users[name]; ok {
			return ErrUserExists
		}
		t.Users[name] = user
		return nil
	})
}

// Update changes an identity that is there.
func (u *Users) Update(name string, change func(*User)) error {
	return u.edit(func(t table) error {
		user, ok := t.Users[name]
		if !ok {
			return ErrNoUser
		}
		change(&user)
		t.Users[name] = user
		return nil
	})
}

// Change applies change to the identity of a name, which is made if it is not there. Returning false
// removes it.
func (u *Users) Change(name string, change func(*User) (keep bool)) error {
	return u.edit(func(t table) error {
		user := t.Users[name]
		if change(&user) {
			t.Users[name] = user
		} else {
			delete(t.Users, name)
		}
		return nil
	})
}

// edit replaces the file by what change makes of it. What could not be read again is not written.
func (u *Users) edit(change func(table) error) error {
	unlock, err := u.lock()
	if err != nil {
		return fmt.Errorf("lock %s: %w", u.Path, err)
	}
	defer unlock()
	t, _, err := u.load()
	if err != nil {
		return err
	}
	old := maps.Clone(t.Users)
	if err := change(t); err != nil {
		return err
	}
	for name, user := range t.Users {
		if _, known := old[name]; known {
			continue
		}
		user.Since = time.Now().UTC().Truncate(time.Microsecond)
		t.Users[name] = user
		if u.fresh == nil {
			continue
		}
		if _, err := u.fresh(name); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	b.WriteString("# Who may do what; changed by \"barback user\".\n")
	if err := toml.NewEncoder(&b).Encode(t); err != nil {
		return err
	}
	if _, err := u.parse(b.Bytes()); err != nil {
		return err
	}
	return durable.WriteFile(u.Path, b.Bytes(), mode)
}

func (u *Users) lock() (unlock func(), err error) {
	path := filepath.Join(filepath.Dir(u.Path), "users.lock")
	if err := own(path); err != nil {
		return nil, err
	}
	l := flock.New(path)
	return func() { _ = l.Unlock() }, l.Lock()
}

// own makes a file that is not there, for the owner of the directory.
func own(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, mode) // #nosec G304 -- in our own directory
	if err != nil {
		return err
	}
	return errors.Join(durable.Own(f), f.Close())
}

// ValidName reports whether name can stand for an identity: what Apache vouches for is
// a login or a certificate's name. By hand: as a regular expression, 255 times all letters that there
// are took each process 9 ms and 10 MiB before it did anything.
func ValidName(name string) bool {
	n := 0
	for _, c := range name {
		if n++; !unicode.IsLetter(c) && !unicode.IsNumber(c) && (n == 1 || !strings.ContainsRune("@._=,+ -", c)) {
			return false
		}
	}
	return n > 0 && n <= 255
}
