package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestTortureBarman is TestTortureKill on the real Barman: slow backups are killed at random moments.
func TestTortureBarman(t *testing.T) {
	seed := tortureSeed(t)
	l := newLab(t, "bookworm")
	rnd := rand.New(rand.NewPCG(seed, 0))
	a := newArena(t, l, rnd, func() asked {
		server := []string{"pg-one", "pg-one", "pg-two"}[rnd.IntN(3)]
		return asked{server: server, code: -1, body: fmt.Sprintf(`{"type":"backup","queue":true,"bwlimit":%d}`, 10000+rnd.IntN(40000))}
	})
	a.most, a.span = 2, 2*time.Second
	a.tidy = func() { // or the catalog fills the disk; there may be nothing yet
		for _, server := range []string{"pg-one", "pg-two"} {
			_ = l.command(l.env["LAB_BARMAN"], "-c", l.env["LAB_BARMAN_CONF"], "delete", server, "oldest").Run()
		}
	}
	a.run(t, times(3, 100))
	// The catalog is whole: Barman itself can read it, and go on.
	l.must(l.command(l.env["LAB_BARMAN"], "-c", l.env["LAB_BARMAN_CONF"], "list-backup", "all"))
	c := client{t, a.witness}
	c.mustEnd(c.post(backups, `{"type":"backup"}`), "succeeded")
}
