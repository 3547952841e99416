package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"barback/runner/operation"
)

// prune is "barback prune": the work of barback-prune.timer.
func prune(c *call) error {
	try := c.flags.Bool("dry-run", false, "say what would be done, and do nothing")
	store, cfg, err := c.store(0, 0)
	if err != nil {
		return err
	}
	keep := cfg.Retention
	done, err := store.Prune(operation.Policy{
		ArchiveAfter: time.Duration(keep.ArchiveAfter), MaxOperations: keep.MaxOperations,
		MaxSize: int64(keep.MaxSize), DeleteAfter: time.Duration(keep.DeleteAfter),
	}, time.Now(), *try)
	would := ""
	if *try {
		would = "would be "
	}
	for _, month := range slices.Sorted(maps.Keys(done.Archived)) {
		_, _ = fmt.Fprintf(c.stdout, "%d operations of %s %sarchived\n", done.Archived[month], month, would)
	}
	for _, month := range done.Deleted {
		_, _ = fmt.Fprintf(c.stdout, "archive %s %sdeleted\n", month, would)
	}
	if done.Reindexed {
		_, _ = fmt.Fprintf(c.stdout, "the index did not agree with the records and %smade anew\n", map[bool]string{true: "would be ", false: "was "}[*try])
	}
	for _, id := range done.Damaged {
		_, _ = fmt.Fprintf(c.stderr, "operation %s: its record is damaged; look at it with: barback op show %s\n", id, id)
	}
	return err
}
