# One target, one thing; `make test` is the whole check and `.ci/run` calls nothing else.
# Every target sets up what it needs by itself: .venv, the launcher and, as root, Debian packages.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# Debian's own interpreter where it is new enough: an unprivileged user can reach it, unlike one in a home.
PYTHON ?= $(shell for p in /usr/bin/python3 python3; do \
  "$$p" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# What tools would keep in the home directory stays in the clone.
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export ANSIBLE_HOME := $(CURDIR)/.ansible
export ZIG_GLOBAL_CACHE_DIR := $(CURDIR)/build/zig

# What `make demo` needs beside git, make and python3-venv, and what the tests need on top (README lists both).
DEMO_PACKAGES := bubblewrap iproute2 mmdebstrap openssh-client
TEST_PACKAGES := $(DEMO_PACKAGES) e2fsprogs gcc libc6-dev openssh-server openssl qemu-system-arm qemu-system-x86 qemu-utils shellcheck softhsm2 strace user-mode-linux

PYTEST := $(BIN)/python -m pytest

.PHONY: help setup demo test test-emulated test-fast test-aarch64 sanitize fuzz faults lint hosts generate bench-launch bench-peers escape-report packages-demo packages-test clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s $$'\t'

setup: $(VENV)/.ready ## make .venv with fleetbox in it, build the launcher for this machine and what hosts get with the host program
	@$(BIN)/python launcher/build.py
	@$(BIN)/python vendored/build.py
	@$(BIN)/python -m fleetbox.bundle.baseline

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no Python >= 3.11 with venv; on Debian: apt-get install -y python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[build,test,lint]'
	@touch $@

# Installs only what is missing, so that a machine that has it all needs neither root nor a network.
define need_packages
	@missing=$$(for p in $(1); do dpkg-query -W -f '$${Status}' "$$p" 2>/dev/null | grep -q '^install ok' || echo "$$p"; done); \
	if [ -n "$$missing" ]; then \
	  [ "$$(id -u)" = 0 ] || { echo "make: as root: apt-get install -y" $$missing >&2; exit 2; }; \
	  apt-get update -q=2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q=2 --no-install-recommends $$missing; \
	fi
endef

packages-demo:
	$(call need_packages,$(DEMO_PACKAGES))

packages-test:
	$(call need_packages,$(TEST_PACKAGES))

demo: ## three throw-away hosts: provision, push, check, show (root)
	@[ "$$(id -u)" = 0 ] || { echo "make: demo makes network and mount namespaces and needs root; without root try:" >&2; \
	  echo "  make setup && .venv/bin/fleetbox run --policy policies/gpu-workstation.yml -- bash" >&2; exit 2; }
	@$(MAKE) --no-print-directory packages-demo setup
	@$(BIN)/python -m tests.support.demo

# In the order of their folders: what takes minutes comes before tests/unit, and neither worker waits for the other at the end.
test: packages-test setup lint ## everything: lint, unit, contract, integration on real hosts
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m 'not emulated'
	@$(MAKE) --no-print-directory sanitize SANITIZED_TESTS="$(SANITIZED_FEW)"

test-emulated: packages-test setup ## what takes minutes because a whole machine is emulated
	$(PYTEST) -n 2 --dist loadfile --timeout 7200 -m emulated

# All but where the address sanitizer cannot run: another processor, a glibc before 2.34, user-mode Linux, too little memory.
SANITIZED_TESTS := tests/integration/launcher -k "not bullseye" \
  $(patsubst %,--ignore=tests/integration/launcher/test_%.py,on_aarch64 on_apparmor on_debian_kernel on_few_namespaces kernel_cgroup ulimits)
# What of it is part of `make test`.
SANITIZED_FEW := $(patsubst %,tests/integration/launcher/test_%.py,descriptors exit gpu_map log paths paths_git plan residue)

sanitize: packages-test setup ## the launcher's tests and the corpora of its parsers under ASan and UBSan (root)
	@$(BIN)/python launcher/sanitize.py launcher
	FLEETBOX_LAUNCHER=$(CURDIR)/build/sanitize/fleetbox-run $(PYTEST) -q -n 2 --dist loadfile $(SANITIZED_TESTS)

FUZZ_SECONDS := 60
fuzz: setup ## libFuzzer on the launch plan's parser for FUZZ_SECONDS; beside it the other parsers share the time
	$(call need_packages,clang libclang-rt-dev)
	$(BIN)/python launcher/sanitize.py fuzz $(FUZZ_SECONDS)

faults: packages-test setup ## the whole counts: 1,000 kills, 1,200 launches beside a flipper, every window of a clean-up, power cuts, 500 random rounds of verbs, 100 on a real host (root)
	FLEETBOX_FAULTS=full $(PYTEST) -n 0 --timeout 7200 tests/faults

test-aarch64: packages-test setup ## the launcher's tests on an emulated aarch64 machine with Debian's kernel for it (root)
	$(BIN)/python -m tests.support.aarch64 --timeout 7200 -m "not host" tests/unit/targets/test_seccomp_enforced.py \
	  tests/integration/launcher --ignore=tests/integration/launcher/test_corpus.py

test-fast: setup ## the loop of seconds: pure tests only
	$(PYTEST) -q tests/unit tests/contract

lint: setup ## ruff, mypy, import-linter, ansible-lint, yamllint, shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict .
	$(BIN)/ansible-lint --offline -q
	git ls-files '*.sh' .ci/run | xargs -r shellcheck

hosts: packages-test setup ## say which kinds of test hosts can be made here
	$(BIN)/python -m tests.support.hosts check

generate: setup ## rewrite what is generated: JSON Schema, references, role tables
	$(BIN)/python -m tests.support.generate

bench-launch: packages-test setup ## cost of a launch beside raw bwrap and peers, interleaved
	$(BIN)/python -m bench.launch
	$(BIN)/python -m bench.gpus

bench-peers: ## install codex and srt from npm into build/peers, for bench-launch and escape-report
	$(call need_packages,ripgrep socat)
	npm install --prefix build/peers --no-fund --no-audit @openai/codex@0.169.0 @anthropic-ai/sandbox-runtime@0.0.78

escape-report: packages-test setup ## who stops what: the attempts of tests/escape under fleetbox-run, codex and srt (root)
	$(BIN)/python -m tests.escape.report --write docs/escape-report.md

clean: ## remove what the targets made inside this clone
	rm -rf $(VENV) .cache .ansible build fleetbox/bin/fleetbox-run-* fleetbox/hostside/_vendor fleetbox/hostside/baseline.tar
