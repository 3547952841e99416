package barman

import (
	"sync"

	"barback/runner/durable"
)

// A backup.info is seldom written once its backup has ended, and read for each look at the catalog: what was in it is
// kept as long as it is the same file. A Backup that was kept is not to be changed, nor what it points to.

// mostKept is the number of backups, some KiB each.
const mostKept = 20_000

type keptBackup struct {
	backup Backup
	stamp  durable.Stamp
}

var keptBackups struct {
	sync.Mutex
	at map[string]keptBackup // by path
}

// recallBackup is readBackup for a file that may have been read before.
func recallBackup(path, id string) (Backup, error) {
	stamp := durable.StampOf(path)
	keptBackups.Lock()
	kept, ok := keptBackups.at[path]
	keptBackups.Unlock()
	if ok && kept.stamp == stamp {
		return kept.backup, nil
	}
	b, err := readBackup(path, id)
	if err != nil || !stamp.Lasting() || stamp == (durable.Stamp{}) {
		return b, err
	}
	keptBackups.Lock()
	defer keptBackups.Unlock()
	if keptBackups.at == nil || len(keptBackups.at) >= mostKept {
		keptBackups.at = map[string]keptBackup{}
	}
	keptBackups.at[path] = keptBackup{b, stamp}
	return b, nil
}
