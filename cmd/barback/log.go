package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
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
	line := append(make([]byte, 0, 384), `{"level":"`...)
	line = append(append(line, e.Level.String()...), `","msg":`...)
	line, err := appendJSON(line, handler.Shown(e.Message))
	for _, name := range slices.Sorted(maps.Keys(e.Data)) {
		if err != nil {
			return nil, err
		}
		value := e.Data[name]
		switch v := value.(type) {
		case string:
			value = handler.Shown(v)
		case error:
			value = handler.ShownError(v)
		}
		line = append(append(append(line, `,"`...), name...), `":`...)
		line, err = appendJSON(line, value)
	}
	return append(e.Time.AppendFormat(append(line, `,"time":"`...), time.RFC3339Nano), "\"}\n"...), err
}

func appendJSON(line []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		if !strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c > '~' || strings.ContainsRune(`"\<>&`, c) }) {
			return append(append(append(line, '"'), v...), '"'), nil
		}
	case int:
		return strconv.AppendInt(line, int64(v), 10), nil
	}
	data, err := json.Marshal(value)
	return append(line, data...), err
}

func logLevel(s string) (logrus.Level, error) {
	l, err := logrus.ParseLevel(s)
	if err != nil {
		return l, fmt.Errorf("log_level: %q is none of debug, info, warn, error", s)
	}
	return l, nil
}
