package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"barback/runner/barman"
	"barback/runner/operation"
)

// read makes a record of the two files of an operation; wrong says what of them is left out. The record is nil if
// nothing can be said, or somebody still works on it.
func (o old) read(now time.Time) (op *operation.Operation, output []byte, wrong []error) {
	job, jobErr := readOld(o.path("jobs"))
	out, outErr := readOld(o.path("output"))
	if outErr != nil {
		// First who works, then the file once more: one who ended in between has written it.
		pid := o.worker(job)
		if out, outErr = readOld(o.path("output")); outErr != nil && pid != 0 {
			return nil, nil, []error{fmt.Errorf("%s: process %d still works on it: import again when it has ended", o.path("jobs"), pid)}
		}
	}
	for _, err := range []error{jobErr, outErr} {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			wrong = append(wrong, err)
		}
	}
	facts := out
	if outErr != nil {
		facts = job
	}
	if facts == nil {
		return nil, nil, wrong
	}
	op, text, err := o.record(facts, outErr, now)
	if err != nil {
		return nil, nil, append(wrong, err)
	}
	return op, []byte(text), wrong
}

// readOld reads a file of pg-backup-api: one JSON object.
func readOld(path string) (map[string]json.RawMessage, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxOld {
		return nil, fmt.Errorf("%s: not a file of pg-backup-api (%s, %d bytes)", path, st.Mode().Type(), st.Size())
	}
	f, err := os.Open(path) // #nosec G304 -- the administrator names the folder
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	switch err := json.Unmarshal(data, &members); {
	case len(data) == 0:
		return nil, fmt.Errorf("%s: damaged: it is empty", path)
	case members != nil && err == nil:
		return members, nil
	case err == nil, errors.As(err, new(*json.UnmarshalTypeError)):
		return nil, fmt.Errorf("%s: damaged: it is no JSON object", path)
	default:
		return nil, fmt.Errorf("%s: damaged: %w", path, err)
	}
}

// maxOld is the largest file that is read: pg-backup-api has no limit of its own.
const maxOld = 256 << 20

// record is what the members of a file say. ended is why the output file does not; if there is none nobody
// noted an end.
func (o old) record(facts map[string]json.RawMessage, ended error, now time.Time) (*operation.Operation, string, error) {
	kind, output, success := "", "", false
	for _, name := range []string{"type", "operation_type"} {
		_ = json.Unmarshal(facts[name], &kind) // absent, or the next one says it
	}
	if kind == "" && o.server != "" {
		kind = "recovery"
	}
	if _, ok := barman.KindOf(kind, o.server == ""); !ok {
		return nil, "", fmt.Errorf("%s: its operation_type %q is none that can be asked for there", o.path("jobs"), kind)
	}
	began := o.began(facts["start_time"])
	op := &operation.Operation{Type: kind, Server: o.server, CreatedAt: began, StartedAt: began, Command: o.command(kind)}
	_ = json.Unmarshal(facts["success"], &success) // whatever is not true is a failure
	switch {
	case ended == nil:
		if raw, ok := facts["output"]; ok && json.Unmarshal(raw, &output) != nil {
			return nil, "", fmt.Errorf("%s: damaged: its output is not a string", o.path("output"))
		}
		op.State, op.EndedAt = operation.Succeeded, began
		if t, ok := moment(facts["end_time"]); ok {
			op.EndedAt = t
		}
		if !success {
			op.State = operation.Failed
			op.Error = &operation.Failure{Title: "Barman failed", Detail: "pg-backup-api noted no success; the output says why"}
		}
	case errors.Is(ended, fs.ErrNotExist):
		op.State, op.EndedAt = operation.Interrupted, now.UTC()
		op.Error = &operation.Failure{Title: "Interrupted", Detail: "pg-backup-api noted no end, and when its files were imported no process worked on it: what it did is not complete, or not known"}
	default:
		op.State, op.EndedAt = operation.Interrupted, now.UTC()
		op.Error = &operation.Failure{Title: "Interrupted", Detail: "pg-backup-api's file with the end is damaged: how it ended is not known"}
	}
	request := map[string]json.RawMessage{}
	for name, value := range facts {
		if !slices.Contains([]string{"operation_type", "start_time", "end_time", "success", "output"}, name) {
			request[name] = value
		}
	}
	var err error
	op.Request, err = json.Marshal(request)
	return op, output, err
}

// command is what pg-backup-api started: itself.
func (o old) command(kind string) []string {
	argv := []string{"pg-backup-api", string(bytes.ReplaceAll([]byte(kind), []byte("_"), []byte("-")))}
	if o.server != "" {
		argv = append(argv, "--server-name", o.server)
	}
	return append(argv, "--operation-id", o.name)
}

// began is when the operation was accepted: the ID says it to the second, start_time more exactly.
func (o old) began(start json.RawMessage) time.Time {
	at, _ := time.ParseInLocation("20060102T150405", o.name, time.Local)
	if t, ok := moment(start); ok && t.Sub(at).Abs() < time.Hour {
		at = t
	}
	return at.UTC()
}

// moment reads one of pg-backup-api's times, which are local and name no zone.
func moment(raw json.RawMessage) (time.Time, bool) {
	var text string
	_ = json.Unmarshal(raw, &text)
	t, err := time.ParseInLocation("2006-01-02T15:04:05", text, time.Local)
	return t.UTC(), err == nil
}

// worker is a process that works on the operation: pg-backup-api's, or the barman recover that it started, which
// outlives it. 0 if there is none.
func (o old) worker(job map[string]json.RawMessage) int {
	marks := [][]string{o.command("")[2:]}
	var backup, dest string
	if json.Unmarshal(job["backup_id"], &backup) == nil && json.Unmarshal(job["destination_directory"], &dest) == nil {
		marks = append(marks, []string{"recover", o.server, backup, dest})
	}
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		line, _ := os.ReadFile(path) // #nosec G304 -- below /proc; it may be gone
		for _, mark := range marks {
			if holds(line, mark) {
				var pid int
				_, _ = fmt.Sscanf(path, "/proc/%d/", &pid)
				return pid
			}
		}
	}
	return 0
}

// holds reports whether a command line has those words one after the other.
func holds(line []byte, words []string) bool {
	want := []byte{0}
	for _, w := range words {
		want = append(append(want, w...), 0)
	}
	return bytes.Contains(line, want)
}
