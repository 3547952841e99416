package barman

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// on is the highest timeline that the recovery may follow, of a backup on the timeline own; 0: any.
func (s stop) on(own int64) uint32 {
	if s.timeline == "current" {
		return uint32(own) // #nosec G115 -- 32 bits in PostgreSQL
	}
	n, _ := strconv.ParseUint(s.timeline, 10, 32)
	return uint32(n) // #nosec G115 -- parsed as 32 bits
}

// promising notes what speaks for and against a restore of b before it begins.
func (c *Client) promising(p *Plan, r Request, b Backup, s stop) error {
	cfg, err := c.settled(r.Server)
	if err != nil {
		return err
	}
	p.usable("backup_id", b)
	p.Uses = c.chain(r.Server, b)
	p.fits(r, b)
	if err := c.staged(p, r, b, cfg); err != nil {
		return err
	}
	if !b.usable() {
		return nil // it has no end yet that anything could be compared with
	}
	p.ended(b, s)
	p.reached(r, b, s, cfg)
	if p.Target.SSH == "" && !p.Target.Overwrite {
		return c.room(p, b)
	}
	return nil
}

// fits notes options that exclude each other, or the backup.
func (p *Plan) fits(r Request, b Backup) {
	remote := p.Target.SSH != ""
	plain := b.Parent == "" && b.Compression == "" && b.Encryption == ""
	for _, wrong := range []struct {
		member string
		is     bool
		detail string
	}{
		{"destination_directory", strings.Contains(p.Target.Directory, ":"), "Barman takes no destination with a colon"},
		{"network_compression", r.has("network_compression") && !remote, "only a restore over ssh has a network"},
		{"staging_location", string(r.Body["staging_location"]) == `"remote"` && !remote, "remote is for a restore over ssh"},
		{"delta_restore", r.has("delta_restore") && !remote && !plain, "on this host only a plain backup can be restored over an older copy: this one is compressed, encrypted or incremental"},
		{"delta_restore", r.has("delta_restore") && remote && string(r.Body["staging_location"]) == `"remote"`, "cannot be done with the staging_location remote"},
		{"snapshot_recovery_instance", b.Snapshots != nil && !r.has("snapshot_recovery_instance"), "is missing: the backup is one of snapshots"},
		{"snapshot_recovery_instance", b.Snapshots == nil && r.has("snapshot_recovery_instance"), "the backup is not one of snapshots"},
		{"tablespaces", b.Snapshots != nil && r.has("tablespaces"), "a backup of snapshots has its tablespaces on its disks: they cannot be moved"},
	} {
		if wrong.is {
			p.check("options", wrong.member, false, "%s", wrong.detail)
		}
	}
}

// staged notes whether Barman has a place for what it has to unpack or to combine. Newer ones take /tmp.
func (c *Client) staged(p *Plan, r Request, b Backup, cfg *config) error {
	for _, need := range []struct{ what, option string }{
		{either(b.Compression != "", "compressed", ""), "recovery_staging_path"},
		{either(b.Parent != "", "incremental", ""), "local_staging_path"},
		{either(b.Encryption != "", "encrypted", ""), "local_staging_path"},
	} {
		if need.what == "" || b.Snapshots != nil || r.has(need.option) || cfg.option(r.Server, need.option) != "" {
			continue
		}
		command, err := c.command("recover")
		if err != nil {
			return err
		}
		if _, ok := command.Find("staging_path"); !ok {
			p.check("staging", need.option, false, "the backup is %s: Barman needs a folder to work in", need.what)
		}
	}
	return nil
}

// ended notes whether the target lies behind the end of the backup: before, the copy is not consistent.
func (p *Plan) ended(b Backup, s stop) {
	const word = "the target is %s, the backup %s ended at %s%s"
	earlier := func(ok bool) string { return either(ok, "", ": choose an earlier backup, or \"auto\"") }
	switch s.kind {
	case "target_time":
		ok := !b.EndTime.After(s.time)
		p.check("target", s.kind, ok, word, rfc3339(s.time), b.ID, rfc3339(b.EndTime), earlier(ok))
	case "target_lsn":
		ok := parseLSN(b.EndLSN) <= s.lsn
		p.check("target", s.kind, ok, word, s.lsn, b.ID, b.EndLSN, earlier(ok))
	}
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// reached notes whether the server's WALs go as far as the target.
func (p *Plan) reached(r Request, b Backup, s stop, cfg *config) {
	most := s.on(b.Timeline)
	size := b.SegmentSize
	if size == 0 {
		size = 16 << 20
	}
	if cfg.there {
		if s.kind == "target_time" || s.kind == "target_lsn" || s.on(0) != 0 {
			p.check("wals", s.kind, true, "how far the WALs go is not looked at on another host: Barman will tell")
		}
		return
	}
	wals := cfg.reach(r.Server, size, most, !r.has("skip_archive_wal"))
	if n := s.on(0); n != 0 {
		ok := int64(n) >= b.Timeline && (int64(n) == b.Timeline || n <= wals.timeline)
		p.check("timeline", "target_tli", ok, "the backup %s is on timeline %d, the WALs go up to timeline %d", b.ID, b.Timeline, wals.timeline)
	}
	fetch := r.has("get_wal") || r.has("standby_mode") ||
		string(r.Body["get_wal"]) != "false" && !r.has("no_get_wal") && strings.Contains(cfg.option(r.Server, "recovery_options"), "get-wal")
	switch {
	case s.kind != "target_time" && s.kind != "target_lsn":
	case wals.files == 0 && !fetch:
		p.guess("wals", s.kind, false, "Barman has no WALs of the server, without which no target is reached")
	case fetch:
		p.check("wals", s.kind, true, "the restored server fetches WALs while it recovers: how far they go will turn out then")
	case s.kind == "target_lsn":
		p.guess("wals", s.kind, s.lsn <= wals.end, "the target is %s, the %d WALs that Barman has go up to %s", s.lsn, wals.files, wals.end)
	default:
		p.guess("wals", s.kind, !s.time.After(wals.at), "the target is %s, the newest of %d WALs that Barman has was written at %s", rfc3339(s.time), wals.files, rfc3339(wals.at))
	}
}

// room notes whether the backup fits on the file systems that it goes to.
func (c *Client) room(p *Plan, b Backup) error {
	spots, err := c.survey(p.Target.Folders()...)
	if err != nil {
		return err
	}
	free := map[string]int64{}
	for _, spot := range spots {
		if spot.disk != "" { // else Barman will say why
			free[spot.disk] = spot.free
		}
	}
	var sum int64
	for _, n := range free {
		sum += n
	}
	if len(free) > 0 {
		p.guess("room", "destination_directory", b.Size <= sum, "the backup has %d bytes, and %d are free there", b.Size, sum)
	}
	return nil
}

// chain is b and what it is built on.
func (c *Client) chain(server string, b Backup) []string {
	ids := []string{b.ID}
	list, _ := c.Backups(server)
	for parent := b.Parent; parent != "" && !slices.Contains(ids, parent); {
		ids = append(ids, parent)
		i := slices.IndexFunc(list, func(b Backup) bool { return b.ID == parent })
		if i < 0 {
			break
		}
		parent = list[i].Parent
	}
	return ids
}
