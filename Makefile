# The commands of Weft. CMake does the building; this file names the things people do.
# Everything that needs packages installs them first (tools/bootstrap, Debian 12, as root).

BUILD ?= build
PRESET ?= release
JOBS ?= $(shell nproc)
LEVELS := unit bpf script fuzz lab podman
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export CLICOLOR_FORCE ?= 0

.PHONY: help build all demo test sanitize bench lint fmt check-format check-includes install \
        test-kernel image clean bootstrap configure fuzzers $(LEVELS:%=test-%)

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  make test-LEVEL       one level of: $(LEVELS)"

bootstrap:
	@tools/bootstrap build

configure:
	@test -f $(BUILD)/build.ninja || cmake --preset $(PRESET) -B $(BUILD)

build: bootstrap configure ## binaries in build/bin, BPF objects in build/bpf
	@cmake --build $(BUILD) -j $(JOBS) --target product
	@echo "built: $$(ls -m $(BUILD)/bin 2>/dev/null) in $(BUILD)/bin, $$(ls $(BUILD)/bpf/*.bpf.o 2>/dev/null | wc -l) BPF objects in $(BUILD)/bpf"

all: configure
	@cmake --build $(BUILD) -j $(JOBS)

demo: ## the web shop in a lab: build, bring up, prove, show, tear down
	@tools/demo

test: ## everything: set-up, build, all test levels
	@tools/bootstrap test
	@$(MAKE) all fuzzers
	@tools/run-tests $(BUILD) $(LEVELS)

$(filter-out test-fuzz,$(LEVELS:%=test-%)): test-%:
	@tools/bootstrap test
	@$(MAKE) all
	@tools/run-tests $(BUILD) $*

test-fuzz:
	@tools/bootstrap test
	@$(MAKE) configure fuzzers
	@tools/run-tests $(BUILD) fuzz

fuzzers:
	@tools/run-fuzz --build-only

sanitize: ## unit and script tests under the address and undefined-behaviour sanitizers
	@tools/bootstrap test
	@test -f build-sanitize/build.ninja || cmake --preset asan-ubsan
	@cmake --build build-sanitize -j $(JOBS)
	@tools/run-tests build-sanitize unit script

test-kernel: ## boot Debian's stock kernel in an emulator and load every BPF object (long)
	@tools/bootstrap kernel-test
	@$(MAKE) build
	@cmake --build $(BUILD) -j $(JOBS) --target bpf_test
	@tools/test-kernel

bench: ## measure against the reference parts; table and build/bench/results.json
	@tools/bootstrap bench
	@$(MAKE) build
	@cmake --build $(BUILD) -j $(JOBS) --target bench_tools
	@tools/bench $(BENCH_ARGS)

lint: ## clang-tidy, include graph, shellcheck, formatting (LINT_ARGS=--changed for what you touched)
	@tools/bootstrap lint
	@$(MAKE) configure
	@cmake --build $(BUILD) -j $(JOBS) --target bpf_objects  # clang-tidy reads the headers made of them
	@tools/lint --build $(BUILD) $(LINT_ARGS)

check-format:
	@tools/format --check

check-includes:
	@tools/check-includes

fmt: ## format every C++ and C source
	@tools/bootstrap lint
	@tools/format

install: ## install below DESTDIR (make install DESTDIR=/tmp/weft)
	@$(MAKE) build
	@DESTDIR="$(DESTDIR)" cmake --install $(BUILD)

image: build ## the container image, build/weft-VERSION.tar, of this machine's packages
	@tools/image --build $(BUILD)

clean: ## remove what was built
	@rm -rf build build-debug build-sanitize
