package operation

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"barback/runner/durable"
)

// Archives are ZIP files, one for the operations of a month, named YYYYMM.zip: each record is a
// folder of its own, as it was below operations. Any unzip(1) reads them. They are replaced whole.

// archiveFiles are what is kept of a record.
var archiveFiles = []string{"operation.json", "output.log", "runner.log"}

// month names the archive of an operation.
func month(id ID) string { return id.Time().Format("200601") }

func (s *Store) archiveFile(month string) string {
	return filepath.Join(s.root, "archive", month+".zip")
}

// months lists the archives that there are, the oldest first.
func (s *Store) months() ([]string, error) {
	names, err := filepath.Glob(filepath.Join(s.root, "archive", "[0-9][0-9][0-9][0-9][0-9][0-9].zip"))
	for i, name := range names {
		names[i] = strings.TrimSuffix(filepath.Base(name), ".zip")
	}
	return names, err
}

// fromArchive reads the record of an operation that was archived; [ErrNotFound] if none has it.
func (s *Store) fromArchive(id ID) (Operation, error) {
	data, err := s.archivedFile(id, "operation.json")
	if errors.Is(err, fs.ErrNotExist) {
		return Operation{}, ErrNotFound
	}
	if err != nil {
		return Operation{}, err
	}
	return decodeArchived(id, data)
}

func decodeArchived(id ID, data []byte) (Operation, error) {
	op, err := decode(id, data)
	op.archived = true
	return op, err
}

// archivedFile reads one file of an archived record; [fs.ErrNotExist] if there is none.
func (s *Store) archivedFile(id ID, name string) (data []byte, err error) {
	err = s.fromFile(id, name, func(f io.Reader) error { data, err = io.ReadAll(f); return err })
	return data, err
}

func (s *Store) fromFile(id ID, name string, use func(io.Reader) error) error {
	z, err := zip.OpenReader(s.archiveFile(month(id)))
	if err != nil {
		return archiveError(month(id), err)
	}
	defer func() { _ = z.Close() }()
	f, err := z.Open(path.Join(string(id), name))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return archiveError(month(id), use(f))
}

// archivedSize is how many bytes an archived output has.
func (s *Store) archivedSize(id ID) (int64, error) {
	z, err := zip.OpenReader(s.archiveFile(month(id)))
	if err != nil {
		return 0, err
	}
	defer func() { _ = z.Close() }()
	st, err := fs.Stat(z, path.Join(string(id), "output.log"))
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// archivedOutput opens a copy of an archived output that is nowhere but in memory.
func (s *Store) archivedOutput(id ID) (*os.File, error) {
	fd, err := unix.MemfdCreate("output.log", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "output.log") // #nosec G115 -- a descriptor
	err = s.fromFile(id, "output.log", func(from io.Reader) error { return sparse(f, from) })
	if errors.Is(err, fs.ErrNotExist) { // an empty one is not kept
		_, err = s.fromArchive(id)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sparse copies without the NULs, so that what was left out of an output takes no memory: it may be a
// hundred times what was kept.
func sparse(to *os.File, from io.Reader) error {
	buf, nothing := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); ; {
		n, err := io.ReadFull(from, buf)
		if !bytes.Equal(buf[:n], nothing[:n]) {
			if _, err := to.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return to.Truncate(at)
		case err != nil:
			return err
		}
	}
}

func archiveError(month string, err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("archive %s.zip: %w; \"unzip -t\" says more", month, err)
}

// archived reads the records of all archives. With an error it gives those that can be read.
func (s *Store) archived() ([]Operation, error) {
	months, err := s.months()
	var list []Operation
	for _, m := range months {
		z, openErr := zip.OpenReader(s.archiveFile(m))
		if openErr != nil {
			err = errors.Join(err, archiveError(m, openErr))
			continue
		}
		for _, f := range z.File {
			id, name := path.Split(f.Name)
			if name != "operation.json" {
				continue
			}
			op, readErr := readArchived(f, ID(path.Clean(id)))
			if err = errors.Join(err, archiveError(m, readErr)); readErr == nil {
				list = append(list, op)
			}
		}
		_ = z.Close()
	}
	return list, err
}

func readArchived(f *zip.File, id ID) (Operation, error) {
	r, err := f.Open()
	if err != nil {
		return Operation{}, err
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(r)
	if err != nil {
		return Operation{}, err
	}
	return decodeArchived(id, data)
}

// lockArchives keeps others from replacing an archive.
func (s *Store) lockArchives() (unlock func(), err error) {
	return lockFile(filepath.Join(s.root, "archive", "lock"))
}

// rewrite replaces the archive of a month by one without the records in out, and with those in in, which are
// read from operations. An archive that cannot be read is left as it is. The caller holds the lock.
func (s *Store) rewrite(month string, in, out []ID) error {
	gone := map[string]bool{}
	for _, id := range append(append([]ID{}, in...), out...) {
		gone[string(id)] = true
	}
	name := s.archiveFile(month)
	err := durable.Write(name, 0o640, func(f *os.File) error {
		w := zip.NewWriter(f)
		if err := copyArchive(w, name, gone); err != nil {
			return err
		}
		for _, id := range in {
			if err := s.pack(w, id); err != nil {
				return err
			}
		}
		return w.Close()
	})
	return archiveError(month, err)
}

// copyArchive takes over what is in the archive already, as it is compressed.
func copyArchive(w *zip.Writer, name string, but map[string]bool) error {
	old, err := zip.OpenReader(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = old.Close() }()
	for _, f := range old.File {
		if !but[path.Dir(f.Name)] {
			if err := w.Copy(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// pack puts the files of a record into an archive.
func (s *Store) pack(w *zip.Writer, id ID) error {
	for _, name := range archiveFiles {
		f, err := os.Open(filepath.Join(s.dir(id), name)) // #nosec G304 -- our own directory
		if errors.Is(err, fs.ErrNotExist) && name != "operation.json" {
			continue
		}
		if err != nil {
			return err
		}
		err = packFile(w, f, path.Join(string(id), name))
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func packFile(w *zip.Writer, f *os.File, name string) error {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return err
	}
	header, err := zip.FileInfoHeader(st)
	if err != nil {
		return err
	}
	header.Name, header.Method = name, zip.Deflate
	to, err := w.CreateHeader(header)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, f)
	return err
}

// holds makes sure that the archive of a month can be read back, with all records in ids.
func (s *Store) holds(month string, ids []ID) error {
	z, err := zip.OpenReader(s.archiveFile(month))
	if err != nil {
		return archiveError(month, err)
	}
	defer func() { _ = z.Close() }()
	found := map[string]bool{}
	want := map[string]bool{}
	for _, id := range ids {
		want[string(id)] = true
	}
	for _, f := range z.File {
		id, name := path.Split(f.Name)
		id = path.Clean(id)
		if !want[id] {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return archiveError(month, err)
		}
		_, err = io.Copy(io.Discard, r) // #nosec G110 -- our own making; compares the check sum at the end
		if err := errors.Join(err, r.Close()); err != nil {
			return archiveError(month, err)
		}
		found[id] = found[id] || name == "operation.json"
	}
	for _, id := range ids {
		if !found[string(id)] {
			return fmt.Errorf("archive %s.zip does not hold operation %s after it was written", month, id)
		}
	}
	return nil
}
