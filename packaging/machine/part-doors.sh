# shellcheck shell=bash
# Backup and restore through each door. Sourced by test.

part_doors() {
	URL=http://127.0.0.1:7480
	check "a backup through 127.0.0.1:7480 succeeds" backed_up
	check "it is restored through 127.0.0.1:7480, into the machine's /tmp" restored /tmp/restored-direct
}
