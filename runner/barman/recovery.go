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
	if err := c.checkDestination("destination_directory", dest); err != nil {
		return Plan{}, err
	}
	target := &operation.Target{Directory: filepath.Clean(dest)}
	if target.SSH, target.Host, err = c.sshCommand(r); err != nil {
		return Plan{}, err
	}
	if _, err := r.get("overwrite", &target.Overwrite); err != nil {
		return Plan{}, err
	}
	if !backup.usable() {
		return Plan{}, invalid("The backup cannot be restored", "backup_id", "backup %s is %s, not DONE", backup.ID, backup.Status)
	}
	args, err := r.numbers([]string{"recover"}, 0, "bwlimit", "jobs", "retry_times", "retry_sleep")
	if err != nil {
		return Plan{}, err
	}
	if args, err = c.relocate(args, r, backup, target); err != nil {
		return Plan{}, err
	}
	if target.SSH != "" {
		args = append(args, "--remote-ssh-command="+target.SSH)
	}
	return Plan{Command: append(args, r.Server, backup.ID, dest), BackupID: backup.ID, Target: target}, nil
}

// relocate says where the backup's tablespaces go. Barman puts one that nobody moves back to
// where it was, over what is there: the live data, if that is the same host. Who wants that has to say so.
func (c *Client) relocate(args []string, r Request, backup Backup, target *operation.Target) ([]string, error) {
	moved := map[string]string{}
	if _, err := r.get("tablespaces", &moved); err != nil {
		return nil, err
	}
	for _, t := range backup.Tablespaces {
		to, ok := moved[t.Name]
		delete(moved, t.Name)
		switch {
		case !ok && !target.Overwrite:
			return nil, refused("tablespaces", "the backup holds the tablespace %q, which Barman would restore to %s, over what is there; give it another folder with \"tablespaces\": {%q: \"/…\"}, or say \"overwrite\": true", t.Name, t.Location, t.Name)
		case !ok:
			continue
		case !tablespaceName.MatchString(t.Name):
			return nil, invalid("A value is not allowed", "tablespaces/"+token(t.Name), "a tablespace of this name cannot be moved on a command line")
		}
		if err := c.checkDestination("tablespaces/"+token(t.Name), to); err != nil {
			return nil, err
		}
		target.Others = append(target.Others, filepath.Clean(to))
		args = append(args, "--tablespace="+t.Name+":"+to)
	}
	for name := range moved {
		return nil, invalid("A value is not allowed", "tablespaces/"+token(name), "the backup has no tablespace of this name")
	}
	return args, nil
}

var tablespaceName = regexp.MustCompile(`^[\pL\pN_.-]+$`)

// sshCommand is the command that reaches the target, and whom it reaches; empty for a local
// restore, which has to be asked for by name.
func (c *Client) sshCommand(r Request) (ssh, host string, err error) {
	var local bool
	if _, err := r.get("local", &local); err != nil {
		return "", "", err
	}
	ok, err := r.get("remote_ssh_command", &ssh)
	switch {
	case err != nil:
		return "", "", err
	case ok && local:
		return "", "", invalid(notMet, "local", "excludes remote_ssh_command")
	case !ok && !local:
		return "", "", invalid(notMet, "remote_ssh_command", "is missing; \"local\": true restores on the Barman host itself")
	case local:
		return "", "", nil
	case c.Policy.AllowRawSSHCommand && strings.TrimSpace(ssh) == "":
		return "", "", refused("remote_ssh_command", "is empty; \"local\": true restores on the Barman host itself")
	case c.Policy.AllowRawSSHCommand:
		return ssh, ssh, checkWord("remote_ssh_command", ssh)
	}
	return checkSSH(ssh)
}

var plainPath = regexp.MustCompile(`^/[\pL\pN_./@%+=:,-]+$`)

// checkDestination lets a restore write to an absolute, clean path that is not
// Barman's own: Barman empties the folder that it restores into.
func (c *Client) checkDestination(member, dest string) error {
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
	real := resolved(dest) // on another host links may lead elsewhere: there the words have to do
	for _, tree := range append(cfg.trees(), c.Policy.Forbidden...) {
		for _, d := range []string{dest, real} {
			if t := resolved(tree); within(d, tree) || within(tree, d) || within(d, t) || within(t, d) {
				return refused(member, "%s is Barman's or barback's own: a restore there would destroy it", tree)
			}
		}
	}
	if len(c.Policy.AllowedDestinations) == 0 {
		return nil
	}
	for _, dir := range c.Policy.AllowedDestinations {
		if within(dest, dir) && within(real, resolved(dir)) {
			return nil
		}
	}
	return refused(member, "is outside allowed_destinations in [restore]")
}

// resolved follows the symbolic links in the part of path that exists.
func resolved(path string) string {
	path = filepath.Clean(path)
	for dir, rest := path, ""; ; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == "/" || dir == "." {
			return path
		}
	}
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool {
	dir = filepath.Clean(dir)
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
