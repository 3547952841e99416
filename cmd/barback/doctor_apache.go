package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"barback/runner/pattern"
)

// site is what Apache's configuration has of barback. It is read as text: what Apache itself makes of it only
// "apachectl -M" knows, which is run where it can be.
type site struct {
	dir     string // empty: no Apache
	rhel    bool
	uses    []use
	modules map[string]bool
	defines map[string]string
	closed  []string // files that this user cannot read
	broken  string   // what apachectl says is wrong
}

// use is a virtual host that hands requests to barback: one of our recipes, or somebody's own.
type use struct {
	kind   string // a key of recipeModules
	path   string // the file that is enabled
	text   string // without comments, with what it includes
	recipe bool
}

// recipeModules are the modules that a recipe does not work without (apache/README.md).
var recipeModules = map[string][]string{
	"proxy-fcgi": {"proxy", "proxy_fcgi", "headers", "unique_id"},
	"proxy-http": {"proxy", "proxy_http", "headers", "unique_id"},
	"fcgid":      {"fcgid", "suexec", "headers", "unique_id"},
	"cgi":        {"suexec", "headers", "unique_id"}, // and cgi or cgid
}

var (
	directive     = pattern.New(`(?mi)^[ \t]*(Define|LoadModule|Include|IncludeOptional)[ \t]+("[^"]*"|\S+)[ \t]*("[^"]*"|\S*)`)
	apacheComment = pattern.New(`(?m)^[ \t]*#.*$`)
	apacheVar     = pattern.New(`\$\{(\w+)\}`)
	handsOver     = pattern.New(`(?mi)^[ \t]*(?:ProxyPass|ProxyPassMatch|SetHandler|ScriptAlias|FcgidWrapper|RewriteRule)\b.*?(fcgi\.sock|http\.sock|(?:localhost|127\.0\.0\.1|\[::1\]):7480|barback\.fcgi|barback\.cgi)`)
	loadedModule  = pattern.New(`(?m)^ (\w+)_module \(`)
)

// kinds tells a virtual host by what it hands requests to.
var kinds = map[string]string{"fcgi.sock": "proxy-fcgi", "http.sock": "proxy-http", "barback.fcgi": "fcgid", "barback.cgi": "cgi"}

// readApache reads what is enabled below dir, or below the folder of a distribution.
func readApache(dir string) site {
	s := site{modules: map[string]bool{}, defines: map[string]string{}}
	named := dir != ""
	for _, d := range []string{"/etc/apache2", "/etc/httpd"} {
		if _, err := os.Stat(d); err == nil && dir == "" {
			dir = d
		}
	}
	_, err := os.Stat(filepath.Join(dir, "conf.modules.d"))
	s.rhel = err == nil || dir == "" && onRHEL()
	if s.dir = dir; dir == "" {
		return s
	}
	for _, pattern := range []string{"mods-enabled/*.load", "conf.modules.d/*.conf", "conf/*.conf", "*.conf", "conf-enabled/*.conf", "conf.d/*.conf", "sites-enabled/*"} {
		paths, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, path := range paths {
			text := s.read(path, 0)
			m := handsOver().FindStringSubmatch(text)
			switch name, isRecipe := s.recipe(text); {
			case isRecipe:
				s.uses = append(s.uses, use{name, path, text, true})
			case m != nil:
				kind := kinds[m[1]]
				if kind == "" {
					kind = "proxy-http"
				}
				s.uses = append(s.uses, use{kind, path, text, false})
			}
		}
	}
	if !named && os.Geteuid() == 0 {
		s.ask()
	}
	return s
}

var defineRecipe = pattern.New(`(?mi)^[ \t]*Define[ \t]+BARBACK_RECIPE[ \t]+(\S+)`)

func (s *site) recipe(text string) (string, bool) {
	m := defineRecipe().FindStringSubmatch(text)
	if m == nil {
		return "", false
	}
	_, known := recipeModules[m[1]]
	return m[1], known
}

// read takes the text of a file, and with it of those that it includes and that have to do with barback.
func (s *site) read(path string, depth int) string {
	data, err := os.ReadFile(path) // #nosec G304 G703 -- Apache's configuration
	if errors.Is(err, fs.ErrPermission) {
		s.closed = append(s.closed, path)
	}
	text := apacheComment().ReplaceAllString(strings.ReplaceAll(string(data), "\\\n", " "), "")
	included := ""
	for _, m := range directive().FindAllStringSubmatch(text, -1) {
		value := strings.Trim(m[2], `"`)
		switch strings.ToLower(m[1]) {
		case "define":
			if _, there := s.defines[value]; !there { // as the recipes do: <IfDefine !NAME>
				s.defines[value] = strings.Trim(m[3], `"`)
			}
		case "loadmodule":
			// The recipes load what they need themselves, if it is installed.
			file := s.absolute(s.expand(strings.Trim(m[3], `"`)))
			if _, err := os.Stat(file); err == nil || !strings.Contains(m[3], "${BARBACK_MODULES}") { // #nosec G703 -- as above
				s.modules[strings.TrimSuffix(value, "_module")] = true
			}
		default:
			if value = s.expand(value); depth < 3 && strings.Contains(value, "barback") {
				paths, _ := filepath.Glob(s.absolute(value))
				for _, p := range paths {
					included += "\n" + s.read(p, depth+1)
				}
			}
		}
	}
	return text + included
}

// absolute is a path as Apache takes it: below its folder.
func (s *site) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.dir, path)
}

func (s *site) expand(text string) string {
	return apacheVar().ReplaceAllStringFunc(text, func(v string) string {
		if value, ok := s.defines[v[2:len(v)-1]]; ok {
			return value
		}
		return v
	})
}

// ask has Apache read its configuration.
func (s *site) ask() {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "apachectl", "-M")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return
	}
	if err != nil {
		s.broken = fmt.Sprintf("%s (%v)", strings.TrimSpace(string(out)), err)
		return
	}
	for _, m := range loadedModule().FindAllStringSubmatch(string(out), -1) {
		s.modules[m[1]] = true
	}
}

// has reports whether one of the virtual hosts is of a kind.
func (s *site) has(kind string) bool {
	return slices.ContainsFunc(s.uses, func(u use) bool { return u.kind == kind })
}

// user is as whom Apache's processes run, service is its unit.
func (s *site) user() string {
	if s.rhel {
		return "apache"
	}
	return "www-data"
}

func (s *site) service() string {
	if s.rhel {
		return "httpd"
	}
	return "apache2"
}

// reload is what makes Apache take what was changed, if it can.
func (s *site) reload() string { return "apachectl configtest && systemctl reload " + s.service() }

func (x *exam) lookApache() []finding {
	const check = "apache"
	s := &x.apache
	var list []finding
	if len(s.closed) > 0 {
		list = x.skip(check, "user %s may not read %s: run this as root", caller(), strings.Join(s.closed, ", "))
	}
	switch {
	case s.dir == "":
		return x.skip(check, "there is no Apache here")
	case s.broken != "" && len(s.uses) > 0:
		list = append(list, x.bad(check, "apachectl configtest", "its configuration does not work: %s", s.broken)...)
	case len(s.uses) == 0:
		return append(list, x.skip(check, "none of its virtual hosts hands requests to barback (%s)", x.enable("proxy-fcgi"))...)
	}
	var recipes []string
	for _, u := range s.uses {
		if u.recipe {
			recipes = append(recipes, u.kind)
		}
	}
	if len(recipes) > 1 {
		remedy := edit(s.uses[0].path)
		if !s.rhel {
			remedy = "a2dissite barback-" + recipes[len(recipes)-1] + " && " + s.reload()
		}
		list = append(list, x.bad(check, remedy, "two recipes are enabled, %s: Apache will not start", strings.Join(recipes, " and "))...)
	}
	for _, u := range s.uses {
		list = append(list, x.lookUse(u)...)
	}
	if len(recipes) == 1 {
		list = append(list, x.lookPort(s.defines["BARBACK_ADDRESS"])...)
	}
	return list
}

// lookPort asks the port of a recipe for GET /status. With TLS, whose names and certificates are others' business, it does not.
func (x *exam) lookPort(address string) []finding {
	const check = "apache"
	s, foreign := &x.apache, foreignError("")
	if _, tls := s.defines["BARBACK_TLS_CERTIFICATE"]; tls {
		return nil
	}
	if !loopback(address) {
		return x.warn(check, x.debian("a2enmod ssl && ", "dnf install mod_ssl && ")+edit(s.settings()),
			"it listens on %s without TLS: passwords and tokens pass in the clear (Define BARBACK_TLS_CERTIFICATE and BARBACK_TLS_KEY)", address)
	}
	switch err := x.askStatus(check, address); {
	case err == nil:
		return x.ok(check, "barback answers through it on %s", address)
	case errors.As(err, &foreign) && strings.Contains(err.Error(), " 401 "):
		return x.ok(check, "it answers on %s, and asks for a password", address)
	default:
		return x.bad(check, fmt.Sprintf("systemctl restart %s; tail /var/log/%s/barback-error.log", s.service(), s.service()), "no barback answers through it on %s: %v", address, err)
	}
}

// settings is where values for the recipes belong.
func (s *site) settings() string {
	if s.rhel {
		return s.dir + "/conf.d/barback.conf"
	}
	return s.dir + "/conf-available/barback.conf"
}

// enable is how a recipe is put in force.
func (x *exam) enable(kind string) string {
	if x.apache.rhel {
		return fmt.Sprintf("sed -i '/barback-%s/s/^#//' %s && systemctl reload httpd", kind, x.apache.settings())
	}
	return fmt.Sprintf("a2enmod %s && a2ensite barback-%s && systemctl restart apache2", strings.Join(recipeModules[kind], " "), kind)
}

// lookUse asks whether a virtual host has all that barback needs of it.
func (x *exam) lookUse(u use) []finding {
	const check = "apache"
	s := &x.apache
	var list []finding
	bad := func(remedy, format string, args ...any) {
		list = append(list, x.bad(check, remedy, "%s: %s", u.path, fmt.Sprintf(format, args...))...)
	}
	if missing := s.missing(u.kind); len(missing) > 0 {
		remedy := "a2enmod " + strings.Join(missing, " ") + " && systemctl restart apache2"
		switch fcgid := slices.Contains(missing, "fcgid"); {
		case s.rhel && fcgid:
			remedy = "dnf install mod_fcgid && systemctl restart httpd"
		case s.rhel:
			remedy = edit(s.dir + "/conf.modules.d/00-base.conf")
		case fcgid:
			remedy = "apt-get install libapache2-mod-fcgid && " + remedy
		}
		bad(remedy, "modules that are not loaded: %s", strings.Join(missing, ", "))
	}
	mend := edit(u.path) + " && " + s.reload()
	if u.recipe && !s.rhel {
		mend = fmt.Sprintf("cp /usr/share/barback/apache/barback-%s.conf %s/sites-available/ && %s", u.kind, quote(s.dir), s.reload())
	}
	if u.kind != "proxy-http" && !says(u.text, `CGIPassAuth[ \t]+On`) {
		bad(mend, "\"CGIPassAuth On\" is missing in <Location \"/\">: no password and no token reaches barback")
	}
	if u.kind == "fcgid" {
		if n := maxRequestLen(u.text); n <= int64(x.cfg.MaxBody) {
			bad(mend, "\"FcgidMaxRequestLen\" is %d: bodies up to max_body (%d bytes) need more, such as 68157440", n, int64(x.cfg.MaxBody))
		}
	}
	if errors := s.defines["BARBACK_ERRORS"]; u.recipe && !says(u.text, `ErrorDocument[ \t]+503`) {
		bad("ls "+quote(errors+"/barback-errors.conf"), "the error pages of barback are not in %s: Apache does not start without them", errors)
	} else if !says(u.text, `ErrorDocument[ \t]`) {
		list = append(list, x.warn(check, edit(u.path)+" && "+s.reload(), "%s: there is no \"ErrorDocument\": errors of Apache's own are HTML, and no JSON (Include /usr/share/barback/errors/barback-errors.conf, after Define BARBACK_ERRORS /usr/share/barback/errors)", u.path)...)
	}
	if u.recipe && (u.kind == "fcgid" || u.kind == "cgi") {
		if remedy, problem := s.wrapper(u.kind); problem != "" {
			bad(remedy, "%s", problem)
		}
	}
	if len(list) > 0 {
		return list
	}
	what := "a virtual host of your own"
	if u.recipe {
		what = "the recipe " + u.kind
	}
	return x.ok(check, "%s, in %s, is enabled and complete", what, u.path)
}

func says(text, pattern string) bool {
	return regexp.MustCompile(`(?mi)^[ \t]*` + pattern).MatchString(text)
}

func (s *site) missing(kind string) (list []string) {
	for _, m := range recipeModules[kind] {
		if !s.modules[m] {
			list = append(list, m)
		}
	}
	if kind == "cgi" && !s.modules["cgi"] && !s.modules["cgid"] {
		list = append(list, "cgi")
	}
	return list
}

var requestLen = pattern.New(`(?mi)^[ \t]*FcgidMaxRequestLen[ \t]+(\d+)`)

// maxRequestLen is what a text sets, or mod_fcgid's own.
func maxRequestLen(text string) int64 {
	if m := requestLen().FindStringSubmatch(text); m != nil {
		n, _ := strconv.ParseInt(m[1], 10, 64)
		return n
	}
	return 131072
}

// wrapper says what suexec would refuse about the program that it starts as barman.
func (s *site) wrapper(kind string) (remedy, problem string) {
	user, group := s.defines["BARBACK_USER"], s.defines["BARBACK_GROUP"]
	dir := s.defines["BARBACK_ROOT"]
	path := filepath.Join(dir, "barback."+strings.TrimSuffix(kind, "d"))
	if kind == "fcgid" {
		path = filepath.Join(dir, "barback.fcgi")
	}
	own := fmt.Sprintf("-o %s -g %s -m 0755", user, group)
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("install -d %s %s && install %s /usr/share/barback/apache/%s %s", own, quote(dir), own, filepath.Base(path), quote(path)), "the wrapper " + path + " is missing"
	case err != nil:
		return "", "" // not for this user to see
	}
	folder, err := os.Stat(dir)
	for _, f := range []fs.FileInfo{st, folder} {
		if err != nil || userName(f) != user || groupName(f) != group || f.Mode()&0o022 != 0 || !st.Mode().IsRegular() || st.Mode()&0o100 == 0 {
			return fmt.Sprintf("chown %s:%s %s %s && chmod 0755 %s %s", user, group, quote(dir), quote(path), quote(dir), quote(path)),
				fmt.Sprintf("suexec will not start %s: it and its folder have to be %s:%s's, for no others to write", path, user, group)
		}
	}
	return "", ""
}
