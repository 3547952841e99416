package operation

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var everyState = []State{Queued, Running, Canceling, Succeeded, Failed, Canceled, Interrupted}

func TestTransitions(t *testing.T) {
	allowed := map[[2]State]bool{
		{Queued, Running}: true, {Queued, Failed}: true, {Queued, Canceled}: true, {Queued, Interrupted}: true,
		{Running, Canceling}: true, {Running, Succeeded}: true, {Running, Failed}: true, {Running, Interrupted}: true,
		{Canceling, Succeeded}: true, {Canceling, Failed}: true, {Canceling, Canceled}: true, {Canceling, Interrupted}: true,
	}
	states := append(slices.Clone(everyState), Damaged, "", "nonsense")
	for _, from := range states {
		for _, to := range states {
			op := Operation{ID: "20260102T030405-0az9kx", State: from}
			err := op.move(to)
			if allowed[[2]State{from, to}] || from == to {
				if err != nil || op.State != to {
					t.Errorf("move from %q to %q = %v, now %q, want it done", from, to, err, op.State)
				}
				continue
			}
			refusal, ok := errors.AsType[*TransitionError](err)
			if !ok || *refusal != (TransitionError{op.ID, from, to}) {
				t.Errorf("move from %q to %q = %v, want a TransitionError that says so", from, to, err)
			}
			if op.State != from {
				t.Errorf("a refused move from %q to %q left %q, want no change", from, to, op.State)
			}
		}
	}
}

func TestStates(t *testing.T) {
	for _, tc := range []struct {
		state        State
		final, known bool
		status       string
	}{
		{Queued, false, true, "IN_PROGRESS"},
		{Running, false, true, "IN_PROGRESS"},
		{Canceling, false, true, "IN_PROGRESS"},
		{Succeeded, true, true, "DONE"},
		{Failed, true, true, "FAILED"},
		{Canceled, true, true, "FAILED"},
		{Interrupted, true, true, "FAILED"},
		{Damaged, true, false, "FAILED"},
		{"", true, false, "FAILED"},
		{"RUNNING", true, false, "FAILED"},
	} {
		if tc.state.Final() != tc.final || tc.state.Known() != tc.known || tc.state.Status() != tc.status {
			t.Errorf("state %q: Final = %v, Known = %v, Status = %s, want %v, %v, %s",
				tc.state, tc.state.Final(), tc.state.Known(), tc.state.Status(), tc.final, tc.known, tc.status)
		}
	}
}

// fullOperation has a value in every field.
func fullOperation(t testing.TB) Operation {
	t.Helper()
	code := 3
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC)
	op := Operation{
		Version: 1, ID: "20260102T030405-0az9kx", Type: "recovery", Server: "pg-one", State: Failed, CreatedAt: at, StartedAt: at.Add(time.Second),
		EndedAt: at.Add(time.Hour), RequestedBy: "ann", RequestID: "abc", Request: json.RawMessage(`{"type":"recovery"}`), Command: []string{"/usr/bin/barman", "recover"},
		Target: &Target{Directory: "/srv/x", Others: []string{"/srv/y"}, SSH: "ssh postgres@db", Host: "postgres@db:", Overwrite: true}, MaxOutput: 64 << 20, OutputLost: true, ExitCode: &code, Error: &Failure{"Barman failed", "why"},
		Host: "backup1", Unseen: true, Uses: []string{"20260101T000000"}, Queue: true, Key: "k", Fingerprint: "f", Cancel: &Cancel{By: "ann", At: at},
		Result: Result{BackupID: "20260101T000000", BackupStatus: "FAILED"}, Runner: &Process{PID: 12, StartTime: 34, BootID: "b"}, Invocation: "i",
	}
	for i, v := range reflect.ValueOf(op).Fields() {
		if v.IsZero() && i.IsExported() {
			t.Fatalf("the sample has no %s: give it one", i.Name)
		}
	}
	return op
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	want := fullOperation(t)
	b, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(want.ID, b)
	if err != nil {
		t.Fatalf("decode = %v, want no error", err)
	}
	var compact bytes.Buffer // the request is indented with the rest
	if err := json.Compact(&compact, got.Request); err != nil {
		t.Fatal(err)
	}
	got.Request = compact.Bytes()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the record comes back as\n%+v\nwant\n%+v", got, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	const id = ID("20260102T030405-0az9kx")
	for _, tc := range []struct{ name, data, says string }{
		{"nothing", "", "unexpected end"},
		{"blanks", "  \n", "unexpected end"},
		{"NULs, as after a power failure", string(make([]byte, 512)), "invalid character"},
		{"half of it", `{"version":1,"id":"20260102T030405-0az9kx","state":"que`, "unexpected end"},
		{"two in one", `{"version":1,"id":"20260102T030405-0az9kx","state":"queued"}{}`, "after top-level value"},
		{"something else", "hello", "invalid character"},
		{"a list", "[]", "cannot unmarshal"},
		{"null", "null", "version 0"},
		{"no version", `{"id":"20260102T030405-0az9kx","state":"queued"}`, "version 0"},
		{"a version to come", `{"version":2,"id":"20260102T030405-0az9kx","state":"queued"}`, "version 2"},
		{"a negative version", `{"version":-1,"id":"20260102T030405-0az9kx","state":"queued"}`, "version -1"},
		{"the record of another", `{"version":1,"id":"20260102T030405-0az9ky","state":"queued"}`, `the record of "20260102T030405-0az9ky"`},
		{"no state", `{"version":1,"id":"20260102T030405-0az9kx","command":["x"]}`, `unknown state ""`},
		{"an unknown state", `{"version":1,"id":"20260102T030405-0az9kx","command":["x"],"state":"paused"}`, `unknown state "paused"`},
		{"the state that is never stored", `{"version":1,"id":"20260102T030405-0az9kx","command":["x"],"state":"damaged"}`, `unknown state "damaged"`},
		{"no command", `{"version":1,"id":"20260102T030405-0az9kx","state":"queued"}`, "names no command"},
		{"an empty command", `{"version":1,"id":"20260102T030405-0az9kx","state":"queued","command":[]}`, "names no command"},
		{"a state of another type", `{"version":1,"id":"20260102T030405-0az9kx","state":1}`, "cannot unmarshal"},
		{"a time that is none", `{"version":1,"id":"20260102T030405-0az9kx","state":"queued","created_at":"yesterday"}`, "parsing time"},
		{"an exit code that is none", `{"version":1,"id":"20260102T030405-0az9kx","state":"queued","exit_code":"0"}`, "cannot unmarshal"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if op, err := decode(id, []byte(tc.data)); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("decode(%q) = %+v, %v, want an error with %q", tc.data, op, err, tc.says)
			}
		})
	}
}

// Fields are only ever added: a record of a later minor version still loads.
func TestUnknownFieldsAreIgnored(t *testing.T) {
	op, err := decode("20260102T030405-0az9kx", []byte(`{"version":1,"id":"20260102T030405-0az9kx","state":"succeeded","command":["x"],"new":{"x":1}}`))
	if err != nil || op.State != Succeeded {
		t.Errorf("decode of a record with a new field = %v, %v, want it succeeded", op.State, err)
	}
}

// The records of testdata/v1 were written by released versions. They must load for ever: never
// change one, add to them.
func TestRecordsOfVersion1Load(t *testing.T) {
	paths, err := filepath.Glob("testdata/v1/*.json")
	if err != nil || len(paths) < 7 {
		t.Fatalf("testdata/v1 holds %d records (%v), want at least 7", len(paths), err)
	}
	seen := map[State]bool{}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var head struct {
				ID    ID
				State State
			}
			if err := json.Unmarshal(data, &head); err != nil {
				t.Fatal(err)
			}
			op, err := decode(head.ID, data)
			if err != nil {
				t.Fatalf("decode = %v, want no error", err)
			}
			seen[op.State] = true
			if name := string(op.State) + ".json"; !strings.HasSuffix(path, name) {
				t.Errorf("the state = %s, want the one that the file is named for", op.State)
			}
			// What is written again holds all that was there, in the same spelling.
			again, err := op.encode()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, data) {
				t.Errorf("written again it is\n%s\nwant\n%s", again, data)
			}
		})
	}
	for _, s := range everyState {
		if !seen[s] {
			t.Errorf("testdata/v1 has no record that is %s, want one of each state", s)
		}
	}
}

// Whatever stands in a record, decode gives an error or a record that can be written and read again.
func FuzzDecodeRecord(f *testing.F) {
	paths, _ := filepath.Glob("testdata/v1/*.json")
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"version":1,"id":"20260102T030405-0az9kx","state":"queued","created_at":"9999-12-31T23:59:59.999999999-23:59"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var head struct{ ID ID }
		_ = json.Unmarshal(data, &head)
		op, err := decode(head.ID, data)
		if err != nil {
			return
		}
		if op.ID != head.ID || !op.State.Known() || op.Version != version {
			t.Fatalf("decode let through version %d, ID %q, state %q", op.Version, op.ID, op.State)
		}
		again, err := op.encode()
		if err != nil {
			t.Fatalf("a record that was read cannot be written: %v", err)
		}
		if back, err := decode(op.ID, again); err != nil || back.State != op.State || !back.CreatedAt.Equal(op.CreatedAt) {
			t.Fatalf("written again it reads as %+v, %v, want the same", back, err)
		}
	})
}
