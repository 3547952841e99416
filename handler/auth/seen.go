package auth

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// seen is a token's file that this process has read: as long as it is the same one, it says the same.
type seen struct {
	Token
	inode uint64
	size  int64
	ctime syscall.Timespec
	read  time.Time
}

const maxSeen = 1024

// look is load for those who come again and again.
func (s *Tokens) look(path string) (Token, error) {
	st, err := os.Stat(path)
	if err != nil {
		return Token{}, err
	}
	sys, name := st.Sys().(*syscall.Stat_t), filepath.Base(path)
	s.mu.Lock()
	old := s.seen[name]
	s.mu.Unlock()
	if old.inode == sys.Ino && old.size == sys.Size && old.ctime == sys.Ctim && old.read.Sub(time.Unix(sys.Ctim.Unix())) > settled {
		return old.Token, nil
	}
	now := time.Now()
	t, err := load(path)
	if err != nil {
		return t, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil || len(s.seen) >= maxSeen {
		s.seen = map[string]seen{}
	}
	s.seen[name] = seen{t, sys.Ino, sys.Size, sys.Ctim, now}
	return t, nil
}
