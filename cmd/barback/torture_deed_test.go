package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"barback/runner"
	"barback/runner/operation"
)

// deed is one thing that is done to a state directory while system calls fail.
type deed struct {
	name string
	// before makes the record that do works on; none for a new one.
	before func(s *operation.Store) error
	do     func(s *operation.Store) error
	// old and new are the states that the record may have on disk afterwards; "" is: it is not there.
	old, new operation.State
}

var deeds = []deed{
	{"create", nil, doCreate, "", operation.Queued},
	{"create with a key", nil, doCreateWithKey, "", operation.Queued},
	{"withdraw", prepareQueued, doWithdraw, operation.Queued, ""},
	{"start", prepareQueued, doStart, operation.Queued, operation.Running},
	{"end", prepareRunning, doEnd, operation.Running, operation.Succeeded},
	{"cancel", prepareQueued, doCancel, operation.Queued, operation.Canceled},
	{"finish", prepareDead, doFinish, operation.Running, operation.Interrupted},
	{"look", prepareDead, doLook, operation.Running, operation.Interrupted},
	{"delete", prepareEnded, doDelete, operation.Succeeded, ""},
	{"prune", prepareEnded, doPrune, operation.Succeeded, operation.Succeeded},
	{"delete archived", prepareArchived, doDelete, operation.Succeeded, ""},
	{"reindex", prepareEnded, (*operation.Store).Reindex, operation.Succeeded, operation.Succeeded},
}

// deedKey is the key of the one operation with a key.
var deedKey = operation.Key("anonymous", "torture")

func sample() operation.Operation {
	return operation.Operation{Type: "backup", Server: "pg-a", Request: []byte(`{"type":"backup"}`), Command: []string{"/usr/bin/barman", "backup", "pg-a"}, Fingerprint: "f"}
}

func doCreate(s *operation.Store) error { return admitted(s.Admit(sample())) }

// admitted lets the lock go: no runner comes.
func admitted(_ operation.Operation, lock *os.File, err error) error {
	if lock != nil {
		_ = lock.Close()
	}
	return err
}

func doCreateWithKey(s *operation.Store) error {
	op := sample()
	op.Key = deedKey
	return admitted(s.Admit(op))
}

// only is the one operation of the store, as it stands on disk.
func only(s *operation.Store) operation.ID {
	ops, err := s.Unsettled()
	if err != nil || len(ops) != 1 {
		panic(fmt.Sprintf("%d operations without an end, %v, want one", len(ops), err))
	}
	return ops[0].ID
}

func prepareQueued(s *operation.Store) error { return doCreate(s) }

func prepareRunning(s *operation.Store) error {
	return errors.Join(doCreate(s), doStart(s))
}

// prepareDead leaves a running operation whose runner is no more.
func prepareDead(s *operation.Store) error {
	if err := doCreate(s); err != nil {
		return err
	}
	op, err := s.Start(only(s), invocation)
	if err != nil {
		return err
	}
	_, err = s.Update(op.ID, func(op *operation.Operation) error {
		op.Runner.StartTime++ // somebody else has that pid now
		return nil
	})
	return err
}

func prepareEnded(s *operation.Store) error { return errors.Join(prepareRunning(s), doEnd(s)) }

func doWithdraw(s *operation.Store) error { return s.Withdraw(only(s)) }

func doStart(s *operation.Store) error {
	_, err := s.Start(only(s), "")
	return err
}

func doEnd(s *operation.Store) error {
	zero := 0
	_, err := s.End(only(s), operation.Succeeded, func(op *operation.Operation) { op.ExitCode = &zero })
	return err
}

func doCancel(s *operation.Store) error {
	_, err := s.Update(only(s), func(op *operation.Operation) error { return op.AskCancel("anonymous", time.Now().UTC()) })
	return err
}

func doFinish(s *operation.Store) error {
	return runner.Finish(s, invocation, "signal", "killed", "KILL", time.Second)
}

// doLook may fail to record what it sees, but what it says is the truth.
func doLook(s *operation.Store) error {
	ops, err := s.Active()
	if err == nil && len(ops) != 0 && ops[0].State != operation.Running {
		err = fmt.Errorf("the look sees %s", ops[0].State)
	}
	return err
}

func doDelete(s *operation.Store) error {
	ops, _, err := s.List(operation.Query{})
	if err != nil || len(ops) != 1 {
		return errors.Join(err, fmt.Errorf("%d operations, want one", len(ops)))
	}
	return s.Delete(ops[0].ID)
}

func doPrune(s *operation.Store) error {
	_, err := s.Prune(operation.Policy{MaxSize: 1}, time.Now(), false)
	return err
}

func prepareArchived(s *operation.Store) error { return errors.Join(prepareEnded(s), doPrune(s)) }

// The exit codes of a deed's process.
const (
	deedDone    = 0
	deedNoSpace = 3 // the client would get 507
	deedBroken  = 4 // the client would get 503 with the reason
	deedFailed  = 5 // any other error
)

// init makes this binary do one deed and end, where the environment says so: strace counts system
// calls from the start of the process, and those of the test's own machinery would come first. The main
// goroutine stays on the main thread until all inits are through (package runtime), so that the count is
// that thread's.
func init() {
	name, dir, ok := strings.Cut(os.Getenv("BARBACK_DEED"), ":")
	if !ok {
		return
	}
	d := deeds[slices.IndexFunc(deeds, func(d deed) bool { return d.name == name })]
	s, err := operation.Open(dir)
	if err == nil {
		err = d.do(s)
	}
	unusable := (*operation.UnusableError)(nil)
	code := deedDone
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		code = deedNoSpace
	case errors.As(err, &unusable):
		code = deedBroken
	case err != nil:
		code = deedFailed
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}
