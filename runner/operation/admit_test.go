package operation

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limitFileSize runs the test again in a process of its own, in which every write beyond n bytes
// fails as on a full disk (the test's own process must be able to write its log). It reports whether
// this is that process.
func limitFileSize(t testing.TB, n uint64) bool {
	t.Helper()
	const child = "BARBACK_TEST_LIMITED"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), child+"=1", "GORACE=atexit_sleep_ms=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("with files of at most %d bytes: %v\n%s", n, err, out)
		}
		return false
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: unix.RLIM_INFINITY}); err != nil {
		t.Skip("the limit cannot be set: ", err)
	}
	return true
}

func restore(dir, host, fingerprint string) Operation {
	return Operation{Type: "recovery", Server: "pg-one", Target: &Target{Directory: dir, SSH: host, Host: host}, Fingerprint: fingerprint,
		Request: json.RawMessage("{}"), Command: []string{"barman", "recover"}}
}

func TestAgainst(t *testing.T) {
	backup, queued := backupOf("pg-one"), backupOf("pg-one")
	queued.Queue = true
	tablespace := restore("/srv/a", "", "f")
	tablespace.Target.Others = []string{"/srv/t"}
	anywhere := Operation{Type: "recovery", Server: "pg-one"}
	of := func(kind string, uses ...string) Operation {
		return Operation{Type: kind, Server: "pg-one", Uses: uses}
	}
	printed := func(op Operation, fingerprint string) Operation { op.Fingerprint = fingerprint; return op }
	restored := restore("/srv/r", "", "f")
	restored.Uses = []string{"a", "b"}
	for _, tc := range []struct {
		name     string
		op, with Operation
		want     relation
	}{
		{"two backups of a server", backup, backup, excluded},
		{"a backup that waits behind another", queued, backup, unrelated},
		{"a backup that does not wait behind one that did", backup, queued, excluded},
		{"backups of two servers", backup, backupOf("pg-two"), unrelated},
		{"a backup and a recovery", backup, restore("/srv/a", "", "f"), unrelated},
		{"the same recovery", restore("/srv/a", "", "f"), restore("/srv/a", "", "f"), same},
		{"another recovery into the folder", restore("/srv/a", "", "f"), restore("/srv/a", "", "g"), excluded},
		{"recoveries that nobody could compare", restore("/srv/a", "", ""), restore("/srv/a", "", ""), excluded},
		{"a recovery below", restore("/srv/a/b", "", "f"), restore("/srv/a", "", "g"), excluded},
		{"a recovery above", restore("/srv", "", "f"), restore("/srv/a", "", "g"), excluded},
		{"a folder whose name begins like it", restore("/srv/ab", "", "f"), restore("/srv/a", "", "f"), unrelated},
		{"the same folder on another host", restore("/srv/a", "ssh x", "f"), restore("/srv/a", "ssh y", "f"), unrelated},
		{"the same folder here and there", restore("/srv/a", "", "f"), restore("/srv/a", "ssh y", "f"), unrelated},
		{"a tablespace into the folder of another", tablespace, restore("/srv/t", "", "g"), excluded},
		{"a folder below a tablespace of another", restore("/srv/t/x", "", "g"), tablespace, excluded},
		{"a tablespace elsewhere", tablespace, restore("/srv/u", "", "g"), unrelated},
		{"one host in two spellings", Operation{Type: "recovery", Target: &Target{Directory: "/srv/a", SSH: "ssh -q x", Host: "x"}}, restore("/srv/a", "x", "g"), excluded},
		{"recoveries without a target", anywhere, anywhere, unrelated},
		{"a deletion beside a backup", of("delete", "a"), backup, excluded},
		{"a deletion that waits behind a backup", Operation{Type: "delete", Server: "pg-one", Uses: []string{"a"}, Queue: true}, backup, unrelated},
		{"a deletion beside a backup of another server", of("delete", "a"), backupOf("pg-two"), unrelated},
		{"a backup beside a deletion, which it waits for", backup, of("delete", "a"), unrelated},
		{"a backup of the changes since one that is deleted", of("backup", "a"), of("delete", "a"), excluded},
		{"a deletion of what the running backup is built on", Operation{Type: "delete", Server: "pg-one", Uses: []string{"a"}, Queue: true}, of("backup", "a"), excluded},
		{"a deletion of what is restored", of("delete", "a"), restored, excluded},
		{"a restore of what is deleted", restored, of("delete", "b"), excluded},
		{"a deletion of what is not restored", of("delete", "c"), restored, unrelated},
		{"a deletion of another server's backup of that ID", Operation{Type: "delete", Server: "pg-two", Uses: []string{"a"}}, restored, unrelated},
		{"a restore beside a deletion of another server's backup", restored, Operation{Type: "delete", Server: "pg-two", Uses: []string{"a"}}, unrelated},
		{"two deletions of one backup", of("delete", "a"), of("delete", "b", "a"), excluded},
		{"two deletions", of("delete", "a"), of("delete", "b"), unrelated},
		{"the same deletion", printed(of("delete", "a"), "f"), printed(of("delete", "a"), "f"), same},
		{"a keep of what is deleted", of("keep", "a"), of("delete", "a"), excluded},
		{"a deletion of what is verified", of("delete", "a"), of("verify_backup", "a"), excluded},
		{"two keeps of one backup", of("keep", "a"), of("keep", "a"), excluded},
		{"a keep of what is restored", of("keep", "a"), restored, unrelated},
		{"cron while it works", printed(Operation{Type: "cron"}, "f"), printed(Operation{Type: "cron"}, "f"), same},
		{"the same switch of the WAL", printed(of("switch_wal"), "f"), printed(of("switch_wal"), "f"), unrelated},
		{"two changes of the configuration", Operation{Type: "config_update"}, Operation{Type: "config_update"}, unrelated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.op.against(tc.with); got != tc.want {
				t.Errorf("against = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestResources(t *testing.T) {
	for _, tc := range []struct{ kind, server, want string }{
		{"backup", "pg-one", "backup pg-one"}, {"delete", "pg-one", "backup pg-one"}, {"config_switch", "pg-one", "configuration"}, {"config_update", "", "configuration"}, {"recovery", "pg-one", ""},
	} {
		if got := (&Operation{Type: tc.kind, Server: tc.server}).Resource(); got != tc.want {
			t.Errorf("a %s of %q needs %q for itself, want %q", tc.kind, tc.server, got, tc.want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	print := func(kind, server, request string) string {
		t.Helper()
		f, err := Fingerprint(kind, server, json.RawMessage(request))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := print("backup", "pg-one", `{"a":1,"b":{"c":[1,2],"d":"x"}}`)
	if got := print("backup", "pg-one", "{\"b\": {\"d\":\"\\u0078\",\n\"c\":[1, 2]}, \"a\":1.0}"); got != first {
		t.Error("the order of the members and white space make another fingerprint, want the same")
	}
	for name, other := range map[string]string{
		"type": print("recovery", "pg-one", `{"a":1,"b":{"c":[1,2],"d":"x"}}`), "server": print("backup", "pg-two", `{"a":1,"b":{"c":[1,2],"d":"x"}}`),
		"value": print("backup", "pg-one", `{"a":2,"b":{"c":[1,2],"d":"x"}}`), "order of a list": print("backup", "pg-one", `{"a":1,"b":{"c":[2,1],"d":"x"}}`),
		"member": print("backup", "pg-one", `{"a":1}`),
	} {
		if other == first {
			t.Errorf("another %s gives the same fingerprint, want another", name)
		}
	}
	if _, err := Fingerprint("backup", "pg-one", json.RawMessage(`{`)); err == nil {
		t.Error("Fingerprint of half a request = nil, want an error")
	}
	if Key("ann", "k") == Key("bob", "k") {
		t.Error("Key does not tell identities apart")
	}
}

// admit is Admit by a request whose runner takes the operation at once.
func admit(t testing.TB, s *Store, op Operation) (Operation, *os.File) {
	t.Helper()
	op, lock, err := s.Admit(op)
	if err != nil {
		t.Fatal(err)
	}
	if lock == nil {
		t.Fatalf("Admit gave back operation %s, want a new one", op.ID)
	}
	t.Cleanup(func() { _ = lock.Close() })
	if err := s.Claim(op.ID); err != nil {
		t.Fatal(err)
	}
	return op, lock
}

func TestAdmit(t *testing.T) {
	t.Run("what is in the way is named", func(t *testing.T) {
		s := newStore(t)
		first, lock := admit(t, s, backupOf("pg-one"))
		_, none, err := s.Admit(backupOf("pg-one"))
		if e, ok := errors.AsType[*ConflictError](err); !ok || e.ID != first.ID || none != nil || !strings.Contains(e.Why, string(first.ID)) {
			t.Errorf("a second backup = %v, want a ConflictError with %s", err, first.ID)
		}
		closeFile(t, lock)
		if second, _ := admit(t, s, backupOf("pg-one")); second.ID == first.ID {
			t.Error("a backup after a dead one is the dead one, want a new one")
		}
	})
	t.Run("the same recovery is the one that is at work", func(t *testing.T) {
		s := newStore(t)
		first, lock := admit(t, s, restore("/srv/a", "", "f"))
		again, none, err := s.Admit(restore("/srv/a", "", "f"))
		if err != nil || none != nil || again.ID != first.ID {
			t.Errorf("the same recovery = %s, %v, %v, want %s and no lock", again.ID, none, err, first.ID)
		}
		closeFile(t, lock)
		if next, _ := admit(t, s, restore("/srv/a", "", "f")); next.ID == first.ID {
			t.Error("the same recovery after the end of the first is the first, want a new one")
		}
	})
	t.Run("one that no runner has yet is not given away", func(t *testing.T) {
		s := newStore(t)
		op, lock, err := s.Admit(restore("/srv/a", "", "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = lock.Close() }()
		_, none, err := s.Admit(restore("/srv/a", "", "f"))
		if e, ok := errors.AsType[*AcceptingError](err); !ok || e.ID != op.ID || none != nil {
			t.Errorf("the same recovery while the first is being accepted = %v, want an AcceptingError", err)
		}
	})
}

func TestIdempotencyKeys(t *testing.T) {
	s := newStore(t)
	keyed := backupOf("pg-one")
	keyed.Key, keyed.Fingerprint = Key("ann", "k"), "f"
	first, lock := admit(t, s, keyed)
	again := func(want string) {
		t.Helper()
		op, none, err := s.Admit(keyed)
		if err != nil || none != nil || op.ID != first.ID || string(op.State) != want {
			t.Errorf("the key again = %s %s, %v, want %s %s", op.ID, op.State, err, first.ID, want)
		}
	}
	again("queued")
	other := keyed
	other.Fingerprint = "g"
	_, _, err := s.Admit(other)
	if e, ok := errors.AsType[*KeyError](err); !ok || e.ID != first.ID {
		t.Errorf("the key for another request = %v, want a KeyError with %s", err, first.ID)
	}
	if _, err := s.End(first.ID, Failed, func(*Operation) {}); err != nil {
		t.Fatal(err)
	}
	closeFile(t, lock)
	again("failed") // a key holds as long as the record
	if err := s.Delete(first.ID); err != nil {
		t.Fatal(err)
	}
	if got := names(t, filepath.Join(s.root, "keys")); len(got) != 0 {
		t.Errorf("keys/ holds %q after Delete, want nothing", got)
	}
	second, lock := admit(t, s, keyed)
	if second.ID == first.ID {
		t.Error("the key of a forgotten operation gives it back, want a new one")
	}
	closeFile(t, lock)
	t.Run("a key file that is damaged stands for nothing", func(t *testing.T) {
		for _, content := range []string{"", "\n", "../../etc/passwd\n", "20260102T030405-0az9kx\n", string(second.ID[:10])} {
			if err := os.WriteFile(s.keyFile(keyed.Key), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, lock := admit(t, s, keyed)
			closeFile(t, lock)
		}
	})
	t.Run("the key of an operation that no runner took is free", func(t *testing.T) {
		op := keyed
		op.Key = Key("bob", "k")
		dead, lock, err := s.Admit(op)
		if err != nil {
			t.Fatal(err)
		}
		closeFile(t, lock) // the request that accepted it died
		if next, _ := admit(t, s, op); next.ID == dead.ID {
			t.Errorf("the key gives back %s, which nobody ever ran, want a new operation", dead.ID)
		}
	})
}

// When the key cannot be noted, the client is told that it failed: then nothing may be left.
func TestAdmitThatFailsLeavesNothing(t *testing.T) {
	s := newStore(t)
	if err := errors.Join(os.Remove(s.root+"/keys"), os.WriteFile(s.root+"/keys", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	op := backupOf("pg-one")
	op.Key, op.Fingerprint = Key("ann", "k"), "f"
	_, lock, err := s.Admit(op)
	if err == nil || lock != nil {
		t.Errorf("Admit with a key that cannot be noted = %v, %v, want an error and no lock", lock, err)
	}
	if got := append(names(t, s.root+"/operations"), names(t, s.root+"/active")...); len(got) != 0 {
		t.Errorf("the store holds %q, want nothing", got)
	}
}

// A full disk does not make a claim that nobody has: either it holds, or the request can take
// the operation back.
func TestAClaimOnAFullDisk(t *testing.T) {
	s := newStore(t)
	op, _ := create(t, s, backupOf("pg-one"))
	if !limitFileSize(t, 0) {
		return
	}
	claimed := s.Claim(op.ID)
	withdrawn := s.Withdraw(op.ID)
	if claimed == nil && !errors.Is(withdrawn, ErrClaimed) || claimed != nil && withdrawn != nil {
		t.Errorf("Claim = %v, then Withdraw = %v, want one of them to hold", claimed, withdrawn)
	}
}

func TestClaimed(t *testing.T) {
	s := newStore(t)
	op, _ := create(t, s, backupOf("pg-one"))
	if got := s.Claimed(op.ID); got != nil {
		t.Errorf("Claimed before the claim = %+v, want nobody", got)
	}
	if err := s.Claim(op.ID); err != nil {
		t.Fatal(err)
	}
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Claimed(op.ID); got == nil || *got != *self {
		t.Errorf("Claimed = %+v, want this process %+v", got, self)
	}
	if err := os.WriteFile(filepath.Join(s.dir(op.ID), "claim"), []byte(`{"pid":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.Claimed(op.ID); got == nil || got.alive() {
		t.Errorf("Claimed of half a claim = %+v, want somebody unknown, who is not alive", got)
	}
}

// Of many requests for one backup at once, from as many processes, one is admitted.
func TestOneOfManyIsAdmitted(t *testing.T) {
	dir := t.TempDir()
	var admitted, refused atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		s := openStore(t, dir)
		all.Go(func() {
			_, lock, err := s.Admit(backupOf("pg-one"))
			switch _, conflict := errors.AsType[*ConflictError](err); {
			case err == nil:
				admitted.Add(1)
				t.Cleanup(func() { _ = lock.Close() })
			case conflict:
				refused.Add(1)
			default:
				t.Errorf("Admit = %v, want an operation or a conflict", err)
			}
		})
	}
	all.Wait()
	if admitted.Load() != 1 || refused.Load() != 15 {
		t.Errorf("%d requests were admitted and %d refused, want 1 and 15", admitted.Load(), refused.Load())
	}
}

func TestDelete(t *testing.T) {
	s := newStore(t)
	op, lock := create(t, s, backupOf("pg-one"))
	err := s.Delete(op.ID)
	if e, ok := errors.AsType[*TransitionError](err); !ok || e.From != Queued {
		t.Errorf("Delete of a queued operation = %v, want a TransitionError", err)
	}
	closeFile(t, lock)
	if err := s.Delete(op.ID); err != nil {
		t.Errorf("Delete of a dead operation = %v, want it gone", err)
	}
	if err := s.Delete(op.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a second Delete = %v, want %v", err, ErrNotFound)
	}
	bad := createDead(t, s, backupOf("pg-one"))
	store(t, s, bad.ID, "x")
	if err := s.Delete(bad.ID); err != nil {
		t.Errorf("Delete of a damaged record = %v, want it gone", err)
	}
	if got := append(names(t, s.root+"/operations"), names(t, s.root+"/active")...); len(got) != 0 {
		t.Errorf("the store holds %q after Delete, want nothing", got)
	}
}

func TestAskCancel(t *testing.T) {
	now := time.Now().UTC()
	for _, tc := range []struct {
		state, want State
		refused     bool
	}{
		{Queued, Canceled, false}, {Running, Canceling, false}, {Canceling, Canceling, false}, {Succeeded, Succeeded, true}, {Failed, Failed, true}, {Interrupted, Interrupted, true},
	} {
		op := Operation{State: tc.state}
		if err := op.AskCancel("ann", now); (err != nil) != tc.refused || op.State != tc.want {
			t.Errorf("AskCancel of one that is %s = %v, now %s, want %s", tc.state, err, op.State, tc.want)
		}
		if !tc.refused && (op.Cancel == nil || op.Cancel.By != "ann" || !op.Cancel.At.Equal(now) || op.EndedAt.IsZero() == op.State.Final()) {
			t.Errorf("AskCancel of one that is %s notes %+v, ended %v, want ann, and an end for a queued one", tc.state, op.Cancel, op.EndedAt)
		}
	}
	op := Operation{State: Canceling, Cancel: &Cancel{By: "ann"}}
	if err := op.AskCancel("bob", now); err != nil || op.Cancel.By != "ann" {
		t.Errorf("AskCancel again = %v by %s, want the first, ann", err, op.Cancel.By)
	}
}

// What was to be canceled is canceled, however its runner calls that; but what succeeded, succeeded.
func TestTheEndOfACanceledOperation(t *testing.T) {
	for _, tc := range []struct{ end, want State }{{Failed, Canceled}, {Interrupted, Canceled}, {Canceled, Canceled}, {Succeeded, Succeeded}} {
		s := newStore(t)
		op, _ := create(t, s, backupOf("pg-one"))
		if _, err := s.Start(op.ID, ""); err != nil {
			t.Fatal(err)
		}
		if s.CancelAsked(op.ID) {
			t.Error("CancelAsked before anybody asked = true, want false")
		}
		if _, err := s.Update(op.ID, func(op *Operation) error { return op.AskCancel("ann", time.Now()) }); err != nil {
			t.Fatal(err)
		}
		if !s.CancelAsked(op.ID) {
			t.Error("CancelAsked after somebody asked = false, want true")
		}
		if got, err := s.End(op.ID, tc.end, func(*Operation) {}); err != nil || got.State != tc.want {
			t.Errorf("End(%s) while canceling = %s, %v, want %s", tc.end, got.State, err, tc.want)
		}
	}
}

func TestWait(t *testing.T) {
	s := newStore(t)
	t.Run("for nothing", func(t *testing.T) {
		if _, err := s.Wait(t.Context(), "20260102T030405-0az9kx"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Wait for an unknown operation = %v, want %v", err, ErrNotFound)
		}
	})
	t.Run("no longer than the context", func(t *testing.T) {
		op, _ := create(t, s, backupOf("pg-one"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got, err := s.Wait(ctx, op.ID); err != nil || got.State != Queued {
			t.Errorf("Wait with a context that has ended = %s, %v, want it queued", got.State, err)
		}
	})
	t.Run("until the end, however many wait", func(t *testing.T) {
		op, lock := create(t, s, backupOf("pg-one"))
		if _, err := s.Start(op.ID, ""); err != nil {
			t.Fatal(err)
		}
		type result struct {
			op  Operation
			err error
		}
		results := make(chan result, 5)
		for range 5 {
			go func() { op, err := openStore(t, s.root).Wait(t.Context(), op.ID); results <- result{op, err} }()
		}
		if _, err := s.End(op.ID, Succeeded, func(*Operation) {}); err != nil {
			t.Fatal(err)
		}
		closeFile(t, lock)
		for range 5 {
			if r := <-results; r.err != nil || r.op.State != Succeeded {
				t.Errorf("Wait = %s, %v, want it succeeded", r.op.State, r.err)
			}
		}
	})
	t.Run("until the death of the runner", func(t *testing.T) {
		op, lock := create(t, s, backupOf("pg-one"))
		done := make(chan State, 1)
		go func() { op, _ := s.Wait(t.Context(), op.ID); done <- op.State }()
		closeFile(t, lock)
		if got := <-done; got != Interrupted {
			t.Errorf("Wait for an operation whose lock becomes free = %s, want %s", got, Interrupted)
		}
	})
}
