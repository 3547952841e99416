package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// asRoot runs a verb as root.
func (l *lab) asRoot(stdin string, args ...string) (string, error) {
	l.t.Helper()
	cmd := exec.Command(l.bin, append(args, "--config", l.config)...) // #nosec G204
	cmd.Dir, cmd.Stdin = l.dir, strings.NewReader(stdin)
	cmd.Env = append(l.command("true").Env, "SUDO_USER=carol")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestRootGoesOnAsTheOwner: what root's commands do in the state directory, whose owner may have put anything there, they
// do as that owner. Links do not lead them to files of root's, and what they make is the owner's.
func TestRootGoesOnAsTheOwner(t *testing.T) {
	t.Parallel()
	l := newGate(t)
	foreign := func(name string) uint32 {
		t.Helper()
		var st syscall.Stat_t
		if err := syscall.Lstat(name, &st); err != nil {
			t.Fatal(err)
		}
		return st.Uid
	}
	roots := l.dir + "/roots"
	if err := os.Mkdir(roots, 0o755); err != nil { // #nosec G301 -- as /etc is
		t.Fatal(err)
	}
	for _, link := range []string{"state/users.lock", "audit.log", "state/auth/hash.0", "state/auth/tokens.lock", "state/auth/failures", "state/admission.lock"} {
		t.Run(link, func(t *testing.T) {
			l := *l
			l.t = t
			for _, there := range []bool{true, false} {
				target := fmt.Sprintf("%s/%s-%v", roots, strings.ReplaceAll(link, "/", "-"), there)
				if there {
					if err := os.WriteFile(target, []byte("of root\n"), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				l.must(l.command("mkdir", "-p", l.state+"/auth"))
				l.must(l.command("ln", "-sfn", target, l.dir+"/"+link))
				for _, args := range [][]string{{"user", "add", "eve", "--role", "admin", "--password-stdin"}, {"user", "allow", "eve", "*"}, {"user", "passwd", "ann", "--password-stdin"}, {"token", "create", "ann"}, {"config", "check"}, {"op", "list"}, {"prune"}} {
					_, _ = l.asRoot(annsPassword+"\n", args...) // refused, or done without that file
				}
				_, err := os.Lstat(target)
				if (err == nil) != there {
					t.Errorf("a link to a file that is there (%v) leads root to it: %v", there, err)
				}
				if data, _ := os.ReadFile(target); there && (string(data) != "of root\n" || foreign(target) != 0) {
					t.Errorf("a file of root's is %q of uid %d, want it as it was", data, foreign(target))
				}
				l.must(l.command("rm", "-f", l.dir+"/"+link))
			}
		})
	}
	for _, args := range [][]string{{"user", "add", "dave", "--role", "admin", "--password-stdin"}, {"token", "create", "dave", "--name", "x"}, {"token", "rotate-key"}, {"user", "remove", "dave"}, {"config", "check"}, {"op", "list"}} {
		if out, err := l.asRoot(annsPassword+"\n", args...); err != nil {
			t.Errorf("%v as root: %v\n%s", args, err, out)
		}
	}
	out, err := l.asRoot("", "op", "start", "--server", "pg-a", "--wait", "backup")
	if err != nil {
		t.Errorf("op start as root: %v\n%s", err, out)
	}
	if list := l.must(exec.Command("find", l.state, l.dir+"/audit.log", "-uid", "0")); list != "" { // #nosec G204
		t.Errorf("root owns %s, want nothing there", list)
	}
	if e := l.audited()[0]; e.Identity != "carol as root" || e.How != "cli" || e.Command != "user remove" || e.Target != "dave" {
		t.Errorf("the audit log has %+v, want who became root by sudo", e)
	}
	if op := l.barback("op", "show", strings.Fields(out)[0]); !strings.Contains(op, `"requested_by": "local:carol as root"`) {
		t.Errorf("the operation is %s, want it of carol as root", op)
	}
}
