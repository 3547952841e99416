package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// forest lays out a folder of Apache's as a distribution does, with shipped recipes.
func forest(t *testing.T, rhel bool, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "barback-apache")
	own := func(path string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if rhel {
		own(dir + "/conf.modules.d/x")
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		own(path)
		text = strings.ReplaceAll(strings.ReplaceAll(text, "DIR", dir), "TREE", root(t))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shippedRecipe is one of ours, changed; its errors are those of the tree.
func shippedRecipe(t *testing.T, kind string, change ...string) string {
	t.Helper()
	data, err := os.ReadFile(root(t) + "/apache/barback-" + kind + ".conf")
	if err != nil {
		t.Fatal(err)
	}
	if len(change) > 0 && !strings.Contains(string(data), change[0]) {
		t.Fatalf("%s has no %q to change", kind, change[0])
	}
	return strings.NewReplacer(change...).Replace(string(data))
}

func modules(names ...string) string {
	text := ""
	for _, n := range names {
		text += "LoadModule " + n + "_module /usr/lib/apache2/modules/mod_" + n + ".so\n"
	}
	return text
}

func TestDoctorReadsApache(t *testing.T) {
	all := modules("proxy", "proxy_fcgi", "proxy_http", "fcgid", "suexec", "headers", "unique_id", "cgid")
	errors := "Define BARBACK_ERRORS TREE/apache/errors\n"
	for _, tc := range []struct {
		name, status, says, remedy string
		rhel                       bool
		files                      map[string]string
	}{
		{"no recipe", skipped, "none of its virtual hosts hands requests to barback", "", false, map[string]string{"sites-enabled/000-default.conf": "<VirtualHost *:80>\n</VirtualHost>\n", "sites-available/barback-fcgid.conf": shippedRecipe(t, "fcgid")}},
		{"no recipe on RHEL", skipped, "sed -i '/barback-proxy-fcgi/s/^#//' DIR/conf.d/barback.conf", "", true, map[string]string{"conf.d/barback.conf": "#Include TREE/apache/barback-fcgid.conf\n"}},
		{"a recipe", fine, "the recipe proxy-fcgi, in DIR/sites-enabled/b.conf, is enabled and complete", "", false, map[string]string{"mods-enabled/x.load": all, "conf-enabled/barback.conf": errors, "sites-enabled/b.conf": shippedRecipe(t, "proxy-fcgi")}},
		{"a recipe on RHEL", fine, "the recipe proxy-fcgi, in DIR/conf.d/barback.conf, is enabled and complete", "", true, map[string]string{"conf.modules.d/00-x.conf": all, "conf.d/barback.conf": errors + "Include TREE/apache/barback-proxy-fcgi.conf\n"}},
		{"modules that a recipe loads itself, on RHEL", fine, "the recipe proxy-http, in DIR/conf.d/barback.conf, is enabled and complete", "", true,
			map[string]string{"modules/mod_proxy.so": "", "modules/mod_proxy_http.so": "", "modules/mod_headers.so": "", "modules/mod_unique_id.so": "", "conf.d/barback.conf": errors + "Define BARBACK_MODULES modules\nInclude TREE/apache/barback-proxy-http.conf\n"}},
		{"no password is passed on", failed, `"CGIPassAuth On" is missing`, "cp /usr/share/barback/apache/barback-proxy-fcgi.conf DIR/sites-available/ && apachectl configtest && systemctl reload apache2", false,
			map[string]string{"mods-enabled/x.load": all, "conf-enabled/barback.conf": errors, "sites-enabled/b.conf": shippedRecipe(t, "proxy-fcgi", "CGIPassAuth On", "# CGIPassAuth On")}},
		{"a limit of mod_fcgid's own", failed, `"FcgidMaxRequestLen" is 131072`, "cp /usr/share/barback/apache/barback-fcgid.conf", false,
			map[string]string{"mods-enabled/x.load": all, "conf-enabled/barback.conf": errors, "sites-enabled/b.conf": shippedRecipe(t, "fcgid", "FcgidMaxRequestLen", "#FcgidMaxRequestLen")}},
		{"a limit that is too low", failed, `"FcgidMaxRequestLen" is 100000`, "", true,
			map[string]string{"conf.modules.d/x.conf": all, "conf.d/barback.conf": errors + shippedRecipe(t, "fcgid", "FcgidMaxRequestLen 68157440", "FcgidMaxRequestLen 100000")}},
		{"no error pages", failed, "the error pages of barback are not in /nonexistent", "", false, map[string]string{"mods-enabled/x.load": all, "conf-enabled/barback.conf": "Define BARBACK_ERRORS /nonexistent\n", "sites-enabled/b.conf": shippedRecipe(t, "proxy-http")}},
		{"modules that are not enabled", failed, "modules that are not loaded: proxy_http, unique_id", "a2enmod proxy_http unique_id && systemctl restart apache2", false,
			map[string]string{"mods-enabled/x.load": modules("proxy", "headers"), "mods-available/y.load": all, "conf-enabled/barback.conf": errors + "Define BARBACK_MODULES /nonexistent\n", "sites-enabled/b.conf": shippedRecipe(t, "proxy-http")}},
		{"no mod_fcgid on RHEL", failed, "modules that are not loaded: fcgid", "dnf install mod_fcgid && systemctl restart httpd", true,
			map[string]string{"conf.modules.d/x.conf": modules("suexec", "headers", "unique_id"), "conf.d/barback.conf": errors + "Define BARBACK_MODULES /nonexistent\n" + "Include TREE/apache/barback-fcgid.conf\n"}},
		{"two recipes", failed, "two recipes are enabled, proxy-fcgi and proxy-http", "a2dissite barback-proxy-http && ", false,
			map[string]string{"mods-enabled/x.load": all, "conf-enabled/barback.conf": errors, "sites-enabled/a.conf": shippedRecipe(t, "proxy-fcgi"), "sites-enabled/b.conf": shippedRecipe(t, "proxy-http")}},
		{"other hosts without TLS", warning, "it listens on *:80 without TLS", "a2enmod ssl && ${EDITOR:-vi} DIR/conf-available/barback.conf", false,
			map[string]string{"mods-enabled/x.load": all, "conf-enabled/barback.conf": errors + "Define BARBACK_ADDRESS *:80\n", "sites-enabled/b.conf": shippedRecipe(t, "proxy-http")}},
		{"a wrapper that is missing", failed, "the wrapper DIR/www/barback.fcgi is missing", "install -d -o barman -g barman -m 0755 DIR/www && install -o barman -g barman -m 0755 /usr/share/barback/apache/barback.fcgi DIR/www/barback.fcgi", false,
			map[string]string{"mods-enabled/x.load": all, "conf-enabled/barback.conf": errors + "Define BARBACK_ROOT DIR/www\n", "sites-enabled/b.conf": shippedRecipe(t, "fcgid")}},
		{"TPA's virtual host", warning, `there is no "ErrorDocument"`, "${EDITOR:-vi} DIR/sites-enabled/tpa.conf && ", false,
			map[string]string{"mods-enabled/x.load": all, "sites-enabled/tpa.conf": "<VirtualHost *:443>\n\tProxyPass / http://localhost:7480/\n</VirtualHost>\n"}},
		{"somebody's own, without the password", failed, `"CGIPassAuth On" is missing`, "${EDITOR:-vi} DIR/sites-enabled/own.conf && ", false,
			map[string]string{"mods-enabled/x.load": all, "sites-enabled/own.conf": "SetHandler \"proxy:unix:/run/barback/fcgi.sock|fcgi://localhost/\"\nErrorDocument 503 /x\n"}},
		{"somebody's own", fine, "a virtual host of your own, in DIR/sites-enabled/own.conf, is enabled and complete", "", false,
			map[string]string{"mods-enabled/x.load": all, "sites-enabled/own.conf": "SetHandler \\\n  \"proxy:unix:/run/barback/fcgi.sock|fcgi://localhost/\"\nErrorDocument 503 /x\nCGIPassAuth on\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := forest(t, tc.rhel, tc.files)
			x := newExam(defaults())
			x.apache = readApache(dir)
			var said []string
			for _, f := range x.lookApache() {
				said = append(said, f.Status+" "+f.Detail+"  # "+f.Remedy)
				if f.Status == tc.status && strings.Contains(f.Detail, strings.ReplaceAll(tc.says, "DIR", dir)) && strings.Contains(f.Remedy, strings.ReplaceAll(tc.remedy, "DIR", dir)) {
					return
				}
			}
			t.Errorf("want %s %q, mended by %q; it says\n%s", tc.status, tc.says, tc.remedy, strings.Join(said, "\n"))
		})
	}
}

// TestDoctorAnonymous: all that anonymous may is told, and what it may not is not.
func TestDoctorAnonymous(t *testing.T) {
	for _, tc := range []struct{ name, users, status, says, not string }{
		{"nobody", "", fine, "may do nothing but GET /status", ""},
		{"a viewer", "[users.anonymous]\nrole = \"viewer\"\n", warning, "read the servers and their backups", "take backups"},
		{"everything", "[users.anonymous]\naccess = [\"*\"]\n", warning, "change Barman's configuration; delete backups", ""},
		{"backups alone", "[users.anonymous]\naccess = [\"servers/*/operations/backup\"]\n", warning, "login: take backups", "delete backups"},
		{"all but restores", "[users.anonymous]\naccess = [\"*\"]\ndeny = [\"servers/*/operations/recovery\"]\n", warning, "delete backups", "restores"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := defaults()
			cfg.StateDir = t.TempDir()
			if err := os.WriteFile(cfg.StateDir+"/users.toml", []byte(tc.users), 0o600); err != nil {
				t.Fatal(err)
			}
			f := newExam(cfg).lookAnonymous()[0]
			if f.Status != tc.status || !strings.Contains(f.Detail, tc.says) || tc.not != "" && strings.Contains(f.Detail, tc.not) {
				t.Errorf("doctor says %s %q, want %s %q and not %q", f.Status, f.Detail, tc.status, tc.says, tc.not)
			}
		})
	}
}

// TestQuote: what a remedy names is one word to the shell.
func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"/var/lib/barback": "/var/lib/barback", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "a\nb": "'a\nb'", "é": "'é'"} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}
