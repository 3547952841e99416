package runner

import (
	"bytes"
	"io"

	"barback/runner/operation"
)

// backupIDs lists the backups that the operation's server has. A catalog that cannot
// be read costs the result its backup_id, nothing else.
func (c *Config) backupIDs(op operation.Operation) map[string]bool {
	if op.Type != "backup" {
		return nil
	}
	ids := map[string]bool{}
	list, _ := c.Barman.Backups(op.Server)
	for _, b := range list {
		ids[b.ID] = true
	}
	return ids
}

// madeBackup is the backup that this operation made: one that was not there before, and
// that Barman named in its output (another may have been started beside it, by hand).
func (c *Config) madeBackup(op operation.Operation, before map[string]bool) string {
	if before == nil {
		return ""
	}
	f, err := c.Store.Output(op.ID)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	head, _ := io.ReadAll(io.LimitReader(f, 64<<10)) // Barman names the backup in its first lines
	for id := range c.backupIDs(op) {
		if !before[id] && bytes.Contains(head, []byte(id)) {
			return id
		}
	}
	return ""
}
