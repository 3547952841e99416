package main

import (
	"fmt"
	"runtime/debug"
)

// linked is set by the linker (see the Makefile).
var linked string

// version is what was linked in, else what Go recorded of the build.
func version() string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}

func printVersion(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.stdout, "barback", version())
	return err
}
