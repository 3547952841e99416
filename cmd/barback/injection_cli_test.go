package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"barback/handler/auth"
)

// TestInjectionOnTheCommandLine sends the values as arguments of "barback op start" and "barback user allow".
func TestInjectionOnTheCommandLine(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(tortureSeed(t), 0))
	n := newNoting(t)
	words := slices.DeleteFunc(slices.Concat(n.corpus("words"), n.corpus("commands")), func(w string) bool { return strings.Contains(w, "\x00") }) // execve(2) takes none
	for _, p := range parameters {
		if p.put == nil || strings.HasPrefix(p.name, "changes/") || strings.Contains(p.name, " ") || p.name == "type" {
			continue
		}
		rnd.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
		for _, w := range words[:min(times(2, 1000), len(words))] {
			n.opStart(t, p, w)
		}
	}
	for _, w := range words[:min(times(10, 1000), len(words))] {
		for _, args := range [][]string{{"ann", w}, {w, "servers"}} {
			cmd := n.command(n.bin, append([]string{"user", "allow", "--config", n.config, "--"}, args...)...)
			out, err := cmd.CombinedOutput()
			all, readErr := (&auth.Users{Path: n.state + "/users.toml"}).All()
			if readErr != nil {
				t.Fatalf("after user allow %q (%v %s) users.toml cannot be read: %v", args, err, out, readErr)
			}
			if err == nil && !slices.Contains(all[args[0]].Access, args[1]) || err != nil && slices.Contains(all[args[0]].Access, args[1]) && args[1] != "servers" {
				t.Errorf("user allow %q = %v %s, and users.toml has %v", args, err, out, all[args[0]])
			}
			n.nothing(t, fmt.Sprintf("user allow %q", args))
		}
	}
	n.environs()
	n.logs()
}

func (n *noting) opStart(t testing.TB, p parameter, w string) {
	t.Helper()
	var v any = w
	if json.Valid([]byte(w)) {
		v = decoded(t, w)
	}
	body := p.body(v)
	words := []string{n.bin, "op", "start", "--config", n.config, "--wait"}
	if p.server() != "" {
		words = append(words, "--server", p.server())
	}
	words = append(words, "--", fmt.Sprint(body["type"]))
	for name, value := range body {
		text, err := json.Marshal(value)
		switch {
		case err != nil:
			t.Fatal(err)
		case name == p.name:
			text = []byte(w)
		}
		if name != "type" {
			words = append(words, name+"="+string(text))
		}
	}
	words = n.inPath(words...)
	out, err := n.command(words[0], words[1:]...).CombinedOutput()
	started := regexp.MustCompile(`(?m)^\d{8}T\d{6}-\w{6}$`).Match(out)
	if !started && err == nil {
		t.Errorf("%q = %s, want an ID or an error", words, out)
	}
	p.started(n, t, body, []byte(fmt.Sprintf("%q", words)), started, string(out))
}

// TestInjectionThroughApache sends a sample over CGI and FastCGI as Apache speaks them.
func TestInjectionThroughApache(t *testing.T) {
	t.Parallel()
	seed := tortureSeed(t)
	if os.Geteuid() != 0 || os.Getenv("BARBACK_TEST") != "all" {
		t.Skip("Apache needs root: make test")
	}
	n := newNoting(t)
	for _, recipe := range []string{"cgi", "fcgid"} {
		t.Run(recipe, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 0))
			door := n.apache(recipe)
			// Apache's programs have a PATH of their own, and ssh would be the real one.
			bodyValues(t, n, rnd, door, times(1, 5), func(p parameter) bool {
				return p.name != "remote_ssh_command" && p.name != "target" && needs[p.name]["remote_ssh_command"] == nil
			})
			c := client{t, door}
			for _, route := range paths[:6] {
				method, path, _ := strings.Cut(route, " ")
				words := n.corpus("words")
				for _, i := range rnd.Perm(len(words))[:times(4, 40)] {
					if _, err := c.try(method, fmt.Sprintf(path, url.PathEscape(words[i])), ""); err != nil {
						t.Errorf("%s %q: %v", route, words[i], err)
					}
					n.nothing(t, fmt.Sprintf("%s with %q", route, words[i]))
				}
			}
		})
	}
	n.environs()
}
