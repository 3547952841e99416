package operation

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"
)

// Progress is how far the copy of a backup or a restore was when the runner last looked.
type Progress struct {
	Phase      string    `json:"phase"` // starting, copying, waiting for WAL, copying WAL, finishing
	BytesDone  int64     `json:"bytes_done"`
	BytesTotal int64     `json:"bytes_total"` // what is expected; 0: nobody knows
	CopyBegan  time.Time `json:"copy_began,omitzero"`
	At         time.Time `json:"at"`
}

// Percent is how much is done, 99 at most: only the end of the operation says 100. ok is false
// where nothing is known to compare with.
func (p Progress) Percent() (percent float64, ok bool) {
	if p.BytesTotal <= 0 {
		return 0, false
	}
	return min(99, 100*float64(p.BytesDone)/float64(p.BytesTotal)), true
}

// ETA is when the copy would be done if it went on as it did. ok is false while that is a guess
// from nothing.
func (p Progress) ETA() (eta time.Time, ok bool) {
	took := p.At.Sub(p.CopyBegan)
	if p.CopyBegan.IsZero() || took < time.Second || p.BytesDone <= 0 || p.BytesTotal <= p.BytesDone {
		return time.Time{}, false
	}
	return p.At.Add(time.Duration(float64(took) * float64(p.BytesTotal-p.BytesDone) / float64(p.BytesDone))), true
}

func (s *Store) progressFile(id ID) string { return filepath.Join(s.dir(id), "progress.json") }

// SetProgress notes how far the copy is. It is not synced: after a crash nobody asks.
func (s *Store) SetProgress(id ID, p Progress) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	draft := s.progressFile(id) + ".new"
	if err := os.WriteFile(draft, data, 0o640); err != nil { // #nosec G306 -- read by the group
		return err
	}
	return os.Rename(draft, s.progressFile(id))
}

// Progress is the last note; ok is false if there is none.
func (s *Store) Progress(id ID) (p Progress, ok bool) {
	data, err := os.ReadFile(s.progressFile(id))
	ok = err == nil && json.Unmarshal(data, &p) == nil
	return p, ok
}

// ClearProgress removes the notes: what has ended has no progress.
func (s *Store) ClearProgress(id ID) {
	_ = os.Remove(s.progressFile(id))
	_ = os.Remove(s.progressFile(id) + ".new")
}
