package barman

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"barback/runner/pattern"
)

// statusMembers make typed members of the lines of "barman status", which are all text. One that returns false could
// not read it; then, and if Barman has a line that is not here, it is passed on among others.
var statusMembers = map[string]func(text string, to map[string]any) bool{
	"description":         word("description"),
	"active":              boolean("active", "True", "False"),
	"disabled":            boolean("disabled", "True", "False"),
	"passive_node":        boolean("passive", "True", "False"),
	"active_model":        word("active_model"),
	"pg_version":          word("postgresql_version"),
	"is_in_recovery":      boolean("in_recovery", "in archive recovery", "in production"),
	"data_directory":      word("data_directory"),
	"current_xlog":        word("current_wal"),
	"archive_command":     word("archive_command"),
	"primary_ssh_command": word("primary_ssh_command"),
	"first_backup":        word("first_backup"),
	"last_backup":         word("last_backup"),
	"backups_number":      matched(`^(\d+)$`, whole("backups")),
	"current_size":        matched(`^(-?[0-9.]+ (?:B|[KMGTPEZY]iB))$`, rounded("current_size_bytes")),
	"last_archived_wal":   matched(`^(?:No WAL segment shipped yet|(\S+?)(?:, at (.+))?)$`, word("last_archived_wal"), clock("last_archived_local_time")),
	"failed_count":        matched(`^(\d+)(?: \((\S+) at (.+)\))?$`, whole("archive_failures"), word("last_failed_wal"), clock("last_failed_local_time")),
	"retention_policies":  matched(`^(?:not enforced|enforced \(mode: \w+, retention: (.+), WAL retention: .+\))$`, word("retention_policy")),
	"minimum_redundancy":  matched(`^(satisfied|FAILED) \((\d+)/(\d+)\)$`, boolean("redundancy_satisfied", "satisfied", "FAILED"), whole("redundancy"), whole("minimum_redundancy")),
	"server_archived_wals_per_hour": matched(`^([0-9.]+)/hour$`, func(text string, to map[string]any) bool {
		n, err := strconv.ParseFloat(text, 64)
		to["archived_wals_per_hour"] = n
		return err == nil
	}),
}

// readStatus reads the lines of "barman status". Barman before 3.20 says nothing of an inactive server but that.
func readStatus(s Server, told map[string]json.RawMessage, said messages) (any, error) {
	report := map[string]any{"server": s.Name, "active": s.Active}
	if list := said.all(); list != nil {
		report["messages"] = list
	}
	others, problems := map[string]string{}, []string{}
	for _, key := range slices.Sorted(maps.Keys(told)) {
		var line struct{ Description, Message string }
		if err := json.Unmarshal(told[key], &line); err != nil {
			return nil, fmt.Errorf("its %s: %w", key, err)
		}
		failed := strings.HasPrefix(line.Message, "FAILED")
		if failed {
			problems = append(problems, line.Description+": "+line.Message)
		}
		read, known := statusMembers[key]
		if known && failed && key != "minimum_redundancy" {
			continue // it is not known
		}
		if !known || !read(line.Message, report) {
			others[key] = line.Message
		}
	}
	if told != nil {
		report["problems"] = problems
	}
	if len(others) > 0 {
		report["others"] = others
	}
	return report, nil
}

// all are the messages of all kinds.
func (m messages) all() []string {
	return slices.Concat(m.Critical, m.Exception, m.Error, m.Warning, m.Info)
}

// word is a text; Python's None is null.
func word(name string) func(string, map[string]any) bool {
	return func(text string, to map[string]any) bool {
		if to[name] = text; text == "" || text == "None" {
			to[name] = nil
		}
		return true
	}
}

func boolean(name, yes, no string) func(string, map[string]any) bool {
	return func(text string, to map[string]any) bool {
		if text != yes && text != no {
			return false
		}
		to[name] = text == yes
		return true
	}
}

func whole(name string) func(string, map[string]any) bool {
	return func(text string, to map[string]any) bool {
		n, err := strconv.ParseInt(text, 10, 64)
		to[name] = n
		return err == nil
	}
}

// clock is a time without its zone, which is PostgreSQL's and which Barman does not tell; empty: there is none.
func clock(name string) func(string, map[string]any) bool {
	return func(text string, to map[string]any) bool {
		if text == "" {
			return true
		}
		t, err := time.Parse("Mon Jan _2 15:04:05 2006", text)
		to[name] = t.Format("2006-01-02T15:04:05")
		return err == nil
	}
}

// matched gives each group of form to its reader. None of them has said anything if one of them cannot read it.
func matched(form string, readers ...func(string, map[string]any) bool) func(string, map[string]any) bool {
	re := pattern.New(form)
	return func(text string, to map[string]any) bool {
		groups, found := re().FindStringSubmatch(text), map[string]any{}
		if groups == nil {
			return false
		}
		for i, read := range readers {
			if !read(groups[i+1], found) {
				return false
			}
		}
		maps.Copy(to, found)
		return true
	}
}

// rounded is a size of which Barman tells a tenth of its unit.
func rounded(name string) func(string, map[string]any) bool {
	return func(text string, to map[string]any) bool {
		number, unit, _ := strings.Cut(text, " ")
		n, err := strconv.ParseFloat(number, 64)
		to[name] = int64(math.Round(n * math.Pow(1024, float64(strings.Index("BKMGTPEZY", unit[:1])))))
		return err == nil
	}
}
