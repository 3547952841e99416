package runner

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"barback/runner/barman"
	"barback/runner/operation"
)

// readable is a Barman whose reports are what it printed, unless that is nonsense.
type readable struct{ fakeCatalog }

func (readable) Read(_ barman.Kind, _ string, printed []byte) (json.RawMessage, error) {
	if !json.Valid(printed) {
		return nil, errors.New("nonsense")
	}
	return printed, nil
}

func TestHowALookEnds(t *testing.T) {
	zero, one, two := 0, 1, 2
	failed := &operation.Failure{Title: "Barman failed"}
	for _, tc := range []struct {
		name, printed string
		exit          *int
		failure       *operation.Failure
		state         operation.State
		says          string
	}{
		{"all is well", `{}`, &zero, nil, operation.Succeeded, ""},
		{"a check found something", `{"ok":false}`, &one, failed, operation.Succeeded, ""},
		{"Barman failed", `ERROR`, &one, failed, operation.Failed, "Barman failed"},
		{"Barman did not understand", `{}`, &two, failed, operation.Failed, "Barman failed"},
		{"Barman was killed", `{}`, nil, failed, operation.Failed, "Barman failed"},
		{"nobody can read it", `hello`, &zero, nil, operation.Failed, "cannot be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			store, err := operation.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			op, lock, err := store.Create(operation.Operation{Type: "check", Server: "pg-one", Request: []byte("{}"), Command: []string{"barman"}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = lock.Close() }()
			w, err := store.OutputWriter(op.ID)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write([]byte(tc.printed))
			_ = w.Close()
			kind, _ := barman.KindOf("check", false)
			end := outcome{state: map[bool]operation.State{true: operation.Succeeded, false: operation.Failed}[tc.failure == nil], exit: tc.exit, failure: tc.failure}
			got := (&Config{Store: store, Barman: readable{}}).reported(kind, op, end)
			if got.state != tc.state || (got.failure == nil) != (tc.says == "") || got.failure != nil && !strings.Contains(got.failure.Title, tc.says) {
				t.Errorf("it ended as %+v (%+v), want %s, %q", got, got.failure, tc.state, tc.says)
			}
			if want := map[bool]string{true: tc.printed}[tc.state == operation.Succeeded]; string(got.result.Report) != want || got.exit != tc.exit {
				t.Errorf("the report is %s, exit code %v, want %q, %v", got.result.Report, got.exit, want, tc.exit)
			}
		})
	}
}
