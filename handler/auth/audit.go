package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"barback/runner/durable"
)

// Audit is the audit log: who did or was refused what, one JSON object a line. It is only ever
// appended to, each line with one write of a file opened for it, so that lines of many processes do
// not mix and logrotate may move the file away at any time. An empty path keeps none.
type Audit struct{ Path string }

// Entry is one line. It holds no query, header or body: no secret can be in it.
type Entry struct {
	Time       time.Time `json:"time"`
	RequestID  string    `json:"request_id,omitempty"`
	Identity   string    `json:"identity"`
	How        string    `json:"how"` // how the identity is known; "cli" for the command line
	Remote     string    `json:"remote,omitempty"`
	Method     string    `json:"method,omitempty"`
	Path       string    `json:"path,omitempty"`
	Command    string    `json:"command,omitempty"` // of the command line: the verb
	Permission string    `json:"permission,omitempty"`
	Server     string    `json:"server,omitempty"`
	Target     string    `json:"target,omitempty"` // an operation, a user, a token
	Claimed    string    `json:"claimed,omitempty"`
	Status     int       `json:"status,omitempty"`
	Result     string    `json:"result"`             // "ok", or the reason of the refusal
	Refusals   int       `json:"refusals,omitempty"` // of a remote without a login, when not each is written any more
}

// maxField bounds what a client chooses.
const maxField = 1024

// Write appends e.
func (a *Audit) Write(e Entry) error {
	if a == nil || a.Path == "" {
		return nil
	}
	for _, s := range []*string{&e.Identity, &e.Path, &e.Server, &e.Target, &e.Permission, &e.Method} {
		if len(*s) > maxField {
			*s = strings.ToValidUTF8((*s)[:maxField], "") + "…"
		}
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f, err := a.open()
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// Writable says what keeps lines from being written. It makes no file: that its folder can be written to is enough.
func (a *Audit) Writable() error {
	f, err := os.OpenFile(a.Path, os.O_WRONLY|os.O_APPEND, 0)
	if errors.Is(err, fs.ErrNotExist) {
		const writeAndSearch = 3
		if err := syscall.Access(filepath.Dir(a.Path), writeAndSearch); err != nil {
			return &fs.PathError{Op: "write to", Path: filepath.Dir(a.Path), Err: err}
		}
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// open opens the file, and makes one that is not there, readable for the group: those who collect logs.
func (a *Audit) open() (*os.File, error) {
	f, err := os.OpenFile(a.Path, os.O_WRONLY|os.O_APPEND, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	f, err = os.OpenFile(a.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640) // #nosec G302 -- see above
	if err != nil {
		return nil, err
	}
	return f, durable.Own(f)
}

// Tail is the last entries that are not older than since, the newest first, at most limit. It reads
// from the end of the file, and no more of it than it needs. A line that is none is passed over.
func (a *Audit) Tail(since time.Time, limit int) ([]Entry, error) {
	entries := []Entry{}
	if a == nil || a.Path == "" {
		return entries, nil
	}
	f, err := os.Open(a.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return entries, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	err = backwards(f, st.Size(), func(line []byte) bool {
		var e Entry
		if json.Unmarshal(line, &e) != nil || e.Time.IsZero() {
			return true
		}
		if e.Time.Before(since) {
			return false
		}
		entries = append(entries, e)
		return len(entries) < limit
	})
	return entries, err
}

const chunk = 64 << 10

// backwards hands the lines of the first size bytes of f to use, the last first, until it says no.
func backwards(f io.ReaderAt, size int64, use func(line []byte) bool) error {
	var rest []byte // the beginning of the line that the chunk read last begins within
	for at := size; at > 0; {
		n := min(at, chunk)
		at -= n
		part := make([]byte, n, int(n)+len(rest))
		if _, err := f.ReadAt(part, at); err != nil {
			return err
		}
		lines := bytes.Split(append(part, rest...), []byte("\n"))
		first := lines[0]
		for _, line := range slices.Backward(lines[1:]) {
			if !use(line) {
				return nil
			}
		}
		if rest = first; at == 0 {
			use(first)
		}
		if len(rest) > chunk {
			rest = nil // no line of ours is so long
		}
	}
	return nil
}
