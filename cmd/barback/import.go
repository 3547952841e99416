package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"barback/runner/operation"
)

// importPeer is "barback import pg-backup-api". It reads the old files and writes records; whatever it cannot
// take over it says, and ends with an error.
func importPeer(c *call) error {
	from := c.flags.String("from", "", "`folder` that holds jobs, output and NAME/jobs, NAME/output; if not given, barman_home")
	store, cfg, err := c.store(0, 0)
	if err != nil {
		return err
	}
	if err := ownState(cfg, "import pg-backup-api"); err != nil {
		return err
	}
	if *from == "" {
		if *from, err = cfg.barman().Clients[0].Home(); err != nil {
			return err
		}
	}
	list, closed, err := findOld(*from)
	if err != nil {
		return err
	}
	known, err := imported(store)
	if err != nil {
		return err
	}
	made, there, left := 0, 0, len(closed)
	for _, err := range closed {
		_, _ = fmt.Fprintf(c.stderr, "barback: %v\n", err)
	}
	for _, o := range list {
		op, output, wrong := o.read(time.Now())
		for _, err := range wrong {
			left++
			_, _ = fmt.Fprintf(c.stderr, "barback: %v\n", err)
		}
		if op == nil {
			continue
		}
		created := false
		if !known[o.key()] {
			if created, err = store.Import(*op, o.name, output); err != nil {
				left++
				_, _ = fmt.Fprintf(c.stderr, "barback: %s: %v\n", o.path("jobs"), err)
				continue
			}
		}
		word := "already there"
		if created {
			made++
			word = "imported"
		} else {
			there++
		}
		_, _ = fmt.Fprintf(c.stdout, "%-13s  %s  %s %s  %s\n", word, o.name, op.Type, o.server, op.State)
	}
	_, _ = fmt.Fprintf(c.stdout, "%d imported, %d already there, %d left out\n", made, there, left)
	if left > 0 {
		return errors.New("not everything could be taken over: see above; the rest is")
	}
	return nil
}

// imported are the operations that have been taken over already, whatever the clock's zone was then.
func imported(store *operation.Store) (map[oldKey]bool, error) {
	list, _, err := store.List(operation.Query{Keep: func(op operation.Summary) bool { return op.ID.Name() != string(op.ID) }})
	known := map[oldKey]bool{}
	for _, op := range list {
		known[oldKey{op.Server, op.ID.Name()}] = true
	}
	return known, err
}

// oldKey is an operation of pg-backup-api: IDs are unique for one server alone.
type oldKey struct{ server, name string }

// old is where pg-backup-api keeps an operation: DIR/jobs/ID.json and DIR/output/ID.json.
type old struct {
	dir    string
	server string // empty: of the instance
	name   string
}

func (o old) key() oldKey { return oldKey{o.server, o.name} }

func (o old) path(sub string) string { return filepath.Join(o.dir, sub, o.name+".json") }

// findOld lists what is below home, by ID: in the order in which it began. closed are the folders that cannot be read.
func findOld(home string) (list []old, closed []error, err error) {
	entries, err := os.ReadDir(home)
	if err != nil {
		return nil, nil, err
	}
	places := map[string]string{home: ""}
	for _, e := range entries {
		if e.Name() != "lost+found" { // a mount point's, closed to all
			places[filepath.Join(home, e.Name())] = e.Name()
		}
	}
	folders := 0
	for _, dir := range slices.Sorted(maps.Keys(places)) {
		names := map[string]bool{}
		for _, sub := range []string{"jobs", "output"} {
			files, err := os.ReadDir(filepath.Join(dir, sub))
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
				continue
			}
			folders++
			if err != nil {
				closed = append(closed, err)
				continue
			}
			for _, f := range files {
				if name, ok := strings.CutSuffix(f.Name(), ".json"); ok {
					names[name] = true
				}
			}
		}
		for name := range names {
			list = append(list, old{dir, places[dir], name})
		}
	}
	if folders == 0 {
		return nil, nil, fmt.Errorf("%s holds neither jobs nor output, and no folder in it does: --from names the barman_home of pg-backup-api", home)
	}
	slices.SortFunc(list, func(a, b old) int {
		return strings.Compare(a.name+"\x00"+a.server, b.name+"\x00"+b.server)
	})
	return list, closed, nil
}
