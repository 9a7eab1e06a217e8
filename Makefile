# Run `make` for what there is. It needs Go (go.mod names the version); all other
# tools are pinned in go.mod and tools/go.mod, and built by `go tool` on first use.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TOOL := go tool -modfile=tools/go.mod
FUZZTIME ?= 10s
BENCH ?= .
COMPARE ?=
PROFILE ?= .profile
CLIENTS ?= 1000
RATE ?= 2000
DURATION ?= 25s
HOSTILE ?= 20s
ATTACK ?= all

# The race detector needs a C compiler on most systems; without one the tests run plain.
RACE := $(if $(shell command -v "$$(go env CC)"),-race)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

# What the browser is given needs Node 20.19 or newer to be built, tested and checked.
# The result of the build is committed: without Node everything else works.
NODE := $(shell command -v npm)

node_modules/.package-lock.json: package-lock.json
	npm ci

.PHONY: web
web: node_modules/.package-lock.json ## Build the browser SDK and the pages that the binary embeds
	npm run build

.PHONY: test-web
test-web: ## Run the tests of the browser SDK and the pages, without a browser
ifeq ($(NODE),)
	@echo "no npm: the browser SDK and the pages are NOT tested" >&2; [[ $${CI:-} != true ]]
else
	$(MAKE) node_modules/.package-lock.json
	npm test
endif

# The tests of the page need a browser. Where there is none and Debian's can be had,
# it is installed; else they say that they are skipped, and fail where CI=true.
.PHONY: chromium
chromium:
	@for b in chromium chromium-browser google-chrome google-chrome-stable chrome; do if command -v $$b >/dev/null; then exit 0; fi; done; \
	if [[ $$EUID == 0 ]] && command -v apt-get >/dev/null; then \
		echo "no browser here: installing Chromium for the tests of the page"; \
		{ apt-get update && apt-get install -y --no-install-recommends chromium fonts-liberation; } >/dev/null 2>&1 || echo "Chromium could not be installed" >&2; \
	fi

.PHONY: measure-web
measure-web: chromium ## Measure the page in two tabs for DURATION (10m): memory, long tasks, frames a second
	go test -count=1 -v -timeout 24h -run TestMeasure ./e2e/browser -args -measure $(DURATION)
measure-web: DURATION = 10m

.PHONY: build
build: ## Build bin/lzstock
	go build -trimpath -o bin/lzstock ./cmd/lzstock

.PHONY: test
test: ## Run all tests, those of whole processes in e2e/ included, with the race detector
	$(if $(NODE),$(MAKE) node_modules/.package-lock.json) # it has the schema of AsyncAPI
	$(if $(RACE),,@echo "no C compiler ($$(go env CC)): the tests run without the race detector" >&2)
	$(MAKE) chromium
	go test $(RACE) $$(go list ./... | grep -v '/e2e')
	go test $(RACE) -tags portable ./internal/poll
	$(if $(RACE),go test ./internal/gateway ./internal/bridge ./client) # crowds, which the race detector's runtime does not bear
	FAULT_SLACK=$${FAULT_SLACK:-4} go test $(RACE) -count=1 ./e2e/... # the cache does not know what the built binary is made of
	cd bench && go vet ./... && go test ./...
	$(MAKE) test-web

.PHONY: e2e
e2e: chromium ## Run only the tests of whole processes
	FAULT_SLACK=$${FAULT_SLACK:-4} go test $(RACE) -count=1 ./e2e/...

.PHONY: lint
lint: ## Check the code and the protobuf definitions
	$(TOOL) golangci-lint run ./...
	cd bench && go tool -modfile=../tools/go.mod golangci-lint run ./...
	$(TOOL) buf lint
ifneq ($(NODE),)
	$(MAKE) node_modules/.package-lock.json
	npm run lint
endif

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what the code calls, where their database can be reached
	@if curl -sSf --max-time 10 -o /dev/null https://vuln.go.dev/index/db.json; then \
		$(TOOL) govulncheck ./...; \
	else \
		echo "https://vuln.go.dev cannot be reached: vulnerabilities were NOT looked for" >&2; \
	fi

.PHONY: hostile
hostile: ## Attack a gateway in each known way for HOSTILE (20s) and see what its clients notice; ATTACK=walk HOSTILE=1h looks for new ways
	go run ./e2e/hostile --duration $(HOSTILE) --attack $(ATTACK)

.PHONY: faults
faults: ## Break processes, networks, disks and clocks on purpose, at full length, and see what CLIENTS (2000) notice
	go test -count=1 -v -timeout 30m ./e2e/fault -args -full -clients $(CLIENTS)
faults: CLIENTS = 2000

.PHONY: soak
soak: ## Have everything fail at random for DURATION (30m) under CLIENTS (2000)
	go test -count=1 -v -timeout 24h -run TestSoak ./e2e/fault -args -soak $(DURATION) -clients $(CLIENTS) -rate 100
soak: DURATION = 30m
soak: CLIENTS = 2000

.PHONY: fmt
fmt: ## Format the code and the protobuf definitions
	$(TOOL) golangci-lint fmt ./...
	$(TOOL) buf format -w

.PHONY: generate
generate: ## Generate Go code from the protobuf definitions, and the browser SDK's tables from internal/wire
	$(TOOL) buf generate
	go run ./internal/wire/gen sdk/typescript/src

# What is generated, and committed all the same.
GENERATED := internal/gen sdk/typescript/src/codes.ts sdk/typescript/src/tables.ts web/dist web/ops/dist

.PHONY: drift
drift: generate ## Fail where generated code, or the built pages, are not what their sources say
ifeq ($(NODE),)
	@echo "no npm: whether the built pages are what their sources say was NOT checked" >&2; [[ $${CI:-} != true ]]
else
	$(MAKE) web
endif
	git diff --exit-code --stat -- $(GENERATED)
	@new=$$(git ls-files --others --exclude-standard -- $(GENERATED)); \
	if [[ -n $$new ]]; then echo "generated, but not committed: $$new" >&2; exit 1; fi

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (10s)
	@grep -rnoE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' . | sed -E 's|^(.*)/[^/]*:[0-9]+:func (.*)$$|\1 \2|' | \
	while read -r dir name; do \
		echo "== $$name in $$dir"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$dir"; \
	done

.PHONY: bench
bench: ## Run the benchmarks that match BENCH (all)
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: bench-compare
bench-compare: ## Compare LZStock with the baselines in bench/, and write the tables into docs/benchmarks.md
	cd bench && go run ./compare -update ../docs/benchmarks.md $(COMPARE)

.PHONY: profile
profile: ## Profile a gateway under load into PROFILE (.profile); CLIENTS, RATE and DURATION say how much
	cd bench && go run ./profile -out '$(abspath $(PROFILE))' -clients $(CLIENTS) -rate $(RATE) -duration $(DURATION)
