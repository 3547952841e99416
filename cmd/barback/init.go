package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// serveAsInit is "barback serve" as the first process of a container. Whatever loses its parent there becomes our child:
// what Barman leaves, and the runners when the server has ended. So the server is a process of its own, and this one waits
// for all of them. Told to end, it lets the server finish its requests, then the runners end Barman and record that;
// a container's manager that is in a hurry kills us all.
func serveAsInit() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
	server := exec.Command(self, os.Args[1:]...) //nolint:noctx,gosec // ourselves, as we were called
	server.Stdin, server.Stdout, server.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := server.Start(); err != nil {
		return err
	}
	pid := server.Process.Pid
	go func() {
		for s := range signals {
			_ = unix.Kill(pid, s.(syscall.Signal))
		}
	}()
	end, err := reap(pid)
	signal.Stop(signals)
	if err != nil {
		return fmt.Errorf("wait for the server: %w", err)
	}
	for _, child := range children() {
		_ = unix.Kill(child, unix.SIGTERM)
	}
	if _, err := reap(0); err != nil && !errors.Is(err, unix.ECHILD) {
		return fmt.Errorf("wait for the runners: %w", err)
	}
	switch {
	case end.Signaled():
		return fmt.Errorf("the server was ended by %s", unix.SignalName(end.Signal()))
	case end.ExitStatus() == 2:
		return usageError("the server did not start")
	case end.ExitStatus() != 0:
		return errors.New("the server ended with an error")
	}
	return nil
}

// reap waits for children until pid is one that has ended, or none is left.
func reap(pid int) (unix.WaitStatus, error) {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || got == pid:
			return status, err
		}
	}
}

// children are the processes whose parent is this one.
func children() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		stat, err2 := os.ReadFile("/proc/" + e.Name() + "/stat")                  // #nosec G304 -- below /proc
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // the command's name may hold blanks
		if err == nil && err2 == nil && len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			pids = append(pids, pid)
		}
	}
	return pids
}
