package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"barback/handler/auth"
	"barback/runner/barman"
	"barback/runner/operation"
	"barback/runner/pattern"
)

// defaultConfig is where the package puts the configuration.
const defaultConfig = "/etc/barback/barback.toml"

// config is barback.toml. Its zero values are filled by defaults; unknown keys are errors.
type config struct {
	path        string   // where it was read; empty: defaults alone
	StateDir    string   `toml:"state_dir"`
	BasePath    string   `toml:"base_path"`
	IdleTimeout duration `toml:"idle_timeout"`
	MaxBody     size     `toml:"max_body"`
	LogLevel    string   `toml:"log_level"`
	ProxyHeader string   `toml:"trusted_proxy_header"`
	ProxyUser   string   `toml:"trusted_proxy_user"`
	Barman      struct {
		Command       string   `toml:"command"`
		Config        string   `toml:"config"`
		SSH           string   `toml:"ssh"`
		Timeout       duration `toml:"timeout"`
		Deadline      duration `toml:"deadline"`
		MaskPasswords bool     `toml:"mask_passwords"`
		Hosts         []host   `toml:"host"`
	} `toml:"barman"`
	Runner struct {
		Socket        string   `toml:"socket"`
		MaxParallel   int      `toml:"max_parallel"`
		LaunchTimeout duration `toml:"launch_timeout"`
		StopGrace     duration `toml:"stop_grace"`
		MaxOpen       int      `toml:"max_open"`
		MaxOutput     size     `toml:"max_output"`
	} `toml:"runner"`
	Retention struct {
		ArchiveAfter  duration `toml:"archive_after"`
		MaxOperations int      `toml:"max_operations"`
		MaxSize       size     `toml:"max_size"`
		DeleteAfter   duration `toml:"delete_archives_after"`
	} `toml:"retention"`
	Restore struct {
		AllowedDestinations []string `toml:"allowed_destinations"`
		AllowRawSSHCommand  bool     `toml:"allow_raw_ssh_command"`
		TargetsOnly         bool     `toml:"targets_only"`
	} `toml:"restore"`
	Targets      map[string]target `toml:"targets"`
	ConfigUpdate struct {
		AllowedOptions []string `toml:"allowed_options"`
	} `toml:"config_update"`
	Auth struct {
		Peers auth.Peers `toml:"peers"`
		MD5   bool       `toml:"md5_passwords"`
	} `toml:"auth"`
	Audit struct {
		File string `toml:"file"`
	} `toml:"audit"`
	Barmanapi struct {
		TokenAlgorithm  string   `toml:"token_algorithm"`
		TokenLifetime   duration `toml:"token_lifetime"`
		AsyncCommands   []string `toml:"async_commands"`
		AllowedCommands []string `toml:"allowed_commands"`
	} `toml:"barmanapi"`
}

// target is a table [targets.NAME].
type target struct {
	SSH                 string   `toml:"remote_ssh_command"`
	Local               bool     `toml:"local"`
	AllowedDestinations []string `toml:"allowed_destinations"`
}

func defaults() config {
	c := config{StateDir: "/var/lib/barback", IdleTimeout: duration(60 * time.Second), MaxBody: 8 << 20, LogLevel: "info", ProxyUser: "www-data"}
	c.Barman.Command = "barman"
	c.Barman.Timeout = duration(60 * time.Second)
	c.Barman.Deadline = duration(10 * time.Second)
	c.Barman.MaskPasswords = true
	c.Runner.Socket = "/run/barback/runner.sock"
	c.Runner.MaxParallel = 4
	c.Runner.LaunchTimeout = duration(10 * time.Second)
	c.Runner.StopGrace = duration(60 * time.Second)
	c.Runner.MaxOpen = 256
	c.Retention.ArchiveAfter = duration(90 * day)
	c.Retention.MaxOperations = 10000
	c.Retention.MaxSize = 1 << 30
	c.Runner.MaxOutput = 64 << 20
	c.Restore.AllowedDestinations = []string{}
	c.ConfigUpdate.AllowedOptions = slices.Clone(barman.ConfigOptions) // the decoder writes into what is there
	c.Auth.Peers = auth.Peers{}
	c.Audit.File = "/var/log/barback/audit.log"
	c.Barmanapi.TokenAlgorithm = auth.Algorithms[0]
	c.Barmanapi.TokenLifetime = duration(6000 * time.Second)
	c.Barmanapi.AsyncCommands = []string{"backup", "cron", "recover", "restore"}
	c.Barmanapi.AllowedCommands = []string{}
	return c
}

// loadConfig reads the configuration: path, else BARBACK_CONFIG, else the default
// file, which alone may be missing.
func loadConfig(path string) (config, error) {
	c := defaults()
	named := cmp.Or(path, os.Getenv("BARBACK_CONFIG"))
	c.path = cmp.Or(named, defaultConfig)
	data, err := os.ReadFile(c.path) // #nosec G703 -- the administrator names the file
	if errors.Is(err, fs.ErrNotExist) && named == "" {
		c.path = ""
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if c.path, err = filepath.Abs(c.path); err != nil {
		return c, err
	}
	return c.decode(data)
}

// decode reads the text of a configuration over the defaults.
func (c config) decode(data []byte) (config, error) {
	meta, err := toml.Decode(string(data), &c)
	if perr, ok := errors.AsType[toml.ParseError](err); ok {
		return c, fmt.Errorf("configuration %s: line %d: %s", c.path, perr.Position.Line, cmp.Or(perr.Message, perr.Error()))
	}
	if err != nil {
		return c, fmt.Errorf("configuration %s: %w", c.path, err)
	}
	if extra := meta.Undecoded(); len(extra) > 0 {
		return c, fmt.Errorf("configuration %s: line %d: unknown key %s", c.path, lineOf(data, extra[0]), extra[0])
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("configuration %s: %w", c.path, err)
	}
	return c, nil
}

// lineOf finds the line of a key: below its table's header, where it has one.
func lineOf(data []byte, key toml.Key) int {
	table, last := key[:len(key)-1].String(), key[len(key)-1]
	here := ""
	header := regexp.MustCompile(`^\s*\[+\s*([^\]]+?)\s*\]`)
	entry := regexp.MustCompile(`^\s*["']?` + regexp.QuoteMeta(last) + `["']?\s*[.=]`)
	for n, line := range bytes.Split(data, []byte("\n")) {
		if m := header.FindSubmatch(line); m != nil {
			here = string(m[1])
			if here == key.String() {
				return n + 1
			}
		} else if here == table && entry.Match(line) {
			return n + 1
		}
	}
	return 0
}

var basePath = pattern.New(`^(/[A-Za-z0-9._~-]+)+$`)

// proxyHeader has no underscore, which programs in between take for a hyphen, and is no header that has
// a meaning already.
var proxyHeader = pattern.New(`(?i)^(x-[a-z0-9-]+|remote-user)$`)

// check refuses values that cannot work.
func (c *config) check() error {
	c.BasePath = strings.TrimSuffix(c.BasePath, "/")
	switch {
	case !filepath.IsAbs(c.StateDir):
		return fmt.Errorf("state_dir: %q is not an absolute path", c.StateDir)
	case c.BasePath != "" && !basePath().MatchString(c.BasePath):
		return fmt.Errorf("base_path: %q is not a path such as /barback", c.BasePath)
	case c.MaxBody < 1024:
		return fmt.Errorf("max_body: %d bytes are too few", c.MaxBody)
	case c.Runner.MaxParallel < 1:
		return fmt.Errorf("runner.max_parallel: %d: at least 1 is needed", c.Runner.MaxParallel)
	case c.Runner.LaunchTimeout <= 0 || c.Runner.StopGrace <= 0 || c.Barman.Timeout <= 0 || c.Barman.Deadline < 0 || c.IdleTimeout < 0:
		return errors.New("a time must not be negative, and timeout, launch_timeout and stop_grace not zero")
	case c.Runner.MaxOpen < c.Runner.MaxParallel:
		return fmt.Errorf("runner.max_open: %d are fewer than the %d of runner.max_parallel", c.Runner.MaxOpen, c.Runner.MaxParallel)
	case c.Retention.ArchiveAfter < 0 || c.Retention.DeleteAfter < 0 || c.Retention.MaxOperations < 0:
		return errors.New("retention: a value must not be negative; 0 switches a rule off")
	case c.Runner.MaxOutput != 0 && c.Runner.MaxOutput < operation.MinOutput:
		return fmt.Errorf("runner.max_output: %d bytes are too few: at least 1MiB, or 0 to keep all", c.Runner.MaxOutput)
	case c.ProxyHeader != "" && !proxyHeader().MatchString(c.ProxyHeader):
		return fmt.Errorf("trusted_proxy_header: %q is not the name of a header such as X-Remote-User", c.ProxyHeader)
	case c.Audit.File != "" && !filepath.IsAbs(c.Audit.File):
		return fmt.Errorf("audit.file: %q is not an absolute path", c.Audit.File)
	case !slices.Contains(auth.Algorithms, c.Barmanapi.TokenAlgorithm):
		return fmt.Errorf("barmanapi.token_algorithm: %q is none of %s", c.Barmanapi.TokenAlgorithm, strings.Join(auth.Algorithms, ", "))
	case c.Barmanapi.TokenLifetime < duration(time.Second):
		return errors.New("barmanapi.token_lifetime: at least 1s is needed")
	case c.Barman.Command == "":
		return errors.New("barman.command: must not be empty")
	}
	for _, d := range c.Restore.AllowedDestinations {
		if !filepath.IsAbs(d) {
			return fmt.Errorf("restore.allowed_destinations: %q is not an absolute path", d)
		}
	}
	for name, t := range c.Targets {
		if (t.SSH != "") == t.Local {
			return fmt.Errorf("targets.%s: needs remote_ssh_command, or local = true", name)
		}
		for _, d := range t.AllowedDestinations {
			if !filepath.IsAbs(d) {
				return fmt.Errorf("targets.%s.allowed_destinations: %q is not an absolute path", name, d)
			}
		}
	}
	for _, p := range c.ConfigUpdate.AllowedOptions {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("config_update.allowed_options: %q is not a pattern", p)
		}
	}
	if err := c.Auth.Peers.Check(); err != nil {
		return fmt.Errorf("auth.peers: %w", err)
	}
	if err := c.checkHosts(); err != nil {
		return err
	}
	_, err := logLevel(c.LogLevel)
	return err
}

// store opens the state directory.
func (c *config) store() (*operation.Store, error) {
	store, err := operation.Open(c.StateDir)
	if err == nil {
		store.MaxOpen, store.Elsewhere = c.Runner.MaxOpen, c.barman().Elsewhere
	}
	return store, err
}

// duration is a time.Duration written as "60s", or "90d" for days of 24 hours.
type duration time.Duration

const day = 24 * time.Hour

func (d *duration) UnmarshalText(b []byte) error {
	days, ok := strings.CutSuffix(string(b), "d")
	n, err := strconv.ParseUint(days, 10, 16)
	if ok && err == nil {
		*d = duration(n) * duration(day)
		return nil
	}
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a time such as 60s, 5m or 90d", b)
	}
	*d = duration(v)
	return nil
}

// MarshalText writes the time as it is read.
func (d duration) MarshalText() ([]byte, error) { //nolint:unparam // encoding.TextMarshaler
	if d > 0 && time.Duration(d)%day == 0 {
		return fmt.Appendf(nil, "%dd", time.Duration(d)/day), nil
	}
	return []byte(time.Duration(d).String()), nil
}

// size is a number of bytes written as "8MiB", or plainly.
type size int64

var units = map[string]int64{"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

func (s *size) UnmarshalText(b []byte) error {
	digits := strings.TrimRight(string(b), "KMGiB ")
	n, err := strconv.ParseInt(digits, 10, 64)
	unit, ok := units[strings.TrimSpace(strings.TrimPrefix(string(b), digits))]
	if err != nil || !ok || n < 0 || n > (1<<62)/unit {
		return fmt.Errorf("%q is not a size such as 8MiB", b)
	}
	*s = size(n * unit)
	return nil
}

// MarshalText writes the size as it is read.
func (s size) MarshalText() ([]byte, error) { //nolint:unparam // encoding.TextMarshaler
	for _, u := range []string{"GiB", "MiB", "KiB"} {
		if s > 0 && int64(s)%units[u] == 0 {
			return []byte(strconv.FormatInt(int64(s)/units[u], 10) + u), nil
		}
	}
	return []byte(strconv.FormatInt(int64(s), 10)), nil
}
