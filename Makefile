# The two commands to know are "make demo" and "make test". Both install what is missing from Debian
# (as root, or by sudo) and touch no existing cluster or configuration.

PREFIX  ?= /usr
DESTDIR ?=
GO      ?= go

# SOURCE_DATE_EPOCH and a version from git make two builds of one commit the same bytes.
VERSION ?= $(shell packaging/version)
BUILD    = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -buildid= -X main.linked=$(VERSION)'

SUDO     = $(shell [ "$$(id -u)" = 0 ] || echo sudo)
GOLANGCI = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
REDOCLY  = REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true npx --yes @redocly/cli@2.77.0
GOVULN   = $(GO) run golang.org/x/vuln/cmd/govulncheck@latest

.PHONY: all build test torture bench bench-readme bench-go bench-compare soak check lint-api demo package package-check machine-test man clean install help

all: build

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

build: ## build the static binary bin/barback
	$(BUILD) -o bin/barback ./cmd/barback

demo: build ## show a backup and a restore through the API, on a private PostgreSQL, Barman and Apache
	packaging/demo bin/barback

test: build ## install what is missing and run all tests, with real Barman, PostgreSQL, Apache and sockets
	packaging/lab/install --quiet
	packaging/lab/test -timeout 60m ./...

torture: build ## the long form of the tests that kill, fill disks, race and inject (half an hour)
	packaging/lab/install --quiet
	BARBACK_TORTURE=1 packaging/lab/test -v -timeout 120m -run 'Torture|Progress|Injection|Secrets' ./cmd/barback

bench: build bin/bench ## measure every budget against an empty handler and plain Barman (seven minutes): dist/bench/
	$(SUDO) bin/bench run $(BENCH) bin/barback bin/empty

bench-readme: bin/bench ## show the last whole run of make bench in README.md, or that of RUN=FILE.json
	bin/bench readme $(or $(RUN),dist/bench/latest.json)

bench-go: ## run the Go benchmarks (GOBENCH=PATTERN), six times each, into dist/bench/go-VERSION.txt
	@mkdir -p dist/bench
	$(GO) test -run '^$$' -bench '$(or $(GOBENCH),.)' -benchmem -count 6 ./handler/... ./runner/... | tee dist/bench/go-$(VERSION).txt

bench-compare: bin/bench ## compare two runs: OLD=a.json NEW=b.json, or two .txt of bench-go
	@case "$(OLD)" in '') echo 'make bench-compare OLD=FILE NEW=FILE' >&2; exit 2 ;; \
	*.txt) $(GO) run golang.org/x/perf/cmd/benchstat@latest "$(OLD)" "$(NEW)" ;; *) bin/bench compare "$(OLD)" "$(NEW)" ;; esac

soak: build bin/bench ## a mixed load for MINUTES (30): memory, descriptors, zombies, errors
	$(SUDO) bin/bench soak --minutes $(or $(MINUTES),30) bin/barback

bin/bench: FORCE
	packaging/lab/install --quiet
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/ ./packaging/bench ./packaging/bench/empty

FORCE:

check: build ## what has to be clean before a commit: gofmt, vet, linters, race tests, known vulnerabilities
	packaging/lab/install --quiet
	@test -z "$$(gofmt -l cmd handler packaging runner)" || { gofmt -l cmd handler packaging runner; echo 'make check: run gofmt -w on these files' >&2; exit 1; }
	$(GO) vet ./...
	$(GOLANGCI) run ./...
	packaging/lab/test -race -timeout 80m ./...
	@out=$$($(GOVULN) ./... 2>&1) && echo "$$out" || case "$$out" in \
	*"exit status 3"*) echo "$$out" >&2; exit 1 ;; \
	*) echo "make check: known vulnerabilities were not looked for, as govulncheck or its database cannot be reached: $$(echo "$$out" | tail -n 1)" >&2 ;; esac
	@if $(REDOCLY) --version >/dev/null 2>&1; then $(MAKE) --no-print-directory lint-api; else \
	echo 'make check: handler/openapi.yaml was not linted, as npx or its registry cannot be reached' >&2; fi

lint-api: ## hold handler/openapi.yaml against Redocly's rules for OpenAPI (needs npx, of Debian's package npm)
	$(REDOCLY) lint handler/openapi.yaml

package: build ## build dist/*.deb and dist/*.rpm
	packaging/package '$(VERSION)'

package-check: package ## build the packages twice, and have lintian and rpm look at them
	packaging/check

# 77: no machine can be booted here, which was said.
machine-test: package ## install the packages on a Debian with systemd that is made for it, and see what survives what
	packaging/machine/test $(MACHINE) || [ $$? -eq 77 ]

man: ## write what the man pages say of verbs, keys and paths anew
	$(GO) test ./cmd/barback -run 'TestManPages$$' -update

install: ## install binary, configuration, units and recipes below DESTDIR
	@test -x bin/barback || { echo 'make install: nothing is built yet: run make first (root may have no Go on its PATH)' >&2; exit 1; }
	install -D -m 755 bin/barback $(DESTDIR)$(PREFIX)/bin/barback
	test -e $(DESTDIR)/etc/barback/barback.toml || install -D -m 644 packaging/barback.toml $(DESTDIR)/etc/barback/barback.toml
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/barback/apache $(DESTDIR)$(PREFIX)/share/barback/errors
	install -m 644 systemd/*.service systemd/*.socket systemd/*.timer $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -D -m 644 packaging/sysusers.d/barback.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/barback.conf
	install -D -m 644 packaging/tmpfiles.d/barback.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/barback.conf
	install -D -m 644 packaging/logrotate.d/barback $(DESTDIR)/etc/logrotate.d/barback
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man7
	for n in 1 5 7; do install -m 644 packaging/man/*.$$n $(DESTDIR)$(PREFIX)/share/man/man$$n; done
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	bin/barback completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/barback
	install -m 644 apache/*.conf apache/README.md $(DESTDIR)$(PREFIX)/share/barback/apache
	install -m 755 apache/barback.fcgi apache/barback.cgi $(DESTDIR)$(PREFIX)/share/barback/apache
	install -m 644 handler/openapi.yaml $(DESTDIR)$(PREFIX)/share/barback/openapi.yaml
	install -m 644 apache/errors/* $(DESTDIR)$(PREFIX)/share/barback/errors
	sed -i 's|/usr/bin/barback|$(PREFIX)/bin/barback|g; s|/usr/share/barback|$(PREFIX)/share/barback|g' \
		$(DESTDIR)$(PREFIX)/lib/systemd/system/barback* $(DESTDIR)$(PREFIX)/share/barback/apache/*

clean: ## remove what was built
	rm -rf bin dist
