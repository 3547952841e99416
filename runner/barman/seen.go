package barman

import (
	"os"
	"syscall"
	"time"
)

// seen are files and folders as they were before they were read.
type seen []sight

// sight is what tells whether a file is still the same: any write, rename or change of permissions moves its
// ctime, which nobody can set. All zeros: it is not there.
type sight struct {
	path                string
	inode               uint64
	size, seconds, nano int64
}

// settled is the age from which a file's time tells it from a later one: file systems count in steps.
const settled = 2 * time.Second

func look(path string) sight {
	s := sight{path: path}
	if st, err := os.Stat(path); err == nil {
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			s.inode, s.size, s.seconds, s.nano = sys.Ino, sys.Size, sys.Ctim.Sec, sys.Ctim.Nsec
		}
	}
	return s
}

// note has to come before the file is read.
func (s *seen) note(path string) { *s = append(*s, look(path)) }

// stand reports whether all are as they were seen.
func (s seen) stand() bool {
	for _, was := range s {
		if look(was.path) != was {
			return false
		}
	}
	return true
}

// old reports whether all had been as they are for long enough that [seen.stand] sees the next change.
func (s seen) old(now time.Time) bool {
	for _, was := range s {
		if now.Sub(time.Unix(was.seconds, was.nano)) < settled {
			return false
		}
	}
	return true
}
