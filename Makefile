# One screen of commands; `make` alone explains them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: help setup demo test check unit integration chaos bench fuzz clean

help: ## print this
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## install what the system lacks, find Python 3.13, build .venv (quick when there is nothing to do)
	@scripts/setup.sh test

demo: ## run the main job on this machine: a mail goes in, an agent works, the answer comes back
	@scripts/setup.sh run
	@$(BIN)/airut-demo

test: setup ## everything: lint, types, unit and integration tests
	@$(MAKE) --no-print-directory check integration

check: setup ## lint, types and unit tests (under 90 seconds)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@scripts/typecheck.sh
	@$(MAKE) --no-print-directory unit

unit: ## unit tests beside each package
	@$(PYTEST) -q -n 3 --dist worksteal -m "not integration" libs services demo fuzz chaos

integration: ## tests on real NATS, Podman, Claude Code and Chromium
	@$(PYTEST) -q -n 3 --dist loadfile --no-loadscope-reorder -m integration libs services demo tests

bench: ## measure, each number beside a baseline from the same run (PARTS="egress policy" for some)
	@scripts/setup.sh bench
	@$(BIN)/python -m bench $(PARTS)

SEEDS ?= 1 2 3
chaos: setup ## 200 tasks for each of three seeds while services, bus, containers, disk and clocks fail (SEEDS="4 5")
	@$(BIN)/python -m chaos $(SEEDS)

FUZZ_SECONDS ?= 60
fuzz: setup ## fuzz the pure decisions, a minute each (FUZZ_SECONDS=600 for ten); what is found fails
	@$(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS)

clean: ## remove what this checkout made: environment, caches, demo and test state
	@scripts/clean.sh
