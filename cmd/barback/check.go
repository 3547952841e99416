package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"barback/handler"
	"barback/runner/operation"
)

// checks looks at what barback needs: the same findings for "config check" and for
// GET /status?deep=1.
func checks(c config) []handler.Check {
	return slices.Concat([]handler.Check{
		check("state directory", func() (string, error) {
			_, err := operation.Open(c.StateDir)
			return c.StateDir + " is writable", err
		}),
	}, barmanChecks(c), []handler.Check{
		check("identities", func() (string, error) {
			keeper := c.auth()
			users, err := keeper.Users.All()
			if err == nil && len(users) == 0 {
				return "nobody may do anything but GET /status yet: barback user add NAME --role admin", nil
			}
			if st, err := os.Stat(keeper.Users.Path); err == nil && st.Mode().Perm()&0o077 != 0 {
				return "", fmt.Errorf("%s holds what passwords are made into, and others can read it: chmod 600", keeper.Users.Path)
			}
			n, err2 := keeper.CanLogIn()
			say := fmt.Sprintf("%d in %s, of which %d can log in to barback itself", len(users), keeper.Users.Path, n)
			if n == 0 {
				say += ": barback user add NAME --role admin"
			}
			return say, errors.Join(err, err2)
		}),
		check("audit log", func() (string, error) {
			if c.Audit.File == "" {
				return "switched off by audit.file", nil
			}
			return c.Audit.File, c.audit().Writable()
		}),
		check("trusted proxy", func() (string, error) {
			p, err := c.proxy()
			if p.Header == "" {
				return "none", err
			}
			return fmt.Sprintf("processes of %s (uid %d) name users in %s", c.ProxyUser, p.UID, p.Header), err
		}),
		check("runner socket", func() (string, error) {
			_, err := os.Stat(c.Runner.Socket)
			if errors.Is(err, fs.ErrNotExist) {
				return "not there: runners are started as detached processes, which an Apache restart ends", nil
			}
			return c.Runner.Socket, err
		}),
	})
}

// barmanChecks looks at each Barman host.
func barmanChecks(c config) []handler.Check {
	var list []handler.Check
	for _, client := range c.barman().Clients {
		at := ""
		if client.Host.Name != "" {
			at = " on " + client.Host.Name
		}
		list = append(list, check("barman"+at, func() (string, error) {
			v, err := client.Version()
			if err == nil && client.Host.Remote() {
				v += ", over " + strings.Join(client.Host.SSH, " ")
			}
			return "version " + v, err
		}), check("barman's configuration"+at, func() (string, error) {
			servers, err := client.Servers()
			return fmt.Sprintf("%d servers", len(servers)), err
		}))
	}
	return list
}

func check(name string, look func() (string, error)) handler.Check {
	detail, err := look()
	if err != nil {
		return handler.Check{Name: name, Detail: err.Error()}
	}
	return handler.Check{Name: name, OK: true, Detail: detail}
}

// configCheck is "barback config check": exit code 0 if barback can work.
func configCheck(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	cfg, err := loadConfig(*c.configPath)
	if err != nil {
		return err
	}
	if err := c.asOwner(cfg); err != nil {
		return err
	}
	if cfg.path == "" {
		_, _ = fmt.Fprintf(c.stdout, "ok      configuration: %s is not there, the defaults are in force\n", defaultConfig)
	} else {
		_, _ = fmt.Fprintf(c.stdout, "ok      configuration: %s\n", cfg.path)
	}
	bad := 0
	for _, f := range checks(cfg) {
		word := "ok"
		if !f.OK {
			word = "FAILED"
			bad++
		}
		_, _ = fmt.Fprintf(c.stdout, "%-7s %s: %s\n", word, f.Name, f.Detail)
	}
	if bad > 0 {
		return errors.New("barback cannot work like this")
	}
	return nil
}

// configShow is "barback config show".
func configShow(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	cfg, err := loadConfig(*c.configPath)
	if err != nil {
		return err
	}
	return writeConfig(c.stdout, cfg)
}

func writeConfig(w io.Writer, c config) error {
	enc := toml.NewEncoder(w)
	enc.Indent = ""
	return enc.Encode(c)
}
