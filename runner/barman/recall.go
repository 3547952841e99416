package barman

import "barback/runner/durable"

// A backup.info is seldom written once its backup has ended, and read for each look at the catalog: what was in it is
// kept as long as it is the same file.

// keptBackups take less than a KiB each.
var keptBackups = durable.Kept[Backup]{Most: 10_000}

// recallBackup is readBackup for a file that may have been read before. name is its path below folder, which is open.
func recallBackup(folder int, name, path, id string) (Backup, error) {
	if b, ok := keptBackups.RecallBy(path, func() durable.Stamp { return durable.StampIn(folder, name) }); ok {
		return b, nil
	}
	b, stamp, err := readBackup(path, id)
	if err == nil {
		keptBackups.Keep(path, b, stamp)
	}
	return b, err
}
