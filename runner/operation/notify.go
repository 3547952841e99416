package operation

import (
	"bytes"
	"encoding/binary"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// notifier is the one inotify(7) instance of a process: a user may have 128 of them and no more. It tells watches of
// what happens in their folders. Where there is none to be had, it tells nothing.
type notifier struct {
	mu sync.Mutex
	fd int // of os.File, whose Fd would take it away from Go's poller; 0: none yet
	to map[int32]*watch
}

var inotify = notifier{to: map[int32]*watch{}}

// What is reported of a folder: a record that is replaced, a lock whose last holder is gone (it was opened for writing,
// which who only looks at a lock does not), the folder itself that is moved away; of output only to who wants it.
const (
	reported = unix.IN_MOVED_TO | unix.IN_CLOSE_WRITE | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_MASK_ADD
	growing  = unix.IN_MODIFY
)

// add reports changes in a folder to w, and gives the number of that; 0: it cannot be had.
func (n *notifier) add(dir string, printed bool, w *watch) int32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd == 0 {
		fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
		if err != nil {
			return 0
		}
		n.fd = fd
		go n.read(os.NewFile(uintptr(fd), "inotify")) // #nosec G115 -- a descriptor
	}
	mask := uint32(reported)
	if printed {
		mask |= growing
	}
	number, err := unix.InotifyAddWatch(n.fd, dir, mask)
	if err != nil {
		return 0
	}
	n.to[int32(number)] = w // #nosec G115 -- the kernel counts in int
	return int32(number)    // #nosec G115 -- so
}

// remove ends the reports under a number.
func (n *notifier) remove(number int32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.to[number] != nil {
		delete(n.to, number)
		_, _ = unix.InotifyRmWatch(n.fd, uint32(number)) // #nosec G115 -- as the kernel gave it
	}
}

// read passes on what the kernel reports. A report that is lost (IN_Q_OVERFLOW) costs a second: each watch looks by itself, too.
func (n *notifier) read(file *os.File) {
	buf := make([]byte, 16<<10)
	for {
		size, err := file.Read(buf)
		if err != nil {
			return
		}
		for b := buf[:size]; len(b) >= unix.SizeofInotifyEvent; {
			number, mask, length := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[12:]) // #nosec G115
			name := bytes.TrimRight(b[unix.SizeofInotifyEvent:][:length], "\x00")
			b = b[unix.SizeofInotifyEvent+length:]
			n.mu.Lock()
			w := n.to[number]
			n.mu.Unlock()
			if w != nil {
				w.reported(string(name), mask)
			}
		}
	}
}

// reported is what the kernel says of a file in the folder.
func (w *watch) reported(name string, mask uint32) {
	switch {
	case name == "output.log" && mask&unix.IN_MODIFY != 0:
		w.tell(func(*look) {})
	case name == "operation.json" && mask&unix.IN_MOVED_TO != 0, mask&unix.IN_MOVE_SELF != 0:
		w.stir()
	case name == "lock" && mask&unix.IN_CLOSE_WRITE != 0:
		time.AfterFunc(lockIsFreed, w.stir)
	}
}
