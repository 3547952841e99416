package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"barback/handler"
)

// checked are the probes of "barback doctor" that "config check" and GET /status?deep=1 do: those that look at
// what a request needs, and cost little.
var checked = []string{"state directory", "barman", "barman's configuration", "identities", "audit log", "trusted proxy", "runner socket"}

// checks looks at what barback needs. Only an error is a check that failed.
func checks(c config) []handler.Check {
	x := newExam(c)
	var list []handler.Check
	for _, name := range checked {
		p := probes[slices.IndexFunc(probes, func(p probe) bool { return p.name == name })]
		check := handler.Check{Name: name, OK: true}
		var says []string
		for _, f := range x.look(p) {
			check.OK = check.OK && f.Status != failed
			say := f.Detail
			if f.Remedy != "" {
				say += ": " + f.Remedy
			}
			says = append(says, say)
		}
		check.Detail = strings.Join(says, "\n")
		list = append(list, check)
	}
	return list
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
		_, _ = fmt.Fprintf(c.stdout, "%-7s %s: %s\n", word, f.Name, strings.ReplaceAll(f.Detail, "\n", "; "))
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
