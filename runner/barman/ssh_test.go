package barman

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestSSHCommandsThatAreAllowed(t *testing.T) {
	for _, command := range []string{
		"ssh host",
		"ssh postgres@host",
		"ssh postgres@host.example.org",
		"ssh postgres@10.0.0.1",
		"ssh postgres@fe80::1",
		"ssh  postgres@host ",
		"ssh -q postgres@host",
		"ssh postgres@host -q",
		"ssh -4 -C -T -x -a postgres@host",
		"ssh -6 host",
		"ssh -p 2222 host",
		"ssh -p2222 host",
		"ssh -l postgres host",
		"ssh -i /var/lib/barman/.ssh/id_ed25519 postgres@host",
		"ssh -c aes256-ctr -m hmac-sha2-256 host",
		"ssh -o BatchMode=yes host",
		"ssh -oBatchMode=yes host",
		"ssh -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3 host",
		"ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null postgres@host",
		"ssh -o strictHOSTKEYchecking=accept-new host",
		"ssh -o IdentityFile=/x -o IdentitiesOnly=yes -o User=postgres -o Port=22 host",
		"ssh host_1",
		"ssh a-b@c-d",
	} {
		if _, _, err := checkSSH(command); err != nil {
			t.Errorf("checkSSH(%q) = %v, want it allowed", command, err)
		}
	}
}

func TestSSHCommandsThatAreRefused(t *testing.T) {
	for _, tc := range []struct{ name, command string }{
		{"nothing", ""},
		{"blanks", "   "},
		{"no destination", "ssh"},
		{"options without a destination", "ssh -q -4"},
		{"a value that eats the destination", "ssh -p host"},
		{"another program", "sh -c id"},
		{"another program named like it", "sshx host"},
		{"a user that is an option", "ssh -o User=-oProxyCommand=id host"},
		{"a user that is an option, in one word", "ssh -oUser=-oProxyCommand=id host"},
		{"a path", "/usr/bin/ssh host"},
		{"a relative path", "./ssh host"},
		{"upper case", "SSH host"},
		{"an assignment in front", "LD_PRELOAD=/tmp/x.so ssh host"},
		{"env in front", "env ssh host"},
		{"exec in front", "exec ssh host"},
		{"a command behind the host", "ssh host id"},
		{"a command with a dash behind the host", "ssh host -- id"},
		{"two destinations", "ssh a@b c@d"},
		{"the end of options", "ssh -- host"},
		{"an option for a destination", "ssh -oProxyCommand=id"},
		{"a destination with a dash", "ssh postgres@-oProxyCommand=id"},
		{"a user with a dash", "ssh -postgres@host"},
		{"two @", "ssh a@b@c"},
		{"no user before @", "ssh @host"},
		{"no host after @", "ssh postgres@"},
		{"a URL", "ssh ssh://postgres@host"},
		{"a slash in the host", "ssh postgres@host/x"},
		{"ProxyCommand", "ssh -o ProxyCommand=id host"},
		{"ProxyCommand in one word", "ssh -oProxyCommand=id host"},
		{"ProxyCommand in lower case", "ssh -o proxycommand=id host"},
		{"ProxyCommand behind the host", "ssh host -o ProxyCommand=id"},
		{"ProxyCommand with a blank", "ssh -o ProxyCommand id host"},
		{"LocalCommand", "ssh -o PermitLocalCommand=yes -o LocalCommand=id host"},
		{"KnownHostsCommand", "ssh -o KnownHostsCommand=/tmp/x host"},
		{"Match", "ssh -o Match=exec host"},
		{"Include", "ssh -o Include=/tmp/x host"},
		{"ProxyJump", "ssh -o ProxyJump=x host"},
		{"-J", "ssh -J x host"},
		{"RemoteCommand", "ssh -o RemoteCommand=id host"},
		{"PKCS11Provider", "ssh -o PKCS11Provider=/tmp/x.so host"},
		{"SecurityKeyProvider", "ssh -o SecurityKeyProvider=/tmp/x.so host"},
		{"ControlPath", "ssh -o ControlPath=/tmp/x host"},
		{"-S", "ssh -S /tmp/x host"},
		{"XAuthLocation", "ssh -o XAuthLocation=/tmp/x host"},
		{"a file of known hosts", "ssh -o UserKnownHostsFile=/var/lib/barman/.bashrc host"},
		{"GlobalKnownHostsFile", "ssh -o GlobalKnownHostsFile=/tmp/x host"},
		{"SendEnv", "ssh -o SendEnv=X host"},
		{"-o without a value", "ssh host -o"},
		{"-o with an empty value", "ssh -o BatchMode= host"},
		{"-o with no name", "ssh -o =yes host"},
		{"-o with an option behind it", "ssh -o -oProxyCommand=id host"},
		{"another configuration", "ssh -F /tmp/config host"},
		{"another configuration in one word", "ssh -F/tmp/config host"},
		{"-I", "ssh -I /tmp/x.so host"},
		{"-E writes a file", "ssh -E /tmp/log host"},
		{"-L", "ssh -L 1:2:3 host"},
		{"-R", "ssh -R 1:2:3 host"},
		{"-D", "ssh -D 1 host"},
		{"-W", "ssh -W x:1 host"},
		{"-w", "ssh -w any host"},
		{"-A", "ssh -A host"},
		{"-X", "ssh -X host"},
		{"-f", "ssh -f host"},
		{"-N", "ssh -N host"},
		{"-t", "ssh -t host"},
		{"-v", "ssh -v host"},
		{"-e", "ssh -e x host"},
		{"-b", "ssh -b x host"},
		{"a value that is an option", "ssh -i -oProxyCommand=id host"},
		{"a port that is an option", "ssh -p -oProxyCommand=id host"},
		{"flags in one word", "ssh -4oProxyCommand=id host"},
		{"flags in one word, harmless", "ssh -4q host"},
		{"a value in one word", "ssh -lroot host"},
		{"a port of letters in one word", "ssh -pabc host"},
		{"a long option", "ssh --help host"},
		{"a lone dash", "ssh - host"},
		{"a newline", "ssh -q\nid"},
		{"a newline at the end", "ssh host\n"},
		{"a newline in front", "\nssh host"},
		{"a newline and a program with an option", "ssh -q\nsh -i /tmp/script"},
		{"a carriage return", "ssh -q\rhost"},
		{"a vertical tab", "ssh\vhost"},
		{"a form feed", "ssh\fhost"},
		{"a NUL", "ssh host\x00"},
		{"a semicolon", "ssh host;id"},
		{"a semicolon between blanks", "ssh host ; id"},
		{"&&", "ssh host && id"},
		{"&", "ssh host &"},
		{"|", "ssh host | id"},
		{"a command substitution", "ssh $(id)"},
		{"back quotes", "ssh `id`"},
		{"a variable", "ssh $HOME"},
		{"a brace expansion", "ssh {a,b}"},
		{"a tilde", "ssh -i ~/x host"},
		{"a star", "ssh -i /x/* host"},
		{"a question mark", "ssh -i /x/? host"},
		{"brackets", "ssh [::1]"},
		{"a redirection", "ssh host >/tmp/x"},
		{"an input redirection", "ssh host </etc/passwd"},
		{"a comment", "ssh host #x"},
		{"single quotes", "ssh 'host'"},
		{"double quotes", `ssh "host"`},
		{"quotes around a blank", "ssh -o 'ProxyCommand id' host"},
		{"a backslash", `ssh ho\st`},
		{"an exclamation mark", "ssh host!"},
		{"round brackets", "ssh (host)"},
		{"a caret", "ssh ^host"},
		{"letters that look like ssh", "ѕѕh host"},
		{"a full-width letter", "ssh hｏst"},
		{"a full-width semicolon", "ssh host；id"},
		{"a dash that is none", "ssh –q host"},
		{"a zero-width space", "ssh host\u200b"},
		{"not UTF-8", "ssh host\xff"},
		{"an escape sequence", "ssh \x1b[31mhost"},
		{"a placeholder for a destination", "ssh %h"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			clean, host, err := checkSSH(tc.command)
			if e, ok := errors.AsType[*InvalidError](err); !ok || e.Fields[0].Pointer != "/remote_ssh_command" || clean != "" || host != "" {
				t.Errorf("checkSSH(%q) = %q, %q, %v, want it refused", tc.command, clean, host, err)
			}
		})
	}
}

// What goes on has one blank between its words, whatever separated them; and two spellings of
// one target are the same host.
func TestSSHCommandsAreCleaned(t *testing.T) {
	for _, tc := range []struct{ command, clean, host string }{
		{"ssh host", "ssh host", "@host:"},
		{"  ssh   -q  postgres@host  ", "ssh -q postgres@host", "postgres@host:"},
		{"ssh postgres@host -p 22", "ssh postgres@host -p 22", "postgres@host:22"},
		{"ssh -p22 -l postgres host", "ssh -p22 -l postgres host", "postgres@host:22"},
		{"ssh -l other postgres@host", "ssh -l other postgres@host", "postgres@host:"},
	} {
		if clean, host, err := checkSSH(tc.command); err != nil || clean != tc.clean || host != tc.host {
			t.Errorf("checkSSH(%q) = %q, %q, %v, want %q, %q", tc.command, clean, host, err, tc.clean, tc.host)
		}
	}
	// What is no blank to a shell is refused, or at least does not go on.
	for _, blank := range []string{"\n", "\r", "\t", "\v", "\f", "\u0085", "\u2028", "\u00a0", "\u2003", "\u3000"} {
		if clean, _, err := checkSSH("ssh" + blank + "host"); err == nil && clean != "ssh host" {
			t.Errorf("checkSSH with %q between its words gives %q, want it refused or cleaned", blank, clean)
		}
	}
}

func TestSSHRefusalsNameTheWayOut(t *testing.T) {
	for _, command := range []string{"sh -c id", "ssh $(id)", "ssh -F x host", "ssh host id", "ssh @x", "ssh -q"} {
		_, _, err := checkSSH(command)
		wantRefusal(t, err, "/remote_ssh_command", "allow_raw_ssh_command", true)
	}
}

var (
	harmless        = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./ -]+$`)
	takeValue       = []string{"-p", "-l", "-i", "-c", "-m", "-o"}
	neverSSHOptions = regexp.MustCompile(`(?i)^(-o)?(proxy|local|known|remote|permit|match|include|control|pkcs|security|xauth|global|send|setenv|tunnel|forward|dynamic)`)
)

// What is accepted consists of characters without a meaning to any shell and, split at
// blanks as a shell does it, is ssh, options and exactly one destination.
func FuzzCheckSSH(f *testing.F) {
	for _, s := range []string{"ssh host", "ssh -p 22 postgres@host -q", "ssh -oBatchMode=yes -o User=x host", "ssh -i /x host", "ssh host id", "ssh -o ProxyCommand=id host", "ssh\thost", "ssh -q\nid", "ssh\u00a0host x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, command string) {
		command, host, err := checkSSH(command)
		if err != nil {
			return
		}
		if host == "" {
			t.Errorf("checkSSH accepts %q for no host", command)
		}
		if !harmless.MatchString(command) {
			t.Fatalf("checkSSH accepts %q, want no character that a shell gives a meaning to", command)
		}
		words := strings.Split(command, " ")
		if words[0] != "ssh" {
			t.Fatalf("checkSSH accepts %q, want ssh first", command)
		}
		destinations := 0
		for i := 1; i < len(words); i++ {
			switch {
			case neverSSHOptions.MatchString(words[i]) && strings.HasPrefix(words[i], "-"):
				t.Errorf("checkSSH accepts %q with the option %s", command, words[i])
			case slices.Contains(takeValue, words[i]):
				if i++; i == len(words) || strings.HasPrefix(words[i], "-") || words[i-1] == "-o" && neverSSHOptions.MatchString(words[i]) {
					t.Fatalf("checkSSH accepts %q, want a harmless value behind %s", command, words[i-1])
				}
			case !strings.HasPrefix(words[i], "-"):
				destinations++
			}
		}
		if destinations != 1 {
			t.Errorf("checkSSH accepts %q with %d destinations, want one", command, destinations)
		}
	})
}
