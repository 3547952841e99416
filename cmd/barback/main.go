// Command barback is the REST API for Barman that is not a daemon. Without a verb it
// serves through the door that it was started by: Apache's FastCGI or CGI, or a
// systemd socket. With "run" it is the runner of one operation. The other verbs are for people.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"barback/handler/auth"
)

// verb is one thing that the binary does.
type verb struct {
	name, args, help string
	run              func(c *call) error
}

// verbs is the table of all of them. A name of two words is a verb of a noun.
var verbs = []verb{
	{"", "", "serve through the door that started this process (FastCGI, CGI, systemd socket)", serveDoor},
	{"serve", "[--listen ADDR] [--port N]", "serve HTTP on an address, for development and containers", serveListen},
	{"status", "[--port N] [--url URL]", "print OK if a barback answers there", status},
	{"config check", "", "read the configuration and look at the installation", configCheck},
	{"doctor", "[--json] [--strict] [--apache DIR]", "say what is wrong with the installation, and the command that mends it; changes nothing", doctor},
	{"config show", "", "print the configuration in force", configShow},
	{"op list", "[--server NAME] [--all] [--limit N]", "print the operations at work", opList},
	{"op show", "ID", "print the record of an operation", opShow},
	{"op output", "[-f] [--raw] ID", "print what Barman printed; -f: and what it goes on to print", opOutput},
	{"op wait", "ID", "wait for the end, and end as the operation does", opWait},
	{"op cancel", "ID", "ask for the end of an operation", opCancel},
	{"op start", "[--server NAME] [--wait] TYPE [KEY=VALUE…]", "start an operation as a POST would", opStart},
	{"prune", "[--dry-run]", "move old operations to the archives, as the configuration says", prune},
	{"import pg-backup-api", "[--from DIR]", "take over the operations of pg-backup-api; its files stay as they are", importPeer},
	{"import barmanapi", "[--from FILE] [--users FILE] [--store DIR]", "take over users, results and settings of barmanapi; its files stay as they are", importBarmanapi},
	{"user add", "NAME [--role ROLE] [--generate|--password-stdin]", "make an identity that logs in with a password", userAdd},
	{"user passwd", "NAME [--generate|--password-stdin]", "change the password of an identity", userPasswd},
	{"user role", "NAME ROLE", "give an identity a role: viewer, operator, admin or none", userRole},
	{"user allow", "NAME PATTERN…", "let an identity do what the patterns cover", userAllow},
	{"user deny", "NAME PATTERN…", "keep an identity from what the patterns cover; wins over allow", userDeny},
	{"user list", "", "print who may do what", userList},
	{"user remove", "NAME", "forget an identity, its password and its tokens", userRemove},
	{"token create", "USER [--name TEXT] [--scope PATTERN]… [--expires TIME]", "make a token of an identity and print it, once", tokenCreate},
	{"token list", "[--user NAME]", "print the tokens there are, not the tokens themselves", tokenList},
	{"token revoke", "ID", "end a token", tokenRevoke},
	{"token rotate-key", "", "end all JSON Web Tokens (barmanapi's dialect), by a new key", tokenRotateKey},
	{"run", "[ID]", "(internal) run one operation, sent over standard input", runOperation},
	{"finish", "", "(internal) record the end of a runner's unit: ExecStopPost=", finish},
	{"completion", "bash|zsh|fish", "print what completes the command line in that shell", completion},
	{"version", "", "print the version", printVersion},
}

// peerVerbs are those of pg-backup-api, for who calls barback by that name (a link).
var peerVerbs = []verb{
	{"serve", "[--port N]", "serve HTTP on 127.0.0.1, on port 7480 or N", serveListen},
	{"status", "[--port N]", "print OK if the API answers on 127.0.0.1", peerStatus},
	{"recovery", "--server-name NAME --operation-id ID", "wait for the end of a recovery, and end as it does; starts nothing", peerWait("recovery")},
	{"config-switch", "--server-name NAME --operation-id ID", "the same for a config_switch", peerWait("config_switch")},
	{"config-update", "--operation-id ID", "the same for a config_update", peerWait("config_update")},
}

// program is what the binary is under one of its names.
type program struct {
	name, about string
	verbs       []verb
	failure     int // exit code of what went wrong
}

// programs are the names. The second one has barback's verbs as well, with its own in front.
var programs = []program{
	{"barback", "the REST API for Barman that is not a daemon", verbs, 1},
	{"pg-backup-api", "barback in the place of pg-backup-api", append(slices.Clone(peerVerbs), verbs[1:]...), 255},
}

// called finds the program by the name that the binary was called by.
func called(path string) program {
	for _, p := range programs {
		if p.name == filepath.Base(path) {
			return p
		}
	}
	return programs[0]
}

func main() {
	// A web server leaves ends of its own pipes open in what it starts: a runner that
	// inherited them would keep them open for hours (close_range(2), Linux 5.11).
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	os.Exit(run(called(os.Args[0]), os.Args[1:], os.Stdout, os.Stderr))
}

// call is one invocation of a verb.
type call struct {
	program        program
	args           []string // behind the verb and its flags
	flags          *flag.FlagSet
	configPath     *string
	audit          *auth.Audit
	who            string // the local user; see asOwner
	stdout, stderr io.Writer
}

// usageError is a mistake in the command line: exit code 2.
type usageError string

func (e usageError) Error() string { return string(e) }

// run does what args say and returns the exit code: 0, p.failure, or 2 for a wrong call.
func run(p program, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && (args[0] == "help" || args[0] == "--help" || args[0] == "-h") {
		p.printHelp(stdout)
		return 0
	}
	if len(args) > 0 && args[0] == "--version" {
		args[0] = "version"
	}
	v, rest, ok := p.findVerb(args)
	if !ok && len(args) == 0 { // pg-backup-api has no door to serve
		p.printHelp(stdout)
		return 0
	}
	if !ok {
		_, _ = fmt.Fprintf(stderr, "%s: there is no %q; try: %s help\n", p.name, strings.Join(args[:min(2, len(args))], " "), p.name)
		return 2
	}
	c := &call{program: p, stdout: stdout, stderr: stderr, flags: flag.NewFlagSet(v.name, flag.ContinueOnError)}
	c.flags.SetOutput(io.Discard)
	c.configPath = c.flags.String("config", "", "`path` of barback.toml")
	c.args = rest
	err := v.run(c)
	usage := usageError("")
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		p.printVerb(stdout, v, c.flags)
		return 0
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(stderr, "%s: %v; try: %s --help\n", p.name, err, strings.TrimSpace(p.name+" "+v.name))
		return 2
	}
	_, _ = fmt.Fprintf(stderr, "%s: %v\n", p.name, err)
	return p.failure
}

// parse reads the flags of a verb, which may stand before and behind its arguments. Behind "--" there are none, so that
// a script can hand on any value.
func (c *call) parse(minArgs, maxArgs int) error {
	var words []string
	for rest := c.args; ; {
		if err := c.flags.Parse(rest); errors.Is(err, flag.ErrHelp) {
			return err
		} else if err != nil {
			return usageError(err.Error())
		}
		flags := rest[:len(rest)-c.flags.NArg()]
		rest = c.flags.Args()
		if len(flags) > 0 && flags[len(flags)-1] == "--" {
			words = append(words, rest...)
			break
		}
		if len(rest) == 0 {
			break
		}
		words, rest = append(words, rest[0]), rest[1:]
	}
	c.args = words
	if len(words) < minArgs {
		return usageError("an argument is missing")
	}
	if maxArgs >= 0 && len(words) > maxArgs {
		return usageError(fmt.Sprintf("%q is one argument too many", words[maxArgs]))
	}
	return nil
}

// findVerb takes the longest name that the arguments begin with.
func (p program) findVerb(args []string) (verb, []string, bool) {
	for n := min(2, len(args)); n > 0; n-- {
		name := strings.Join(args[:n], " ")
		for _, v := range p.verbs {
			if v.name == name {
				return v, args[n:], true
			}
		}
	}
	if door := p.verbs[0]; door.name == "" && (len(args) == 0 || strings.HasPrefix(args[0], "-")) {
		return door, args, true
	}
	return verb{}, nil, false
}

func (p program) printHelp(w io.Writer) {
	_, _ = fmt.Fprintf(w, "%s: %s\n\nusage: %s [VERB] [--config PATH] …\n\n", p.name, p.about, p.name)
	for _, v := range p.verbs {
		_, _ = fmt.Fprintf(w, "  %-44s %s\n", strings.TrimSpace(p.name+" "+v.name+" "+v.args), v.help)
	}
	_, _ = fmt.Fprintf(w, "\n%s VERB --help says more. The configuration is %s,\nor what --config or BARBACK_CONFIG names.\n", p.name, defaultConfig)
}

func (p program) printVerb(w io.Writer, v verb, flags *flag.FlagSet) {
	_, _ = fmt.Fprintf(w, "usage: %s\n\n%s\n\n", strings.Join(strings.Fields(p.name+" "+v.name+" [--config PATH] "+v.args), " "), v.help)
	flags.SetOutput(w)
	flags.PrintDefaults()
}
