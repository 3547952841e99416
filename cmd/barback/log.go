package main

import (
	"fmt"
	"io"
	"time"

	"github.com/sirupsen/logrus"
)

// newLog is the one place that sets logrus up: JSON lines on standard error, where
// journald or Apache's error log takes them. JSON also keeps a client from forging lines.
func newLog(w io.Writer, level string) logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(w)
	log.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	if l, err := logLevel(level); err == nil {
		log.SetLevel(l)
	}
	return log
}

func logLevel(s string) (logrus.Level, error) {
	l, err := logrus.ParseLevel(s)
	if err != nil {
		return l, fmt.Errorf("log_level: %q is none of debug, info, warn, error", s)
	}
	return l, nil
}
