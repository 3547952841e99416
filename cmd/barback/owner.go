package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"barback/handler/auth"
)

// asOwner notes who called, and goes on as the owner of the state directory if that was root: what root writes into
// somebody else's folder goes where that one's symbolic links lead, and whether root can write there says nothing.
func (c *call) asOwner(cfg config) error {
	c.who = caller()
	if os.Geteuid() != 0 {
		return nil
	}
	st, err := os.Stat(cfg.StateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // said by whoever needs it
	}
	if err != nil {
		return err
	}
	owner := st.Sys().(*syscall.Stat_t)
	if owner.Uid == 0 {
		return nil
	}
	gid, groups := int(owner.Gid), []int{}
	if u, err := user.LookupId(strconv.Itoa(int(owner.Uid))); err == nil {
		ids, _ := u.GroupIds() // without them, the primary one
		for _, id := range ids {
			if n, err := strconv.Atoi(id); err == nil {
				groups = append(groups, n)
			}
		}
		if n, err := strconv.Atoi(u.Gid); err == nil {
			gid = n
		}
	}
	if err := errors.Join(syscall.Setgroups(groups), syscall.Setgid(gid), syscall.Setuid(int(owner.Uid))); err != nil {
		return fmt.Errorf("go on as the owner of %s: %w", cfg.StateDir, err)
	}
	return nil
}

// caller is the local user who runs this command, and who became that by sudo. Not by user.Current, which would
// remember root.
func caller() string {
	name := fmt.Sprint("uid:", os.Getuid())
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
		name = u.Username
	}
	if by := os.Getenv("SUDO_USER"); by != "" && by != name && auth.ValidName(by) {
		name = by + " as " + name
	}
	return name
}

// ownState makes sure that runners and records become those of the state directory's owner.
func ownState(cfg config, verb string) error {
	st, err := os.Stat(cfg.StateDir)
	if err != nil {
		return err
	}
	owner := int(st.Sys().(*syscall.Stat_t).Uid)
	if owner == os.Geteuid() {
		return nil
	}
	name := fmt.Sprint(owner)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return fmt.Errorf("records are made as the owner of %s: sudo -u %s barback %s …", cfg.StateDir, name, verb)
}
