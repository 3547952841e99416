package barman

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// Policy is what the administrator lets clients do.
type Policy struct {
	AllowedDestinations []string          // folders below which restores may write; empty: anywhere but Barman's own
	Forbidden           []string          // folders that no restore may touch, beside Barman's own
	AllowRawSSHCommand  bool              // remote_ssh_command may be any shell command
	Targets             map[string]Target // where restores may go, by name
	TargetsOnly         bool              // and nowhere else
	ConfigOptions       []string          // options that config_update may set, patterns of path.Match; nil: [ConfigOptions]
}

// Target is a named place for restores.
type Target struct {
	SSH          string   // the command that reaches it; empty: this host
	Destinations []string // folders below which restores may write there; empty: as for any other
}

// ConfigOptions are what config_update may set unless the administrator says otherwise: none
// that Barman takes as a command (hook scripts, ssh_command, filters, passphrase commands, path_prefix), and none
// that says where it writes.
var ConfigOptions = []string{
	"active", "archiver", "archiver_batch_size", "aws_*", "azure_*", "autogenerate_manifest", "backup_compression",
	"backup_compression_format", "backup_compression_level", "backup_compression_location", "backup_compression_workers", "backup_method", "backup_options",
	"bandwidth_limit", "basebackup_retry_sleep", "basebackup_retry_times", "check_timeout", "cluster", "compression", "compression_level",
	"conninfo", "create_slot", "description", "disabled", "encryption", "encryption_key_id", "gcp_*", "immediate_checkpoint", "keepalive_interval", "last_backup_maximum_age",
	"last_backup_minimum_size", "last_wal_maximum_age", "max_incoming_wals_queue", "minimum_redundancy", "model", "network_compression", "parallel_jobs",
	"parallel_jobs_start_batch_*", "primary_checkpoint_timeout", "primary_conninfo", "recovery_options", "retention_policy", "retention_policy_mode", "reuse_backup",
	"slot_name", "snapshot_*", "streaming_archiver", "streaming_archiver_batch_size", "streaming_archiver_name", "streaming_backup_name", "streaming_conninfo",
	"tablespace_bandwidth_limit", "wal_conninfo", "wal_retention_policy", "wal_streaming_conninfo", "worm_mode",
}

// checkOption refuses an option that config_update may not set.
func (p *Policy) checkOption(member, name string) error {
	allowed := p.ConfigOptions
	if allowed == nil {
		allowed = ConfigOptions
	}
	for _, pattern := range allowed {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return nil
		}
	}
	return refused(member, "%q may not be set here: it is not in allowed_options of [config_update]", name)
}

// target is the place that the request names, if it names one.
func (p *Policy) target(r Request) (t Target, named bool, err error) {
	var name string
	if named, err = r.get("target", &name); err != nil || !named {
		return t, named, err
	}
	t, ok := p.Targets[name]
	switch {
	case !ok && len(p.Targets) == 0:
		err = refused("target", "there is no target %q: the configuration has no [targets]", name)
	case !ok:
		err = refused("target", "there is no target %q in [targets] of the configuration, which has %s", name, strings.Join(slices.Sorted(maps.Keys(p.Targets)), ", "))
	}
	return t, true, err
}
