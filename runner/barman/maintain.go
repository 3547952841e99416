package barman

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// switchOptions are those of "barman switch-wal".
var switchOptions = []Option{{Name: "force", args: flag}, {Name: "archive", args: flag}, {Name: "archive_timeout", args: count(1)}}

// planOfServer builds a command about an active server.
func planOfServer(c *Client, _ Kind, r Request) (Plan, error) {
	_, err := c.active(r.Server)
	return Plan{Command: []string{r.Server}}, err
}

// planOfPrimary builds a command about a server whose WALs arrive here.
func planOfPrimary(c *Client, k Kind, r Request) (Plan, error) {
	if err := c.primary(r.Server); err != nil {
		return Plan{}, err
	}
	args, err := r.options(k.Options)
	return Plan{Command: append(args, r.Server)}, err
}

// planSwitch builds "barman switch-wal".
func planSwitch(c *Client, k Kind, r Request) (Plan, error) {
	plan, err := planOfPrimary(c, k, r)
	if err == nil && r.has("archive_timeout") && !r.has("archive") {
		err = invalid(notMet, "archive_timeout", "needs archive, which waits for the WAL")
	}
	return plan, err
}

// planCron builds "barman cron".
func planCron(*Client, Kind, Request) (Plan, error) { return Plan{}, nil }

// planSyncWALs builds "barman sync-wals".
func planSyncWALs(c *Client, _ Kind, r Request) (Plan, error) {
	return Plan{Command: []string{r.Server}}, c.passive(r.Server)
}

// planSyncBackup builds "barman sync-backup". The backup is one of the primary's: there may be none of that ID here.
func planSyncBackup(c *Client, _ Kind, r Request) (Plan, error) {
	id, ok, err := r.text("backup_id")
	switch {
	case err != nil:
		return Plan{}, err
	case !ok:
		return Plan{}, invalid(notMet, "backup_id", "is missing")
	case !isBackupID(id):
		return Plan{}, invalid("A value is not allowed", "backup_id", "must be the ID of a backup on the primary Barman host, such as 20261121T223357")
	}
	return Plan{Command: []string{r.Server, id}, BackupID: id, Uses: []string{id}}, c.passive(r.Server)
}

// passive makes sure that the server's backups come from another Barman host.
func (c *Client) passive(name string) error {
	server, err := c.active(name)
	if err == nil && !server.Passive {
		err = &InactiveError{Server: name, Primary: true}
	}
	return err
}

// planOfBackup builds a command about one backup.
func planOfBackup(c *Client, _ Kind, r Request) (Plan, error) {
	_, plan, err := c.ofBackup(r)
	return plan, err
}

// ofBackup finds the backup that the request names. It has to name one: what is done to it is not for the first best.
func (c *Client) ofBackup(r Request) (Entry, Plan, error) {
	id, ok, err := r.text("backup_id")
	if err != nil {
		return Entry{}, Plan{}, err
	}
	if !ok {
		return Entry{}, Plan{}, invalid(notMet, "backup_id", "is missing")
	}
	b, err := c.Entry(r.Server, id)
	return b, Plan{Command: []string{r.Server, b.ID}, BackupID: b.ID, Uses: []string{b.ID}}, err
}

// planVerify builds "barman verify-backup".
func planVerify(c *Client, _ Kind, r Request) (Plan, error) {
	b, plan, err := c.ofBackup(r)
	if err == nil {
		plan.usable("backup_id", b.Backup)
		var has bool
		has, err = c.hasManifest(b)
		plan.check("manifest", "backup_id", has, "backup %s %s", b.ID, either(has, "has a manifest to be verified by", "has no manifest to be verified by: generate_manifest makes one"))
	}
	return plan, err
}

// planManifest builds "barman generate-manifest".
func planManifest(c *Client, _ Kind, r Request) (Plan, error) {
	b, plan, err := c.ofBackup(r)
	if err == nil {
		plan.usable("backup_id", b.Backup)
		var has bool
		has, err = c.hasManifest(b)
		plan.check("manifest", "backup_id", !has, "backup %s %s", b.ID, either(has, "has a manifest already", "has no manifest yet"))
	}
	return plan, err
}

func (c *Client) hasManifest(b Entry) (bool, error) {
	path := filepath.Join(b.Data, "backup_manifest")
	spots, err := c.survey(path)
	return spots[path].there, err
}

// planKeep builds "barman keep".
func planKeep(c *Client, _ Kind, r Request) (Plan, error) {
	target, err := oneOf("full", "standalone", "release")(r, "target")
	if err != nil {
		return Plan{}, err
	}
	if target == nil {
		return Plan{}, invalid(notMet, "target", "is missing: full, standalone or release")
	}
	b, plan, err := c.ofBackup(r)
	if err != nil {
		return Plan{}, err
	}
	if target[0] == "--target=release" {
		target[0] = "--release"
	} else {
		plan.check("backup", "backup_id", b.Status == "DONE" && b.Parent == "", "backup %s is %s and %s; full ones that are DONE can be kept", b.ID, b.Status, either(b.Parent == "", "full", "incremental"))
	}
	plan.Command = append(target, plan.Command...)
	return plan, nil
}

// planDelete builds "barman delete". What Barman would refuse, or do beside, is said before.
func planDelete(c *Client, _ Kind, r Request) (Plan, error) {
	b, plan, err := c.ofBackup(r)
	if err != nil {
		return Plan{}, err
	}
	if _, err := r.get("queue", &plan.Queue); err != nil {
		return Plan{}, err
	}
	var all bool
	if _, err := r.get("incrementals", &all); err != nil {
		return Plan{}, err
	}
	cfg, err := c.settled(r.Server)
	if err != nil {
		return Plan{}, err
	}
	list, err := c.Catalog(r.Server)
	if err != nil {
		return Plan{}, err
	}
	var built []string
	done := 0
	for _, other := range list {
		if slices.Contains(other.Chain, b.ID) {
			built = append(built, other.ID)
		}
		if other.Status == "DONE" && other.Parent == "" {
			done++
		}
	}
	plan.Uses = append(plan.Uses, built...)
	plan.check("incrementals", "incrementals", all || built == nil, "%s", either(built == nil, "no backup is built on it",
		"what is built on it goes with it, "+strings.Join(built, ", ")+either(all, "", "; say \"incrementals\": true if that is meant")))
	plan.check("keep", "backup_id", b.Keep == "", "backup %s %s", b.ID, either(b.Keep == "", "is not kept", "is kept ("+b.Keep+"): release it first, by a keep with \"target\": \"release\""))
	least, _ := strconv.Atoi(cfg.option(r.Server, "minimum_redundancy"))
	plan.check("redundancy", "backup_id", b.Status != "DONE" || b.Parent != "" || done > least, "%d full backups are DONE, minimum_redundancy is %d", done, least)
	begun := b.Status == "STARTED" || b.Status == "EMPTY" || b.Status == "SYNCING"
	plan.check("idle", "backup_id", !begun || b.Abandoned, "backup %s is %s%s", b.ID, b.Status, either(begun && !b.Abandoned, ": it is being made", ""))
	return plan, nil
}
