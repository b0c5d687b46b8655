# make help lists the targets. The work is in scripts and Go programs below
# test/, so that each can be run by itself.

# What the binary says it is. Empty outside git, where its own defaults stand;
# the date is the commit's, so that a commit gives the same binary on any day.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT  := $(shell git rev-parse --verify -q HEAD 2>/dev/null)
DATE    := $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)

LDFLAGS := -s -w -buildid= $(if $(VERSION),-X main.version=$(VERSION)) \
	$(if $(COMMIT),-X main.commit=$(COMMIT)) $(if $(DATE),-X main.date=$(DATE))

# Packages whose tests need neither root nor a runtime.
UNIT := ./cmd/... ./cri/... ./internal/... ./nsjoin/... ./runtime/...

# In CI and as root nothing may be skipped: a skip that should have run is red.
NEED := $(if $(or $(filter true,$(CI)),$(filter 0,$(shell id -u))),all,$(PORTHOLE_NEED))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build setup demo test test-unit test-kubelet race soak fuzz lint reproduce clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

build: ## build bin/porthole: static, and the same wherever it is built
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$(LDFLAGS)" -o bin/porthole ./cmd/porthole

setup: ## install and build what the tests and the demo need (root, Debian)
	test/setup

demo: setup build ## show bin/porthole at work on a private node (root)
	go run ./test/demo -porthole bin/porthole

test: setup ## run all tests; as root on real nodes
	PORTHOLE_NEED=$(NEED) go test -count=1 -timeout 15m ./...

test-unit: ## run the tests that need no root
	go test -count=1 $(UNIT) ./test

race: ## run the tests that need no root under the race detector (needs gcc)
	CGO_ENABLED=1 go test -count=1 -race $(UNIT)

test-kubelet: setup ## open every kind of pod of a real kubelet, and see whether it minds (root)
	built=$$(test/kubelet/build) && PORTHOLE_KUBELET=$$built/kubelet PORTHOLE_NEED=$(NEED) \
		go test -count=1 -timeout 15m -v ./test/kubelet && \
		PORTHOLE_ORACLE=$$built/oracle go test -count=1 ./runtime/ephemeral -run TestOracle -v

soak: setup ## run the full counts: an hour of sessions on real nodes (root)
	PORTHOLE_SOAK=1 PORTHOLE_NEED=$(NEED) go test -count=1 -timeout 60m -run Soak ./test/...

fuzz: ## run every fuzz target for 10 seconds
	test/fuzz 10s

lint: ## check the source without running it
	test/lint

reproduce: ## build in two places and compare the binaries
	test/reproduce VERSION=$(VERSION) COMMIT=$(COMMIT) DATE=$(DATE)

clean: ## remove what was built here; the cache stays
	rm -rf bin coverage*
