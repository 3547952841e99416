package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
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

// formatter writes lines as logrus.JSONFormatter does, and keeps secrets out of them, whoever
// wrote them into a field. No field of ours is called level, msg or time.
type formatter struct{}

// Format makes one line of e.
func (formatter) Format(e *logrus.Entry) ([]byte, error) {
	line := make([]byte, 0, 384)
	line = append(append(line, `{"level":"`...), e.Level.String()...)
	line = handler.AppendText(append(line, `","msg":`...), e.Message)
	for _, name := range slices.Sorted(maps.Keys(e.Data)) {
		line = append(append(append(line, `,"`...), name...), `":`...)
		switch v := e.Data[name].(type) {
		case string:
			line = handler.AppendText(line, v)
		case error:
			line = handler.AppendText(line, handler.ShownError(v))
		default:
			data, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			line = append(line, data...)
		}
	}
	return append(e.Time.AppendFormat(append(line, `,"time":"`...), time.RFC3339Nano), "\"}\n"...), nil
}

// requestLog is where the lines of requests go, which have the level info.
func requestLog(w io.Writer, level string) io.Writer {
	if l, err := logLevel(level); err == nil && l < logrus.InfoLevel {
		return nil
	}
	return w
}

func logLevel(s string) (logrus.Level, error) {
	l, err := logrus.ParseLevel(s)
	if err != nil {
		return l, fmt.Errorf("log_level: %q is none of debug, info, warn, error", s)
	}
	return l, nil
}
