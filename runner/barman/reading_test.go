package barman

import (
	"os"
	"path/filepath"
	"testing"

	"barback/runner/durable"
)

// Each change of a configuration that was read before is seen by the next who asks.
func TestAChangedConfigurationIsReadAgain(t *testing.T) {
	before := lasting
	lasting = func(durable.Stamp) bool { return true } // young as the files are
	t.Cleanup(func() { lasting = before })
	b := newBox(t, map[string]string{"conf.d/one.conf": "[one]\ndescription = x\n"})
	described := func() map[string]string {
		found := map[string]string{}
		for name, s := range b.load(t).servers {
			found[name] = s["description"]
		}
		return found
	}
	if first, again := b.load(t), b.load(t); first != again {
		t.Error("a configuration that did not change was parsed twice")
	}
	for _, change := range []struct {
		what, server, want string
		make               func()
	}{
		{"a file written over", "one", "longer", func() { b.write(t, "conf.d/one.conf", "[one]\ndescription = longer\n") }},
		{"a new file", "two", "y", func() { b.write(t, "conf.d/two.conf", "[two]\ndescription = y\n") }},
		{"the main file", "three", "z", func() { b.write(t, "barman.conf", plainConfig+"[three]\ndescription = z\n") }},
		{"what config-update wrote, for the first time", "one", "auto", func() { b.write(t, "home/.barman.auto.conf", "[one]\ndescription = auto\n") }},
		{"a file moved into place", "two", "moved", func() {
			b.write(t, "new", "[two]\ndescription = moved\n")
			if err := os.Rename(filepath.Join(b.dir, "new"), filepath.Join(b.dir, "conf.d/two.conf")); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file that went away", "two", "", func() {
			if err := os.Remove(filepath.Join(b.dir, "conf.d/two.conf")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		described()
		change.make()
		if got := described()[change.server]; got != change.want {
			t.Errorf("after %s the description of %s = %q, want %q", change.what, change.server, got, change.want)
		}
	}
}
