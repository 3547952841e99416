package barman

import (
	"path/filepath"
	"slices"
	"strings"

	"barback/runner/operation"
	"barback/runner/pattern"
)

// relocate says where the backup's tablespaces go. Barman puts one that nobody moves back to
// where it was, over what is there: the live data, if that is the same host. Who wants that has to say so.
func (c *Client) relocate(args []string, r Request, backup Backup, target *operation.Target, allowed []string) ([]string, error) {
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
		case !tablespaceName().MatchString(t.Name):
			return nil, invalid("A value is not allowed", "tablespaces/"+token(t.Name), "a tablespace of this name cannot be moved on a command line")
		}
		if err := c.checkDestination("tablespaces/"+token(t.Name), to, allowed); err != nil {
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

var tablespaceName = pattern.New(`^[\pL\pN_.-]+$`)

// place is where a restore goes.
type place struct {
	Target
	host string // whom SSH reaches, however it is spelled
}

// place is where the request wants the restore to go: to a target by its name, to whom remote_ssh_command
// reaches, or to this host, which has to be asked for by name.
func (c *Client) place(r Request) (p place, err error) {
	var local bool
	if _, err := r.get("local", &local); err != nil {
		return p, err
	}
	var ssh string
	remote, err := r.get("remote_ssh_command", &ssh)
	if err != nil {
		return p, err
	}
	t, named, err := c.Policy.target(r)
	switch {
	case err != nil:
		return p, err
	case named && (local || remote):
		return p, invalid(notMet, "target", "excludes local and remote_ssh_command")
	case named:
		if _, p.host, err = checkSSH(t.SSH); err != nil {
			p.host = t.SSH // the administrator's own words
		}
		p.Target = t
		return p, nil
	case remote && local:
		return p, invalid(notMet, "local", "excludes remote_ssh_command")
	case !remote && !local:
		return p, invalid(notMet, "remote_ssh_command", "is missing; \"local\": true restores on the Barman host itself")
	case c.Policy.TargetsOnly:
		return p, refused("target", "is missing: targets_only in [restore] lets restores go to a target of the configuration alone")
	case local:
		return p, nil
	case c.Policy.AllowRawSSHCommand && strings.TrimSpace(ssh) == "":
		return p, refused("remote_ssh_command", "is empty; \"local\": true restores on the Barman host itself")
	case c.Policy.AllowRawSSHCommand:
		return place{Target{SSH: ssh}, ssh}, checkWord("remote_ssh_command", ssh)
	}
	p.SSH, p.host, err = checkSSH(ssh)
	return p, err
}

var plainPath = pattern.New(`^/[\pL\pN_./@%+=:,-]+$`)

// checkDestination lets a restore write to an absolute, clean path that is not
// Barman's own: Barman empties the folder that it restores into. allowed are the folders below which it may be; none: those
// of the policy.
func (c *Client) checkDestination(member, dest string, allowed []string) error {
	if dest == "/" {
		return invalid("A value is not allowed", member, "must not be /")
	}
	if !plainPath().MatchString(dest) {
		return invalid("A value is not allowed", member, "must be an absolute path of letters, digits and _.@%%+=:,- (what a shell gives a meaning to is refused, as the path goes through the target's)")
	}
	if filepath.Clean(dest) != strings.TrimSuffix(dest, "/") {
		return invalid("A value is not allowed", member, "must be an absolute path without . and .. and double slashes")
	}
	dest = filepath.Clean(dest)
	trees, err := c.trees()
	if err != nil {
		return err
	}
	spots, err := c.survey(slices.Concat([]string{dest}, trees, c.Policy.AllowedDestinations, allowed)...)
	if err != nil {
		return err
	}
	real := spots[dest].real // on the host that a restore over ssh goes to links may lead elsewhere: there the words have to do
	for _, tree := range trees {
		for _, d := range []string{dest, real} {
			if t := spots[tree].real; within(d, tree) || within(tree, d) || within(d, t) || within(t, d) {
				return refused(member, "%s is Barman's or barback's own: a restore there would destroy it", tree)
			}
		}
	}
	setting := "the target"
	if len(allowed) == 0 {
		allowed, setting = c.Policy.AllowedDestinations, "[restore]"
	}
	if len(allowed) == 0 {
		return nil
	}
	for _, dir := range allowed {
		if within(dest, dir) && within(real, spots[dir].real) {
			return nil
		}
	}
	return refused(member, "is outside allowed_destinations of %s in the configuration", setting)
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool {
	dir = filepath.Clean(dir)
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
