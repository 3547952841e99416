package barman

import "regexp"

// backupName is what we accept as a backup's name: it must not look like an ID
// or one of Barman's words, or nobody could ask for it again.
var backupName = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_. :+@-]*$`)

var reuse = map[string]bool{"off": true, "link": true, "copy": true}

// planBackup builds "barman backup".
func planBackup(_ *Client, r Request) ([]string, string, error) {
	args, err := r.flags([]string{"backup"}, "wait", "immediate_checkpoint")
	if err != nil {
		return nil, "", err
	}
	if args, err = r.numbers(args, 1, "jobs", "wait_timeout"); err != nil {
		return nil, "", err
	}
	if args, err = r.numbers(args, 0, "bwlimit", "retry_times", "retry_sleep"); err != nil {
		return nil, "", err
	}
	name, ok, err := r.text("name")
	if err != nil {
		return nil, "", err
	}
	if ok {
		if words[name] || !backupName.MatchString(name) || backupID.MatchString(name) {
			return nil, "", invalid("A value is not allowed", "name", "must be letters, digits, blanks and _.:+@-, and neither a backup ID nor one of Barman's words (latest, oldest …)")
		}
		args = append(args, "--name="+name)
	}
	kind, ok, err := r.text("reuse_backup")
	if err != nil {
		return nil, "", err
	}
	if ok {
		if !reuse[kind] {
			return nil, "", invalid("A value is not allowed", "reuse_backup", "must be off, link or copy")
		}
		args = append(args, "--reuse-backup="+kind)
	}
	return append(args, r.Server), "", nil
}
