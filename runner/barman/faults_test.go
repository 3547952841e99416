package barman

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Barman disables those servers in whose configuration we find a fault, and no others.
func TestFaultsAreThoseOfBarman(t *testing.T) {
	seed := rand.Uint64()
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	files := map[string]string{"barman.conf": realConfig(t), "home/.keep": ""}
	for i := range 60 {
		name := fmt.Sprintf("s%02d", i)
		var s strings.Builder
		line := func(option string, values ...string) {
			if v := g.of(values...); v != "" {
				fmt.Fprintf(&s, "%s = %s\n", option, v)
			}
		}
		fmt.Fprintf(&s, "[%s]\n", name)
		line("conninfo", "", "host=127.0.0.1 port=1 user=x dbname=y", "host=127.0.0.1 port=1 user=x dbname=y", "host=127.0.0.1 port=1 user=x dbname=y")
		line("streaming_conninfo", "", "", "host=127.0.0.1 port=1 user=x")
		method := g.of("", "rsync", "postgres", "postgres", "POSTGRES", "rsync-concurrent")
		line("backup_method", method)
		line("ssh_command", "", "ssh x@y", "ssh x@y")
		line("archiver", "", "on", "off")
		line("streaming_archiver", "", "on", "off")
		line("slot_name", "", "barman")
		line("reuse_backup", "", "", "", "off", "link", "copy")
		line("network_compression", "", "", "", "true", "false")
		line("tablespace_bandwidth_limit", "", "", "", "ts:100")
		if !strings.EqualFold(method, "postgres") { // else Barman asks PostgreSQL
			line("backup_compression", "", "", "", "gzip")
		}
		line("primary_ssh_command", "", "", "", "", "ssh z")
		line("wals_directory", "", "", "", "", "DIR/home/"+name+"/incoming", "DIR/home/"+name+"/x/../errors")
		line("active", "", "", "", "false")
		files[fmt.Sprintf("conf.d/%s.conf", name)] = s.String()
	}
	b := newBox(t, files)
	list, err := b.client.Overview()
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range realBarmans(t) {
		disabled := 0
		told := ask(t, b, program, "list-servers")
		for _, s := range list {
			var theirs struct{ Description string }
			if err := json.Unmarshal(told[s.Name], &theirs); err != nil {
				t.Fatal(err)
			}
			want := strings.Contains(theirs.Description, "WARNING: disabled")
			if s.Active && (len(s.Faults) > 0) != want { // of one that is inactive it is not told
				t.Errorf("seed %d: the faults of %s are %q, %s disables it: %v\n%s", seed, s.Name, s.Faults, program, want, files["conf.d/"+s.Name+".conf"])
			}
			if want {
				disabled++
			}
		}
		t.Logf("%s disables %d of %d servers; the fields compared are name and disabled", program, disabled, len(list))
		if disabled < 5 || disabled > len(list)-5 {
			t.Errorf("%s disables %d of %d servers, want some of both", program, disabled, len(list))
		}
	}
}

func TestTheFaultsOfAServer(t *testing.T) {
	b := newBox(t, map[string]string{"conf.d/1.conf": "[good]\nconninfo = host=x\nssh_command = ssh x\n[bad]\nbackup_method = snapshot\nbandwidth_limit = 5\n[gone]\nactive = false\n", "home/gone/.active-model.auto": "gone:x"})
	list, err := b.client.Overview()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range list {
		got[s.Name] = strings.Join(s.Faults, "; ")
	}
	for name, want := range map[string]string{
		"good": "", "gone": `the active model "gone:x" is not in the configuration`,
		"bad": "conninfo is missing; bandwidth_limit cannot be used with backup_method = snapshot; snapshot_disks is missing; snapshot_instance is missing; snapshot_provider is missing",
	} {
		if got[name] != want {
			t.Errorf("the faults of %s are %q, want %q", name, got[name], want)
		}
	}
}

// Two folders of a server are one also where only a link says so, or a link and "..".
func TestFoldersThatAreOneByALink(t *testing.T) {
	b := newBox(t, map[string]string{
		"conf.d/1.conf": "[linked]\nconninfo = host=x\nssh_command = ssh x\nwals_directory = DIR/home/linked/link\n" +
			"[dots]\nconninfo = host=x\nssh_command = ssh x\nwals_directory = DIR/home/linked/link/../errors\nerrors_directory = DIR/home/linked/errors\n" +
			"[other]\nconninfo = host=x\nssh_command = ssh x\nwals_directory = DIR/home/linked/errors\n",
		"home/linked/incoming/x": "", "home/linked/errors/x": "", "home/other/errors/x": "",
	})
	if err := os.Symlink("incoming", filepath.Join(b.dir, "home/linked/link")); err != nil {
		t.Fatal(err)
	}
	list, err := b.client.Overview()
	if err != nil {
		t.Fatal(err)
	}
	for i, says := range []string{"errors_directory and wals_directory are the same folder", "incoming_wals_directory and wals_directory are the same folder", ""} {
		if got := strings.Join(list[i].Faults, "; "); !strings.Contains(got, says) || (got == "") != (says == "") {
			t.Errorf("the faults of %s are %q, want %q", list[i].Name, got, says)
		}
	}
}
