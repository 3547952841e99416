package barman

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // not every host has the zones
	"unicode/utf8"

	"barback/runner/pattern"
)

// targets are the members that say where a recovery stops, each its own way.
var targets = []string{"target_time", "target_xid", "target_lsn", "target_name", "target_immediate"}

// stop is where a recovery stops. Without any of it, it goes to the end of the WALs.
type stop struct {
	kind     string // one of targets; empty: none
	time     time.Time
	lsn      lsn
	text     string // as it is passed on
	timeline string // a number, "current", "latest"; empty: as Barman decides
	args     []string
}

// stop reads where the recovery is to stop.
func (r Request) stop() (s stop, err error) {
	for _, name := range targets {
		if !r.given(name) {
			continue
		}
		text, err := r.target(name, &s)
		if err != nil {
			return s, err
		}
		if r.has(name) {
			s.kind, s.text = name, text
		}
	}
	if r.given("time_zone") && s.kind != "target_time" {
		return s, invalid(notMet, "time_zone", "needs a target_time")
	}
	if s.kind == "target_immediate" {
		s.args = append(s.args, "--target-immediate")
	} else if s.kind != "" && s.kind != "target_time" { // how a time is written depends on the Barman
		s.args = append(s.args, long(s.kind)+"="+s.text)
	}
	if s.timeline, err = r.timeline(); err != nil {
		return s, err
	}
	if s.timeline != "" {
		s.args = append(s.args, "--target-tli="+s.timeline)
	}
	exclusive, err := flag(r, "exclusive")
	if err != nil {
		return s, err
	}
	if exclusive != nil && s.kind != "target_time" && s.kind != "target_xid" && s.kind != "target_lsn" {
		return s, invalid(notMet, "exclusive", "needs a target_time, target_xid or target_lsn")
	}
	action, err := oneOf("pause", "promote", "shutdown")(r, "target_action")
	if err != nil {
		return s, err
	}
	if action != nil && s.kind == "" && s.timeline == "" {
		return s, invalid(notMet, "target_action", "needs a target")
	}
	s.args = append(append(s.args, exclusive...), action...)
	return s, nil
}

var lsnForm = pattern.New(`^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$`)

// pointName reports whether a restore point can be called so: Barman writes the name between quotes into PostgreSQL's
// configuration, as it is.
func pointName(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= 63 && !strings.ContainsAny(s, `'\`)
}

// target reads one of targets, and time_zone with it.
func (r Request) target(name string, s *stop) (text string, err error) {
	switch name {
	case "target_time":
		zone, zoned, err := r.text("time_zone")
		if err != nil {
			return "", err
		}
		if text, _, err = r.text(name); err == nil {
			s.time, err = instant(text, zone, zoned)
		}
		return text, err
	case "target_xid":
		text, _, err = r.digits(name)
	case "target_lsn":
		if text, _, err = r.text(name); err == nil && !lsnForm().MatchString(text) {
			err = invalid("A value is not allowed", name, "must be two hexadecimal numbers with a slash, such as 0/3000028")
		}
		s.lsn = parseLSN(text)
	case "target_name":
		if text, _, err = r.text(name); err == nil && !pointName(text) {
			err = invalid("A value is not allowed", name, "must be 1 to 63 characters, without ' and \\")
		}
	case "target_immediate":
		_, err = flag(r, name)
	}
	return text, err
}

// timeline reads target_tli: a number, or one of PostgreSQL's two words.
func (r Request) timeline() (string, error) {
	var word string
	if r.given("target_tli") {
		if _, err := r.get("target_tli", &word); err == nil && (word == "current" || word == "latest") {
			return word, nil
		}
	}
	number, given, err := r.digits("target_tli")
	if n, bad := strconv.ParseUint(number, 10, 32); given && (err != nil || bad != nil || n == 0) {
		return "", invalid("A value is not allowed", "target_tli", "must be a whole number of at least 1, \"current\" or \"latest\"")
	}
	return number, nil
}

// instant reads a time. Without a zone it means nothing: Barman would take its host's, PostgreSQL its own.
func instant(text, zone string, zoned bool) (time.Time, error) {
	const form = "must be a time such as 2026-11-21T22:33:57.5+01:00"
	rest := strings.Replace(text, " ", "T", 1)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z07"} {
		t, err := time.Parse(layout, rest)
		switch {
		case err == nil && zoned:
			return t, invalid(notMet, "time_zone", "excludes a target_time with a zone")
		case err == nil:
			return t.UTC().Truncate(time.Microsecond), nil // as exact as PostgreSQL's are
		}
	}
	wall, err := time.Parse("2006-01-02T15:04:05.999999999", rest)
	switch {
	case err != nil:
		return wall, invalid("A value is not allowed", "target_time", form)
	case !zoned:
		return wall, invalid("A value is not allowed", "target_time", "has no time zone: %s, or give \"time_zone\": \"Europe/Rome\"", form)
	}
	return inZone(wall.Truncate(time.Microsecond), zone)
}

// inZone is when clocks of a zone showed a time. There may be no such moment, or two: clocks are changed.
func inZone(wall time.Time, zone string) (time.Time, error) {
	where, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		return wall, invalid("A value is not allowed", "time_zone", "must be the name of a zone, such as Europe/Rome or UTC")
	}
	var found []time.Time
	for _, day := range []int{-1, 1} { // the offsets that hold about then
		_, offset := wall.AddDate(0, 0, day).In(where).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second)
		if _, there := t.In(where).Zone(); there == offset && (len(found) == 0 || !found[0].Equal(t)) {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 0:
		return wall, invalid("A value is not allowed", "target_time", "was on no clock in %s: they were put forward over it", zone)
	case 2:
		return wall, invalid("A value is not allowed", "target_time", "was on the clocks in %s twice: say which with an offset, %s or %s", zone,
			found[0].In(where).Format(time.RFC3339Nano), found[1].In(where).Format(time.RFC3339Nano))
	}
	return found[0], nil
}

// ahead is the zone whose clocks are ahead of all others.
var ahead = time.FixedZone("", 14*60*60)

// timeArg is the moment as a Barman reads it right. Those before 3.13 also take what the clock shows, whatever
// its zone, for their own host's time, and leave out WALs from then on: for them it is
// written as where it is latest, so that none that is needed is missing.
func timeArg(t time.Time, version string) string {
	t = t.UTC()
	if older(version, "3.13") {
		t = t.In(ahead)
	}
	return "--target-time=" + t.Format("2006-01-02 15:04:05.999999-07:00")
}

// lsn is a place in the WAL.
type lsn uint64

// parseLSN reads "0/3000028"; what is none is 0.
func parseLSN(s string) lsn {
	high, low, _ := strings.Cut(s, "/")
	h, err1 := strconv.ParseUint(high, 16, 32)
	l, err2 := strconv.ParseUint(low, 16, 32)
	if err1 != nil || err2 != nil {
		return 0
	}
	return lsn(h<<32 | l)
}

func (l lsn) String() string { return fmt.Sprintf("%X/%X", uint64(l>>32), uint32(l)) } // #nosec G115 -- its lower half
