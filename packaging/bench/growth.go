package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// growth is how something grows with something else.
type growth struct {
	ID    string `json:"id"`
	What  string `json:"what"`
	X     string `json:"x"`
	Y     string `json:"y"`
	Lines []line `json:"lines"`
}

type line struct {
	Name   string       `json:"name"`
	Points [][2]float64 `json:"points"` // x and the median
}

// at notes a point of a line.
func (g *growth) at(name string, x, y float64) {
	if math.IsNaN(y) || math.IsInf(y, 0) {
		fail("%s at %g: %s is %g", g.ID, x, name, y)
	}
	for i := range g.Lines {
		if g.Lines[i].Name == name {
			g.Lines[i].Points = append(g.Lines[i].Points, [2]float64{x, y})
			return
		}
	}
	g.Lines = append(g.Lines, line{name, [][2]float64{{x, y}}})
}

// exponent is how it grows at its end: 1 is linear, 0 is not at all.
func (l line) exponent() float64 {
	n := len(l.Points)
	if n < 2 {
		return math.NaN()
	}
	a, b := l.Points[n-2], l.Points[n-1]
	return math.Log(b[1]/a[1]) / math.Log(b[0]/a[0])
}

func (g growth) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s against %s)\n", g.What, g.Y, g.X)
	for _, l := range g.Lines {
		var points []string
		for _, p := range l.Points {
			points = append(points, fmt.Sprintf("%s: %s", number(p[0]), number(p[1])))
		}
		end := ""
		if e := l.exponent(); !math.IsNaN(e) && !math.IsInf(e, 0) {
			end = fmt.Sprintf("; at the end like x^%.1f", e)
			if e > 1.2 {
				end += ", WORSE THAN LINEAR"
			}
		}
		fmt.Fprintf(&b, "  %s: %s%s\n", l.Name, strings.Join(points, ", "), end)
	}
	return b.String()
}

// grown measures for each x and notes the results, each in the chart of its unit. What was noted before something breaks stays.
func (b *bench) grown(id, what, x string, xs []int, measure func(x int, note func(name, unit string, y float64))) {
	var charts []growth
	defer func() { b.Growth = append(b.Growth, charts...) }()
	for _, n := range xs {
		b.separately(func() {
			measure(n, func(name, unit string, y float64) {
				i := slices.IndexFunc(charts, func(g growth) bool { return g.Y == unit })
				if i < 0 {
					i = len(charts)
					charts = append(charts, growth{ID: id + "-" + strings.ToLower(unit), What: what, X: x, Y: unit})
				}
				charts[i].at(name, float64(n), y)
			})
		})
	}
}

// operations measures lists on one state directory that grows.
func (b *bench) operations() {
	s := b.state("operations", 100, "")
	b.grown("operations", "operations that have ended", "operations", sizes(100, b.large), func(n int, note func(name, unit string, y float64)) {
		s.fill(n)
		d := s.open()
		d.get(operations)
		all, newest := b.repeated(d, operations), b.repeated(d, operations+"?page_size=100")
		note("list, all", "ms", all.median())
		note("list, newest 100", "ms", newest.median())
		note("GET one", "ms", b.repeated(d, s.operation).median())
		note("GET one, by CGI", "ms", b.severalStarts(s))
		note("barback, after these", "MiB", pss(d.process.Process.Pid))
		if n == 10_000 {
			b.figure("list-10000", "list of 10,000 operations, all", atMost(15), "ms", all, "")
		}
		if n == b.large {
			b.figure("list-newest", fmt.Sprintf("list of the newest 100 of %d operations", n), atMost(5), "ms", newest, fmt.Sprintf("all of them: %s ms", number(all.median())))
			b.figure("memory-large", fmt.Sprintf("… memory (PSS) of a barback that has listed all %d", n), free, "MiB", samples{pss(d.process.Process.Pid)}, "")
		}
	})
	s.forget(s.dir + "/operations/*")
}

// sizes are the powers of ten from least to most.
func sizes(least, most int) (all []int) {
	for n := least; n <= most; n *= 10 {
		all = append(all, n)
	}
	return all
}

// repeated are the milliseconds that a request takes, time and again.
func (b *bench) repeated(d *door, path string) (took samples) {
	d.get(path)
	for start := time.Now(); len(took) < 3 || len(took) < b.times && time.Since(start) < b.length; {
		took = append(took, ms(d.get(path)))
	}
	return took
}

func (b *bench) severalStarts(s *state) float64 {
	var took samples
	for range max(b.times/4, 3) {
		took = append(took, b.cgiStart(s, b.barback, "--config", s.config))
	}
	return took.median()
}

func (b *bench) growBackups() {
	b.oneBackup("pg-one")
	b.grown("backups", "backups of a server", "backups", sizes(10, 1000), func(n int, note func(name, unit string, y float64)) {
		b.copyBackups("pg-one", "pg-one", n)
		d := b.state(fmt.Sprint("backups-", n), 1, "").open()
		age()
		note("GET backups", "ms", b.repeated(d, "/servers/pg-one/backups").median())
		note("newest 10", "ms", b.repeated(d, "/servers/pg-one/backups?page_size=10").median())
		note("barman list-backups", "ms", b.takes(b.barman("list-backups", "pg-one")))
	})
}

// growServers gives Barman more and more servers, each with a hundred backups.
func (b *bench) growServers() {
	b.oneBackup("pg-one")
	conf := string(mustHave(os.ReadFile(b.env["LAB_BARMAN_CONF"])))
	made := 0
	b.grown("servers", "servers that Barman has, with 100 backups each", "servers", sizes(1, b.many), func(n int, note func(name, unit string, y float64)) {
		for ; made < n; made++ {
			name := fmt.Sprintf("s%04d", made)
			conf += fmt.Sprintf("\n[%s]\ndescription = number %d\nconninfo = host=db%d dbname=postgres user=barman\nbackup_method = postgres\narchiver = on\n", name, made, made)
			b.copyBackups("pg-one", name, 100)
		}
		s := b.state(fmt.Sprint("servers-", n), 1, "")
		must(os.WriteFile(s.dir+".conf", []byte(conf), 0o644))
		s.configure(b.env["LAB_BARMAN_CONF"], s.dir+".conf")
		d := s.open()
		age()
		note("GET /servers", "ms", b.repeated(d, "/servers").median())
		note("GET one server's backups", "ms", b.repeated(d, "/servers/s0000/backups").median())
		note("GET one operation", "ms", b.repeated(d, s.operation).median())
		note("GET one operation, by CGI", "ms", b.severalStarts(s))
	})
	b.forget(b.env["LAB_BARMAN_HOME"] + "/s[0-9]*")
}

func (b *bench) growUsers() {
	b.grown("users", "users in users.toml", "users", sizes(10, 10_000), func(n int, note func(name, unit string, y float64)) {
		s := b.state(fmt.Sprint("users-", n), 1, "")
		file := filepath.Join(s.dir, "users.toml")
		users := string(mustHave(os.ReadFile(file)))
		for i := range n {
			users += fmt.Sprintf("\n[users.u%05d]\nrole = \"viewer\"\naccess = [\"servers/pg-%d/operations/backup\"]\n", i, i)
		}
		must(os.WriteFile(file, []byte(users), 0o600))
		d := s.open()
		d.get(s.operation)
		age()
		note("GET one operation", "ms", b.repeated(d, s.operation).median())
		note("GET one operation, by CGI", "ms", b.severalStarts(s))
	})
}
