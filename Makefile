# dynpsrpc: everything a developer or CI runs. `make` alone lists the targets.

GOLANGCI_LINT_VERSION := v2.15.0
PROTOC_GEN_GO_VERSION := v1.36.12

GO        ?= go
TOOLS     := $(CURDIR)/.tools
FUZZ_TIME ?= 60s
BENCH     ?= .
COUNT     ?= 1

# Two packages at a time: tests of whole systems mostly wait, so the next one is built and run meanwhile. With three, calls
# with short timeouts fail on 2 cores, because the whole process waits for a processor that long. The checks of
# go vet are left to make lint, which runs all of them.
TEST_FLAGS := -race -shuffle=on -vet=off -p=2 -parallel=4 -timeout=20m
# Some tests build programs. They inherit these flags in GOFLAGS, so that each package is compiled once for all of them:
# -race                     Only the compiler of the WebAssembly engine is compiled without the race detector, which would
#                           make it ten times slower. It computes and shares no memory with our code. More packages
#                           must not be exempt: the linker keeps one copy of instantiated generic code such as that of
#                           sync.Map, and a copy without the race detector leads to false reports about all packages.
# -ldflags=-w -dwarf=false  No debugger needs debug information here. Stack traces do not need it.
# GOGC=400                  The Go compiler and linker collect garbage less often; the tests are not affected.
GOFLAGS    := $(shell $(GO) env GOFLAGS)
WAZEVO     := github.com/tetratelabs/wazero/internal/engine/wazevo
RACE_FLAGS := -race -ldflags=-w '-toolexec=env GOGC=400' -gcflags=all=-dwarf=false \
	$(foreach part,backend frontend ssa,'-gcflags=$(WAZEVO)/$(part)/...=-race=false -dwarf=false')
# The packages that take longest start first. Those of what operates a fleet are left to make tools.
TEST_PACKAGES := ./tests/e2e ./tests/chaos ./dynamic/plugin/... $$($(GO) list ./... | grep -Ev '/(cmd|dynamic/(explorer|fleet|gateway)|example/(gateway|operated))(/|$$)')

# The build tag tools selects the tests that take too long for make test.
TOOLS_PACKAGES := ./cmd/... ./dynamic/fleet/... ./dynamic/gateway/... ./dynamic/explorer ./example/gateway ./example/operated ./tests/arch
TOOLS_FLAGS    := -tags=tools -vet=off -p=2 -parallel=4 -timeout=10m
# Where make dist writes the command line, and the systems for which it builds it.
DIST         ?= $(CURDIR)/dist
DIST_TARGETS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
# Settings of whoever builds must not change the binaries.
DIST_ENV     := env GOFLAGS=-buildvcs=true GOEXPERIMENT= GOAMD64=v1 GOARM64=v8.0 CGO_ENABLED=0
SHA256       := $(shell command -v sha256sum || echo shasum -a 256)

# The tests print their figures.
CHAOS_FLAGS := -tags=chaos -vet=off -count=1 -v
DURATION    ?= 10m

INTEROP_FLAGS := -vet=off -count=1 -v -parallel=4
OLDEST_PSRPC  := -modfile=oldest.mod -tags=psrpc_oldest

# The tests print their figures. The browser takes much of both processors.
EXPLORER_FLAGS := -vet=off -count=1 -v -parallel=2 -timeout=10m

DEPLOY_FLAGS := -vet=off -count=1 -v -timeout=60m

# What make bench is given: see go -C tests/bench run . -h
BENCH_FLAGS ?= -rounds 5 -time 1s -json $(CURDIR)/bench.json

.DEFAULT_GOAL := help
.PHONY: help test tools chaos soak interop explorer screenshots race bench bench-tool rivals microbench fuzz lint cross cover tidy generate dist deploy redis-server deploy-tools chromium

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test tools race: export GOFLAGS += $(RACE_FLAGS)
# By default, each program with the race detector waits for a second before it exits, so that goroutines which still
# run can be reported. The tests end theirs themselves. The programs that the tests start inherit this setting too.
test tools race: export GORACE ?= atexit_sleep_ms=20

test: redis-server ## Run all tests with the race detector; sets up what they need
	$(GO) test $(TEST_FLAGS) -count=$(COUNT) $(TEST_PACKAGES)

tools: redis-server ## Run the tests of what operates a fleet: package fleet, the command line, the gateway, the explorer
	$(GO) test $(TOOLS_FLAGS) -race -shuffle=on -count=$(COUNT) $(TOOLS_PACKAGES)

chaos: redis-server ## Run the tests that break brokers, links and processes; 12 minutes on 2 cores
	$(GO) test $(CHAOS_FLAGS) -timeout=25m ./tests/chaos/long

soak: redis-server ## Break both brokers and the processes on them every 5 s for DURATION (10m)
	$(GO) test $(CHAOS_FLAGS) -timeout=0 -run=TestSoak ./tests/chaos/long -duration=$(DURATION)

interop: redis-server ## Run the tests beside the real psrpc, two versions of it, and those of the benchmarks; 3 minutes
	$(GO) -C tests/interop test $(INTEROP_FLAGS) ./...
	$(GO) -C tests/interop test $(INTEROP_FLAGS) $(OLDEST_PSRPC) ./...
	$(GO) -C tests/bench test -vet=off -count=1 ./...

explorer: redis-server chromium ## Run the tests of the gateway and of the explorer in a browser; 3 minutes
	$(GO) -C tests/explorer test $(EXPLORER_FLAGS) ./...

screenshots: redis-server chromium ## Write the pictures of docs/explorer.md
	$(GO) -C tests/explorer test -vet=off -count=1 -run=TestScreenshots . -screenshots=$(CURDIR)/docs/img

race: COUNT = 5
race: redis-server ## Run all tests with the race detector, five times over, on 1, 2 and 4 processors
	$(GO) test $(TEST_FLAGS) -count=$(COUNT) -cpu=1,2,4 ./...

bench: redis-server ## Measure the engine beside what bounds it (BENCH_FLAGS='-run redis/64B/queue'); half an hour
	$(GO) -C tests/bench run . $(BENCH_FLAGS)

rivals: BENCH_FLAGS = -rounds 3 -time 500ms -json $(CURDIR)/rivals.json
rivals: redis-server ## Measure the engine beside psrpc v0.8.2, row by row (BENCH_FLAGS); 25 minutes
	$(GO) -C tests/bench run . -rivals $(BENCH_FLAGS)

bench-tool: BENCH_FLAGS = -rounds 9 -time 1s
bench-tool: redis-server ## Compare psrpc bench with make bench, row by row; they must agree within 10 % (BENCH_FLAGS); 6 minutes
	$(GO) build -o $(TOOLS)/psrpc ./cmd/psrpc
	$(GO) -C tests/bench run . -tool $(TOOLS)/psrpc $(BENCH_FLAGS)

microbench: ## Run the benchmarks of the packages (BENCH=regexp, COUNT=n)
	$(GO) test -run='^$$' -bench='$(BENCH)' -benchmem -count=$(COUNT) ./...

fuzz: ## Run every fuzz target for FUZZ_TIME (60s)
	@set -e; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list='^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; \
			$(GO) test -run='^$$' -fuzz="^$$target$$" -fuzztime=$(FUZZ_TIME) $$package; \
		done; \
	done

lint: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## Run the linters; .golangci.yml has the reasons
	$< run ./...
	cd tests/bench && $< run ./...
	cd tests/interop && $< run ./...
	cd tests/explorer && $< run ./...
	cd tests/deploy && $< run ./...

cross: ## Build for the other operating systems
	@set -e; for os in darwin windows freebsd; do \
		echo "building for $$os"; GOOS=$$os CGO_ENABLED=0 $(GO) build ./...; \
	done

# The binaries depend on the commit and on the version of Go only. Each has a list of the modules in it.
dist: ## Build psrpc for all systems (DIST_TARGETS) into dist (DIST), with checksums
	@mkdir -p '$(DIST)' && rm -f '$(DIST)'/psrpc-* && cp LICENSE '$(DIST)'
	@set -e; for target in $(DIST_TARGETS); do \
		os=$${target%/*} arch=$${target#*/}; name=psrpc-$$os-$$arch; \
		if [ $$os = windows ]; then name=$$name.exe; fi; \
		echo "building $$name"; \
		GOOS=$$os GOARCH=$$arch $(DIST_ENV) $(GO) build -trimpath -ldflags='-s -w' -o '$(DIST)'/$$name ./cmd/psrpc; \
		(cd '$(DIST)' && $(GO) version -m $$name >$$name.modules.txt); \
	done
	@cd '$(DIST)' && $(SHA256) LICENSE psrpc-* >SHA256SUMS

deploy: redis-server deploy-tools ## Check what is in deploy, and that make dist is reproducible; 10 minutes on 2 cores
	$(GO) -C tests/deploy test $(DEPLOY_FLAGS) ./...

cover: ## Write coverage.html and print the total
	$(GO) test -coverpkg=./... -coverprofile=coverage.out ./...
	$(GO) tool cover -html=coverage.out -o coverage.html
	$(GO) tool cover -func=coverage.out | tail -n 1

tidy: ## Tidy go.mod and format the code
	$(GO) mod tidy
	$(GO) -C tests/bench mod tidy
	$(GO) -C tests/interop mod tidy
	$(GO) -C tests/explorer mod tidy
	$(GO) -C tests/deploy mod tidy
	sed 's/psrpc v0.8.2$$/psrpc v0.7.2/' tests/interop/go.mod >tests/interop/oldest.mod
	$(GO) -C tests/interop list -mod=mod $(OLDEST_PSRPC) -deps -test ./... >/dev/null
	gofmt -w .

generate: $(TOOLS)/protoc-gen-go-$(PROTOC_GEN_GO_VERSION) ## Regenerate the checked-in messages (needs protoc)
	ln -sf $< $(TOOLS)/protoc-gen-go
	PATH="$(TOOLS):$$PATH" $(GO) generate ./...

# Tests use a real redis-server, each on a port of its own: from PATH, else from the system's package manager.
# Without one they fall back to an in-memory stand-in, visibly; with CI set that is a failure.
redis-server:
	@if command -v redis-server >/dev/null; then exit 0; fi; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "installing redis-server"; \
		(apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends redis-server) \
			>/dev/null || true; \
	elif command -v brew >/dev/null; then \
		echo "installing redis"; brew install --quiet redis || true; \
	fi; \
	if command -v redis-server >/dev/null; then exit 0; fi; \
	echo "NOTICE: no redis-server found and none could be installed: tests use an in-memory stand-in" >&2; \
	if [ -n "$$CI" ]; then echo "CI is set: a real redis-server is required" >&2; exit 1; fi

# The tests of the explorer use Debian's chromium: from PATH, else from the system's package manager. Without one they
# are skipped; with CI set that is a failure.
chromium:
	@if command -v chromium >/dev/null; then exit 0; fi; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "installing chromium"; \
		(apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium fonts-dejavu-core) \
			>/dev/null || true; \
	fi; \
	if command -v chromium >/dev/null; then exit 0; fi; \
	echo "NOTICE: no chromium found and none could be installed: the tests of the explorer are skipped" >&2; \
	if [ -n "$$CI" ]; then echo "CI is set: chromium is required" >&2; exit 1; fi

# The tests of what is in deploy use promtool, Prometheus and systemd-analyze. Without them, they are skipped, or fail
# if CI is set.
deploy-tools:
	@packages=; command -v promtool >/dev/null || packages=prometheus; \
	command -v systemd-analyze >/dev/null || packages="$$packages systemd"; \
	if [ -n "$$packages" ] && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "installing $$packages"; \
		(apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$packages) \
			>/dev/null || true; \
	fi

$(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(TOOLS)/golangci-lint $@

$(TOOLS)/protoc-gen-go-$(PROTOC_GEN_GO_VERSION):
	GOBIN=$(TOOLS) $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO_VERSION)
	mv $(TOOLS)/protoc-gen-go $@
