package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// Whatever stands in a field, a line of the log is what logrus itself would write.
func TestLogLinesAreThoseOfLogrus(t *testing.T) {
	for _, fields := range []logrus.Fields{
		{},
		{"method": "GET", "path": "/a/b", "status": 200, "seconds": 0.00123, "user": "größe", "remote": "::1"},
		{"text": "a \"quoted\" \\ line\n\t<b>&", "none": nil, "list": []string{"x"}, "ok": true, "n": int64(7)},
		{"error": errors.New("no such file"), "took": time.Second},
	} {
		e := &logrus.Entry{Logger: logrus.New(), Data: fields, Time: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC), Level: logrus.WarnLevel, Message: "what <happened>"}
		want, err := (&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano}).Format(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := formatter{}.Format(e)
		if err != nil {
			t.Fatal(err)
		}
		var wanted, gotten map[string]any
		if err := errors.Join(json.Unmarshal(want, &wanted), json.Unmarshal(got, &gotten)); err != nil {
			t.Fatalf("%v\n%s", err, got)
		}
		if !reflect.DeepEqual(gotten, wanted) || bytes.Count(got, []byte("\n")) != 1 {
			t.Errorf("the line is %s, want %s", got, want)
		}
	}
}

// The lines of requests are written past logrus: they have the level info all the same.
func TestRequestsAreLoggedWhereInfoIs(t *testing.T) {
	for level, want := range map[string]bool{"debug": true, "info": true, "warn": false, "error": false, "": true} {
		if got := requestLog(io.Discard, level) != nil; got != want {
			t.Errorf("with the level %q requests are logged: %v, want %v", level, got, want)
		}
	}
}
