package handler

import (
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"barback/handler/auth"
)

// note writes the line of a request to the log, like those of logrus, but without its three maps: it is the one line that
// each request has. A line is one write(2), so that those of several processes do not mix.
func (h *handler) note(r *request, status int, start time.Time) {
	if h.Requests == nil {
		return
	}
	buf := lines.Get().(*[]byte)
	line := append((*buf)[:0], `{"level":"info","msg":"request","method":`...)
	line = AppendText(line, r.Method)
	line = AppendText(append(line, `,"path":`...), maskPath(r.asked))
	line = AppendText(append(line, `,"remote":`...), auth.Remote(r.Request))
	line = AppendText(append(line, `,"request":`...), r.id)
	line = strconv.AppendFloat(append(line, `,"seconds":`...), time.Since(start).Seconds(), 'f', -1, 64)
	line = strconv.AppendInt(append(line, `,"status":`...), int64(status), 10)
	line = AppendText(append(line, `,"user":`...), r.who.Name)
	line = append(time.Now().AppendFormat(append(line, `,"time":"`...), time.RFC3339Nano), "\"}\n"...)
	_, _ = h.Requests.Write(line)
	*buf = line
	lines.Put(buf)
}

var lines = sync.Pool{New: func() any { return new([]byte) }}

// AppendText appends text to a line of the log as JSON has it, without secrets and without what a terminal would obey: see
// [Shown].
func AppendText(line []byte, s string) []byte {
	if s = Shown(s); plain(s) {
		return append(append(append(line, '"'), s...), '"')
	}
	data, _ := json.Marshal(s) // of a string there is no error
	return append(line, data...)
}

// plain reports whether nothing of s has to be escaped in JSON, nor is by encoding/json.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}
