package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"barback/handler/auth"
	"barback/handler/barmanapi"
	"barback/runner/barman"
	"barback/runner/operation"
)

// importBarmanapi is "barback import barmanapi". It reads barmanapi's configuration, its users and the results that it
// kept; whatever it cannot take over it says, and ends with an error. barmanapi's files stay as they are.
func importBarmanapi(c *call) error {
	from := c.flags.String("from", "/etc/barmanapi.conf", "`file` that is barmanapi's configuration")
	users := c.flags.String("users", "", "`file` with its users; if not given, config_file of [user] in its configuration")
	dir := c.flags.String("store", "", "`folder` with active and archive; if not given, store_directory of [application]")
	store, cfg, err := c.store(0, 0)
	if err != nil {
		return err
	}
	if err := ownState(cfg, "import barmanapi"); err != nil {
		return err
	}
	conf, err := readINI(*from)
	if err != nil {
		return err
	}
	i := &importing{call: c, cfg: cfg}
	i.users(cmp.Or(*users, conf["user"]["config_file"]))
	i.history(store, cmp.Or(*dir, conf["application"]["store_directory"]))
	i.config(conf)
	_, _ = fmt.Fprintf(c.stdout, "%d imported, %d already there, %d left out\n", i.made, i.there, i.left)
	if i.left > 0 {
		return errors.New("not everything could be taken over: see above; the rest is")
	}
	return nil
}

func readINI(path string) (map[string]map[string]string, error) {
	data, err := os.ReadFile(path) // #nosec G304 -- the administrator names it
	if err != nil {
		return nil, err
	}
	all, err := barman.ParseINI(string(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

// importing counts what becomes of what barmanapi has.
type importing struct {
	*call
	cfg               config
	made, there, left int
}

func (i *importing) skip(format string, args ...any) {
	i.left++
	_, _ = fmt.Fprintf(i.stderr, "barback: "+format+"\n", args...)
}

func (i *importing) take(what string, created bool) {
	word := "imported"
	if created {
		i.made++
	} else {
		i.there++
		word = "already there"
	}
	_, _ = fmt.Fprintf(i.stdout, "%-13s  %s\n", word, what)
}

// users takes over who may do what. A user that is there stays as it is.
func (i *importing) users(path string) {
	all, err := readINI(path)
	if err != nil {
		i.skip("the users: %v", err)
		return
	}
	keeper, waiting := i.cfg.auth(), 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		u, err := userOf(name, all[name])
		if errors.Is(err, auth.ErrKnownPassword) {
			_, _ = fmt.Fprintf(i.stdout, "%-13s  user %s has no password any more: %v; barback user passwd %s\n", "note", name, err, name)
			err = nil
		}
		if err == nil {
			err = keeper.Users.Add(name, u)
		}
		switch {
		case err == nil, errors.Is(err, auth.ErrUserExists):
			i.take("user "+name, err == nil)
			if err == nil && u.Legacy() {
				waiting++
			}
		default:
			i.skip("user %s of %s: %v", name, path, err)
		}
	}
	if waiting > 0 && !i.cfg.Auth.MD5 {
		_, _ = fmt.Fprintf(i.stdout, "%-13s  %d passwords are MD5 hashes, with which nobody is let in: barback user passwd NAME, or md5_passwords = true in [auth], until each has logged in once\n", "note", waiting)
	}
}

// userOf is a user as barmanapi kept it.
func userOf(name string, section map[string]string) (auth.User, error) {
	if !auth.ValidName(name) || name == auth.Anonymous {
		return auth.User{}, errors.New("this can be no name of an identity")
	}
	lists, err := barmanapi.ListsOf(section["access"], section["deny"])
	if err != nil {
		return auth.User{}, err
	}
	hash, err := auth.LegacyPassword(section["password"])
	return auth.User{Password: hash, Lists: lists}, err
}

// history takes over the asynchronous commands with what came of them.
func (i *importing) history(store *operation.Store, dir string) {
	if dir == "" {
		i.skip("the results: the configuration names no store_directory; --store names it")
		return
	}
	list, wrong := readHistory(dir, time.Now())
	for _, err := range wrong {
		i.skip("%v", err)
	}
	known, err := imported(store)
	if err != nil {
		i.skip("the results: %v", err)
		return
	}
	seen := map[oldKey]bool{}
	for _, r := range list {
		key := oldKey{r.op.Server, r.name}
		if seen[key] {
			i.skip("%s: there is another one of the same second", r.where)
			continue
		}
		seen[key] = true
		created := false
		if !known[key] {
			if created, err = store.Import(r.op, r.name, r.output); err != nil {
				i.skip("%s: %v", r.where, err)
				continue
			}
		}
		i.take(strings.Join(strings.Fields(fmt.Sprintf("%s  %s %s  %s", r.name, r.op.Type, r.op.Server, r.op.State)), " "), created)
	}
}

// config takes over the settings that have a counterpart here. The secret of its tokens stays behind, and
// with it all of them: barback has made its own.
func (i *importing) config(conf map[string]map[string]string) {
	wanted := wantedConfig(conf)
	now, err := ownConfig{i.cfg}.Sections()
	if err != nil {
		i.skip("the configuration: %v", err)
		return
	}
	changes := map[string]string{}
	for name, value := range wanted {
		table, key, _ := strings.Cut(name, ".")
		_, known := optionType(table, key)
		switch is := fmt.Sprint(now[table][key]); {
		case !known:
			i.skip("the configuration: this barback has no %s, which would be %q", name, value)
		case is != value && is != fmt.Sprint(strings.Fields(strings.NewReplacer("[", "", "]", "", "'", "", `"`, "", ",", " ").Replace(value))):
			changes[name] = value
		}
	}
	if len(changes) == 0 {
		return
	}
	_, err = ownConfig{i.cfg}.set(changes, time.Now())
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if err == nil {
			i.take(fmt.Sprintf("%s = %s", name, changes[name]), true)
			continue
		}
		table, key, _ := strings.Cut(name, ".")
		literal, bad := spell(table, key, changes[name])
		if bad != nil {
			i.skip("the configuration: %s: %v", name, bad)
			continue
		}
		i.skip("the configuration: put into [%s] of %s: %s = %s", table, cmp.Or(i.cfg.path, defaultConfig), key, literal)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		_, _ = fmt.Fprintf(i.stderr, "barback: the configuration: %v\n", err)
	}
}

// wantedConfig are barmanapi's settings as they are called here.
func wantedConfig(conf map[string]map[string]string) map[string]string {
	wanted := map[string]string{}
	add := func(name, value string) {
		if value != "" {
			wanted[name] = value
		}
	}
	add("barman.command", conf["barman"]["command"])
	add("barman.config", conf["barman"]["config_file"])
	if strings.EqualFold(conf["barman"]["remote"], "true") {
		add("barman.ssh", conf["barman"]["remote_ssh"])
	}
	add("barmanapi.async_commands", conf["barman"]["async_command"])
	if life := conf["auth_token"]["token_life"]; life != "" {
		if d, err := time.ParseDuration(life + "s"); err == nil {
			add("barmanapi.token_lifetime", d.String())
		}
	}
	return wanted
}
