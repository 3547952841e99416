package operation

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Output opens what Barman printed so far.
func (s *Store) Output(id ID) (*os.File, error) {
	f, err := os.Open(filepath.Join(s.dir(id), "output.log"))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.archivedOutput(id)
	}
	if err != nil {
		return nil, notFound(id, err)
	}
	return f, nil
}

// OutputBytes is the size of what Barman printed so far.
func (s *Store) OutputBytes(id ID) int64 {
	st, err := os.Stat(filepath.Join(s.dir(id), "output.log"))
	if errors.Is(err, fs.ErrNotExist) {
		n, _ := s.archivedSize(id)
		return n
	}
	if err != nil {
		return 0
	}
	return st.Size()
}

// OutputWriter opens the operation's output for its runner, to append.
func (s *Store) OutputWriter(id ID) (io.WriteCloser, error) {
	return os.OpenFile(filepath.Join(s.dir(id), "output.log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640) // #nosec G302 G304
}

// RunnerLog opens the file that takes the runner's own log where no journal does.
func (s *Store) RunnerLog(id ID) (*os.File, error) {
	return os.OpenFile(filepath.Join(s.dir(id), "runner.log"), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640) // #nosec G302 G304
}
