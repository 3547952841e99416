package main

import (
	"fmt"
	"io"
	"time"

	"github.com/sirupsen/logrus"

	"barback/handler"
)

// newLog is the one place that sets logrus up: JSON lines on standard error, where
// journald or Apache's error log takes them. JSON also keeps a client from forging lines.
func newLog(w io.Writer, level string) logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(w)
	log.SetFormatter(&formatter{logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano}})
	if l, err := logLevel(level); err == nil {
		log.SetLevel(l)
	}
	return log
}

// formatter keeps secrets out of the log, whoever wrote them into a field.
type formatter struct{ logrus.JSONFormatter }

// Format makes one line of e.
func (f *formatter) Format(e *logrus.Entry) ([]byte, error) {
	shown := e.Dup()
	shown.Level, shown.Message, shown.Caller = e.Level, handler.Shown(e.Message), e.Caller
	for name, value := range shown.Data {
		switch v := value.(type) {
		case string:
			shown.Data[name] = handler.Shown(v)
		case error:
			shown.Data[name] = handler.ShownError(v)
		}
	}
	return f.JSONFormatter.Format(shown)
}

func logLevel(s string) (logrus.Level, error) {
	l, err := logrus.ParseLevel(s)
	if err != nil {
		return l, fmt.Errorf("log_level: %q is none of debug, info, warn, error", s)
	}
	return l, nil
}
