package barman

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"barback/runner/barman/manual"
	"barback/runner/durable"
)

// learned is what Barman's help told, as it lies in a file, and of which Barman.
type learned struct {
	Of    remembered                `json:"of"`
	Run   string                    `json:"run,omitempty"` // another one for each reading of all
	All   manual.Commands           `json:"all,omitempty"`
	Names manual.Commands           `json:"names,omitempty"` // before all were asked: without their parameters
	One   map[string]manual.Command `json:"one,omitempty"`   // and what was asked, by the name that was used
}

// readers is how many helps are read at a time: Python's start takes a processor, and ssh's a place among ten.
const readers = 4

// maxReading is more than all helps may take, four at a time.
const maxReading = 5 * time.Minute

// Commands are the installed Barman's, with all their parameters. The first call runs it once for each
// command, which takes seconds; others who ask wait for that. It is kept until Barman changes, or Reload.
func (c *Client) Commands() (manual.Commands, error) {
	k, err := c.learn(func(k learned) bool { return k.All != nil }, c.readAll)
	return k.All, err
}

// Reload is Commands of a Barman that is asked for everything anew: its files may be the same, and what they import not.
func (c *Client) Reload() (manual.Commands, error) {
	before := c.recallHelp().Run
	if err := os.Remove(c.cacheFile()); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	k, err := c.learn(func(k learned) bool { return k.All != nil && k.Run != before }, c.readAll)
	return k.All, err
}

// CommandNamed is the installed Barman's of this name or alias, if there is one. That costs two runs of it
// where Commands were not asked before.
func (c *Client) CommandNamed(name string) (manual.Command, bool, error) {
	k, err := c.learn(func(k learned) bool { return k.All != nil || k.Names != nil }, func(k learned) (learned, error) {
		list, err := c.names(k)
		k.Names = list
		return k, err
	})
	if err != nil {
		return manual.Command{}, false, err
	}
	known, ok := append(k.All, k.Names...).Find(name)
	if !ok || known.Parameters != nil {
		return known, ok, nil
	}
	found, err := c.command(known.Name)
	found.Aliases, found.Description = known.Aliases, cmp.Or(found.Description, known.Description)
	return found, err == nil, err
}

// command is the one of this name, which must be one, or alias. It asks for this one's help alone.
func (c *Client) command(name string) (manual.Command, error) {
	k, err := c.learn(func(k learned) bool {
		_, all := k.All.Find(name)
		_, one := k.One[name]
		return all || one
	}, func(k learned) (learned, error) {
		one := manual.Command{Name: name}
		err := c.describe(k, &one)
		if k.One == nil {
			k.One = map[string]manual.Command{}
		}
		k.One[name] = one
		return k, err
	})
	if found, ok := k.All.Find(name); ok {
		return found, err
	}
	return k.One[name], err
}

// learn is what is kept of the installed Barman's help if that is enough, and else what read makes of it. Only one
// process reads at a time; the others look again. Where nothing can be written each one reads for itself.
func (c *Client) learn(enough func(learned) bool, read func(learned) (learned, error)) (learned, error) {
	of, err := c.installed()
	if err != nil {
		return learned{}, err
	}
	recall := func() learned {
		if k := c.recallHelp(); k.Of.same(of) && k.Of.Version == of.Version {
			return k
		}
		return learned{Of: of}
	}
	k := recall()
	if enough(k) {
		return k, nil
	}
	if c.Cache != "" {
		lock := flock.New(c.helpFile()+".lock", flock.SetPermissions(0o640))
		defer func() { _ = lock.Unlock() }()
		ctx, cancel := context.WithTimeout(context.Background(), maxReading)
		defer cancel()
		if mine, _ := lock.TryLockContext(ctx, pause); mine {
			if k = recall(); enough(k) {
				return k, nil
			}
		}
	}
	if k, err = read(k); err != nil {
		return learned{}, err
	}
	if b, err := json.Marshal(k); c.Cache != "" && err == nil {
		_ = durable.WriteFile(c.helpFile(), b, 0o640) // that it could not be kept is no error, only slow
	}
	return k, nil
}

// names asks for the names of all commands.
func (c *Client) names(k learned) (manual.Commands, error) {
	out, err := c.help()
	if err != nil {
		return nil, err
	}
	list, err := manual.ParseCommands(string(out))
	if err != nil {
		return nil, &BrokenError{fmt.Errorf("%s --help %w", k.Of.Path, err)}
	}
	return list, nil
}

// readAll asks for all helps.
func (c *Client) readAll(k learned) (learned, error) {
	all, err := c.names(k)
	if err != nil {
		return k, err
	}
	errs := make([]error, len(all))
	places := make(chan struct{}, readers)
	var done sync.WaitGroup
	for i := range all {
		done.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			errs[i] = c.describe(k, &all[i])
		})
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			return k, err
		}
	}
	return learned{Of: k.Of, Run: rand.Text(), All: all}, nil
}

// describe asks for the help of one command.
func (c *Client) describe(k learned, command *manual.Command) error {
	out, err := c.help(command.Name)
	if err == nil {
		if err = command.Describe(string(out)); err != nil {
			err = &BrokenError{fmt.Errorf("%s %s --help %w", k.Of.Path, command.Name, err)}
		}
	}
	return err
}

func (c *Client) help(command ...string) ([]byte, error) {
	out, err := c.run(versionTimeout, append(command, "--help")...)
	if err != nil {
		return nil, &BrokenError{err}
	}
	return out, nil
}

func (c *Client) helpFile() string { return filepath.Join(c.Cache, c.Host.file("barman-help")+".json") }

func (c *Client) recallHelp() (k learned) {
	if c.Cache == "" {
		return k
	}
	b, err := os.ReadFile(c.helpFile())
	if err != nil || json.Unmarshal(b, &k) != nil {
		return learned{}
	}
	return k
}
