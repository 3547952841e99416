package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// container starts "barback serve" as the first process of a PID namespace, as a container has it, and
// returns its address and the process.
func (l *lab) container() (client, *exec.Cmd) {
	l.t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", freePort(l.t))
	cmd := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", // #nosec G204
		"setpriv", "--reuid", l.env["LAB_USER"], "--regid", l.env["LAB_USER"], "--init-groups", l.bin, "serve", "--config", l.config, "--listen", address)
	cmd.Env = l.command("true").Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	l.start(cmd, "container.log")
	c := client{l.t, "http://" + address}
	eventually(l.t, 10*time.Second, func() string { return "nobody answers on " + address }, func() bool {
		res, err := http.Get(c.url + "/status")
		if err == nil {
			_ = res.Body.Close()
		}
		return err == nil
	})
	return c, cmd
}

// inside lists the processes of a container with their states: "Z" is one that nobody has waited for.
func inside(first *exec.Cmd) map[string]string {
	found := map[string]string{}
	children, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range children {
		ns, _ := os.Readlink(dir + "/ns/pid_for_children")
		own, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid_for_children", first.Process.Pid))
		status, _ := os.ReadFile(dir + "/status")
		if ns == "" || ns != own || strings.HasSuffix(dir, "/"+strconv.Itoa(first.Process.Pid)) {
			// A zombie has no namespaces any more: its parent has.
			if !strings.Contains(string(status), "State:\tZ") {
				continue
			}
			parent := field(string(status), "PPid")
			if ns, _ := os.Readlink("/proc/" + parent + "/ns/pid_for_children"); ns != own {
				continue
			}
		}
		found[filepath.Base(dir)] = field(string(status), "State") + " of " + field(string(status), "PPid") + ": " + field(string(status), "Name")
	}
	return found
}

func field(status, name string) string {
	_, rest, _ := strings.Cut("\n"+status, "\n"+name+":\t")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// TestContainer: "barback serve" as the first process, with runners that it starts itself, keeps no
// zombies, and told to end it leaves no operation without an end.
func TestContainer(t *testing.T) {
	t.Parallel()
	l := newLab(t, "bookworm")
	c, first := l.container()
	const operations = "/servers/pg-one/operations"
	c.mustEnd(c.post(operations, `{"type":"backup"}`), "succeeded")

	// A killed runner leaves processes without a parent, which the first process gets.
	path := c.post(operations, slowBackup)
	copying(t, path)
	kill(t, l.programs(true)...)
	if end := c.mustEnd(path, "interrupted"); !strings.Contains(fmt.Sprint(end["error"]), "killed or crashed") {
		t.Errorf("the operation says %v, want that its runner was killed", end["error"])
	}
	eventually(t, 20*time.Second, func() string { return fmt.Sprint("in the container are ", inside(first)) }, func() bool {
		left := inside(first)
		for _, state := range left {
			if !strings.HasSuffix(state, " barback") || strings.HasPrefix(state, "Z") {
				return false
			}
		}
		return len(left) == 2 // the first process and the server
	})

	// docker stop.
	path = c.post(operations, slowBackup)
	copying(t, path)
	one := 0
	for pid := range inside(first) {
		if status, _ := os.ReadFile("/proc/" + pid + "/status"); strings.HasSuffix(field(string(status), "NSpid"), "\t1") {
			one, _ = strconv.Atoi(pid)
		}
	}
	if one == 0 {
		t.Fatalf("no first process among %v", inside(first))
	}
	if err := syscall.Kill(one, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() string { return fmt.Sprint("in the container are ", inside(first)) }, func() bool { return len(inside(first)) == 0 })
	record, err := os.ReadFile(filepath.Join(l.state, "operations", filepath.Base(path), "operation.json"))
	if err != nil || !strings.Contains(string(record), `"interrupted"`) || !strings.Contains(string(record), "told to stop") {
		t.Errorf("the record is %v %s, want it interrupted, as the runner was told to stop", err, record)
	}
	if out := l.must(l.barman("list-backups", "pg-one")); strings.Contains(out, "STARTED") {
		t.Errorf("Barman lists\n%s\nwant no backup that is still being made", out)
	}
}
