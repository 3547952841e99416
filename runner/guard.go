package runner

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
)

// guard starts a process that sends SIGINT to Barman if this runner dies without having
// dismissed it: it waits for the end of a pipe that only the runner can write to. The
// kernel's own way (PR_SET_PDEATHSIG) sends the signal once for each thread of a dying Go program,
// and the second breaks off the clean-up that the first began, so that Barman's catalog says STARTED
// for ever. A shell has one thread, and needs less than a megabyte.
func guard(pid int) (dismiss func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return func() {}, err
	}
	cmd := exec.Command("/bin/sh", "-c", `read -r word <&3 || kill -INT "$1"`, "barback-guard", strconv.Itoa(pid)) //nolint:noctx,gosec // it ends with the runner; a number is all that varies
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin"} // without the marker: it is not part of what is to be ended
	cmd.ExtraFiles = []*os.File{r}
	err = cmd.Start()
	_ = r.Close()
	if err != nil {
		return func() {}, errors.Join(err, w.Close())
	}
	return func() {
		_, _ = w.WriteString("done\n")
		_ = w.Close()
		_ = cmd.Wait()
	}, nil
}
