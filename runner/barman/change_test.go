package barman

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"barback/runner/rewrite"
)

// changeable is a box with a state directory, and with servers s1 and s2 in files of their own. The Barman is the
// real one of that path; empty: one that takes everything.
func changeable(t testing.TB, program string, files map[string]string) *box {
	t.Helper()
	all := map[string]string{
		"barman.conf":    realConfig(t) + "# the end\n",
		"conf.d/s1.conf": "# server one\n[s1]\ndescription = one\nconninfo = host=/nowhere user=x\nstreaming_conninfo = host=/nowhere user=x\nbackup_method = postgres\nstreaming_archiver = on\nslot_name = barman\n",
		"conf.d/s2.conf": "[s2]\ndescription: two\nconninfo = host=/nowhere user=x\nstreaming_conninfo = host=/nowhere user=x\nbackup_method = postgres\nstreaming_archiver = on\nslot_name = barman\n",
		"home/.keep":     "",
		"state/.keep":    "",
	}
	for name, text := range files {
		all[name] = text
	}
	b := newBox(t, all)
	b.client.Cache = filepath.Join(b.dir, "state")
	b.write(t, "barman", "#!/bin/sh\ncase \"$*\" in *list-servers*) echo '{}';; *) echo '3.13.3 Barman by EnterpriseDB (www.enterprisedb.com)';; esac\n")
	if program != "" {
		b.client.Command = program
	}
	return b
}

// files is the content of all configuration files.
func (b *box) files(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	paths, _ := filepath.Glob(filepath.Join(b.dir, "conf.d", "*"))
	for _, path := range append(paths, b.client.Config) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(path, b.dir+"/")] = string(data)
	}
	return all
}

// eachBarman runs a test with every real Barman of this machine.
func eachBarman(t *testing.T, test func(t *testing.T, program string)) {
	for _, program := range realBarmans(t) {
		t.Run(filepath.Base(filepath.Dir(program)), func(t *testing.T) { test(t, program) })
	}
}

// What the real Barman does not take is not written, whether it says so and stops, says so and goes on, or just logs it.
func TestChangeIsRefusedIfBarmanDoesNotTakeIt(t *testing.T) {
	type row struct{ section, option, value, says string }
	eachBarman(t, func(t *testing.T, program string) {
		b := changeable(t, program, map[string]string{"conf.d/s3.conf": "[s3]\nconninfo = host=x\narchiver = on\n"})
		b.client.Policy.ConfigOptions = []string{"*"}
		before := b.files(t)
		for _, rows := range [][]row{
			{
				{"s1", "retention_policy", "RECOVERY WINDOW OF 3 BANANAS", `Invalid retention_policy setting "RECOVERY WINDOW OF 3 BANANAS"`},
				{"barman", "retention_policy", "some", `Invalid retention_policy setting "some" for server "s2"`},
				{"s2", "retention_policy_mode", "mad", `Unsupported retention_policy_mode "mad"`},
				{"s2", "minimum_redundancy", "-1", "Negative value of minimum_redundancy"},
				{"s1", "minimum_redundancy", "x", `Invalid minimum_redundancy "x"`},
				{"s1", "bandwidth_limit", "fast", `Invalid bandwidth_limit "fast"`},
				{"s3", "backup_method", "magic", "Ignoring invalid configuration value 'magic'"},
				{"s1", "active", "perhaps", "'perhaps' for key active in [s1] section: Invalid boolean representation"},
				{"s1", "reuse_backup", "y", "Ignoring invalid configuration value 'y'"},
				{"s1", "last_backup_maximum_age", "3 bananas", "Invalid value for a time interval"},
				{"s1", "check_timeout", "abc", "invalid literal for int() with base 10: 'abc'"},
				{"barman", "parallel_jobs", "many", "Ignoring invalid configuration value 'many'"},
				{"s1", "nosuch", "1", `Invalid configuration option "nosuch" in [s1] section`},
				{"s1", "log_level", "DEBUG", `Invalid configuration option "log_level" in [s1] section`},
				{"s1", "primary_conninfo", "x", "server s1 would be disabled"},
				{"s2", "conninfo", "", "server s2 would be disabled"},
			},
			{{"s2", "backup_directory", b.home + "/s1", "Conflicting path"}},
		} {
			changes := []Change{{"s1", "description", "new"}}
			for _, r := range rows {
				changes = append(changes, Change{r.section, r.option, r.value})
			}
			_, err := b.client.Change(changes, time.Now())
			e, ok := errors.AsType[*InvalidError](err)
			if !ok || !e.Hopeless {
				t.Fatalf("Change = %v, want a refusal", err)
			}
			for _, r := range rows {
				if !slices.ContainsFunc(e.Fields, func(f Field) bool { return strings.Contains(f.Detail, r.says) }) {
					t.Errorf("%s.%s=%s is not refused with %s: %v", r.section, r.option, r.value, r.says, err)
				}
			}
			if strings.Contains(err.Error(), "barman-copy") {
				t.Errorf("Change = %v, which names a copy that is gone", err)
			}
			if after := b.files(t); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Fatalf("after a refused change the files are %q, want %q", after, before)
			}
		}
		if left, _ := filepath.Glob(b.client.Cache + "/barman-copy*"); len(left) > 0 {
			t.Errorf("copies are left: %v", left)
		}
	})
}

// What the real Barman takes is written, and it reads the very text that was asked for.
func TestChangeIsWhatBarmanReads(t *testing.T) {
	values := []string{"plain", "50% off", "100%%", "%(conninfo)s", "%", `"quoted"`, `'single'`, `"`, "  blanks  ", "a = b: c", "# no comment", "; no comment", "[s3]", "größe 大 🐘", "\u00a0x", "`id` $(id) ; rm -rf /", "\\n", strings.Repeat("long ", 3000) + "."}
	eachBarman(t, func(t *testing.T, program string) {
		files := map[string]string{}
		var changes []Change
		for i, value := range values {
			name := fmt.Sprint("v", i)
			files["conf.d/"+name+".conf"] = "# about " + name + "\n[" + name + "]\ndescription = one\n two\nconninfo = host=/nowhere\narchiver = on\nactive = false"
			changes = append(changes, Change{name, "description", value})
		}
		b := changeable(t, program, files)
		if _, err := b.client.Change(changes, time.Now()); err != nil {
			t.Fatalf("Change = %v, want no error", err)
		}
		theirs := ask(t, b, program, "list-servers")
		ours, err := b.client.Sections()
		version, err2 := b.client.Version()
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		for i, ch := range changes {
			var s struct{ Description string }
			if err := json.Unmarshal(theirs[ch.Section], &s); err != nil || strings.TrimSuffix(s.Description, " (inactive)") != ch.Value {
				t.Errorf("Barman reads %.60q, want %.60q (%v)", s.Description, ch.Value, err)
			}
			if got := ours[ch.Section]["description"]; got != ch.Value && (ch.Value != "100%%" || !older(version, "3.10")) {
				t.Errorf("we read %.60q, want %.60q", got, ch.Value)
			}
			got := b.files(t)["conf.d/"+ch.Section+".conf"]
			if !strings.HasPrefix(got, fmt.Sprintf("# about v%d\n[v%d]\ndescription = ", i, i)) || !strings.HasSuffix(got, "\nconninfo = host=/nowhere\narchiver = on\nactive = false") {
				t.Errorf("the file is %q", got)
			}
		}
	})
}

// What Barman only remarks on is written, and the remark is handed on. What it said before is none.
func TestChangeTellsWarnings(t *testing.T) {
	eachBarman(t, func(t *testing.T, program string) {
		b := changeable(t, program, map[string]string{"conf.d/s3.conf": "[s3]\nnosuch = 1\nconninfo = host=x\nminimum_redundancy = y\n"})
		warnings, err := b.client.Change([]Change{{"s1", "streaming_archiver", "off"}, {"s1", "retention_policy", "REDUNDANCY 2"}, {"s1", "minimum_redundancy", "2"}, {"barman", "parallel_jobs", "2"}}, time.Now())
		if err != nil || !slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, "No archiver enabled for server 's1'") }) {
			t.Errorf("Change = %q, %v, want a warning that no archiver is enabled", warnings, err)
		}
		if all := strings.Join(warnings, "\n"); strings.Contains(all, "s3") {
			t.Errorf("Change tells of what was so before: %q", all)
		}
		if got, want := b.files(t)["barman.conf"], "parallel_jobs = 2\n# the end\n"; !strings.HasSuffix(got, want) {
			t.Errorf("barman.conf is %q, want it to end with %q", got, want)
		}
	})
}

func TestChangeGoesWhereItCounts(t *testing.T) {
	for _, tc := range []struct {
		name    string
		files   map[string]string
		changes []Change
		want    map[string]string
	}{
		{"the last file that sets it", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = a\n", "conf.d/s2.conf": "[s1]\ndescription = b\n", "conf.d/s3.conf": "[s1]\nconninfo = x\n"},
			[]Change{{"s1", "description", "c"}}, map[string]string{"conf.d/s1.conf": "[s1]\ndescription = a\n", "conf.d/s2.conf": "[s1]\ndescription = c\n", "conf.d/s3.conf": "[s1]\nconninfo = x\n"}},
		{"the last file that has the section", map[string]string{"conf.d/s1.conf": "[s1]\n", "conf.d/s2.conf": "[s1]\n[s2]\n"}, []Change{{"s1", "description", "c"}}, map[string]string{"conf.d/s1.conf": "[s1]\n", "conf.d/s2.conf": "[s1]\ndescription = c\n[s2]\n"}},
		{"several at once", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = a\n", "conf.d/s2.conf": "[s2]\n"}, []Change{{"s1", "description", "c"}, {"s2", "description", "d"}, {"s1", "conninfo", "e"}},
			map[string]string{"conf.d/s1.conf": "[s1]\ndescription = c\nconninfo = e\n", "conf.d/s2.conf": "[s2]\ndescription = d\n"}},
		{"a server with dots", map[string]string{"conf.d/s1.conf": "[db.example.com]\n"}, []Change{{"db.example.com", "description", "c"}}, map[string]string{"conf.d/s1.conf": "[db.example.com]\ndescription = c\n"}},
		{"a model", map[string]string{"conf.d/s1.conf": "[s1]\n[s1:fast]\nmodel = true\ncluster = s1\n"}, []Change{{"s1:fast", "parallel_jobs", "4"}}, map[string]string{"conf.d/s1.conf": "[s1]\n[s1:fast]\nmodel = true\ncluster = s1\nparallel_jobs = 4\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := changeable(t, "", tc.files)
			if _, err := b.client.Change(tc.changes, time.Now()); err != nil {
				t.Fatalf("Change = %v, want no error", err)
			}
			got := b.files(t)
			for name, want := range tc.want {
				if got[name] != want {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
			}
		})
	}
}

// A refused change changes nothing, and says what to do.
func TestChangeRefuses(t *testing.T) {
	one := func(section, option, value string) []Change {
		return []Change{{"s2", "description", "new"}, {section, option, value}}
	}
	for _, tc := range []struct {
		name    string
		changes []Change
		says    string
	}{
		{"nothing", nil, "at least one"},
		{"a section that is not there", one("s9", "description", "x"), "there is no section [s9]"},
		{"the defaults of a file", one("DEFAULT", "description", "x"), "there is no section [DEFAULT]"},
		{"a hook script", one("s1", "pre_backup_script", "/bin/sh"), "allowed_options"},
		{"ssh_command", one("s1", "ssh_command", "sh -c id"), "allowed_options"},
		{"where Barman writes", one("barman", "barman_home", "/"), "allowed_options"},
		{"what Barman includes", one("barman", "configuration_files_directory", "/tmp"), "allowed_options"},
		{"a name in capitals", one("s1", "SSH_COMMAND", "x"), "lower-case"},
		{"a name with a line", one("s1", "description = x\nssh_command", "x"), "lower-case"},
		{"a name with blanks", one("s1", " description", "x"), "lower-case"},
		{"a line", one("s1", "description", "x\nssh_command = id"), "control character"},
		{"a section in the value", one("s1", "description", "x\n[s3]"), "control character"},
		{"NUL", one("s1", "description", "x\x00"), "control character"},
		{"a masked password", one("s1", "conninfo", "host=h password=*REDACTED*"), "send the password itself"},
		{"too long", one("s1", "description", strings.Repeat("x", maxValue+1)), "64 KiB"},
		{"twice", []Change{{"s1", "description", "x"}, {"s1", "description", "y"}}, "given twice"},
		{"what config-update wrote", one("s1", "slot_name", "x"), ".barman.auto.conf"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := changeable(t, "", map[string]string{"home/.barman.auto.conf": "[s1]\nslot_name = y\n"})
			before := b.files(t)
			if _, err := b.client.Change(tc.changes, time.Now()); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Change = %v, want an error that says %q", err, tc.says)
			}
			if after := b.files(t); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("the files are %q, want %q", after, before)
			}
		})
	}
}

// nobody is a user other than those of the tests.
const nobody = 65534

func TestChangeRefusesFilesThatAreNotOurs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make files of others")
	}
	chown := func(name string) func(*box) error {
		return func(b *box) error { return os.Chown(filepath.Join(b.dir, name), nobody, nobody) }
	}
	for _, tc := range []struct {
		name string
		make func(b *box) error
		says []string
	}{
		{"the file is another's", chown("conf.d/s1.conf"), []string{"DIR/conf.d/s1.conf belongs to nobody, and barback runs as root: change it as nobody", "sudo chown barman DIR/conf.d/s1.conf", "config_update"}},
		{"the folder is another's", chown("conf.d"), []string{"DIR/conf.d/s1.conf cannot be replaced, as its folder DIR/conf.d belongs to nobody", "sudo ln -s /etc/barman/s1.conf DIR/conf.d"}},
		{"the file is write-protected", func(b *box) error { return os.Chmod(filepath.Join(b.dir, "conf.d/s1.conf"), 0o444) }, []string{"write-protected: chmod u+w"}},
		{"the file has two names", func(b *box) error {
			return os.Link(filepath.Join(b.dir, "conf.d/s1.conf"), filepath.Join(b.dir, "other"))
		}, []string{"2 names (hard links)"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := changeable(t, "", nil)
			if err := tc.make(b); err != nil {
				t.Fatal(err)
			}
			before := b.files(t)
			_, err := b.client.Change([]Change{{"s2", "description", "new"}, {"s1", "description", "new"}}, time.Now())
			if _, ok := errors.AsType[*rewrite.NotOursError](err); !ok {
				t.Fatalf("Change = %v, want a NotOursError", err)
			}
			for _, says := range tc.says {
				if says = strings.ReplaceAll(says, "DIR", b.dir); !strings.Contains(err.Error(), says) {
					t.Errorf("Change = %v, want it to say %q", err, says)
				}
			}
			if after := b.files(t); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("the files are %q, want %q", after, before)
			}
			if _, err := b.client.Change([]Change{{"s2", "description", "new"}}, time.Now()); err != nil && tc.name != "the folder is another's" {
				t.Errorf("Change of another file = %v, want no error", err)
			}
		})
	}
}

// A symbolic link stays, and what it leads to is changed; modes and the last version are kept.
func TestChangeFollowsLinksAndKeepsWhatWas(t *testing.T) {
	b := changeable(t, "", map[string]string{"own/s1": "[s1]\r\ndescription = one\r\n"})
	link, real := filepath.Join(b.dir, "conf.d/s1.conf"), filepath.Join(b.dir, "own/s1")
	if err := errors.Join(os.Remove(link), os.Symlink("../own/s1", link), os.Chmod(real, 0o640)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(real, 0, nobody); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Date(2026, 11, 22, 4, 20, 0, 0, time.UTC)
	for i := range 25 {
		if _, err := b.client.Change([]Change{{"s1", "description", fmt.Sprint("v", i)}}, start.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if to, err := os.Readlink(link); err != nil || to != "../own/s1" {
		t.Errorf("the link leads to %q, %v, want ../own/s1", to, err)
	}
	data, err := os.ReadFile(real)
	if err != nil || string(data) != "[s1]\r\ndescription = v24\r\n" {
		t.Errorf("the file is %q, %v", data, err)
	}
	st, err := os.Stat(real)
	if err != nil || st.Mode().Perm() != 0o640 || os.Geteuid() == 0 && st.Sys().(*syscall.Stat_t).Gid != nobody {
		t.Errorf("the file is %v of group %v, want 0640 of group %d", st.Mode(), st.Sys().(*syscall.Stat_t).Gid, nobody)
	}
	saved, err := filepath.Glob(filepath.Join(b.client.Cache, "saved", real, "*"))
	if err != nil || len(saved) != 20 {
		t.Fatalf("saved are %v, %v, want 20 versions", saved, err)
	}
	last, err := os.ReadFile(saved[19])
	if err != nil || filepath.Base(saved[19]) != "20261122T042024.000000Z" || string(last) != "[s1]\r\ndescription = v23\r\n" {
		t.Errorf("the last version is %s with %q, %v", saved[19], last, err)
	}
	if st, err := os.Stat(saved[19]); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the mode of the last version is %v, %v, want 0600", st.Mode(), err)
	}
}

// Of two files that cannot both be written none is.
func TestChangeOnAFullDiskOrAReadOnlyOne(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	for name, tc := range map[string]struct {
		fill func(dir string) error
		want error
	}{
		"full": {func(dir string) error {
			if err := os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
				return fmt.Errorf("filling the disk: %w", err)
			}
			return nil
		}, syscall.ENOSPC},
		"read-only": {func(dir string) error { return unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") }, syscall.EROFS},
	} {
		t.Run(name, func(t *testing.T) {
			b := changeable(t, "", nil)
			dir := filepath.Join(b.dir, "small")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
				t.Skipf("no tmpfs can be mounted here: %v", err)
			}
			t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
			link := filepath.Join(b.dir, "conf.d/s2.conf")
			data, err := os.ReadFile(link)
			if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "s2.conf"), data, 0o600), os.Remove(link), os.Symlink("../small/s2.conf", link), tc.fill(dir)); err != nil {
				t.Fatal(err)
			}
			before := b.files(t)
			if _, err := b.client.Change([]Change{{"s1", "description", "new"}, {"s2", "description", strings.Repeat("new", 10000)}}, time.Now()); !errors.Is(err, tc.want) {
				t.Errorf("Change = %v, want %v", err, tc.want)
			}
			if after := b.files(t); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("the files are %q, want %q", after, before)
			}
			if left, _ := filepath.Glob(b.dir + "/*/.s*.conf.*"); len(left) > 0 {
				t.Errorf("temporary files are left: %v", left)
			}
		})
	}
}

// TestChangeHelper is one of the processes of the next test.
func TestChangeHelper(t *testing.T) {
	dir := os.Getenv("BARBACK_CHANGE")
	if dir == "" {
		t.Skip("it is started by TestChangesOfManyProcesses")
	}
	c := &Client{Command: dir + "/barman", Config: dir + "/barman.conf", Cache: dir + "/state"}
	me := os.Getenv("BARBACK_CHANGE_BY")
	if _, err := c.Change([]Change{{"s1", "aws_" + me, me}, {"s2", "aws_" + me, me}}, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// Fifty processes change the same two files; whoever reads them meanwhile reads whole ones, and no change is lost.
func TestChangesOfManyProcesses(t *testing.T) {
	const n = 50
	b := changeable(t, "", nil)
	commands := make([]*exec.Cmd, n)
	outputs := make([]bytes.Buffer, n)
	for i := range commands {
		commands[i] = exec.Command(os.Args[0], "-test.run=^TestChangeHelper$") // #nosec G204 G702
		commands[i].Env = append(os.Environ(), "BARBACK_CHANGE="+b.dir, fmt.Sprint("BARBACK_CHANGE_BY=p", i))
		commands[i].Stdout, commands[i].Stderr = &outputs[i], &outputs[i]
		if err := commands[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i, cmd := range commands {
			if err := cmd.Wait(); err != nil {
				t.Errorf("process %d: %v\n%s", i, err, outputs[i].String())
			}
		}
	}()
	for reads := 0; ; reads++ {
		all, err := b.client.Sections()
		if err != nil || all["s1"]["slot_name"] != "barman" || all["s2"]["slot_name"] != "barman" {
			t.Fatalf("read %d while they change it = %v, %v, want whole files", reads, all, err)
		}
		select {
		case <-ended:
		default:
			continue
		}
		break
	}
	all, err := b.client.Sections()
	for i := range n {
		me := fmt.Sprint("p", i)
		if all["s1"]["aws_"+me] != me || all["s2"]["aws_"+me] != me {
			t.Errorf("the change of process %d is lost (%v)", i, err)
		}
	}
}
