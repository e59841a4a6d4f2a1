# The few commands of this repository. Every target installs what it needs and this machine lacks
# (scripts/setup); the scripts work without make too.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# With nothing changed these stamps keep cargo out of it: a second "make run" is only the program.
# (The directories are listed with their files: a file that is gone changes its directory.)
STAMPS := target/.make
RUST_SOURCES := Cargo.toml Cargo.lock rust-toolchain.toml $(wildcard .cargo/config.toml) \
	$(shell find runner plugin-sdk wit 2>/dev/null)
PLUGIN_SOURCES := Cargo.toml rust-toolchain.toml \
	$(shell find plugin-sdk wit 2>/dev/null; find plugins -mindepth 1 -name target -prune -o -print 2>/dev/null)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: build plugins ## build everything, run an example pipeline, show its history
	@scripts/run-example

.PHONY: build
build: $(STAMPS)/build ## the runner, target/debug/dcd

$(STAMPS)/build: $(RUST_SOURCES) scripts/build scripts/setup
	@scripts/build
	@mkdir -p $(@D) && touch $@

.PHONY: plugins
plugins: $(STAMPS)/plugins ## the plugins, plugins/target/wasm32-wasip2/release/*.wasm

$(STAMPS)/plugins: $(PLUGIN_SOURCES) scripts/plugins scripts/setup
	@scripts/plugins
	@mkdir -p $(@D) && touch $@

.PHONY: test
test: ## every check and test, with an engine and a registry started for the container tests
	@scripts/test

.PHONY: check
check: ## every check and test that needs no container
	@scripts/check

.PHONY: bench
bench: ## measure against plain sh (docs/benchmarks.md)
	@scripts/bench

.PHONY: image
image: ## the stock image, dcd-test/dcd:latest
	@scripts/docker/docker-up
	@scripts/docker/stock-image

.PHONY: deny
deny: ## licences, advisories and sources of the dependencies
	@command -v cargo-deny >/dev/null || { echo 'make deny: needs cargo-deny: cargo install --locked cargo-deny' >&2; exit 1; }
	@cargo deny check
	@cd plugins && cargo deny check --config ../deny.toml

.PHONY: clean
clean: ## remove what was built (the images and the builds' journals stay)
	@rm -rf target plugins/target examples/*/target examples/*/dist
