package main

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"barback/runner/barman"
	"barback/runner/operation"
	"barback/runner/pattern"
)

// result is an asynchronous command of barmanapi's: a folder active/YYYYMM/YYYYmmddHHMMSS_COMMAND_TOKEN, or such a one within
// archive/YYYYMM.tar.gz, with the files command (of a shell) and, when it has ended, result.json.
type result struct {
	where  string
	name   string // as pg-backup-api would call it
	op     operation.Operation
	output []byte
}

// resultFolder leaves out the token, which is a secret, and long enough for a file name of its own.
var resultFolder = pattern.New(`^(\d{8})(\d{6})_([a-z-]+)_`)

// resultFiles are the files of one folder.
type resultFiles struct {
	month, folder string
	files         map[string][]byte
	ended         time.Time
}

// readHistory reads all results below barmanapi's folder, by time.
func readHistory(dir string, now time.Time) (list []result, wrong []error) {
	found := map[string]*resultFiles{}
	put := func(name string, data []byte, at time.Time) {
		parts := strings.Split(path.Clean(name), "/")
		if len(parts) != 3 || !resultFolder().MatchString(parts[1]) {
			return
		}
		key := parts[0] + "/" + parts[1]
		if found[key] == nil {
			found[key] = &resultFiles{month: parts[0], folder: parts[1], files: map[string][]byte{}}
		}
		found[key].files[parts[2]] = data
		if parts[2] == "result.json" {
			found[key].ended = at
		}
	}
	archives, _ := filepath.Glob(filepath.Join(dir, "archive", "*.tar.gz"))
	for _, name := range archives {
		if err := readArchive(name, put); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", name, err))
		}
	}
	if err := readActive(filepath.Join(dir, "active"), put); err != nil {
		wrong = append(wrong, err)
	}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		r, err := found[key].result(now)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("the command of %s: %w", found[key].name(), err))
			continue
		}
		list = append(list, r)
	}
	return list, wrong
}

// wantedFile is a file of a result; others are not read, however large.
func wantedFile(name string) bool {
	return path.Base(name) == "command" || path.Base(name) == "result.json"
}

func readArchive(name string, put func(name string, data []byte, at time.Time)) error {
	f, err := os.Open(name) // #nosec G304 -- in the folder that the administrator names
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg || !wantedFile(h.Name) {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(t, maxOld))
		if err != nil {
			return err
		}
		put(h.Name, data, h.ModTime)
	}
}

func readActive(dir string, put func(name string, data []byte, at time.Time)) error {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*", "*"))
	if err != nil {
		return err
	}
	for _, name := range files {
		st, err := os.Lstat(name)
		if err != nil || !st.Mode().IsRegular() || !wantedFile(name) || st.Size() > maxOld {
			continue
		}
		data, err := os.ReadFile(name) // #nosec G304 -- in the folder that the administrator names
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		put(rel, data, st.ModTime())
	}
	if len(files) > 0 {
		return nil
	}
	_, err = os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: --store names the folder that holds active and archive", err)
	}
	return err
}

// name is what the folder is called in messages: without the token.
func (f *resultFiles) name() string {
	m := resultFolder().FindStringSubmatch(f.folder)
	return m[1] + m[2] + "_" + m[3]
}

// result makes a record of the files.
func (f *resultFiles) result(now time.Time) (result, error) {
	m := resultFolder().FindStringSubmatch(f.folder)
	began, err := time.ParseInLocation("20060102150405", m[1]+m[2], time.Local)
	if err != nil {
		return result{}, err
	}
	i := slices.IndexFunc(barman.Kinds, func(k barman.Kind) bool { return k.Command == m[3] })
	if i < 0 {
		return result{}, fmt.Errorf("barback has no type of operation for %s", m[3])
	}
	kind := barman.Kinds[i]
	words := strings.Fields(strings.TrimRight(string(f.files["command"]), "\" \n"))
	op := operation.Operation{Type: kind.Name, CreatedAt: began.UTC(), StartedAt: began.UTC(), EndedAt: began.UTC(), Command: words, Request: json.RawMessage("{}")}
	if !kind.Instance {
		if op.Server = serverOf(m[3], words); op.Server == "" {
			return result{}, errors.New("its file command does not name a server")
		}
	}
	r := result{where: f.month + "/" + f.name(), name: m[1] + "T" + m[2]}
	if f.files["result.json"] == nil {
		if now.Sub(began) < day {
			return result{}, errors.New("it has not ended, as far as barmanapi knows, and began less than a day ago: import again tomorrow")
		}
		op.State, op.EndedAt = operation.Interrupted, now.UTC()
		op.Error = &operation.Failure{Title: "Interrupted", Detail: "barmanapi noted no end: what it did is not complete, or not known"}
		r.op = op
		return r, nil
	}
	var told struct {
		Code    int      `json:"status_code"`
		Message string   `json:"message"`
		List    []string `json:"list"`
	}
	if err := json.Unmarshal(f.files["result.json"], &told); err != nil {
		return result{}, fmt.Errorf("result.json is damaged: %w", err)
	}
	if f.ended.After(began) {
		op.EndedAt = f.ended.UTC()
	}
	op.State = operation.Succeeded
	code := 0
	if told.Code != 200 {
		code = told.Code
		op.State = operation.Failed
		op.Error = &operation.Failure{Title: "Barman failed", Detail: cmp.Or(strings.TrimSpace(told.Message), "barmanapi noted no reason")}
	}
	op.ExitCode = &code
	r.op, r.output = op, []byte(strings.Join(told.List, "\n")+told.Message)
	return r, nil
}

// serverOf is the server in a command line of barmanapi's: options with their values come first, then what the command
// has to be given.
func serverOf(command string, words []string) string {
	at := slices.Index(words, command)
	behind := map[string]int{"recover": 3, "restore": 3, "delete": 2, "check-backup": 2, "keep": 2, "verify-backup": 2}[command]
	if behind == 0 {
		behind = 1
	}
	if at < 0 || len(words)-behind <= at {
		return ""
	}
	return words[len(words)-behind]
}
