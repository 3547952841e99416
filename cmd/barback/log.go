package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/sirupsen/logrus"

	"barback/handler"
)

// newLog is the one place that sets logrus up: JSON lines on standard error, where
// journald or Apache's error log takes them. JSON also keeps a client from forging lines.
func newLog(w io.Writer, level string) logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(w)
	log.SetFormatter(formatter{})
	if l, err := logLevel(level); err == nil {
		log.SetLevel(l)
	}
	return log
}

// formatter writes lines as logrus.JSONFormatter does, in a third of the time, and keeps secrets out of them, whoever
// wrote them into a field. No field of ours is called level, msg or time.
type formatter struct{}

// Format makes one line of e.
func (formatter) Format(e *logrus.Entry) ([]byte, error) {
	var line []byte
	if e.Buffer != nil { // logrus keeps it for the next line
		e.Buffer.Grow(512)
		line = e.Buffer.AvailableBuffer()
	}
	line = append(append(line, `{"level":"`...), e.Level.String()...)
	line, err := appendText(append(line, `","msg":`...), handler.Shown(e.Message))
	names := make([]string, 0, 16)
	for name := range e.Data {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err != nil {
			return nil, err
		}
		line = append(append(append(line, `,"`...), name...), `":`...)
		switch v := e.Data[name].(type) {
		case string:
			line, err = appendText(line, handler.Shown(v))
		case error:
			line, err = appendText(line, handler.ShownError(v))
		case int:
			line = strconv.AppendInt(line, int64(v), 10)
		default:
			line, err = appendJSON(line, v)
		}
	}
	return append(e.Time.AppendFormat(append(line, `,"time":"`...), time.RFC3339Nano), "\"}\n"...), err
}

func appendText(line []byte, s string) ([]byte, error) {
	if plain(s) {
		return append(append(append(line, '"'), s...), '"'), nil
	}
	return appendJSON(line, s)
}

func appendJSON(line []byte, value any) ([]byte, error) {
	data, err := json.Marshal(value)
	return append(line, data...), err
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

func logLevel(s string) (logrus.Level, error) {
	l, err := logrus.ParseLevel(s)
	if err != nil {
		return l, fmt.Errorf("log_level: %q is none of debug, info, warn, error", s)
	}
	return l, nil
}
