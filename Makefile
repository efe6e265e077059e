# The front door. Everything but this file's shell lines runs inside the tools tree (image/tools/enter), a pinned
# Debian 13 system that the first call makes in the cache; the host needs bash, make, root or sudo, and its apt mirror.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
ENTER := image/tools/enter
BUILD ?= dev
LEVEL ?= all
SUITE ?= all
VM ?= 1
KEEP ?=
SECONDS ?= 60
SEED ?= 1
export TREX SLUICE_MIRROR SLUICE_SECURITY_MIRROR

.DEFAULT_GOAL := help
.PHONY: help run stop test lab-test image build release asan lint format where new-feature bench bench-sync bench-ipsec bench-mgmt fuzz fuzz-mgmt docs shell clean

help: ## this list
	@echo "Sluice. The first two do all the set-up on a fresh machine:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: image ## build the appliance, boot it between two Linux hosts, send traffic, show what happened; KEEP=1 leaves it up
	@$(ENTER) python3 -m lab run $(if $(KEEP),--keep)

test: build ## all tests; LEVEL=unit|packet|golden|functional|vm, FEATURE=ip and so on select; VM=0 leaves out the VM; DIFF_PACKETS=2000 against Linux
	@if [ "$(VM)" != 0 ] && [[ " all vm " == *" $(LEVEL) "* ]]; then $(MAKE) image; fi
	@$(ENTER) python3 tests/run.py --level "$(LEVEL)" --feature "$(FEATURE)" --vm "$(VM)"

lab-test: image ## Robot Framework suites against the booted image; SUITE=smoke|boot|forwarding|..., TREX=host[:port]
	@$(ENTER) python3 -m lab test --suite "$(SUITE)"

stop: ## stop what `make run KEEP=1` left up
	@$(ENTER) python3 -m lab stop

image: release ## the appliance: build/image/sluice.qcow2 and sluice.raw
	@image/build

build: ## compile for development and tests, into build/dev
	@$(ENTER) image/tools/compile dev

release: ## compile for the image, into build/release
	@$(ENTER) image/tools/compile release

asan: ## compile with address and undefined behaviour sanitizers, into build/asan
	@$(ENTER) image/tools/compile asan

lint: ## formatting, static checks, both compilers with warnings as errors
	@$(ENTER) image/tools/lint

format: ## rewrite the sources in the agreed format
	@$(ENTER) image/tools/lint --fix

where: ## list all that belongs to FEATURE=name
	@image/tools/where "$(FEATURE)"

new-feature: ## start FEATURE=name: its folders, its line in features.def
	@image/tools/new-feature "$(FEATURE)"

bench: ## cycles per packet beside grout and testpmd, into build/bench; BENCH="--rounds 3 --case ipv4-4096"
	@export SLUICE_TREE=$$(image/tools/build bench); \
	$(ENTER) image/tools/compile bench; \
	$(ENTER) env PYTHONPATH=.:build/bench-sid/python python3 -m tests.bench.forwarding $(BENCH); \
	$(ENTER) env PYTHONPATH=.:build/bench-sid/python python3 -m tests.bench.workers $(BENCH)

bench-sync: ## what a million routes cost from the kernel into the fast path, into build/bench/sync.json; BENCH="--routes 100000"
	@$(ENTER) image/tools/compile release; \
	$(ENTER) env SLUICE_BUILD=build/release PYTHONPATH=.:build/release/python python3 -m tests.bench.sync $(BENCH)

bench-ipsec: ## cycles per packet of ESP in both directions, into build/bench/ipsec.json; BENCH="--rounds 3 --case gcm128-imix"
	@$(ENTER) image/tools/compile release; \
	$(ENTER) env PYTHONPATH=.:build/release/python python3 -m tests.bench.ipsec $(BENCH)

bench-mgmt: build ## edit, validate and commit 10,000 and 100,000 static routes, into build/bench/mgmt.json
	@$(ENTER) env PYTHONPATH=build/dev/python:. python3 -m tests.bench.mgmt

fuzz: ## run each fuzz target for SECONDS=60
	@$(ENTER) image/tools/fuzz "$(SECONDS)"

fuzz-mgmt: build ## 5,000 random edits beside sysrepo's answers; SEED=1
	@$(ENTER) env PYTHONPATH=build/dev/python:. tests/mgmt/sysrepo 5000 "$(SEED)"

docs: build ## write docs/: commands, models and the manual page of sluice, from the program
	@$(ENTER) env PYTHONPATH=build/dev/python:. python3 -m sluice.shell.reference docs

shell: ## a shell inside the tools tree
	@$(ENTER) bash

clean: ## remove build/ (the cache with the tools tree stays)
	rm -rf build
