# The two commands of the README are `make run` and `make test`; both do all
# the set-up that is missing. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup build run test install format tidy clean asan ubsan tsan \
	fuzz bench finetune-demo aarch64 kernels-page

# Kept word for word, so that quotes, dollars and line ends reach the model.
ifndef PROMPT
PROMPT := Why is the sky blue?
endif
export ROOFLINE_PROMPT := $(value PROMPT)

BUILD := build/release
# Another backend is another set-up.
SETUP := .venv/setup-$(or $(ROOFLINE_BACKEND),auto).stamp
ENV := set -euo pipefail; . scripts/versions.env; . scripts/env.sh;
PREFIX ?= /usr/local
# Programs of tests that run at once; each has up to some 200 MB.
TEST_JOBS ?= 2
# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 10

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' \
	  $(firstword $(MAKEFILE_LIST))

$(SETUP): scripts/setup.sh scripts/versions.env scripts/env.sh
	@scripts/setup.sh
	@rm -f .venv/setup-*.stamp
	@touch $@

setup: ## Install what is missing (apt or brew, .venv)
	@rm -f .venv/setup-*.stamp
	@$(MAKE) --no-print-directory $(SETUP)

$(BUILD)/build.ninja: $(SETUP)
	@$(ENV) cmake --preset release --fresh 1>&2 || { rm -f $@; exit 1; }
	@touch $@

build: $(BUILD)/build.ninja ## Build the program and the tests
	@$(ENV) cmake --build $(BUILD) 1>&2

# Only the program: a first answer doesn't wait for the tests to compile.
run: $(BUILD)/build.ninja ## Answer a prompt: make run PROMPT="..."
	@$(ENV) cmake --build $(BUILD) --target roofline -- \
	  $$(test -x $(BUILD)/roofline && echo --quiet) 1>&2
	@exec $(BUILD)/roofline generate -- "$$ROOFLINE_PROMPT"

finetune-demo: $(BUILD)/build.ninja ## Teach the bundled model a format (minutes)
	@$(ENV) cmake --build $(BUILD) --target roofline 1>&2
	@$(ENV) python3 scripts/finetune_demo.py --folder build/finetune-demo

test: build ## Build and run all tests
	@$(ENV) ctest --test-dir $(BUILD) --output-on-failure -j $(TEST_JOBS)

install: build ## Put the program under PREFIX (default /usr/local)
	@$(ENV) cmake --install $(BUILD) --prefix "$(PREFIX)"

# LAYERS="weights base" runs those layers' tests only, FILTER='Step*:Pool*' of
# them those with such names.
asan: $(SETUP) ## Run the tests under the address sanitizer
	@scripts/sanitize.sh asan $(LAYERS)

ubsan: $(SETUP) ## Run the tests under the undefined sanitizer
	@scripts/sanitize.sh ubsan $(LAYERS)

tsan: $(SETUP) ## Run the tests under the thread sanitizer
	@scripts/sanitize.sh tsan $(LAYERS)

# STEPS="kernels" runs that one only: setup, kernels, models, answer.
aarch64: $(SETUP) ## Build for Arm and run tests under qemu (Debian)
	@scripts/aarch64.sh $(STEPS)

fuzz: $(SETUP) ## Run each fuzz target for FUZZ_SECONDS
	@$(ENV) scripts/fuzz.sh $(FUZZ_SECONDS)

bench: build ## Compare with the other engines, side by side
	@$(ENV) "$$(roofline_find_python)" bench/compare_peers.py $(BENCH_FLAGS)

.venv-tools/roofline-installed: scripts/setup.sh scripts/versions.env
	@scripts/setup.sh --tools
	@touch $@

format: .venv-tools/roofline-installed ## Format all C++ files in place
	@scripts/format.sh --fix

tidy: .venv-tools/roofline-installed build ## clang-tidy on what changed
	@$(ENV) scripts/tidy.sh $(FILES)

kernels-page: build ## Measure the kernels and make docs/kernels.md (minutes)
	@$(ENV) "$$(roofline_find_python)" bench/kernels_page.py

clean: ## Remove what was built (not .venv, not the cargo build)
	@rm -rf build/release build/debug build/asan build/ubsan build/tsan \
	  build/fuzz build/aarch64 build/aarch64-sysroot
