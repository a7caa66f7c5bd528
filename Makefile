# The few things to do here. `make` alone lists them.
# build, demo and test need Go and nothing else; git and curl are used where they are.

export CGO_ENABLED = 0
GO       = go
# Flags for every go test, such as -v, -json or -run=TestName.
TESTFLAGS =
# How long each fuzz target runs.
FUZZTIME = 30s
# Which benchmarks run, as a regular expression.
BENCH    = .

BUILD    = $(GO) build -buildvcs=false -trimpath -ldflags='-s -w'
TARGETS  = linux/arm64 darwin/arm64 darwin/amd64
STATICCHECK = bin/tools/staticcheck

.PHONY: help build demo test check e2e canaries bench dlp-corpus fuzz race cross man clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

build: ## the three static programs, into bin/; elsewhere than on Linux also the one that runs in micro-VMs
	@$(BUILD) -o bin/ ./cmd/...
	@test "$$($(GO) env GOOS)" = linux || GOOS=linux $(BUILD) -o bin/bottle-jail-linux ./cmd/bottle-jail

demo: build ## build, then see a bottle hold
	@bin/bottle demo

test: build ## all tests but the canaries; see test/README.md
	@BOTTLE_TEST_BIN=$(CURDIR)/bin $(GO) test -count=1 -timeout=30m $(TESTFLAGS) ./...

check: format vet lint law modules ## format, vet, staticcheck, the law, the modules; -k goes on after a fault

.PHONY: format vet lint law modules
format:
	@bad=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$bad" || { echo "gofmt -w these:"; echo "$$bad"; exit 1; }
vet:
	$(GO) vet ./...
	$(GO) -C tools vet ./...
lint: $(STATICCHECK)
	$(STATICCHECK) ./...
law:
	$(GO) test -count=1 .
	$(GO) -C tools test ./...
modules:
	$(GO) mod tidy -diff
	$(GO) -C tools mod tidy -diff
	$(GO) mod verify

$(STATICCHECK): tools/go.mod tools/go.sum
	$(GO) -C tools build -o ../$@ honnef.co/go/tools/cmd/staticcheck

e2e: build ## the end-to-end scripts alone (testdata/script)
	@list=$$(grep -rl --include='*_test.go' '^func TestScript' internal test | xargs -n1 dirname | sort -u | sed 's,^,./,'); \
	test -n "$$list" || { echo "no TestScript found"; exit 1; }; \
	BOTTLE_TEST_BIN=$(CURDIR)/bin $(GO) test -count=1 $(TESTFLAGS) -run '^TestScript' $$list

canaries: build ## pinned software of others in a bottle; fetches it from its registry
	@BOTTLE_RUN_CANARIES=1 BOTTLE_TEST_BIN=$(CURDIR)/bin $(GO) test -count=1 -timeout=20m $(TESTFLAGS) ./test/canaries/...

bench: build ## measure: start-up, throughput, sizes, memory
	@ls -l bin/bottle bin/bottle-gateway bin/bottle-jail | awk '{printf "%-24s %6.1f MiB\n", $$NF, $$5/1048576}'
	@BOTTLE_TEST_BIN=$(CURDIR)/bin $(GO) test -run='^$$' -bench='$(BENCH)' -benchmem \
		$$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n1 dirname | sort -u)

dlp-corpus: ## secrets found where none is: all source code and text of this machine, and npm packages
	@BOTTLE_CORPUS=all $(GO) test -count=1 -timeout=20m -v $(TESTFLAGS) -run='^TestCorpus$$' ./test/corpus

fuzz: ## every fuzz target for FUZZTIME (30s)
	@.ci/fuzz $(FUZZTIME)

race: ## the unit tests under the race detector; needs a C compiler
	@CGO_ENABLED=1 $(GO) test -race -count=1 $(TESTFLAGS) ./internal/...

cross: ## build and vet for the other platforms
	@set -e; for t in $(TARGETS); do \
		echo "cross $$t"; \
		GOOS=$${t%/*} GOARCH=$${t#*/} $(BUILD) -o dist/$$t/ ./cmd/...; \
		GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) vet ./...; \
	done

man: build ## the manual pages, into dist/man
	@mkdir -p dist/man && bin/bottle man dist/man && ls dist/man

clean: ## take out what was built
	@rm -rf bin dist
