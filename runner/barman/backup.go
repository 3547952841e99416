package barman

import (
	"fmt"
	"regexp"
)

// backupName is what we accept as a backup's name: it must not look like an ID
// or one of Barman's words, or nobody could ask for it again.
var backupName = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_. :+@-]*$`)

var reuse = map[string]bool{"off": true, "link": true, "copy": true}

// planBackup builds "barman backup".
func planBackup(c *Client, r Request) (Plan, error) {
	server, err := c.Server(r.Server)
	if err != nil {
		return Plan{}, err
	}
	if !server.Active || server.Passive {
		return Plan{}, &InactiveError{r.Server, server.Passive} // Barman would do nothing and end with exit code 0
	}
	args, err := r.flags([]string{"backup"}, "wait", "immediate_checkpoint")
	if err != nil {
		return Plan{}, err
	}
	if args, err = r.numbers(args, 1, "jobs", "wait_timeout"); err != nil {
		return Plan{}, err
	}
	if args, err = r.numbers(args, 0, "bwlimit", "retry_times", "retry_sleep"); err != nil {
		return Plan{}, err
	}
	name, ok, err := r.text("name")
	if err != nil {
		return Plan{}, err
	}
	if ok {
		if words[name] || !backupName.MatchString(name) || backupID.MatchString(name) {
			return Plan{}, invalid("A value is not allowed", "name", "must be letters, digits, blanks and _.:+@-, and neither a backup ID nor one of Barman's words (latest, oldest …)")
		}
		args = append(args, "--name="+name)
	}
	kind, ok, err := r.text("reuse_backup")
	if err != nil {
		return Plan{}, err
	}
	if ok {
		if !reuse[kind] {
			return Plan{}, invalid("A value is not allowed", "reuse_backup", "must be off, link or copy")
		}
		args = append(args, "--reuse-backup="+kind)
	}
	plan := Plan{Command: append(args, r.Server)}
	_, err = r.get("queue", &plan.Queue)
	return plan, err
}

// InactiveError refuses what Barman would skip silently.
type InactiveError struct {
	Server  string
	Passive bool
}

func (e *InactiveError) Error() string {
	if e.Passive {
		return fmt.Sprintf("Server '%s' is passive: its backups are made on the primary Barman host, and synchronised from there", e.Server)
	}
	return fmt.Sprintf("Server '%s' is inactive: Barman makes no backups of it; set active = true in its configuration", e.Server)
}
