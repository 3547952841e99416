// Package pattern compiles regular expressions when they are first used: a process that answers one request, or waits
// for Barman for hours, needs few of the many there are.
package pattern

import (
	"os"
	"regexp"
	"strings"
	"sync"
)

// New gives the regular expression on demand. One that is none panics at its first use; in a test's binary at once, so
// that no other finds it.
func New(expr string) func() *regexp.Regexp {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
	if tested {
		compiled()
	}
	return compiled
}

var tested = strings.HasSuffix(os.Args[0], ".test")
