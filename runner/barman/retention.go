package barman

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"barback/runner/pattern"
)

// What a retention policy says of a backup, in Barman's words.
const (
	valid          = "VALID"
	obsolete       = "OBSOLETE"
	obsoleteButOne = "OBSOLETE*" // minimum_redundancy needs it
	keptFull       = "KEEP:FULL"
	keptStandalone = "KEEP:STANDALONE"
)

// longest is the longest window, in days: there is no older backup.
const longest = 36500

// policy is a retention_policy.
type policy struct {
	copies  int           // of REDUNDANCY
	window  time.Duration // of RECOVERY WINDOW OF
	minimum int           // minimum_redundancy
}

var (
	redundancyForm = pattern.New(`(?i)^\s*redundancy\s+(\d+)\s*$`)
	windowForm     = pattern.New(`(?i)^\s*recovery\s+window\s+of\s+(\d+)\s+(day|month|week)s?\s*$`)
)

// days of Barman's units.
var days = map[string]int{"day": 1, "week": 7, "month": 31}

// policy reads that of a server; what Barman does not know it does not enforce.
func (c *config) policy(server string) (p policy, enforced bool) {
	text := c.option(server, "retention_policy")
	least, err := strconv.Atoi(strings.TrimSpace(c.option(server, "minimum_redundancy")))
	if err == nil {
		p.minimum = max(0, least)
	}
	if m := redundancyForm().FindStringSubmatch(text); m != nil {
		p.copies, err = strconv.Atoi(m[1])
		p.copies, p.window = max(p.copies, p.minimum), -1
		return p, err == nil
	}
	if m := windowForm().FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		n = min(n, longest) * days[strings.ToLower(m[2])]
		p.window = time.Duration(min(n, longest)) * 24 * time.Hour
		return p, err == nil
	}
	return p, false
}

// judge notes at each backup that can be restored what the policy says of it at a moment. Full ones that are DONE are
// counted, from the newest; those that are incremental share what is said of the one on which they are built.
func (p policy) judge(list []Entry, now time.Time) {
	verdicts := map[string]string{}
	counted, valids, outside := 0, 0, false
	for _, e := range slices.Backward(list) {
		if e.Parent != "" || e.Err != nil {
			continue
		}
		verdict := ""
		if e.Status == "DONE" {
			within := !outside
			if p.window < 0 {
				within = counted < p.copies
				counted++
			}
			switch {
			case e.Keep == "standalone":
				verdict = keptStandalone
			case e.Keep != "":
				verdict = keptFull
			case within:
				verdict = valid
			case p.window >= 0 && valids < p.minimum:
				verdict = obsoleteButOne
			default:
				verdict = obsolete
			}
			if p.window >= 0 {
				if within || valids < p.minimum {
					valids++
				}
				outside = outside || e.EndTime.Before(now.Add(-p.window))
			}
		}
		verdicts[e.ID] = verdict
		switch verdict {
		case keptFull:
			verdict = valid
		case keptStandalone: // what it is kept for needs no increments
			if verdict = valid; outside || p.window < 0 && counted > p.copies {
				verdict = obsolete
			}
		}
		descend(list, e, func(child string) { verdicts[child] = verdict })
	}
	for i := range list {
		if list[i].usable() {
			list[i].Retention = verdicts[list[i].ID]
		}
	}
}

// descend visits all that is built on a backup.
func descend(list []Entry, e Entry, visit func(string)) {
	seen := map[string]bool{e.ID: true} // no Barman makes rings
	for next := e.Children; len(next) > 0; {
		id := next[0]
		next = next[1:]
		i := slices.IndexFunc(list, func(e Entry) bool { return e.ID == id })
		if i < 0 || seen[id] {
			continue
		}
		seen[id] = true
		visit(id)
		next = append(slices.Clone(next), list[i].Children...)
	}
}
