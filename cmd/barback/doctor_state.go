package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner/operation"
)

// leastRoom is what a record, its reserve and a little output take: with less nothing can be accepted.
const leastRoom = 1 << 20

// lookDisk compares what is free with what may come to lie there.
func (x *exam) lookDisk() []finding {
	list := x.lookStateRoom()
	for _, client := range x.clients {
		if client.Host.Remote() {
			continue // another machine's disk
		}
		if home, err := client.Home(); err == nil {
			var largest int64
			over, _ := client.Overview()
			for _, o := range over {
				if o.Last != nil {
					largest = max(largest, o.Last.Size)
				}
			}
			list = append(list, x.room(home, largest, "the newest backup of its largest server takes")...)
		}
	}
	return list
}

func (x *exam) lookStateRoom() []finding {
	var used int64
	_ = filepath.WalkDir(x.cfg.StateDir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if st, err := d.Info(); err == nil {
				used += st.Size()
			}
		}
		return nil // what cannot be read is not counted
	})
	if x.cfg.Retention.MaxSize == 0 {
		return x.room(x.cfg.StateDir, int64(x.cfg.Runner.MaxOutput), "the output of one operation may take (max_output in [runner])")
	}
	return x.room(x.cfg.StateDir, max(0, int64(x.cfg.Retention.MaxSize)-used), "operations may still take (max_size in [retention])")
}

// room compares what is free where dir lies with what is needed.
func (x *exam) room(dir string, need int64, says string) []finding {
	const check = "disk"
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); errors.Is(err, fs.ErrNotExist) {
		return x.skip(check, "%s does not exist", dir)
	} else if err != nil {
		return x.denied(check, "", &fs.PathError{Op: "statfs", Path: dir, Err: err})
	}
	free := int64(st.Bavail) * st.Bsize // #nosec G115 -- a disk
	remedy := fmt.Sprintf("du -xh -d 2 %s | sort -h | tail", quote(mountPoint(dir)))
	switch {
	case free < leastRoom:
		return x.bad(check, remedy, "%s: %s are free: nothing can be written", dir, bytesOf(free))
	case st.Files > 0 && st.Ffree < 16:
		return x.bad(check, fmt.Sprintf("du -x --inodes -d 2 %s | sort -n | tail", quote(mountPoint(dir))), "%s: no files can be made there (inodes: df -i)", dir)
	case free < need:
		return x.warn(check, remedy, "%s: %s are free, less than the %s that %s", dir, bytesOf(free), bytesOf(need), says)
	}
	return x.ok(check, "%s: %s are free", dir, bytesOf(free))
}

func bytesOf(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// lookClock asks the kernel whether somebody keeps its clock right (adjtimex(2)).
func (x *exam) lookClock() []finding {
	const check = "clock"
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	switch {
	case err != nil:
		return x.skip(check, "the kernel does not say whether it is synchronised: %v", err)
	case state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0:
		return x.warn(check, x.debian("apt-get install chrony", "dnf install chrony && systemctl enable --now chronyd"),
			"%s, but nobody synchronises it: times of restores and the order of operations go by it", time.Now().UTC().Format(time.RFC3339))
	}
	return x.ok(check, "%s, synchronised", time.Now().UTC().Format(time.RFC3339))
}

// ahead is how far a record may be before the clock.
const ahead = 2 * time.Minute

func (x *exam) lookRecords() []finding {
	const check = "records"
	if _, err := os.Stat(x.cfg.StateDir); errors.Is(err, fs.ErrNotExist) {
		return x.skip(check, "there is no state directory")
	}
	r, err := operation.At(x.cfg.StateDir).Examine()
	if err != nil {
		return x.denied(check, fmt.Sprintf("chown -R %s %s && chmod -R u+rwX %s", owners(x.ownerName()), quote(x.cfg.StateDir), quote(x.cfg.StateDir)), err)
	}
	var list []finding
	for _, d := range r.Damaged {
		aside := fmt.Sprintf("mkdir -p ~/barback-damaged && mv %s ~/barback-damaged/", quote(d.Dir))
		if errors.Is(d.Err, fs.ErrPermission) {
			aside = fmt.Sprintf("chown -R %s %s && chmod -R u+rwX %s", owners(x.ownerName()), quote(d.Dir), quote(d.Dir))
		}
		list = append(list, x.denied(check, aside, fmt.Errorf("the record of operation %s cannot be read: %w", d.ID, d.Err))...)
	}
	if n := len(r.Stale); n > 0 {
		list = append(list, x.warn(check, x.us("op show "+string(r.Stale[0])), "%d operations say that they are at work, and nobody works on them, such as %s: who reads one records its end", n, r.Stale[0])...)
	}
	if r.Index != nil {
		list = append(list, x.warn(check, x.us("op list --all"), "%v: the next list makes it anew", r.Index)...)
	}
	if r.Archives != nil {
		list = append(list, x.bad(check, fmt.Sprintf("for z in %s/*.zip; do unzip -tq $z; done", quote(filepath.Join(x.cfg.StateDir, "archive"))), "%v", r.Archives)...)
	}
	if now := time.Now(); r.Newest.After(now.Add(ahead)) {
		list = append(list, x.bad("clock", x.debian("apt-get install chrony && chronyc makestep", "dnf install chrony && systemctl enable --now chronyd && chronyc makestep"),
			"it says %s, and the newest record is of %s", now.UTC().Format(time.RFC3339), r.Newest.Format(time.RFC3339))...)
	}
	if len(list) > 0 {
		return list
	}
	return x.ok(check, "%d, of which %d are at work; %d in archives", r.Records, r.Open, r.Archived)
}
