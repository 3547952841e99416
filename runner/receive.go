package runner

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"barback/runner/operation"
)

// Task is what a runner was sent: an operation, and its lock.
type Task struct {
	ID   operation.ID
	lock *os.File
	conn *net.UnixConn
}

// Receive reads from the launcher's connection which operation to run, and the
// descriptor of its lock. It is the other end of [Launcher.Start], and of [Launcher.Try]; the ID is all
// that it takes from there, everything else is read from disk.
func Receive(conn *net.UnixConn) (*Task, error) {
	if err := checkPeer(conn); err != nil {
		return nil, err
	}
	line, oob := make([]byte, 256), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := conn.ReadMsgUnix(line, oob)
	if err != nil {
		return nil, fmt.Errorf("read from the launcher: %w", err)
	}
	fds, err := descriptors(oob[:oobn])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(err, fmt.Errorf("the launcher sent %d descriptors, not one", len(fds)))
	}
	lock := os.NewFile(uintptr(fds[0]), "lock") // #nosec G115 -- a descriptor
	id, err := parseID(string(line[:n]))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Task{id, lock, conn}, nil
}

// checkPeer lets only our own user, and root, start runners.
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) // #nosec G115 -- a descriptor
	}); err != nil {
		return err
	}
	if credErr != nil {
		return fmt.Errorf("SO_PEERCRED: %w", credErr)
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("user %d may not start runners of user %d", cred.Uid, os.Geteuid())
	}
	return nil
}

func descriptors(oob []byte) ([]int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) == 0 {
		return nil, err
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return fds, err
}

// accept claims the operation and tells the launcher so. A launcher that is gone
// does not matter: the record is there, and the operation goes on.
func (t *Task) accept(store *operation.Store) error {
	if err := store.CheckAlive(t.ID, t.lock); err != nil {
		return err
	}
	if err := store.Claim(t.ID); err != nil {
		return err
	}
	_, _ = t.conn.Write([]byte("ok\n"))
	return t.conn.Close()
}

// refuse tells the launcher why there will be no runner.
func (t *Task) refuse(err error) {
	_, _ = t.conn.Write([]byte(strings.ReplaceAll(err.Error(), "\n", "; ") + "\n"))
	_ = t.conn.Close()
}
