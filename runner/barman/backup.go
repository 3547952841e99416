package barman

import (
	"fmt"
	"slices"

	"barback/runner/pattern"
)

// backupName is what we accept as a backup's name: it must not look like an ID
// or one of Barman's words, or nobody could ask for it again.
var backupName = pattern.New(`^[A-Za-z0-9_.][A-Za-z0-9_. :+@-]*$`)

var sizeForm = pattern.New(`^[0-9]{1,15}([KMGT]i?)?$`)

// backupOptions are in the order of the command line.
var backupOptions = slices.Concat(
	[]Option{
		{Name: "wait", args: flag}, {Name: "immediate_checkpoint", args: pair}, {Name: "jobs", args: count(1)}, {Name: "wait_timeout", args: count(1)},
		{Name: "bwlimit", args: count(0)},
	},
	copying,
	[]Option{
		{Name: "name", Works: "3.5", args: newName}, {Name: "reuse_backup", args: oneOf("off", "link", "copy")},
		{Name: "manifest", Since: "3.7", args: pair}, {Name: "keepalive_interval", Since: "3.11", args: count(0)}, {Name: "check_timeout", Since: "3.15", args: count(0)},
		{Name: "cloud_staging_max_size", Since: "3.18", args: like(sizeForm, "a number of bytes, or one with Ki, Mi, Gi, Ti")},
		{Name: "cloud_staging_directory", Since: "3.18"}, {Name: "incremental", Since: "3.11"},
		{Name: "queue"},
	},
)

func newName(r Request, member string) ([]string, error) {
	name, ok, err := r.text(member)
	if err != nil || !ok {
		return nil, err
	}
	if words[name] || !backupName().MatchString(name) || isBackupID(name) {
		return nil, invalid("A value is not allowed", member, "must be letters, digits, blanks and _.:+@-, and neither a backup ID nor one of Barman's words (latest, oldest …)")
	}
	return []string{"--name=" + name}, nil
}

// planBackup builds "barman backup".
func planBackup(c *Client, k Kind, r Request) (Plan, error) {
	if err := c.primary(r.Server); err != nil {
		return Plan{}, err
	}
	args, err := r.options(k.Options)
	if err != nil {
		return Plan{}, err
	}
	dir, ok, err := r.text("cloud_staging_directory")
	if err == nil && ok {
		args, err = append(args, "--cloud-staging-directory="+dir), c.checkDestination("cloud_staging_directory", dir, nil)
	}
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{}
	if err := c.incremental(&plan, &args, r); err != nil {
		return Plan{}, err
	}
	plan.Command = append(args, r.Server)
	_, err = r.get("queue", &plan.Queue)
	return plan, err
}

// incremental makes the backup one of the blocks that changed since another one.
func (c *Client) incremental(plan *Plan, args *[]string, r Request) error {
	id, ok, err := r.text("incremental")
	if err != nil || !ok {
		return err
	}
	parent, err := c.Backup(r.Server, id)
	if err != nil {
		return err
	}
	plan.usable("incremental", parent)
	plan.check("incremental", "incremental", parent.Mode == "postgres" && (parent.PostgreSQL == 0 || parent.PostgreSQL >= 170000),
		"backup %s is of PostgreSQL %d by the method %q; increments of blocks need 17 and the method \"postgres\" (others have reuse_backup)", parent.ID, parent.PostgreSQL/10000, parent.Mode)
	plan.Uses = append(plan.Uses, parent.ID)
	*args = append(*args, "--incremental="+parent.ID)
	return nil
}

// usable notes whether Barman can work with the backup.
func (p *Plan) usable(member string, b Backup) {
	p.check("backup", member, b.usable(), "backup %s is %s%s", b.ID, b.Status, either(b.usable(), "", ", not DONE"))
}

// active makes sure that Barman does something for the server: else it would do nothing, and end with exit code 0.
func (c *Client) active(name string) (Server, error) {
	server, err := c.Server(name)
	if err == nil && !server.Active {
		err = &InactiveError{Server: name}
	}
	return server, err
}

// primary makes sure that the server's backups are made here.
func (c *Client) primary(name string) error {
	server, err := c.active(name)
	if err == nil && server.Passive {
		err = &InactiveError{Server: name, Passive: true}
	}
	return err
}

// InactiveError refuses what Barman would skip, or not do for a server of this kind.
type InactiveError struct {
	Server  string
	Passive bool // and has to be active
	Primary bool // and has to be passive
}

func (e *InactiveError) Error() string {
	switch {
	case e.Primary:
		return fmt.Sprintf("Server '%s' is not passive (it has no primary_ssh_command): there is nothing to synchronise it from", e.Server)
	case e.Passive:
		return fmt.Sprintf("Server '%s' is passive: its backups are made on the primary Barman host, and synchronised from there", e.Server)
	}
	return fmt.Sprintf("Server '%s' is inactive: Barman makes no backups of it; set active = true in its configuration", e.Server)
}
