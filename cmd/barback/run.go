package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"

	"barback/runner"
	"barback/runner/barman"
)

// runOperation is "barback run": the runner of one operation. The launcher's
// connection is standard input, or what systemd passed. An ID in the arguments is for the
// eyes of who lists processes; it has to be the one that was sent.
func runOperation(c *call) error {
	if err := c.parse(0, 1); err != nil {
		return err
	}
	lean()
	cfg, err := loadConfig(*c.configPath)
	if err != nil {
		return err
	}
	conn, err := launcherConn()
	if err != nil {
		return err
	}
	task, err := runner.Receive(conn)
	if err != nil {
		return err
	}
	if len(c.args) == 1 && c.args[0] != string(task.ID) {
		return fmt.Errorf("operation %s was sent, not %s", task.ID, c.args[0])
	}
	if task.Tried() {
		return task.Prove(cfg.StateDir, version())
	}
	store, err := cfg.store()
	if err != nil {
		return err
	}
	// A session of its own tells the operation's processes from all others.
	if sid, err := unix.Getsid(0); err != nil || sid != os.Getpid() {
		if _, err := unix.Setsid(); err != nil {
			return fmt.Errorf("setsid: %w", err)
		}
	}
	fleet := cfg.barman()
	if op, err := store.Load(task.ID); err == nil {
		if client, err := fleet.On(op.Host); err == nil {
			client.Config = cmp.Or(barman.ConfigOf(op.Command), client.Config)
		}
	}
	r := runner.Config{Store: store, Barman: fleet, Log: newLog(c.stderr, cfg.LogLevel), MaxParallel: cfg.Runner.MaxParallel, StopGrace: time.Duration(cfg.Runner.StopGrace)}
	return r.Run(task)
}

// launcherConn takes the launcher's connection off its descriptor, so that Barman
// does not inherit it.
func launcherConn() (*net.UnixConn, error) {
	f := os.Stdin
	if files := activation.Files(true); len(files) > 0 {
		f = files[0]
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, errors.New("\"run\" is started by barback itself, with a launcher's connection as standard input")
	}
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("the launcher's connection is no Unix socket")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()
	return uc, unix.Dup3(int(null.Fd()), int(f.Fd()), 0) // #nosec G115 -- descriptors
}

// finish is "barback finish", the ExecStopPost= of a runner's unit.
func finish(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	cfg, err := loadConfig(*c.configPath)
	if err != nil {
		return err
	}
	store, err := cfg.store()
	if err != nil {
		return err
	}
	return runner.Finish(store, os.Getenv("INVOCATION_ID"), os.Getenv("SERVICE_RESULT"), os.Getenv("EXIT_CODE"), os.Getenv("EXIT_STATUS"), time.Duration(cfg.Runner.StopGrace))
}
