package barman

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each row is a fact about how Barman reads its configuration, seen with the real one.
func TestConfigurationRules(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  map[string]string // options of server s1
	}{
		{"a plain value", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = Our server\n"}, map[string]string{"description": "Our server"}},
		{"a colon instead of =", map[string]string{"conf.d/s1.conf": "[s1]\ndescription: Our server\n"}, map[string]string{"description": "Our server"}},
		{"= in a value", map[string]string{"conf.d/s1.conf": "[s1]\nconninfo = host=a dbname=b\n"}, map[string]string{"conninfo": "host=a dbname=b"}},
		{"a colon in a value", map[string]string{"conf.d/s1.conf": "[s1]\nconninfo = postgresql://u@h:5432/d\n"}, map[string]string{"conninfo": "postgresql://u@h:5432/d"}},
		{"no blanks around =", map[string]string{"conf.d/s1.conf": "[s1]\ndescription=x\n"}, map[string]string{"description": "x"}},
		{"keys without case", map[string]string{"conf.d/s1.conf": "[s1]\nDescription = x\nCONNINFO = y\n"}, map[string]string{"description": "x", "conninfo": "y"}},
		{"the later line wins", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = x\ndescription = y\n"}, map[string]string{"description": "y"}},
		{"a section in two parts", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = x\n[s2]\n[s1]\nactive = false\n"}, map[string]string{"description": "x", "active": "false"}},
		{"the later file wins, option by option", map[string]string{"conf.d/10.conf": "[s1]\ndescription = x\nactive = true\n", "conf.d/20.conf": "[s1]\ndescription = y\n"},
			map[string]string{"description": "y", "active": "true"}},
		{"files in the order of their names", map[string]string{"conf.d/b.conf": "[s1]\ndescription = b\n", "conf.d/a.conf": "[s1]\ndescription = a\n", "conf.d/B.conf": "[s1]\ndescription = B\n"},
			map[string]string{"description": "b"}},
		{"the main file comes first", map[string]string{"barman.conf": plainConfig + "[s1]\ndescription = main\n", "conf.d/a.conf": "[s1]\ndescription = included\n"}, map[string]string{"description": "included"}},
		{"what config-update wrote comes last", map[string]string{"conf.d/z.conf": "[s1]\ndescription = x\n", "home/.barman.auto.conf": "[s1]\ndescription = auto\n"}, map[string]string{"description": "auto"}},
		{"other names are not included", map[string]string{"conf.d/a.conf": "[s1]\ndescription = a\n", "conf.d/b.CONF": "[s1]\ndescription = b\n", "conf.d/.c.conf": "[s1]\ndescription = c\n",
			"conf.d/d.conf.bak": "[s1]\ndescription = d\n", "conf.d/sub/e.conf": "[s1]\ndescription = e\n"}, map[string]string{"description": "a"}},
		{"comments are whole lines", map[string]string{"conf.d/s1.conf": "# one\n; two\n[s1]\n# three\n; four\ndescription = x ; not a comment # nor this\n"}, map[string]string{"description": "x ; not a comment # nor this"}},
		{"a comment behind a section's name", map[string]string{"conf.d/s1.conf": "[s1] ; x\ndescription = y\n"}, map[string]string{"description": "y"}},
		{"double quotes", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = \" x \"\n"}, map[string]string{"description": " x "}},
		{"single quotes", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = 'x'\n"}, map[string]string{"description": "x"}},
		{"one pair of quotes only", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = \"'x'\"\n"}, map[string]string{"description": "'x'"}},
		{"quotes that do not match", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = \"x'\nconninfo = \"y\n"}, map[string]string{"description": "\"x'", "conninfo": "\"y"}},
		{"quotes over two lines", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = \"x\n  y\"\n"}, map[string]string{"description": "\"x\ny\""}},
		{"quotes within", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = a \"b\" c\n"}, map[string]string{"description": "a \"b\" c"}},
		{"None is nothing", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = None\n"}, map[string]string{"description": ""}},
		{"an empty value", map[string]string{"conf.d/s1.conf": "[s1]\ndescription =\nconninfo = x\n"}, map[string]string{"description": "", "conninfo": "x"}},
		{"an indented line belongs to the value above", map[string]string{"conf.d/s1.conf": "[s1]\npost_backup_script = one\n  active = two\ndescription = x\n"}, map[string]string{"description": "x", "active": ""}},
		{"a backslash at the end is none of a continuation", map[string]string{"conf.d/s1.conf": "[s1]\nconninfo = a\\\ndescription = x\n"}, map[string]string{"conninfo": "a\\", "description": "x"}},
		{"no newline at the end", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = x"}, map[string]string{"description": "x"}},
		{"line ends of Windows", map[string]string{"conf.d/s1.conf": "[s1]\r\ndescription = x\r\nactive = false\r\n"}, map[string]string{"description": "x", "active": "false"}},
		{"other letters", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = Größe – 大\n"}, map[string]string{"description": "Größe – 大"}},
		{"DEFAULT holds in every section of its file", map[string]string{"conf.d/s1.conf": "[DEFAULT]\ndescription = d\nconninfo = c\n[s1]\nconninfo = own\n"}, map[string]string{"description": "d", "conninfo": "own"}},
		{"percent signs of 3.13", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = 50%%%% off\n"}, map[string]string{"description": "50% off"}},
		{"percent signs of 3.4", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = 50%% off\n"}, map[string]string{"description": "50% off"}},
		{"a section that is indented as a whole", map[string]string{"conf.d/s1.conf": "[s1]\n  description = x\n  active = false\n"}, map[string]string{"description": "x", "active": "false"}},
		{"indented lines go on", map[string]string{"conf.d/s1.conf": "[s1]\npost_backup_script = one\n  two\n\tthree\ndescription = x\n"}, map[string]string{"post_backup_script": "one\ntwo\nthree", "description": "x"}},
		{"a comment between indented lines", map[string]string{"conf.d/s1.conf": "[s1]\npost_backup_script = one\n# comment\n  two\n"}, map[string]string{"post_backup_script": "one\ntwo"}},
		{"an indented comment is a comment", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = x\n  # comment\nactive = false\n"}, map[string]string{"description": "x", "active": "false"}},
		{"an empty line within a value", map[string]string{"conf.d/s1.conf": "[s1]\npost_backup_script = one\n\n  two\n"}, map[string]string{"post_backup_script": "one\n\ntwo"}},
		{"a value that begins on the next line", map[string]string{"conf.d/s1.conf": "[s1]\npost_backup_script =\n  one\n"}, map[string]string{"post_backup_script": "one"}},
		{"a back quote", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = `x\nactive = false\n"}, map[string]string{"description": "`x", "active": "false"}},
		{"three double quotes", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = \"\"\"x\"\"\"\n"}, map[string]string{"description": "\"\"x\"\""}},
		{"interpolation", map[string]string{"conf.d/s1.conf": "[s1]\nconninfo = host=a\ndescription = <%(conninfo)s>\n"}, map[string]string{"description": "<host=a>"}},
		{"interpolation of another case, twice over", map[string]string{"conf.d/s1.conf": "[s1]\nconninfo = <%(Description)s>\ndescription = %(x)s\nx = 1%%\n"}, map[string]string{"conninfo": "<1%>"}},
		{"interpolation without an end", map[string]string{"conf.d/s1.conf": "[s1]\nconninfo = %(conninfo)s%(nope)s 5%\ndescription = x\n"}, map[string]string{"description": "x"}},
		{"interpolation without an end, many times over", map[string]string{"conf.d/s1.conf": "[s1]\nconninfo = " + strings.Repeat("%(conninfo)s", 100) + "\ndescription = x\n"}, map[string]string{"description": "x"}},
		{"interpolation of DEFAULT", map[string]string{"conf.d/s1.conf": "[DEFAULT]\nhost = h\nconninfo = host=%(host)s\n[s1]\nhost = own\n"}, map[string]string{"conninfo": "host=own"}},
		{"a tab is one blank", map[string]string{"conf.d/s1.conf": "[s1]\n\tdescription = x\n  active = false\n"}, map[string]string{"description": "x\nactive = false"}},
		{"an indented section below an option goes on", map[string]string{"conf.d/s1.conf": "[s1]\ndescription = x\n [s2]\n"}, map[string]string{"description": "x\n[s2]"}},
		{"a section's name with a bracket", map[string]string{"conf.d/s1.conf": "[s1]\nactive = false\n[s1]]\n[s1] ]\nactive = true\n"}, map[string]string{"active": "false"}},
		{"an empty line, a comment and an end", map[string]string{"conf.d/s1.conf": "[s1]\npost_backup_script = one\n\n# comment\n\n  two\n\n\n[s2]\n"}, map[string]string{"post_backup_script": "one\n\n\ntwo"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := newBox(t, tc.files).load(t)
			for option, want := range tc.want {
				if got := cfg.servers["s1"][option]; got != want {
					t.Errorf("%s of s1 = %q, want %q", option, got, want)
				}
			}
		})
	}
}

func TestServers(t *testing.T) {
	b := newBox(t, map[string]string{
		"conf.d/1.conf":                  "[pg-two]\ndescription = Two\n[pg-one]\ndescription = 'One'\nactive = false\n[PG-ONE]\n[s 7]\n[pg.main]\n",
		"conf.d/2.conf":                  "[pg-one:api]\nmodel = true\ncluster = pg-one\ndescription = model\n[standby]\nprimary_ssh_command = ssh barman@other\n[odd]\nactive = perhaps\n",
		"home/pg-two/.active-model.auto": "pg-two:plain", "conf.d/3.conf": "[elsewhere]\nbackup_directory = DIR/else\n", "else/.active-model.auto": "m\n",
	})
	want := []Server{
		{Name: "PG-ONE", Active: true},
		{Name: "elsewhere", Active: true, ActiveModel: "m"},
		{Name: "odd", Active: true},
		{Name: "pg-one", Description: "One"},
		{Name: "pg-two", Description: "Two", Active: true, ActiveModel: "pg-two:plain"},
		{Name: "pg.main", Active: true},
		{Name: "s 7", Active: true},
		{Name: "standby", Active: true, Passive: true},
	}
	got, err := b.client.Servers()
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Servers = %+v, %v, want %+v", got, err, want)
	}
	for _, s := range want {
		if got, err := b.client.Server(s.Name); err != nil || got != s {
			t.Errorf("Server(%q) = %+v, %v, want %+v", s.Name, got, err, s)
		}
	}
	for _, name := range []string{"", "nope", "Pg-One", "barman", "pg-one:api", "DEFAULT", "pg-one ", "../pg-one", "all"} {
		_, err := b.client.Server(name)
		if e, ok := errors.AsType[*UnknownError](err); !ok || e.Name != name || e.What != "server" || !errors.Is(err, ErrUnknown) {
			t.Errorf("Server(%q) = %v, want an UnknownError", name, err)
		}
		if _, err := b.client.Backups(name); !errors.Is(err, ErrUnknown) {
			t.Errorf("Backups(%q) = %v, want %v", name, err, ErrUnknown)
		}
	}
}

// Barman has options of its own section and of servers: those of servers have no value in [barman].
func TestOptionsOfServersAloneDoNotComeFromTheBarmanSection(t *testing.T) {
	b := newBox(t, map[string]string{"barman.conf": plainConfig + "description = global\nactive = false\n", "conf.d/1.conf": "[s1]\n"})
	if got, err := b.client.Server("s1"); err != nil || got.Description != "" || !got.Active {
		t.Errorf("Server(s1) = %+v, %v, want it active and without a description", got, err)
	}
}

func TestTruth(t *testing.T) {
	for _, tc := range []struct {
		words string
		def   bool
		want  bool
	}{
		{"true True TRUE t T yes YES y-e-s 1 on ON", true, true},
		{"true True TRUE t T yes YES 1 on ON", false, true},
		{"false False FALSE f F no NO 0 off OFF", true, false},
		{"maybe y n 2 -1 enabled None", true, true},
		{"maybe y n 2 -1 enabled None", false, false},
	} {
		for word := range strings.FieldsSeq(tc.words) {
			if got := truth(word, tc.def); got != tc.want {
				t.Errorf("truth(%q, %v) = %v, want %v", word, tc.def, got, tc.want)
			}
		}
	}
	for _, def := range []bool{true, false} {
		if got := truth("", def); got != def {
			t.Errorf("truth of nothing = %v, want the default %v", got, def)
		}
	}
}

func TestConfigurationThatCannotBeUsed(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		at    string // the file that the error names
		says  string
	}{
		{"no barman_home", map[string]string{"barman.conf": "[barman]\nbarman_user = barman\n"}, "barman.conf", "barman_home is not set"},
		{"barman_home is None", map[string]string{"barman.conf": "[barman]\nbarman_home = None\n"}, "barman.conf", "barman_home is not set"},
		{"empty", map[string]string{"barman.conf": ""}, "barman.conf", "barman_home is not set"},
		{"a line without =", map[string]string{"barman.conf": plainConfig + "broken line\n"}, "barman.conf", "broken line"},
		{"a line without = in an included file", map[string]string{"conf.d/40.conf": "[s1]\nbroken line\n"}, "conf.d/40.conf", "broken line"},
		{"a section that is not closed", map[string]string{"conf.d/40.conf": "[s1\n"}, "conf.d/40.conf", "s1"},
		{"a broken .barman.auto.conf", map[string]string{"home/.barman.auto.conf": "[s1\n"}, "home/.barman.auto.conf", "s1"},
		{"an included folder", map[string]string{"conf.d/x.conf/y": ""}, "conf.d/x.conf", "directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBox(t, tc.files)
			_, err := b.client.Servers()
			e, ok := errors.AsType[*ConfigError](err)
			if !ok || e.Path != filepath.Join(b.dir, tc.at) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Servers = %v, want a ConfigError of %s with %q", err, tc.at, tc.says)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		c := &Client{Config: filepath.Join(t.TempDir(), "none")}
		if _, err := c.Servers(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Servers without barman.conf = %v, want %v", err, fs.ErrNotExist)
		}
	})
	t.Run("an included file that may not be read is passed over", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root can read everything")
		}
		b := newBox(t, map[string]string{"conf.d/1.conf": "[s1]\n", "conf.d/2.conf": "[s2]\n"})
		if err := os.Chmod(filepath.Join(b.dir, "conf.d/2.conf"), 0); err != nil {
			t.Fatal(err)
		}
		if list, err := b.client.Servers(); err != nil || len(list) != 1 || list[0].Name != "s1" {
			t.Errorf("Servers = %v, %v, want s1 alone", list, err)
		}
	})
}

func TestTheConfigurationIsReadAnew(t *testing.T) {
	b := newBox(t, map[string]string{"conf.d/1.conf": "[s1]\n"})
	b.load(t)
	b.write(t, "conf.d/2.conf", "[s2]\n")
	if got := slices.Sorted(maps.Keys(b.load(t).servers)); !slices.Equal(got, []string{"s1", "s2"}) {
		t.Errorf("the servers are %v after a new file, want s1 and s2", got)
	}
}

func TestConfigPath(t *testing.T) {
	for _, name := range []string{"PG_BACKUP_API_BARMAN_CONF", "BARMAN_CONFIG_FILE"} {
		t.Setenv(name, "")
	}
	for _, tc := range []struct{ name, set, pgBackupAPI, barman, want string }{
		{"what is configured comes first", "/a", "/b", "/c", "/a"},
		{"then what hosts of pg-backup-api set", "", "/b", "/c", "/b"},
		{"then Barman's own variable", "", "", "/c", "/c"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("PG_BACKUP_API_BARMAN_CONF", tc.pgBackupAPI)
			t.Setenv("BARMAN_CONFIG_FILE", tc.barman)
			if got, err := (&Client{Config: tc.set}).configPath(); err != nil || got != tc.want {
				t.Errorf("configPath = %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

// Brackets, stars and question marks in a path stand for themselves.
func TestPathsAreNoPatterns(t *testing.T) {
	b := newBox(t, map[string]string{
		"barman.conf":      "[barman]\nbarman_home = DIR/ho[m]e\nconfiguration_files_directory = DIR/conf[1].d\n",
		"conf[1].d/1.conf": "[s1]\n", "ho[m]e/s1/base/20260101T000000/backup.info": backupInfo("DONE"), "ho[m]e/s1/meta/20260102T000000-backup.info": backupInfo("DONE"),
	})
	if list, err := b.client.Backups("s1"); err != nil || len(list) != 2 {
		t.Errorf("Backups = %v, %v, want two", list, err)
	}
}

// Whatever stands in the files, reading them gives an error of ours or sections that hold
// together, and never a panic.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{"[s1]\ndescription = x\n", "[DEFAULT]\na=b\n[s1]\n", "[s1]\nx = one\n  two\n", "[s1]\nx = `y", "[s1]\nx = \"\"\"y", "= x", "[]", "[s1]\n-=1\n-=2\n", "\xff\xfe", "[s]\nmodel=on"} {
		f.Add(s)
	}
	b := newBox(f, nil)
	f.Fuzz(func(t *testing.T, text string) {
		_ = os.Remove(b.client.Config) // to truncate it makes ext4 write it out
		if err := os.WriteFile(b.client.Config, []byte("[barman]\nbarman_home = "+b.home+"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := b.client.load()
		if err != nil {
			if _, ok := errors.AsType[*ConfigError](err); !ok {
				t.Errorf("load = %v, want a ConfigError", err)
			}
			return
		}
		for name, s := range cfg.servers {
			if name == "barman" || cfg.models[name] != nil || truth(s["model"], false) {
				t.Errorf("%q is a server, want a server to be no model and not [barman]", name)
			}
			for option := range s {
				if option != strings.ToLower(option) {
					t.Errorf("the option %q of %q has upper case, want all in lower case", option, name)
				}
			}
		}
	})
}

func TestConfigurationNamedByTheEnvironmentReachesTheRunner(t *testing.T) {
	b := newBox(t, nil)
	t.Chdir(b.dir)
	t.Setenv("PG_BACKUP_API_BARMAN_CONF", "barman.conf")
	b.client.Config = ""
	argv, err := b.client.argv("recover")
	if want := filepath.Join(b.dir, "barman.conf"); err != nil || ConfigOf(argv) != want {
		t.Errorf("ConfigOf(%q) = %q (%v), want %s, whatever folder the runner works in", argv, ConfigOf(argv), err, want)
	}
	if got := ConfigOf([]string{"pg-backup-api", "recovery"}); got != "" {
		t.Errorf("ConfigOf another command = %q, want none", got)
	}
}
