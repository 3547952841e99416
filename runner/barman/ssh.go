package barman

import (
	"slices"
	"strings"

	"barback/runner/pattern"
)

// Barman gives remote_ssh_command to a shell on its own host, as user barman: a free
// text there means "run anything". So it must be ssh, options of the lists below, and one
// destination, all of characters that no shell gives a meaning to.
var (
	sshWord        = pattern.New(`^[A-Za-z0-9_@%+=:,./-]+$`)
	sshDestination = pattern.New(`^([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.:-]*$`)
	sshFlags       = []string{"-4", "-6", "-C", "-q", "-T", "-x", "-a"}
	sshValues      = []string{"-p", "-l", "-i", "-c", "-m"}
	sshOptions     = []string{
		"batchmode", "ciphers", "compression", "connecttimeout", "connectionattempts", "hostkeyalgorithms", "hostkeyalias",
		"identitiesonly", "identityfile", "kexalgorithms", "loglevel", "macs", "port", "preferredauthentications",
		"pubkeyauthentication", "serveralivecountmax", "serveraliveinterval", "stricthostkeychecking", "tcpkeepalive", "user",
	}
)

// checkSSH returns the command as its words with one blank between them, and whom it reaches.
// A newline separates words, too, but to a shell it begins a new command: it is never passed on.
func checkSSH(command string) (clean, host string, err error) {
	const member, hint = "remote_ssh_command", `; give "ssh", options of a list, and one user@host, or set allow_raw_ssh_command in [restore]`
	if err := checkWord(member, command); err != nil {
		return "", "", err
	}
	words := strings.Fields(command)
	for _, w := range words {
		if !sshWord().MatchString(w) {
			return "", "", refused(member, "%q holds characters that a shell may give a meaning to%s", w, hint)
		}
	}
	if len(words) < 2 || words[0] != "ssh" {
		return "", "", refused(member, "must begin with ssh%s", hint)
	}
	var user, port string
	for rest := words[1:]; len(rest) > 0; {
		word := rest[0]
		rest = rest[1:]
		switch {
		case slices.Contains(sshFlags, word):
		case slices.Contains(sshValues, word) && len(rest) > 0 && !strings.HasPrefix(rest[0], "-"):
			switch word {
			case "-l":
				user = rest[0]
			case "-p":
				port = rest[0]
			}
			rest = rest[1:]
		case word == "-o" && len(rest) > 0 && sshOption(rest[0]):
			rest = rest[1:]
		case strings.HasPrefix(word, "-o") && sshOption(word[2:]):
		case strings.HasPrefix(word, "-p") && strings.Trim(word[2:], "0123456789") == "" && len(word) > 2:
			port = word[2:]
		case strings.HasPrefix(word, "-"):
			return "", "", refused(member, "the option %s is not allowed%s", word, hint)
		case host != "":
			return "", "", refused(member, "%q and %q: only one destination is allowed, and no command%s", host, word, hint)
		case !sshDestination().MatchString(word):
			return "", "", refused(member, "%q is not user@host%s", word, hint)
		default:
			host = word
		}
	}
	if host == "" {
		return "", "", refused(member, "no destination: user@host is missing%s", hint)
	}
	if name, at, ok := strings.Cut(host, "@"); ok {
		user, host = name, at
	}
	return strings.Join(words, " "), user + "@" + host + ":" + port, nil
}

// sshOption accepts Name=value for the names of the list; a user that begins with a dash would be an option
// wherever the host's own configuration of ssh hands it on (%r). A file of known hosts may
// only be /dev/null: ssh writes to it.
func sshOption(o string) bool {
	name, value, ok := strings.Cut(o, "=")
	name = strings.ToLower(name)
	return ok && value != "" && value[0] != '-' && (slices.Contains(sshOptions, name) || name == "userknownhostsfile" && value == "/dev/null")
}
