// Package runner carries one operation from its record to its end, in a process of
// its own that outlives whoever started it.
//
// The life of an operation:
//
//  1. A request has checked everything that can be checked at once and writes the
//     record, state queued, with the alive lock held (operation.Store.Create).
//  2. [Launcher.Start] starts a runner, "barback run": through systemd's socket
//     /run/barback/runner.sock if there is one, else as a detached child. It
//     sends the operation's ID and the lock's descriptor and waits for "ok".
//  3. The runner ([Run]) checks both, claims the operation and says "ok".
//     Only now the client gets its 202. If no "ok" comes, the request takes the
//     record back and the client is told that nothing was started.
//  4. The runner waits for a slot ([runner] max_parallel); then state running.
//  5. Where it restores to is looked at: Barman empties a folder without asking.
//     Then Barman runs as its child, with the alive lock inherited, the marker in its
//     environment, and a guard beside it that sends it SIGINT should the runner die. A Barman on another
//     host runs as the child of a shell there (runner/barman/host.sh), which ends it with the connection.
//  6. What Barman prints goes to output.log as it comes.
//  7. Barman ends: what it left running is ended, and the final state is recorded.
//  8. The runner ends, and with it the alive lock is free.
//
// If the runner itself is killed, "barback finish" (ExecStopPost of its unit)
// or the first poll ends what is left and records the state interrupted
// (operation.Store.Settle).
package runner

import (
	"encoding/json"
	"time"

	"github.com/sirupsen/logrus"

	"barback/runner/barman"
	"barback/runner/operation"
)

// client is the Barman of an operation: it tells where it works, which backups a server has, and what a command told that only reads.
type client interface {
	Where(op operation.Operation) (barman.Host, error)
	Backups(server string) ([]barman.Backup, error)
	Read(k barman.Kind, server string, printed []byte) (json.RawMessage, error)
}

// Config is what a runner has to know.
type Config struct {
	Store       *operation.Store
	Log         logrus.FieldLogger
	Barman      client
	MaxParallel int           // operations at work at once on this host
	StopGrace   time.Duration // for Barman's own clean-up, before it is killed
}
