package barman

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// keepBox has full backups, one kept, one with two increments, one that nobody makes any more, and a passive server.
func keepBox(t testing.TB) *box {
	t.Helper()
	return newBox(t, map[string]string{
		"conf.d/1.conf": "[pg-one]\n[pg-off]\nactive = false\n[passive]\nprimary_ssh_command = ssh x\n[few]\nminimum_redundancy = 1\n",
		"home/pg-one/meta/20260101T000000-backup.info":            backupInfo("DONE", "backup_name=nightly"),
		"home/pg-one/base/20260101T000000/data/backup_manifest":   "{}",
		"home/pg-one/meta/20260102T000000-backup.info":            backupInfo("DONE"),
		"home/pg-one/meta/20260102T000000-keep":                   "standalone",
		"home/pg-one/meta/20260103T000000-backup.info":            backupInfo("DONE", "children_backup_ids=20260104T000000"),
		"home/pg-one/meta/20260104T000000-backup.info":            backupInfo("DONE", "parent_backup_id=20260103T000000"),
		"home/pg-one/meta/20260105T000000-backup.info":            backupInfo("DONE", "parent_backup_id=20260104T000000"),
		"home/pg-one/meta/20260106T000000-backup.info":            backupInfo("STARTED"),
		"home/few/base/20260101T000000/backup.info":               backupInfo("DONE"),
		"home/few/base/20260102T000000/backup.info":               backupInfo("FAILED"),
		"home/pg-off/base/20260101T000000/backup.info":            backupInfo("DONE"),
		"home/pg-off/base/20260101T000000/annotations/keep":       "full",
		"home/pg-off/base/20260102T000000/backup.info":            backupInfo("DONE"),
		"home/passive/meta/20260101T000000-backup.info":           backupInfo("DONE"),
		"home/pg-one/base/20260102T000000/data/PG_VERSION":        "17",
		"home/pg-one/base/20260106T000000/data/base/1/PG_VERSION": "17",
	})
}

func TestPlansOfMaintenance(t *testing.T) {
	b := keepBox(t)
	for _, tc := range []struct {
		kind, server, body string
		want               string // behind "barman -c CONF"
		uses               string
	}{
		{"delete", "pg-one", `{"backup_id":"nightly"}`, "delete pg-one 20260101T000000", "20260101T000000"},
		{"delete", "pg-one", `{"backup_id":"oldest","queue":true}`, "delete pg-one 20260101T000000", "20260101T000000"},
		{"delete", "pg-one", `{"backup_id":"20260103T000000","incrementals":true}`, "delete pg-one 20260103T000000", "20260103T000000 20260104T000000 20260105T000000"},
		{"delete", "pg-one", `{"backup_id":"20260105T000000"}`, "delete pg-one 20260105T000000", "20260105T000000"},
		{"delete", "pg-one", `{"backup_id":"20260106T000000"}`, "delete pg-one 20260106T000000", "20260106T000000"},
		{"delete", "few", `{"backup_id":"last-failed"}`, "delete few 20260102T000000", "20260102T000000"},
		{"keep", "pg-one", `{"backup_id":"20260101T000000","target":"full"}`, "keep --target=full pg-one 20260101T000000", "20260101T000000"},
		{"keep", "pg-one", `{"backup_id":"20260101T000000","target":"standalone"}`, "keep --target=standalone pg-one 20260101T000000", "20260101T000000"},
		{"keep", "pg-one", `{"backup_id":"20260102T000000","target":"release"}`, "keep --release pg-one 20260102T000000", "20260102T000000"},
		{"verify_backup", "pg-one", `{"backup_id":"20260101T000000"}`, "verify-backup pg-one 20260101T000000", "20260101T000000"},
		{"generate_manifest", "pg-one", `{"backup_id":"20260102T000000"}`, "generate-manifest pg-one 20260102T000000", "20260102T000000"},
		{"check_backup", "pg-off", `{"backup_id":"latest"}`, "check-backup pg-off 20260102T000000", "20260102T000000"},
		{"switch_wal", "pg-one", `{}`, "switch-wal pg-one", ""},
		{"switch_wal", "pg-one", `{"force":true,"archive":true,"archive_timeout":9}`, "switch-wal --force --archive --archive-timeout=9 pg-one", ""},
		{"archive_wal", "pg-one", `{"type":"archive_wal"}`, "archive-wal pg-one", ""},
		{"rebuild_xlogdb", "passive", `{}`, "rebuild-xlogdb passive", ""},
		{"sync_wals", "passive", `{}`, "sync-wals passive", ""},
		{"sync_backup", "passive", `{"backup_id":"20251231T235959"}`, "sync-backup passive 20251231T235959", "20251231T235959"},
		{"cron", "", `{"type":"cron"}`, "cron", ""},
		{"recovery", "pg-one", `{"backup_id":"20260105T000000","destination_directory":"/srv/x","remote_ssh_command":"ssh h","local_staging_path":"/srv/tmp"}`,
			"recover --local-staging-path=/srv/tmp --remote-ssh-command=ssh h pg-one 20260105T000000 /srv/x", "20260105T000000 20260104T000000 20260103T000000"},
	} {
		aged(t, "3.20.1", "--local-staging-path").lend(b)
		plan, err := b.plan(t, tc.kind, tc.server, tc.body)
		if err != nil || strings.Join(plan.Command[3:], " ") != tc.want || strings.Join(plan.Uses, " ") != tc.uses {
			t.Errorf("%s %s = %q with %q, %v, want %q with %q", tc.kind, tc.body, plan.Command, plan.Uses, err, tc.want, tc.uses)
		}
	}
}

// lend gives the box's Barman to another box.
func (b *box) lend(to *box) { to.client.Command, to.client.Cache = b.client.Command, b.client.Cache }

func TestRefusalsOfMaintenance(t *testing.T) {
	b := keepBox(t)
	aged(t, "3.13.3", "--incremental", "--cloud-staging-directory").lend(b)
	for _, tc := range []struct{ kind, server, body, pointer, says string }{
		{"delete", "pg-one", `{}`, "/backup_id", "is missing"},
		{"delete", "pg-one", `{"backup_id":""}`, "", "Backup '' does not exist"},
		{"delete", "pg-one", `{"backup_id":"auto"}`, "", "Backup 'auto' does not exist"},
		{"delete", "pg-one", `{"backup_id":"2026"}`, "", "Backup '2026' does not exist"},
		{"delete", "pg-one", `{"backup_id":"20260101T000000","dry_run":true}`, "/dry_run", "delete has no such member; it has type, backup_id"},
		{"delete", "pg-one", `{"backup_id":"20260102T000000"}`, "/backup_id", `is kept (standalone): release it first`},
		{"delete", "pg-off", `{"backup_id":"20260101T000000"}`, "/backup_id", `is kept (full): release it first`},
		{"delete", "pg-one", `{"backup_id":"20260103T000000"}`, "/incrementals", `20260104T000000, 20260105T000000; say "incrementals": true`},
		{"delete", "few", `{"backup_id":"latest"}`, "/backup_id", "1 full backups are DONE, minimum_redundancy is 1"},
		{"keep", "pg-one", `{"backup_id":"latest"}`, "/target", "full, standalone or release"},
		{"keep", "pg-one", `{"backup_id":"latest","target":"none"}`, "/target", "full, standalone or release"},
		{"keep", "pg-one", `{"target":"full"}`, "/backup_id", "is missing"},
		{"keep", "pg-one", `{"backup_id":"20260104T000000","target":"full"}`, "/backup_id", "is DONE and incremental"},
		{"keep", "few", `{"backup_id":"20260102T000000","target":"full"}`, "/backup_id", "is FAILED and full"},
		{"verify_backup", "pg-one", `{"backup_id":"20260102T000000"}`, "/backup_id", "generate_manifest makes one"},
		{"generate_manifest", "pg-one", `{"backup_id":"20260101T000000"}`, "/backup_id", "has a manifest already"},
		{"switch_wal", "pg-one", `{"force":"yes"}`, "/force", "must be true or false"},
		{"switch_wal", "pg-off", `{}`, "", "Server 'pg-off' is inactive"},
		{"archive_wal", "passive", `{}`, "", "Server 'passive' is passive"},
		{"archive_wal", "pg-one", `{"x~/y":1}`, "/x~0~1y", "no such member"},
		{"sync_wals", "pg-one", `{}`, "", "Server 'pg-one' is not passive"},
		{"sync_backup", "passive", `{"backup_id":"latest"}`, "/backup_id", "must be the ID"},
		{"sync_backup", "pg-one", `{"backup_id":"20260101T000000"}`, "", "is not passive"},
		{"backup", "pg-one", `{"incremental":"nightly"}`, "/incremental", `of PostgreSQL 15 by the method "postgres"`},
		{"backup", "pg-one", `{"incremental":"nope"}`, "", "Backup 'nope' does not exist"},
		{"backup", "pg-one", `{"cloud_staging_directory":"DIR/home/x"}`, "/cloud_staging_directory", "would destroy it"},
		{"recovery", "pg-one", `{"backup_id":"nightly","destination_directory":"/srv/x","local":true,"network_compression":true}`, "/network_compression", "over ssh"},
		{"recovery", "pg-one", `{"backup_id":"nightly","destination_directory":"/srv/x","local":true,"staging_path":"/srv/../x"}`, "/staging_path", "without . and .."},
		{"recovery", "pg-one", `{"backup_id":"nightly","destination_directory":"/srv/x:y","local":true}`, "/destination_directory", "colon"},
		{"recovery", "pg-one", `{"backup_id":"20260105T000000","destination_directory":"/srv/x","local":true}`, "/local_staging_path", "is incremental: Barman needs a folder"},
	} {
		t.Run(tc.kind+" "+tc.body, func(t *testing.T) {
			plan, err := b.plan(t, tc.kind, tc.server, strings.ReplaceAll(tc.body, "DIR", b.dir))
			if plan.Command != nil {
				t.Errorf("a command came of it: %q", plan.Command)
			}
			if tc.pointer != "" {
				wantRefusal(t, err, tc.pointer, tc.says, strings.Contains(tc.says, "destroy"))
			} else if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Plan = %v, want %q", err, tc.says)
			}
		})
	}
}

// A rehearsal is no refusal: it has every finding.
func TestAllChecksAtOnce(t *testing.T) {
	b := stopBox(t)
	b.write(t, "home/pg-one/meta/20260103T000000-backup.info", backupInfo("DONE", "end_time=2026-11-21 13:00:30+00:00", "end_xlog=0/6000100", "timeline=2", "compression=gzip"))
	b.write(t, "home/pg-one/meta/20260104T000000-backup.info", strings.Replace(backupInfo("DONE", "end_time=2026-11-21 13:00:30+00:00"), "size=1\n", "size=9000000000000000\n", 1))
	body := `{"backup_id":"%s","destination_directory":"` + b.dir + `/new/er","local":true,"target_time":"2026-11-21T14:00:00Z"}`
	for id, want := range map[string]string{
		"20260101T000000": "backup+ target+ wals- room+", "20260103T000000": "backup+ staging- target+ wals- room+", "20260104T000000": "backup+ target+ wals- room-",
	} {
		r := request(t, "pg-one", fmt.Sprintf(body, id))
		failing := strings.Count(want, "-")
		_, err := b.client.Plan(kindOf(t, "recovery"), r)
		if e, ok := errors.AsType[*InvalidError](err); !ok || len(e.Fields) != failing || !e.Hopeless || e.Policy {
			t.Errorf("Plan = %+v, want a refusal for %d reasons", err, failing)
		}
		r.DryRun = true
		plan, err := b.client.Plan(kindOf(t, "recovery"), r)
		var got []string
		for _, c := range plan.Checks {
			got = append(got, c.Name+either(c.OK, "+", "-"))
		}
		if err != nil || strings.Join(got, " ") != want || !slices.Contains(plan.Command, id) {
			t.Errorf("a dry run = %q with %v, %v, want %q", plan.Command, got, err, want)
		}
	}
}
