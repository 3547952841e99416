package barman

import "fmt"

// Check is what was found before an operation starts, for people.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	member string // that has to change if it is not
	guess  bool   // it follows from clocks or from what a disk says: the client may know better
}

// hint ends the detail of a guess.
const hint = "; \"ignore_checks\": true starts it all the same"

// check notes a finding about a member of the request.
func (p *Plan) check(name, member string, ok bool, format string, args ...any) {
	p.Checks = append(p.Checks, Check{name, ok, fmt.Sprintf(format, args...), member, false})
}

// guess notes a finding that may be wrong.
func (p *Plan) guess(name, member string, ok bool, format string, args ...any) {
	p.check(name, member, ok, format, args...)
	last := &p.Checks[len(p.Checks)-1]
	last.guess = true
	if !ok {
		last.Detail += hint
	}
}

// refusal is why the operation would not work, all reasons at once; nil if it may.
func (p *Plan) refusal(r Request) error {
	var ignore bool
	if _, err := r.get("ignore_checks", &ignore); err != nil {
		return err
	}
	var fields []Field
	for _, c := range p.Checks {
		if !c.OK && (!c.guess || !ignore) {
			fields = append(fields, Field{"/" + c.member, c.Detail})
		}
	}
	if fields == nil || r.DryRun {
		return nil
	}
	return &InvalidError{Summary: "The operation could not do what it is meant to do", Fields: fields, Hopeless: true}
}

func either(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}
