package barman

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"slices"

	"barback/runner/operation"
	"barback/runner/pattern"
)

var (
	fileName = pattern.New(`^[A-Za-z0-9_][A-Za-z0-9_.-]*\.conf$`)
)

// stagings are folders that Barman writes to and tidies up by itself.
var stagings = []string{"recovery_staging_path", "local_staging_path", "staging_path"}

// recoveryOptions are in the order of the command line.
var recoveryOptions = slices.Concat(
	members("backup_id", "destination_directory", "remote_ssh_command", "target", "local", "overwrite", "ignore_checks", "tablespaces",
		"target_time", "time_zone", "target_xid", "target_lsn", "target_name", "target_immediate", "target_tli", "exclusive", "target_action"),
	[]Option{{Name: "bwlimit", args: count(0)}, {Name: "jobs", args: count(1)}},
	copying,
	[]Option{
		{Name: "get_wal", args: pair}, {Name: "standby_mode", args: flag}, {Name: "network_compression", args: pair},
		{Name: "recovery_conf_filename", Since: "3.5", args: like(fileName, "a file's name that ends in .conf, without a folder")},
		{Name: "recovery_staging_path"}, {Name: "local_staging_path", Since: "3.11"}, {Name: "staging_path", Since: "3.15"},
		{Name: "staging_location", Since: "3.15", args: oneOf("local", "remote")}, {Name: "staging_wal_directory", Since: "3.13"},
		{Name: "combine_mode", Since: "3.16", args: oneOf("copy", "link", "clone", "copy-file-range")},
		{Name: "delta_restore", Since: "3.16", args: pair}, {Name: "recovery_option_port", Since: "3.17", args: count(1)}, {Name: "restore_command", Since: "3.18"},
		{Name: "partial_wal", Since: "3.19", args: flag}, {Name: "skip_archive_wal", Since: "3.20", args: flag},
		{Name: "snapshot_recovery_instance", args: like(cloudName, cloudWords)}, {Name: "snapshot_recovery_zone", args: like(cloudName, cloudWords)},
		{Name: "gcp_zone", Since: "3.6", args: like(cloudName, cloudWords)}, {Name: "azure_resource_group", Since: "3.6", args: like(cloudName, cloudWords)},
		{Name: "aws_region", Since: "3.7", args: like(cloudName, cloudWords)},
	},
)

var cloudName = pattern.New(`^[A-Za-z0-9_][A-Za-z0-9_.:/-]*$`)

const cloudWords = "letters, digits and _.:/-"

// planRecovery builds "barman recover", the name that every version knows. The backup
// is resolved here: what "latest" meant when the client asked is what is restored.
func planRecovery(c *Client, k Kind, r Request) (Plan, error) {
	stop, err := r.stop()
	if err != nil {
		return Plan{}, err
	}
	backup, err := c.restorable(r, stop)
	if err != nil {
		return Plan{}, err
	}
	dest, ok, err := r.text("destination_directory")
	if err != nil {
		return Plan{}, err
	}
	if !ok {
		return Plan{}, invalid(notMet, "destination_directory", "is missing")
	}
	place, err := c.place(r)
	if err != nil {
		return Plan{}, err
	}
	if err := c.checkDestination("destination_directory", dest, place.Destinations); err != nil {
		return Plan{}, err
	}
	target := &operation.Target{Directory: filepath.Clean(dest), SSH: place.SSH, Host: place.host}
	if _, err := r.get("overwrite", &target.Overwrite); err != nil {
		return Plan{}, err
	}
	args, err := r.options(k.Options)
	if err != nil {
		return Plan{}, err
	}
	if args, err = c.stage(args, r, target, place.Destinations); err != nil {
		return Plan{}, err
	}
	if stop.kind == "target_time" {
		version, err := c.Version()
		if err != nil {
			return Plan{}, err
		}
		args = append(args, timeArg(stop.time, version))
	}
	args = append(args, stop.args...)
	if args, err = c.relocate(args, r, backup, target, place.Destinations); err != nil {
		return Plan{}, err
	}
	if target.SSH != "" {
		args = append(args, "--remote-ssh-command="+target.SSH)
	}
	plan := Plan{Command: append(args, r.Server, backup.ID, dest), BackupID: backup.ID, Target: target}
	return plan, c.promising(&plan, r, backup, stop)
}

// stage adds the folders that Barman needs on the way, and restore_command.
func (c *Client) stage(args []string, r Request, target *operation.Target, allowed []string) ([]string, error) {
	for _, name := range append(stagings, "staging_wal_directory") {
		dir, ok, err := r.text(name)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if err := c.checkDestination(name, dir, allowed); err != nil {
			return nil, err
		}
		args = append(args, long(name)+"="+dir)
		if name == "staging_wal_directory" {
			target.Others = append(target.Others, filepath.Clean(dir)) // PostgreSQL removes it at the end of its recovery, with all that is in it
		}
	}
	command, ok, err := r.text("restore_command")
	switch {
	case err != nil:
		return nil, err
	case ok && !c.Policy.AllowRawSSHCommand:
		return nil, refused("restore_command", "is a command that the restored PostgreSQL runs: only with allow_raw_ssh_command in [restore]")
	case ok:
		args = append(args, "--restore-command="+command)
	}
	return args, nil
}

// restorable is the backup that the request means.
func (c *Client) restorable(r Request, s stop) (Backup, error) {
	id, ok, err := r.text("backup_id")
	if err != nil {
		return Backup{}, err
	}
	if !ok {
		return Backup{}, invalid("Request body is missing ``backup_id``", "backup_id", "is missing")
	}
	if id == "auto" {
		return c.auto(r.Server, s)
	}
	return c.Backup(r.Server, id)
}

// Auto is the ID of the backup that a recovery takes whose backup_id is "auto", with its target in the parameters.
func (c *Client) Auto(server string, parameters url.Values) (string, error) {
	r := Request{Server: server, Body: map[string]json.RawMessage{}}
	for _, name := range append(slices.Clone(targets), "time_zone", "target_tli") {
		if parameters.Has(name) {
			text, err := json.Marshal(parameters.Get(name))
			if err != nil {
				return "", err
			}
			r.Body[name] = text
		}
	}
	s, err := r.stop()
	if err != nil {
		return "", err
	}
	b, err := c.auto(server, s)
	return b.ID, err
}

// auto is the newest backup from which the recovery can get to where it is to stop, as newer Barmans choose it.
func (c *Client) auto(server string, s stop) (Backup, error) {
	list, err := c.Catalog(server)
	if err != nil {
		return Backup{}, err
	}
	if s.kind != "" && s.kind != "target_time" && s.kind != "target_lsn" {
		return Backup{}, invalid(notMet, "backup_id", "auto needs a target_time or target_lsn, or no target: which backups lie before a %s is not known", s.kind)
	}
	timeline := s.on(0)
	for _, b := range slices.Backward(list) {
		if b.Partial && b.usable() {
			if err := c.detail(server, &b); err != nil {
				return Backup{}, err
			}
		}
		switch {
		case !b.usable(), timeline != 0 && b.Timeline != int64(timeline):
		case s.kind == "target_time" && b.EndTime.After(s.time):
		case s.kind == "target_lsn" && parseLSN(b.EndLSN) > s.lsn:
		default:
			return b.Backup, nil
		}
	}
	return Backup{}, &InvalidError{Summary: "The operation could not do what it is meant to do", Hopeless: true,
		Fields: []Field{{"/backup_id", "no backup of the server that can be restored ended before the target"}}}
}
