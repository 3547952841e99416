package barman

import (
	"os"
	"os/user"
	"slices"
	"strings"
)

// passed names the variables that go on to a runner and to Barman. All others stay behind.
var passed = []string{"PATH", "TZ", "LANG", "LC_ALL", "BARBACK_CONFIG", "PG_BACKUP_API_BARMAN_CONF", "BARMAN_CONFIG_FILE", "INVOCATION_ID"}

// Environment is the environment of a runner and of Barman: what is passed on, and the
// user's own HOME and name, which Apache's suexec takes away.
func Environment() []string {
	env := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
	for _, name := range passed {
		if v, ok := os.LookupEnv(name); ok && v != "" {
			env[name] = v
		}
	}
	if u, err := user.Current(); err == nil {
		env["HOME"], env["USER"], env["LOGNAME"] = u.HomeDir, u.Username, u.Username
	}
	list := make([]string, 0, len(env))
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	slices.SortFunc(list, strings.Compare)
	return list
}
