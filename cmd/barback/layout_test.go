package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// imports is who may import whom of the tree's own packages, and which libraries. A package
// that is not listed fails the test: changing the table is a design change.
var imports = map[string][]string{
	"barback/cmd/barback": {"barback/handler", "barback/handler/auth", "barback/handler/barmanapi", "barback/handler/gateway", "barback/runner", "barback/runner/barman", "barback/runner/operation", "barback/runner/pattern", "barback/runner/rewrite",
		"github.com/BurntSushi/toml", "github.com/coreos/go-systemd/v22/activation", "github.com/sirupsen/logrus", "golang.org/x/sys/unix", "golang.org/x/term"},
	"barback/handler": {"barback/handler/auth", "barback/handler/barmanapi", "barback/runner/barman", "barback/runner/operation", "barback/runner/pattern", "barback/runner/rewrite",
		"github.com/julienschmidt/httprouter", "github.com/sirupsen/logrus", "go.yaml.in/yaml/v3"},
	"barback/handler/auth":          {"barback/runner/durable", "barback/runner/pattern", "github.com/BurntSushi/toml", "github.com/gofrs/flock", "github.com/golang-jwt/jwt/v5", "golang.org/x/crypto/argon2"},
	"barback/handler/barmanapi":     {"barback/handler/auth", "barback/runner/barman", "barback/runner/barman/manual", "barback/runner/operation", "github.com/julienschmidt/httprouter"},
	"barback/handler/contract":      {"github.com/santhosh-tekuri/jsonschema/v6", "go.yaml.in/yaml/v3"}, // tests only
	"barback/handler/gateway":       {"barback/handler/auth", "barback/runner/pattern", "github.com/coreos/go-systemd/v22/activation", "golang.org/x/sys/unix"},
	"barback/packaging/bench":       {"golang.org/x/sys/unix"},
	"barback/packaging/bench/empty": {"golang.org/x/sys/unix"},
	"barback/runner":                {"barback/runner/barman", "barback/runner/operation", "github.com/gofrs/flock", "github.com/sirupsen/logrus", "golang.org/x/sys/unix"},
	"barback/runner/barman":         {"barback/runner/barman/manual", "barback/runner/durable", "barback/runner/operation", "barback/runner/pattern", "barback/runner/rewrite", "github.com/gofrs/flock", "golang.org/x/sys/unix"},
	"barback/runner/barman/manual":  {"barback/runner/pattern"},
	"barback/runner/durable":        {"golang.org/x/sys/unix"},
	"barback/runner/operation":      {"barback/runner/durable", "github.com/gofrs/flock", "golang.org/x/sys/unix"},
	"barback/runner/pattern":        {},
	"barback/runner/rewrite":        {"barback/runner/durable", "golang.org/x/sys/unix"},
}

type goPackage struct {
	ImportPath, Dir string
	Imports         []string
	GoFiles         []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "./...")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func TestImportTable(t *testing.T) {
	for _, p := range packages(t) {
		allowed, listed := imports[p.ImportPath]
		if !listed {
			t.Errorf("package %s is not in the import table", p.ImportPath)
		}
		for _, i := range p.Imports {
			if strings.Contains(i, ".") || strings.HasPrefix(i, "barback/") {
				if !slices.Contains(allowed, i) {
					t.Errorf("%s imports %s, which the import table does not allow", p.ImportPath, i)
				}
			}
		}
	}
}

var packageComment = regexp.MustCompile(`(?m)^// (Package|Command) [a-z]+ (.|\n)*?^package `)

func TestEachPackageHasOneComment(t *testing.T) {
	for _, p := range packages(t) {
		var with []string
		for _, f := range p.GoFiles {
			src, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			if m := packageComment.Find(src); m != nil && !strings.Contains(string(m), "\n\n") {
				with = append(with, f)
			}
		}
		if len(with) != 1 {
			t.Errorf("package %s has %d package comments (%v), want one", p.ImportPath, len(with), with)
		}
	}
}

// topLevel is given by the project.
var topLevel = []string{"cmd", "handler", "runner", "packaging", "systemd", "apache", "go.mod", "go.sum", "Makefile", "README.md", "LICENSE", ".gitignore", ".golangci.yml", ".ci", ".git", "bin", "dist"}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s does not belong at the top of the tree", e.Name())
		}
	}
}

// TestReadmeNames: each path and each dependency that the README names is there, and the other way round.
func TestReadmeNames(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`((?:cmd|handler|runner|packaging|systemd|apache|\\.ci)/[A-Za-z0-9_./-]*)`").FindAllStringSubmatch(string(readme), -1) {
		if _, err := os.Stat(filepath.Join(root(t), m[1])); err != nil {
			t.Errorf("the README names %s: %v", m[1], err)
		}
	}
	mod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(string(mod), -1) {
		if !strings.Contains(string(readme), m[1]) {
			t.Errorf("go.mod needs %s, and the README does not say why", m[1])
		}
	}
}
