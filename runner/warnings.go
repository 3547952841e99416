package runner

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"barback/runner/barman"
	"barback/runner/operation"
)

// The record has room for so much (see operation.Create); the output has all.
const (
	maxWarnings      = 20
	maxWarningLength = 300 // bytes
)

// warnings collects what Barman warns of while it prints: lines that begin with WARNING:, and the heading WARNING with a
// sentence below it and, behind an empty line, a list.
type warnings struct {
	said []string
	line []byte // begun
	part int    // of what stands below a heading: 1 the sentence, 2 the empty line, 3 the list
}

func (w *warnings) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		if len(w.line) < maxWarningLength {
			w.line = append(w.line, line[:min(len(line), maxWarningLength-len(w.line))]...)
		}
		if line[len(line)-1] != '\n' {
			continue
		}
		if w.part > 0 || bytes.HasPrefix(w.line, []byte("WARNING")) { // others are not worth a string: they may be millions
			w.take(strings.TrimSpace(strings.ToValidUTF8(string(w.line), "?")))
		}
		w.line = w.line[:0]
	}
	return len(p), nil
}

func (w *warnings) take(line string) {
	text, ok := strings.CutPrefix(line, "WARNING:")
	switch {
	case ok:
		w.add(strings.TrimSpace(text))
		w.part = 0
	case line == "WARNING":
		w.part = 1
	case w.part == 1 && line != "":
		w.add(line)
		w.part = 2
	case w.part == 2 && line == "":
		w.part = 3
	case w.part == 3 && line != "" && len(w.said) <= maxWarnings:
		last := &w.said[len(w.said)-1]
		*last = cut(*last + "; " + line)
	default:
		w.part = 0
	}
}

// add keeps one more than there may be, to know that there are more.
func (w *warnings) add(text string) {
	if text = cut(text); text != "" && len(w.said) <= maxWarnings && !slices.Contains(w.said, text) {
		w.said = append(w.said, text)
	}
}

func cut(text string) string {
	if len(text) < maxWarningLength {
		return text
	}
	return strings.ToValidUTF8(text[:maxWarningLength-len("…")], "") + "…"
}

// all are those that are kept.
func (w *warnings) all() []string {
	if len(w.said) > maxWarnings {
		return append(w.said[:maxWarnings-1:maxWarnings-1], "there are more warnings in the output")
	}
	return w.said
}

// mayBeEmpty are folders that hold nothing in many clusters, so that a copy may lose them, and without which PostgreSQL
// does not start when it was restored, or stops at its first checkpoint.
var mayBeEmpty = []string{"pg_commit_ts", "pg_logical/mappings", "pg_logical/snapshots", "pg_notify", "pg_replslot", "pg_subtrans", "pg_tblspc", "pg_twophase"}

// lacking is what a recovery that succeeded has left out, as a sentence; empty if it is nothing.
func lacking(ctx context.Context, host barman.Host, op operation.Operation) (string, error) {
	if op.Target == nil {
		return "", nil
	}
	dir := op.Target.Directory // which was checked to mean nothing to shells
	out, err := shell(ctx, host, op, fmt.Sprintf("cd %s && for f in %s; do test -d $f || echo $f; done", dir, strings.Join(mayBeEmpty, " ")))
	if err != nil {
		return "", err
	}
	var missing []string
	for _, name := range mayBeEmpty {
		if slices.Contains(strings.Fields(out), name) {
			missing = append(missing, filepath.Join(dir, name))
		}
	}
	if missing == nil {
		return "", nil
	}
	return fmt.Sprintf("the destination lacks what PostgreSQL does not run without; before you start it, say as its owner: mkdir -p -m 700 %s", strings.Join(missing, " ")), nil
}
