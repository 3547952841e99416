package handler

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"barback/handler/auth"
)

// fakeOwn is a configuration of barback's own.
type fakeOwn struct {
	asked map[string]string
	err   error
}

func (f *fakeOwn) Sections() (map[string]map[string]any, error) {
	return map[string]map[string]any{"barback": {"log_level": "info"}, "notify": {"secret": "hush"}}, nil
}

func (f *fakeOwn) Change(changes map[string]string, _ time.Time) (string, error) {
	f.asked = changes
	return "later", f.err
}

// newConfigBench is a bench with a Barman that takes every configuration, and the token of an administrator.
func newConfigBench(t *testing.T) (b *bench, own *fakeOwn, as []string) {
	t.Helper()
	own = &fakeOwn{}
	b = newBench(t, func(c *Config) { c.OwnConfig = own })
	b.write("barman", "#!/bin/sh\ncase $* in *list-servers*) echo '{}' ;; *) echo '3.13.3 Barman by EnterpriseDB (www.enterprisedb.com)' ;; esac\n")
	if err := os.Chmod(filepath.Join(b.dir, "barman"), 0o700); err != nil { // #nosec G302 -- a program
		t.Fatal(err)
	}
	b.write("barman.conf", "[barman]\nbarman_home = "+b.dir+"/home\n# main\n[pg-one]\ndescription = One\nconninfo = host=a password=sesame user=b\n[s 7]\n")
	b.addUser("root", auth.User{Role: "admin"})
	return b, own, []string{"Authorization", b.token("root")}
}

// wantWords fails unless the answer has this status and these words, whatever its type.
func (r *reply) wantWords(status int, words string) {
	r.t.Helper()
	if r.Code != status || !strings.Contains(r.Body.String(), words) || r.Header().Get("Content-Type") != "application/json" {
		r.t.Errorf("%s: %d %s %s, want %d, JSON with %s", r.name, r.Code, r.Header().Get("Content-Type"), r.Body, status, words)
	}
}

func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

func (b *bench) barmanConf() string {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, "barman.conf"))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data)
}

func TestBarmansConfigurationIsShownAndChanged(t *testing.T) {
	b, _, as := newConfigBench(t)
	res := b.ask("GET", "/config/barman", "", as...)
	res.want(200, `"pg-one":{"conninfo":"host=a password=*REDACTED* user=b","description":"One"}`)
	if strings.Contains(res.Body.String(), "sesame") {
		t.Errorf("the answer %s holds a password", res.Body)
	}
	want := b.barmanConf()
	for _, step := range []struct{ method, target, body, media, old, new string }{
		{"GET", "/config/barman/change?" + form("pg-one.description", "by GET"), "", "", "= One\n", "= by GET\n"},
		{"POST", "/config/barman/change", form("pg-one.description", "by form"), "application/x-www-form-urlencoded", "= by GET\n", "= by form\n"},
		{"POST", "/config/barman/change", `{"pg-one.description":"by JSON","s 7.parallel_jobs":4}`, "application/json", "= by form\n", "= by JSON\n"},
	} {
		b.ask(step.method, step.target, step.body, append(as, "Content-Type", step.media)...).want(200, `"status_code":200`)
		want = strings.Replace(want, step.old, step.new, 1)
		if strings.HasPrefix(step.body, "{") {
			want += "parallel_jobs = 4\n"
		}
		if got := b.barmanConf(); got != want {
			t.Fatalf("after %s %s %s the file is %q, want %q", step.method, step.target, step.body, got, want)
		}
	}
	if e := b.entries(); len(e) != 3 || e[2].Permission != "config/barman/change" || e[2].Target != "pg-one.description" || e[0].Target != "pg-one.description s 7.parallel_jobs" {
		t.Errorf("the audit log has %+v, want three changes with what they are of", e)
	}
}

// Values that would be more than a value anywhere else are refused, or are values.
func TestInjectionIntoBarmansConfiguration(t *testing.T) {
	b, _, as := newConfigBench(t)
	want := b.barmanConf()
	for _, bad := range [][2]string{
		{"pg-one.description", "x\npre_backup_script = /bin/sh"}, {"pg-one.description", "x\r[pg-two]"}, {"pg-one.description", "x\x00y"}, {"pg-one.description", "\xff"},
		{"pg-one.pre_backup_script", "/bin/sh"}, {"pg-one.ssh_command", "sh"}, {"barman.configuration_files_directory", "/tmp"}, {"barman.barman_user", "root"},
		{"pg-one]\n[x.description", "y"}, {"nope.description", "x"}, {"DEFAULT.description", "x"}, {"description", "x"}, {".description", "x"}, {"pg-one.", "x"},
		{"pg-one.description = x\nssh_command", "y"}, {"pg-one.description", "password=*REDACTED*"},
	} {
		res := b.ask("POST", "/config/barman/change", form("s 7.description", "good", bad[0], bad[1]), append(as, "Content-Type", "application/x-www-form-urlencoded")...)
		if res.Code != 400 && res.Code != 403 && res.Code != 422 {
			t.Errorf("%q = %q is answered %d %s, want a refusal", bad[0], bad[1], res.Code, res.Body)
		}
		if got := b.barmanConf(); got != want {
			t.Fatalf("%q = %q was refused and has changed the file to %q", bad[0], bad[1], got)
		}
	}
	for _, odd := range []string{"%(conninfo)s", "$(id)", "; DROP", "# x", "[pg-two]", "  blanks  ", "größe", "%", `"`, "'a'", strings.Repeat("x", 3000)} {
		res := b.ask("POST", "/config/barman/change", form("pg-one.description", odd), append(as, "Content-Type", "application/x-www-form-urlencoded")...)
		res.want(200, "")
		if got := res.json()["list"].(map[string]any)["pg-one"].(map[string]any)["description"]; got != odd {
			t.Errorf("%q was set, and is shown as %q", odd, got)
		}
	}
}

func TestOurOwnConfigurationIsShownAndChanged(t *testing.T) {
	b, own, as := newConfigBench(t)
	b.ask("GET", "/config/barmanapi", "", as...).want(200, `"list":{"barback":{"log_level":"info"},"notify":{"secret":"*REDACTED*"}}`)
	b.ask("POST", "/config/barmanapi/change", form("barback.log_level", "debug", "token", "x"), append(as, "Content-Type", "application/x-www-form-urlencoded")...).want(200, `"message":"later"`)
	if len(own.asked) != 1 || own.asked["barback.log_level"] != "debug" {
		t.Errorf("asked for was %v, want the level alone", own.asked)
	}
	b.ask("GET", "/config/barmanapi/change", "", as...).wantWords(401, "Please send a required parameter.")
	b.ask("GET", "/config/barmanapi/change?"+form("runner.socket", "a", "runner.socket", "b"), "", as...).wantWords(403, "Some parameters are invalid")
	b.ask("GET", "/config/barman?x=1", "", as...).wantWords(403, "Some parameters are invalid")
	own.err = errors.New("broken")
	b.ask("GET", "/config/barmanapi/change?a.b=c", "", as...).wantWords(500, `"status_code":500`)
}

// The configuration is for administrators: nobody else sees or changes it, whatever anonymous may.
func TestTheConfigurationIsForAdministrators(t *testing.T) {
	b, own, _ := newConfigBench(t)
	before := b.barmanConf()
	b.addUser("op", auth.User{Role: "operator"})
	b.addUser("reader", auth.User{Lists: auth.Lists{Access: []string{"GET config"}}})
	b.addUser("own", auth.User{Lists: auth.Lists{Access: []string{"config/barmanapi"}}})
	for _, tc := range []struct {
		as, path string
		want     int
	}{
		{"", "/config/barman", 401}, {"", "/config/barman/change?pg-one.description=x", 401}, {"", "/config/barmanapi", 401}, {"", "/config/barmanapi/change?a.b=c", 401},
		{"op", "/config/barman", 403}, {"op", "/config/barman/help", 403}, {"op", "/config/barman/change?pg-one.description=x", 403}, {"op", "/config/barmanapi/change?a.b=c", 403},
		{"reader", "/config/barman", 200}, {"reader", "/config/barmanapi", 200}, {"reader", "/config/barman/change?pg-one.description=x", 403}, {"reader", "/config/barmanapi/change?a.b=c", 403},
		{"own", "/config/barman", 403}, {"own", "/config/barmanapi", 200}, {"own", "/config/barman/change?pg-one.description=x", 403},
	} {
		var as []string
		if tc.as != "" {
			as = []string{"Authorization", b.token(tc.as)}
		}
		b.ask("GET", tc.path, "", as...).wantWords(tc.want, `"status_code":`+strconv.Itoa(tc.want))
	}
	if b.barmanConf() != before || own.asked != nil {
		t.Error("somebody who may not has changed a configuration")
	}
}
