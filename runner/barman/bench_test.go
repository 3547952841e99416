package barman

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkConfiguration is what each CGI process does of a configuration with a thousand servers.
func BenchmarkConfiguration(b *testing.B) {
	dir := b.TempDir()
	conf := "[barman]\nbarman_home = " + dir + "\n"
	for i := range 1000 {
		conf += fmt.Sprintf("\n[s%04d]\ndescription = number %d\nconninfo = host=db%d dbname=postgres user=barman\nbackup_method = postgres\narchiver = on\n", i, i, i)
	}
	path := filepath.Join(dir, "barman.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (&reading{main: path}).read(); err != nil {
			b.Fatal(err)
		}
	}
}
