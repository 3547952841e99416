// Package operation is the record of what barback was asked to do: one
// directory per operation below the state directory, written by the request
// that accepts it and by its runner, read by every poll. It holds no process
// alive and trusts no stored claim: whoever reads a record that is not final
// asks the kernel whether its runner still lives, and settles it if not.
//
// # On disk
//
//	STATE_DIR/
//	  operations/ID/operation.json  the record, {"version":1,…}; replaced whole, never written in place
//	  operations/ID/lock            the alive lock; empty
//	  operations/ID/state.lock      held for the moment of a change to operation.json; empty
//	  operations/ID/unclaimed       becomes "claim" when a runner takes the operation, or the request takes it back: one rename wins
//	  operations/ID/reserve         room on the disk for the record of the end; becomes operation.json then
//	  operations/ID/output.log      what Barman printed, stdout and stderr in one; its middle may be left out, see Output
//	  operations/ID/progress.json   how far Barman's copy is, written by the runner now and then; not durable, and of no meaning after the end
//	  operations/ID/runner.log      the runner's own log where no journal has it; often empty
//	  index                         a line for each operation that has ended, in the order of their ends; lists read it from behind. Made anew from the records when it is missing or damaged
//	  index.lock                    held for the moment of a change to the index; empty
//	  archive/YYYYMM.zip            records of that month, moved there by "barback prune"; replaced whole
//	  archive/lock                  held while archives change; empty
//	  drafts/                       records being made or removed; swept under the admission lock
//	  active/ID                     empty; there for every operation whose end is not in the index yet
//	  admission.lock                held while a request is compared with what is at work, and recorded
//	  keys/HASH                     the ID of the operation that an Idempotency-Key stands for
//	  slots/queue, slots/N          locks that hold the number of running operations down
//	  slots/=NAME                   locks of what an operation must have alone: the backup of a server, the configuration
//
// Directories are 0750, files 0640 or 0600, all of the user that runs Barman.
// Only local file systems keep the promises below: [Open] refuses NFS and CIFS.
//
// # IDs
//
// YYYYMMDDTHHMMSS-ffrrr…: the time of acceptance in UTC, then six characters
// of Crockford's base 32 in lower case: three for the fraction of the second (1/32768)
// and three at random. So IDs sort by time; a second holder of the same ID is
// impossible, as the rename that publishes a record fails on an existing one.
// Clients are told to treat them as opaque.
//
// An operation of pg-backup-api was known there as YYYYMMDDTHHMMSS, local time, which is unique for one server
// alone. Imported it is NEW=OLD: an ID as above, of the time in UTC and six characters of a hash of
// server and old ID, so that importing twice makes one record. Clients see and send the old one.
//
// # Locks
//
// The alive lock is an flock(2) taken before the record becomes visible. The
// very same open file description is then handed on, never reopened: from the
// accepting request to the runner (over a Unix socket, SCM_RIGHTS), and from the
// runner to Barman (inherited). It is therefore free exactly when none of them
// lives, and there is no moment, however short, in which a living operation
// looks dead. Nobody deletes a lock file while its record stays.
//
// The state lock is another file, so that a reader that probes one lock never
// disturbs the other.
//
// # Writes
//
// A record is made below drafts, synced and renamed into place. A change
// goes to a temporary file in the same directory, fsync, rename, fsync of the
// directory: a crash or a full disk leaves the old record or the new one. The last
// change of all is written into a file whose blocks were reserved when the record was
// made, so that a full disk cannot keep the end of an operation from being recorded.
//
// # Lists
//
// A line of the index has the fields ID, the highest ID so far, "live" or "archived", state, type, server, who asked
// (tabs, newlines and backslashes as \t, \n, \\), then as nanoseconds since 1970 the acceptance and the end, size and
// modification time of operation.json, and the CRC-32 of all that in hexadecimal; tabs between. Because of the second field a
// reader that goes backwards knows when nothing newer can come. The line is on the disk before active/ID is removed, and a
// reader looks at active first: no operation is ever in neither. What stands behind the last newline is not there.
//
// # Archives
//
// An archive holds folders as they were below operations, without the locks. A record is removed from there when
// the archive with it is on the disk and was read back; until then it is in both.
//
// # Output
//
// The byte offsets of output.log are those of what Barman printed, whatever was left out. Beyond max_output of
// the record (0: no cap) the runner gives the blocks of the middle back to the file system
// (fallocate(2), FALLOC_FL_PUNCH_HOLE); nothing is copied. With step = max_output/4, rounded down to 64 KiB,
// and size the length of the file, what is left out are the bytes
//
//	from step to step + step*ceil((size-max_output)/step), if size > max_output
//
// so that the first quarter of the cap and at least its last half stay. This gap follows from the record and the
// size alone. It is not asked of the file system (lseek(2), SEEK_HOLE), which may have more holes
// (ZFS makes them of NULs that were printed) or tell of none, and it holds for a copy without holes. Only where the
// record is damaged the first hole has to do. The bytes of the gap mean nothing, be they NULs or not freed yet:
// a runner may die between a write and the freeing.
//
// The runner writes first and frees then. So a reader that looks at the size again after it
// has read knows whether that was still there: it is not to use what the gap has reached by then.
//
// On a file system that frees no part of a file the runner sets max_output of the record to 0 before Barman starts, and all is kept.
//
// # Versions
//
// Fields are only ever added. A reader ignores the ones that it does not know;
// a record with a higher version than its own is reported as damaged.
package operation
