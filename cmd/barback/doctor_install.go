package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"barback/runner/barman"
	"barback/runner/operation"
)

func (x *exam) brokenConfiguration(err error) []finding {
	if errors.Is(err, fs.ErrNotExist) {
		return x.bad("configuration", "install -D -m 0644 /dev/null "+quote(x.cfg.path), "%v; an empty one means the defaults", err)
	}
	if errors.Is(err, fs.ErrPermission) {
		return x.bad("configuration", x.openUp(x.cfg.path), "%v", err)
	}
	return x.bad("configuration", edit(x.cfg.path), "%v", err)
}

// lookConfiguration reads the configuration again, now as the owner of the state directory.
func (x *exam) lookConfiguration() []finding {
	path := x.cfg.path
	if path == "" {
		return x.ok("configuration", "%s is not there, the defaults are in force", defaultConfig)
	}
	f, err := os.Open(path) // #nosec G304 -- our own configuration
	if err != nil {
		return x.bad("configuration", x.openUp(path), "user %s, who barback runs as, cannot read it: %v", caller(), err)
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return x.bad("configuration", "", "%v", err)
	}
	if st.Mode()&0o002 != 0 {
		return x.bad("configuration", "chmod o-w "+quote(path), "everybody on this host can write to %s, which says what barback runs", path)
	}
	return x.ok("configuration", "%s", path)
}

// openUp lets this user reach a file: the first folder above it that is closed, or itself.
func (x *exam) openUp(path string) string {
	if target, err := os.Readlink(path); err == nil {
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	for _, dir := range above(path) {
		if unix.Access(dir, unix.X_OK) != nil {
			return "chmod o+x " + quote(dir)
		}
	}
	return "chmod o+r " + quote(path)
}

// above lists the folders over path, from the top.
func above(path string) []string {
	var list []string
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		list = append(list, dir)
		if dir == "/" || dir == "." {
			slices.Reverse(list)
			return list
		}
	}
}

// eachBarman looks at all Barman hosts at once: one that does not answer takes no other's time. Where there are several, each
// finding says of which it is.
func (x *exam) eachBarman(look func(*barman.Client) []finding) []finding {
	found := make([][]finding, len(x.clients))
	var all sync.WaitGroup
	for i, client := range x.clients {
		all.Go(func() {
			found[i] = look(client)
			for n := range found[i] {
				if f := &found[i][n]; client.Host.Name != "" {
					f.Detail = "on " + client.Host.Name + ": " + f.Detail
				}
			}
		})
	}
	all.Wait()
	return slices.Concat(found...)
}

// there is a command for the shell of the host of a Barman.
func there(client *barman.Client, user, command string) string {
	if !client.Host.Remote() {
		return command
	}
	words := []string{"runuser", "-u", user, "--"}
	for _, w := range append(slices.Clone(client.Host.SSH), command) {
		words = append(words, quote(w))
	}
	return strings.Join(words, " ")
}

func (x *exam) lookBarman() []finding {
	const check = "barman"
	return x.eachBarman(func(client *barman.Client) []finding {
		version, err := client.Version()
		missing := (*barman.MissingError)(nil)
		owner := x.ownerName()
		_, unreached := barman.Unreached(err)
		switch {
		case unreached:
			return x.bad(check, there(client, quote(owner), "true"), "%v", err)
		case errors.As(err, &missing) && client.Command != "barman":
			return x.bad(check, edit(x.cfg.path), "%v", err)
		case errors.As(err, &missing) && client.Host.Remote():
			return x.bad(check, there(client, quote(owner), "command -v barman"), "%v", err)
		case errors.As(err, &missing):
			return x.bad(check, x.debian("apt-get install barman", "dnf install barman"), "%v", err)
		case err != nil && client.Host.Remote():
			return x.bad(check, there(client, quote(owner), quote(client.Command)+" --version"), "%v", err)
		case err != nil:
			return x.bad(check, "runuser -u "+quote(owner)+" -- "+quote(client.Command)+" --version", "%v", err)
		case client.Host.Remote():
			return x.ok(check, "version %s, over %s", version, strings.Join(client.Host.SSH, " "))
		}
		path, _ := client.Find()
		return x.ok(check, "version %s, %s", version, path)
	})
}

func (x *exam) lookServers() []finding {
	const check = "barman's configuration"
	return x.eachBarman(func(client *barman.Client) []finding {
		servers, err := client.Servers()
		broken := (*barman.ConfigError)(nil)
		names := make([]string, len(servers))
		for i, s := range servers {
			names[i] = s.Name
		}
		owner := quote(x.ownerName())
		switch {
		case errors.As(err, &broken) && errors.Is(err, fs.ErrPermission) && !client.Host.Remote():
			return x.denied(check, x.openUp(broken.Path), err)
		case errors.As(err, &broken):
			return x.bad(check, there(client, owner, edit(broken.Path)), "%v", err)
		case err != nil && client.Host.Remote():
			return x.bad(check, there(client, owner, quote(client.Command)+" list-servers"), "%v", err)
		case err != nil:
			return x.bad(check, "", "%v", err)
		case len(names) == 0:
			return x.warn(check, there(client, owner, edit("/etc/barman.d/pg.conf")), "it has no server, so there is nothing to back up")
		}
		return x.ok(check, "%d servers: %s", len(names), strings.Join(names, ", "))
	})
}

// ownerName is the user whom the state directory belongs to, as whom barback runs; barman where there is none yet.
func (x *exam) ownerName() string {
	st, err := os.Stat(x.cfg.StateDir)
	if err != nil {
		return "barman"
	}
	return userName(st)
}

func userName(st fs.FileInfo) string {
	uid := fmt.Sprint(st.Sys().(*syscall.Stat_t).Uid)
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return uid
}

func groupName(st fs.FileInfo) string {
	gid := fmt.Sprint(st.Sys().(*syscall.Stat_t).Gid)
	if g, err := user.LookupGroupId(gid); err == nil {
		return g.Name
	}
	return gid
}

// owners is what chown takes to give something to the user of Barman.
func owners(name string) string {
	if u, err := user.Lookup(name); err == nil {
		if g, err := user.LookupGroupId(u.Gid); err == nil {
			return name + ":" + g.Name
		}
	}
	return name
}

// lookUser compares who barback runs as with whose Barman's backups are.
func (x *exam) lookUser() []finding {
	name, dir := x.ownerName(), x.cfg.StateDir
	_, err := os.Stat(dir)
	if _, missing := user.Lookup(name); missing != nil && err != nil {
		return x.bad("user", x.debian("apt-get install barman", "dnf install barman"), "there is no user barman, who comes with Barman's package")
	}
	var list []finding
	for _, client := range x.clients {
		home, err := client.Home()
		if err != nil || client.Host.Remote() {
			continue // said elsewhere, or another machine's
		}
		st, err := os.Stat(home)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			list = append(list, x.bad("user", "install -d -o barman -g barman -m 0750 "+quote(home), "barman_home %s does not exist", home)...)
		case err == nil && userName(st) != name:
			list = append(list, x.bad("user", "chown -R "+owners(userName(st))+" "+quote(dir), "barback runs as %s, to whom %s belongs, but Barman's home %s is %s's", name, dir, home, userName(st))...)
		}
	}
	if len(list) == 0 && name == "root" && err == nil {
		list = x.warn("user", "chown -R barman:barman "+quote(dir), "%s belongs to root: each Barman runs as root", dir)
	}
	if u, ok := x.units["barback.socket"]; ok && u.load == "loaded" && u.active != "active" {
		if _, err := user.LookupGroup("barback"); err != nil {
			list = append(list, x.bad("user", "systemd-sysusers", "there is no group barback, whose members may connect to %s", x.httpSocket())...)
		}
	}
	if list = append(list, x.lookGroup()...); len(list) > 0 {
		return list
	}
	return x.ok("user", "barback runs as %s", name)
}

// lookGroup asks whether Apache's user may connect where its recipe wants it to.
func (x *exam) lookGroup() []finding {
	group := "barback"
	if st, err := os.Stat(x.httpSocket()); err == nil {
		if group = groupName(st); st.Mode()&0o006 == 0o006 {
			return nil // said of the socket
		}
	}
	if x.apache.has("proxy-http") && !inGroup(x.apache.user(), group) {
		return x.bad("user", fmt.Sprintf("usermod -aG %s %s && systemctl restart %s", group, x.apache.user(), x.apache.service()),
			"%s, as whom Apache runs, is not in group %s and cannot connect to %s", x.apache.user(), group, x.httpSocket())
	}
	return nil
}

func inGroup(name, group string) bool {
	u, err1 := user.Lookup(name)
	g, err2 := user.LookupGroup(group)
	if err1 != nil || err2 != nil {
		return false
	}
	ids, err := u.GroupIds()
	return err == nil && slices.Contains(ids, g.Gid)
}

// lookState asks whether the state directory is there, closed to others, and in all of its parts its owner's to write.
func (x *exam) lookState() []finding {
	dir := x.cfg.StateDir
	const check = "state directory"
	st, err := os.Stat(dir)
	var vfs unix.Statfs_t
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return x.bad(check, "install -d -o barman -g barman -m 0750 "+quote(dir), "%v", operation.At(dir).Check())
	case err != nil:
		return x.denied(check, x.openUp(dir), err)
	case unix.Statfs(dir, &vfs) == nil && vfs.Flags&unix.ST_RDONLY != 0:
		return x.bad(check, "mount -o remount,rw "+quote(mountPoint(dir)), "%s lies on a file system that is mounted read-only", dir)
	}
	name := userName(st)
	if err := operation.At(dir).Check(); err != nil {
		remedy := "chmod u+rwx " + quote(dir)
		if !errors.Is(err, fs.ErrPermission) { // not a directory, a network file system
			remedy = edit(x.cfg.path)
		} else if st.Mode()&0o700 == 0o700 {
			remedy = x.openUp(dir)
		}
		return x.denied(check, remedy, err)
	}
	if st.Mode()&0o007 != 0 {
		return x.warn(check, "chmod o-rwx "+quote(dir), "%s is open to everybody on this host (mode %04o)", dir, st.Mode().Perm())
	}
	wrong, err := foreign(dir, st.Sys().(*syscall.Stat_t).Uid)
	switch {
	case err != nil:
		return x.denied(check, fmt.Sprintf("chmod -R u+rwX %s", quote(dir)), err)
	case wrong != "":
		return x.bad(check, "chown -R "+owners(name)+" "+quote(dir), "%s does not belong to %s, who cannot work with it", wrong, name)
	}
	return x.ok(check, "%s is writable, %s's, on a local file system", dir, name)
}

// foreign finds a file below dir that is not uid's, or a folder that its owner cannot write to.
func foreign(dir string, uid uint32) (string, error) {
	first := ""
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // removed meanwhile
		}
		if st.Sys().(*syscall.Stat_t).Uid != uid {
			first = path
			return fs.SkipAll
		}
		if d.IsDir() && st.Mode()&0o700 != 0o700 {
			return &fs.PathError{Op: "write to", Path: path, Err: unix.EACCES}
		}
		return nil
	})
	return first, err
}

// mountPoint is the highest folder that is on the same file system.
func mountPoint(dir string) string {
	dev := func(p string) uint64 {
		st, err := os.Stat(p)
		if err != nil {
			return 0
		}
		return st.Sys().(*syscall.Stat_t).Dev
	}
	for dir != "/" && dev(filepath.Dir(dir)) == dev(dir) {
		dir = filepath.Dir(dir)
	}
	return dir
}

func (x *exam) lookAudit() []finding {
	path := x.cfg.Audit.File
	if path == "" {
		return x.ok("audit log", "switched off by audit.file")
	}
	err := x.cfg.audit().Writable()
	dir := filepath.Dir(path)
	own := owners(x.ownerName())
	switch _, dirErr := os.Stat(dir); {
	case err == nil:
		return x.ok("audit log", "%s", path)
	case errors.Is(dirErr, fs.ErrNotExist):
		return x.bad("audit log", fmt.Sprintf("install -d -o %s -m 0750 %s", strings.Replace(own, ":", " -g ", 1), quote(dir)), "%v", err)
	}
	target := path
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		target = dir
	}
	return x.denied("audit log", fmt.Sprintf("chown %s %s && chmod u+rwX %s", own, quote(target), quote(target)), err)
}

func (x *exam) lookProxy() []finding {
	p, err := x.cfg.proxy()
	switch {
	case err != nil:
		return x.bad("trusted proxy", edit(x.cfg.path), "%v; Apache's user here is %s", err, x.apache.user())
	case p.Header == "":
		return x.ok("trusted proxy", "none")
	}
	return x.ok("trusted proxy", "processes of %s (uid %s) name users in %s", x.cfg.ProxyUser, strconv.FormatUint(uint64(p.UID), 10), p.Header)
}
