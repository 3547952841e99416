package runner

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"barback/runner/barman"
	"barback/runner/operation"
)

// A look at the copy costs a walk over its files: it is made each second at most, and
// never takes more than a twentieth of the time.
const (
	sampleEvery = time.Second
	sampleShare = 20
)

// sample notes now and then how far the copy of op is, until done is closed. Barman tells
// nobody: what it copied is measured on the disk, what is to come is taken from an earlier backup.
func (c *Config) sample(op operation.Operation, before map[string]string, done <-chan struct{}) {
	m := c.meter(op, before)
	if m == nil {
		return
	}
	defer c.Store.ClearProgress(op.ID)
	p := operation.Progress{Phase: "starting"}
	for pause := sampleEvery; ; {
		select {
		case <-done:
			return
		case <-time.After(pause):
		}
		began := time.Now()
		p.BytesDone, p.BytesTotal = m.measure()
		p.Phase, p.At = c.phase(op), time.Now().UTC()
		if p.BytesDone > 0 && p.CopyBegan.IsZero() {
			p.CopyBegan = op.StartedAt
		}
		_ = c.Store.SetProgress(op.ID, p) // the next look tries again
		pause = max(sampleEvery, sampleShare*time.Since(began))
	}
}

// meter measures one kind of copy: bytes so far, and bytes expected (0: not known).
type meter interface{ measure() (done, total int64) }

func (c *Config) meter(op operation.Operation, before map[string]string) meter {
	switch host, err := c.Barman.Where(op); {
	case err != nil || host.Remote():
		return nil // the disk is not here
	case op.Type == "backup":
		return &backupMeter{c: c, op: op, before: before}
	case op.Target != nil:
		total := int64(0)
		list, _ := c.Barman.Backups(op.Server)
		for _, b := range list {
			if b.ID == op.Result.BackupID {
				total = b.Size
			}
		}
		if op.Target.SSH == "" {
			return &folderMeter{op.Target.Directory, total}
		}
		return &senderMeter{op: op, sent: map[int]int64{}, total: total}
	}
	return nil
}

// backupMeter measures the folder of the backup that is being made. It expects it to become
// as large as the server's last good one.
type backupMeter struct {
	c      *Config
	op     operation.Operation
	before map[string]string
}

func (m *backupMeter) measure() (done, total int64) {
	list, _ := m.c.Barman.Backups(m.op.Server)
	var mine *barman.Backup
	for i, b := range list {
		if !made(m.before[b.ID]) && b.Status != "FAILED" {
			mine = &list[i]
		} else if b.Status == "DONE" && b.Size > 0 {
			total = b.Size
		}
	}
	if mine == nil {
		return 0, total
	}
	return folderBytes(mine.Data), total
}

// folderMeter measures a restore on this host.
type folderMeter struct {
	dir   string
	total int64
}

func (m *folderMeter) measure() (done, total int64) { return folderBytes(m.dir), m.total }

// senderMeter measures a restore over ssh: what the rsyncs of the operation have sent,
// those that have ended included (proc(5), io: wchar).
type senderMeter struct {
	op    operation.Operation
	sent  map[int]int64
	total int64
}

func (m *senderMeter) measure() (done, total int64) {
	for _, pid := range m.op.Processes() {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
		if string(bytes.TrimSpace(comm)) != "rsync" {
			continue
		}
		for line := range bytes.Lines(data) {
			if v, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("wchar: ")); ok {
				n, _ := strconv.ParseInt(string(v), 10, 64)
				m.sent[pid] = max(m.sent[pid], n)
			}
		}
	}
	for _, n := range m.sent {
		done += n
	}
	return done, m.total
}

// folderBytes adds up what the files below dir hold; those that vanish meanwhile do not count.
// Links and holes count as what is really on the disk.
func folderBytes(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // an estimate goes on without what it cannot read
		}
		if info, err := d.Info(); err == nil {
			size := info.Size()
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				size = min(size, st.Blocks*512)
			}
			sum += size
		}
		return nil
	})
	return sum
}

// phase is read off what Barman printed last.
func (c *Config) phase(op operation.Operation) string {
	f, err := c.Store.Output(op.ID)
	if err != nil {
		return "starting"
	}
	defer func() { _ = f.Close() }()
	out, _ := io.ReadAll(io.LimitReader(f, 256<<10))
	for _, p := range []struct{ says, phase string }{
		{"Waiting for the WAL", "waiting for WAL"}, {"Copying required WAL", "copying WAL"}, {"Copy done", "finishing"},
		{"Starting backup copy", "copying"}, {"Copying the base backup", "copying"},
	} {
		if bytes.Contains(out, []byte(p.says)) {
			return p.phase
		}
	}
	return "starting"
}
