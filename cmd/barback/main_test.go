package main

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// cleanups is what has to be undone even if the test is interrupted: processes and
// folders outside the test's own.
var cleanups struct {
	sync.Mutex
	list []func()
}

// atExit registers f to run once: at the end of t, or when the test binary is interrupted.
func atExit(t testing.TB, f func()) {
	f = sync.OnceFunc(f)
	cleanups.Lock()
	cleanups.list = append(cleanups.list, f)
	cleanups.Unlock()
	t.Cleanup(f)
}

type interruptible struct{ m *testing.M }

func (i interruptible) Run() int {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ch
		cleanups.Lock()
		for n := len(cleanups.list) - 1; n >= 0; n-- {
			cleanups.list[n]()
		}
		os.Exit(130)
	}()
	return i.m.Run()
}

func TestMain(m *testing.M) {
	testscript.Main(interruptible{m}, map[string]func(){
		"barback":       main,
		"pg-backup-api": main,
	})
}

// TestStories runs the scripts of testdata/script: each is a story of the command line.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Setup: func(env *testscript.Env) error {
		env.Setenv("PORT", fmt.Sprint(freePort(t)))
		return nil
	}})
}
