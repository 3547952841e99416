package handler

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"barback/runner/operation"
)

// looking counts the goroutines of this process that wait for operations, follow them, or look at them for those who do.
func looking() (users, looks int) {
	stacks := make([]byte, 4<<20)
	text := string(stacks[:runtime.Stack(stacks, true)])
	return strings.Count(text, "operation.(*Store).Wait(") + strings.Count(text, "operation.(*Store).Follow("), strings.Count(text, "operation.(*watch).run(")
}

// wantLooking waits until so many do.
func wantLooking(t testing.TB, users, looks int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		u, l := looking()
		if u == users && l == looks {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d wait or follow and %d look for them, want %d and %d", u, l, users, looks)
		}
	}
}

// Each that waits for an operation or follows one holds a connection and no more: one looks for all, however many operations have
// to be looked at; who goes away leaves nothing; a process that is to end answers the others.
func TestWhoWaitsIsLetGo(t *testing.T) {
	ending, end := context.WithCancel(t.Context())
	b := newBench(t, func(c *Config) { c.Ending = ending })
	srv := httptest.NewServer(b)
	defer srv.Close()
	one, _ := b.operation(operation.Operation{Type: "backup", Server: "pg-one"})
	two, _ := b.operation(operation.Operation{Type: "backup", Server: "pg-two"})
	var staying, going sync.WaitGroup
	ask := func(ctx context.Context, done func(string, error), path string, header ...string) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+path, nil)
		if err != nil {
			t.Error(err)
			return
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := srv.Client().Do(r)
		if err != nil {
			done("", err)
			return
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		done(res.Status+string(body), err)
	}
	away, leave := context.WithCancel(t.Context())
	const n = 10 // of each kind
	for range n {
		for _, op := range []operation.Operation{one, two} {
			path := "/servers/" + op.Server + "/operations/" + string(op.ID)
			for _, how := range [][]string{{path, "Prefer", "wait=25"}, {path + "/output?follow=1"}, {path + "/output", "Accept", "text/event-stream"}} {
				going.Go(func() {
					ask(away, func(_ string, err error) {
						if err == nil {
							t.Errorf("who goes away from %q got an end", how)
						}
					}, how[0], how[1:]...)
				})
				staying.Go(func() {
					ask(t.Context(), func(got string, err error) {
						if err != nil || !strings.HasPrefix(got, "200 OK") || len(how) == 3 && how[1] == "Prefer" && !strings.Contains(got, "IN_PROGRESS") {
							t.Errorf("who waits at %q when the process is to end got %q, %v", how, got, err)
						}
					}, how[0], how[1:]...)
				})
			}
		}
	}
	wantLooking(t, 12*n, 2)
	leave()
	going.Wait()
	wantLooking(t, 6*n, 2)
	end()
	staying.Wait()
	wantLooking(t, 0, 0)
}
