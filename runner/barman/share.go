package barman

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// answer is an answer as it lies on the disk: this as a line of JSON, and then the body.
type answer struct {
	ID    string        `json:"id"`              // another one for each run of Barman
	Asked string        `json:"asked"`           // the whole question
	At    time.Time     `json:"at"`              // when Barman had ended
	Up    time.Duration `json:"up"`              // the same since the machine started: nobody sets that clock
	Error *AskError     `json:"error,omitempty"` // for those who waited; then there is no body
	body  []byte
}

// shelf is where the last answer to a question lies, beside the lock of who runs Barman for the next. Only
// the holder of the lock writes. It is for user barman alone: in what Barman tells, passwords
// may hide in places that nobody thought of.
type shelf struct{ path, asked string }

// pause lies between two looks at a run of another process: little against what Barman takes.
const pause = 20 * time.Millisecond

// Ask has one run of Barman answer all who ask the same at one time, in whatever processes of this
// host: the first runs it, the others wait and get what came of it, an error too. Nobody gets an
// answer that was there before the question, unless it is not older than MaxAge. If the process that
// runs Barman dies, another begins anew. A run goes on to its end whether or not its client still waits.
// Where nothing can be written each one runs Barman for itself.
func (c *Client) Ask(q Question) (Answer, error) {
	argv, err := c.argv(append([]string{"-f", "json"}, q.Args...)...)
	if err != nil {
		return Answer{}, err
	}
	if c.Cache == "" {
		a, err := c.answer(q, argv)
		return a.result(err)
	}
	s := shelf{filepath.Join(c.Cache, c.Host.file("answer")+"-"+url.QueryEscape(strings.Join(q.Args, " "))), fmt.Sprintf("%q quoted: %v cleaned: %v", append(slices.Clone(c.Host.SSH), argv...), q.Quoted, q.Clean != nil)}
	seen, ok := s.look(func(a answer) bool {
		age, known := a.age()
		return a.Error == nil && known && age <= q.MaxAge && q.MaxAge > 0
	})
	if ok {
		return seen.result(nil)
	}
	lock := flock.New(s.path+".lock", flock.SetPermissions(0o600))
	defer func() { _ = lock.Unlock() }()
	for end := time.Now().Add(c.timeout(q)); ; time.Sleep(pause) {
		mine, lockErr := lock.TryLock()
		if a, ok := s.look(func(a answer) bool { return a.ID != seen.ID }); ok { // it came while we waited, whatever the clocks say
			return a.result(nil)
		}
		if mine || lockErr != nil {
			a, err := c.answer(q, argv)
			if a.Asked = s.asked; mine && err == nil {
				s.put(a)
			}
			return a.result(err)
		}
		if time.Now().After(end) {
			return Answer{}, &AskError{Detail: fmt.Sprintf("another request's %s did not end within %v", q.command(), c.timeout(q)), Timeout: true}
		}
	}
}

func (a answer) result(err error) (Answer, error) {
	if err == nil && a.Error != nil {
		err = a.Error
	}
	if err != nil {
		return Answer{}, err
	}
	age, _ := a.age()
	return Answer{a.body, max(0, age)}, nil
}

// age is how old the answer is by the clock that says more; it is not known if one of them went back.
func (a answer) age() (age time.Duration, known bool) {
	wall, up := time.Since(a.At), uptime()-a.Up
	return max(wall, up), wall >= 0 && up >= 0
}

func uptime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // fails for no clock that there is
	return time.Duration(ts.Nano())
}

// look reads what lies there. The body is read only of what is wanted, and answers the same question.
func (s shelf) look(wanted func(answer) bool) (a answer, ok bool) {
	f, err := os.Open(s.path)
	if err != nil {
		return a, false
	}
	defer func() { _ = f.Close() }()
	in := bufio.NewReader(f)
	first, err := in.ReadBytes('\n')
	if err != nil || json.Unmarshal(first, &a) != nil {
		return answer{}, false
	}
	if a.Asked != s.asked || !wanted(a) {
		return a, false
	}
	a.body, err = io.ReadAll(in)
	return a, err == nil && (a.Error != nil || json.Valid(a.body)) // a power failure may have left half of it
}

// put replaces what lies there. That it could not costs the others a run of their own. It is
// not made durable: after a crash nobody waits for it.
func (s shelf) put(a answer) {
	first, err := json.Marshal(a)
	if err != nil {
		return
	}
	draft := s.path + ".new"
	err = os.WriteFile(draft, append(append(first, '\n'), a.body...), 0o600)
	if err == nil {
		err = os.Rename(draft, s.path)
	}
	if err != nil {
		_ = os.Remove(draft)
	}
}
