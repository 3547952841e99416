package runner

import (
	"bytes"
	"io"

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
