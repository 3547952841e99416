package runner

import (
	"bytes"
	"io"

	"barback/runner/barman"
	"barback/runner/operation"
)

// backups is the catalog of the operation's server: ID → status. One that cannot be read
// costs the result its backup_id, nothing else.
func (c *Config) backups(op operation.Operation) map[string]string {
	if op.Type != "backup" {
		return nil
	}
	found := map[string]string{}
	list, _ := c.Barman.Backups(op.Server)
	for _, b := range list {
		found[b.ID] = b.Status
	}
	return found
}

// made reports whether a backup of that status was there to stay. Barman's IDs are seconds: one that was
// broken off may have left its ID to the next.
func made(status string) bool { return status == "DONE" || status == "WAITING_FOR_WALS" }

// madeBackup is the backup that this operation made, and what Barman's catalog says of it:
// one that was not there before, and that Barman named in its output (another may have been
// started beside it, by hand).
func (c *Config) madeBackup(op operation.Operation, before map[string]string) operation.Result {
	if before == nil {
		return operation.Result{}
	}
	f, err := c.Store.Output(op.ID)
	if err != nil {
		return operation.Result{}
	}
	defer func() { _ = f.Close() }()
	head, _ := io.ReadAll(io.LimitReader(f, 64<<10)) // Barman names the backup in its first lines
	for id, status := range c.backups(op) {
		if !made(before[id]) && bytes.Contains(head, []byte(id)) {
			return operation.Result{BackupID: id, BackupStatus: status}
		}
	}
	return operation.Result{}
}

// maxReport is far above what Barman says of one server.
const maxReport = 8 << 20

// reported is the end of an operation that only read. What Barman told is its result; if a check found something
// Barman ends with exit code 1, and the operation has done what it was to do.
func (c *Config) reported(kind barman.Kind, op operation.Operation, end outcome) outcome {
	f, err := c.Store.Output(op.ID)
	if err != nil {
		return end
	}
	defer func() { _ = f.Close() }()
	printed, _ := io.ReadAll(io.LimitReader(f, maxReport))
	report, err := c.Barman.Read(kind, op.Server, printed)
	switch {
	case err == nil && (end.failure == nil || end.exit != nil && *end.exit == 1):
		end.state, end.failure, end.result.Report = operation.Succeeded, nil, report
	case err != nil && end.failure == nil:
		end.state, end.failure = operation.Failed, &operation.Failure{Title: "Barman's answer cannot be read", Detail: err.Error()}
	}
	return end
}
