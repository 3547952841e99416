package barman

import (
	"path/filepath"
	"regexp"
	"strings"

	"barback/runner/operation"
)

// planRecovery builds "barman recover", the name that every version knows. The backup
// is resolved here: what "latest" meant when the client asked is what is restored.
func planRecovery(c *Client, r Request) (Plan, error) {
	id, ok, err := r.text("backup_id")
	if err != nil {
		return Plan{}, err
	}
	if !ok {
		return Plan{}, invalid("Request body is missing ``backup_id``", "backup_id", "is missing")
	}
	backup, err := c.Backup(r.Server, id)
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
	if err := c.checkDestination(dest); err != nil {
		return Plan{}, err
	}
	args, err := r.numbers([]string{"recover"}, 0, "bwlimit", "jobs", "retry_times", "retry_sleep")
	if err != nil {
		return Plan{}, err
	}
	ssh, err := c.sshCommand(r)
	if err != nil {
		return Plan{}, err
	}
	if ssh != "" {
		args = append(args, "--remote-ssh-command="+ssh)
	}
	if !backup.usable() {
		return Plan{}, invalid("The backup cannot be restored", "backup_id", "backup %s is %s, not DONE", backup.ID, backup.Status)
	}
	target := &operation.Target{Directory: filepath.Clean(dest), SSH: ssh}
	if _, err := r.get("overwrite", &target.Overwrite); err != nil {
		return Plan{}, err
	}
	return Plan{Command: append(args, r.Server, backup.ID, dest), BackupID: backup.ID, Target: target}, nil
}

// sshCommand is the command that reaches the target; empty for a local restore,
// which has to be asked for by name.
func (c *Client) sshCommand(r Request) (string, error) {
	var local bool
	if _, err := r.get("local", &local); err != nil {
		return "", err
	}
	var ssh string
	ok, err := r.get("remote_ssh_command", &ssh)
	switch {
	case err != nil:
		return "", err
	case ok && local:
		return "", invalid(notMet, "local", "excludes remote_ssh_command")
	case !ok && !local:
		return "", invalid(notMet, "remote_ssh_command", "is missing; \"local\": true restores on the Barman host itself")
	case local:
		return "", nil
	case c.Policy.AllowRawSSHCommand:
		return ssh, checkWord("remote_ssh_command", ssh)
	}
	return ssh, checkSSH(ssh)
}

var plainPath = regexp.MustCompile(`^/[\pL\pN_./@%+=:,-]+$`)

// checkDestination lets a restore write to an absolute, clean path that is not
// Barman's own: Barman empties the folder that it restores into.
func (c *Client) checkDestination(dest string) error {
	const member = "destination_directory"
	if dest == "/" {
		return invalid("A value is not allowed", member, "must not be /")
	}
	if !plainPath.MatchString(dest) {
		return invalid("A value is not allowed", member, "must be an absolute path of letters, digits and _.@%%+=:,- (what a shell gives a meaning to is refused, as the path goes through the target's)")
	}
	if filepath.Clean(dest) != strings.TrimSuffix(dest, "/") {
		return invalid("A value is not allowed", member, "must be an absolute path without . and .. and double slashes")
	}
	dest = filepath.Clean(dest)
	cfg, err := c.load()
	if err != nil {
		return err
	}
	for _, tree := range cfg.trees() {
		if within(dest, tree) || within(tree, dest) {
			return refused(member, "%s is Barman's own: a restore there would destroy backups", tree)
		}
	}
	if len(c.Policy.AllowedDestinations) == 0 {
		return nil
	}
	for _, dir := range c.Policy.AllowedDestinations {
		if within(dest, dir) {
			return nil
		}
	}
	return refused(member, "is outside allowed_destinations in [restore]")
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool {
	dir = filepath.Clean(dir)
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
