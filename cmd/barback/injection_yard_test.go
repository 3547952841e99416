package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"barback/runner/barman"
)

// notingBarman notes its arguments and its environment, and gives the ssh command to a shell as the real one does. What it is
// asked in JSON it answers as the real one does.
const notingBarman = `#!/bin/sh
case $* in
--version) echo 3.20.0; exit ;;
--help) printf 'usage: barman {list-servers} ...\n\npositional arguments:\n  {list-servers}\n    list-servers  List them\n'; exit ;;
*" --help") # all flags of all versions
	printf 'usage: barman\n\noptions:\n'
	while read -r flag; do echo "  --$flag X"; done <"${0%/bin/*}/flags"; exit ;;
esac
dir=${0%/bin/*}
run=$(mktemp "$dir/ran/barman.XXXXXX")
printf '%s\0' "$@" >"$run"
cat /proc/$$/environ >"$dir/environ/${run##*/}"
for word; do
	case $word in --remote-ssh-command=*) /bin/sh -c "${word#*=} true" ;; esac
done
case $* in
*" diagnose") echo '{"_INFO": ["{\"servers\": {}}"]}' ;;
*" -f json check $word") echo "{\"$word\": {\"postgresql\": {\"hint\": \"\", \"status\": \"OK\"}}}" ;;
*" -f json status $word") echo "{\"$word\": {\"active\": {\"description\": \"Active\", \"message\": \"True\"}}}" ;;
*" -f json replication-status $word") echo "{\"$word\": {\"server_lsn\": \"0/3000028\", \"streaming_clients\": []}}" ;;
esac
`

// notingSSH notes its arguments, reads them as ssh does, and has the command obeyed by a shell as sshd does. An option
// that runs something, reads a configuration or writes a file makes the canary.
const notingSSH = `#!/bin/sh
dir=${0%/bin/*}
printf '%s\0' "$@" >"$(mktemp "$dir/ran/ssh.XXXXXX")"
options() {
	OPTIND=1
	while getopts 46CqTxap:l:i:c:m:o: o "$@"; do
		case $o in
		o) case $(echo "$OPTARG" | tr A-Z a-z) in
			userknownhostsfile=/dev/null) ;;
			*command=*|proxy*|control*|include*|match*|*knownhosts*|*provider*|*agent*|*env*) : >"$dir/canary" ;;
			esac ;;
		\?) : >"$dir/canary" ;;
		esac
	done
}
options "$@"
shift $((OPTIND - 1))
shift
options "$@"
shift $((OPTIND - 1))
[ $# -eq 0 ] || exec sh -c "$*"
`

const yardBackup = "20240102T030405"

// noting is a yard whose Barman and ssh only note how they were called.
type noting struct {
	*lab
	url string
}

func newNoting(t testing.TB) *noting {
	t.Helper()
	n := &noting{lab: newYard(t, 4)}
	n.must(n.command("mkdir", n.dir+"/bin", n.dir+"/ran", n.dir+"/environ"))
	n.write("bin/barman", notingBarman, 0o755)
	n.write("bin/ssh", notingSSH, 0o755)
	var flags strings.Builder
	for _, k := range barman.Kinds {
		for _, o := range k.Options {
			flags.WriteString(strings.ReplaceAll(o.Name, "_", "-") + "\n")
		}
	}
	n.write("flags", flags.String(), 0o644)
	n.write("bin/canary", "#!/bin/sh\n: >"+n.canary()+"\n", 0o755)
	n.env["LAB_BARMAN"] = n.dir + "/bin/barman"
	for server, tablespaces := range map[string]string{"pg-a": "None", "pg-b": "[('ts', 16387, '/old')]"} {
		info := n.dir + "/home/" + server + "/base/" + yardBackup
		n.must(n.command("mkdir", "-p", info+"/data"))
		n.write(strings.TrimPrefix(info, n.dir)+"/backup.info", "mode=postgres\nstatus=DONE\ntablespaces="+tablespaces+"\ntimeline=1\nversion=170000\n", 0o644)
	}
	n.write("home/pg-a/base/"+yardBackup+"/data/backup_manifest", "{}", 0o644)
	conf, err := os.ReadFile(n.env["LAB_BARMAN_CONF"])
	if err != nil {
		t.Fatal(err)
	}
	n.write("barman.conf", string(conf)+"[pg-copy]\nprimary_ssh_command = ssh x\n", 0o644)
	text, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	n.write("barback.toml", strings.Replace(string(text), n.dir+"/barman\"", n.dir+"/bin/barman\"\ntimeout = \"5m\"", 1)+"[targets.prod]\nremote_ssh_command = \"ssh postgres@prod\"\n", 0o644)
	serve := n.inPath(n.bin, "serve", "--config", n.config, "--listen", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	n.url = "http://" + serve[len(serve)-1]
	cmd := n.command(serve[0], serve[1:]...)
	n.start(cmd, "serve.log")
	eventually(t, 10*time.Second, func() string { return "nobody listens" }, func() bool { return listening(serve[len(serve)-1]) })
	return n
}

// inPath is a command line that finds our programs first.
func (n *noting) inPath(args ...string) []string {
	return append([]string{"/usr/bin/env", "PATH=" + n.dir + "/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, args...)
}

func (n *noting) canary() string { return n.dir + "/canary" }

// ran is what was started since it was asked last: the arguments of each Barman and of each ssh.
func (n *noting) ran() (barman, ssh [][]string) {
	n.t.Helper()
	paths, _ := filepath.Glob(n.dir + "/ran/*")
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			n.t.Fatal(err)
		}
		args := strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
		if strings.HasPrefix(filepath.Base(path), "barman.") {
			barman = append(barman, args)
		} else {
			ssh = append(ssh, args)
		}
		_ = os.Remove(path)
	}
	return barman, ssh
}

// environs checks the environment of each Barman that ran: nothing in it is a client's.
func (n *noting) environs() {
	n.t.Helper()
	known := []string{"BARBACK_OPERATION", "HOME", "INVOCATION_ID", "LANG", "LC_ALL", "LOGNAME", "PATH", "PWD", "PYTHONUNBUFFERED", "TZ", "USER", "_"}
	paths, _ := filepath.Glob(n.dir + "/environ/*")
	if len(paths) == 0 {
		n.t.Error("no Barman ran, and nothing was tested")
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			n.t.Fatal(err)
		}
		for v := range strings.SplitSeq(strings.TrimSuffix(string(data), "\x00"), "\x00") {
			name, value, _ := strings.Cut(v, "=")
			if !slices.Contains(known, name) || strings.Contains(value, "canary") {
				n.t.Errorf("Barman's environment holds %q", v)
			}
		}
	}
}

// logs holds all that barback wrote: each line is one JSON object of a line's own kind, without
// a character that does something to a terminal.
func (n *noting) logs() {
	n.t.Helper()
	paths, _ := filepath.Glob(n.state + "/operations/*/runner.log")
	for _, path := range append(paths, n.dir+"/serve.log", n.dir+"/audit.log") {
		data, err := os.ReadFile(path)
		if err != nil {
			n.t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var entry map[string]any
			dec := json.NewDecoder(bytes.NewReader(line))
			err := dec.Decode(&entry)
			odd := bytes.ContainsFunc(bytes.TrimSuffix(line, []byte("\n")), func(c rune) bool { return !unicode.IsPrint(c) })
			if err != nil || dec.More() || odd || entry["time"] == nil || entry["msg"] == "forged" || entry["level"] == nil && entry["result"] == nil {
				n.t.Errorf("%s holds the line %q (%v), want one JSON object that barback made", path, line, err)
			}
		}
	}
}

// corpus reads a file of testdata/injection: a Go string a line.
func (n *noting) corpus(name string) (values []string) {
	n.t.Helper()
	data, err := os.ReadFile("testdata/injection/" + name + ".txt")
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			continue
		}
		v, err := strconv.Unquote(line)
		if err != nil {
			n.t.Fatalf("%s.txt: %s: %v", name, line, err)
		}
		values = append(values, strings.ReplaceAll(v, "CANARY", n.canary()))
	}
	return values
}
