# The commands of this project. Each installs the programs that it needs, or says which are missing.

SHELL := /bin/sh
CARGO_HOME ?= $(HOME)/.cargo
export PATH := $(PATH):$(CARGO_HOME)/bin

.DEFAULT_GOAL := help
.PHONY: help run demo test check bench soak fmt

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start Stockyard on this machine: SQLite, worker inside, no services needed
	@scripts/ensure cc
	@scripts/assets --optional
	cargo run --locked --bin stockyard -- serve

demo: ## Start Stockyard with three portfolios that were traded over five years
	@scripts/ensure cc
	@scripts/assets --optional
	@scripts/demo

test: ## Run everything that CI runs: both databases, Redis, browser, TLS, deployment
	@scripts/test

check: ## Run the fast checks: formatting, lints, unit tests
	@scripts/ensure cc lint nextest
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo nextest run --workspace --locked --lib --bins

bench: ## Measure orders, reads, quotes and streams in comparison with pgbench; ARGS="--quick orders" for less
	@scripts/bench $(ARGS)

soak: ## Trade under load for an hour, with crashes and faults of the database, then generated requests
	@scripts/soak

fmt: ## Format the code
	@scripts/ensure lint
	cargo fmt --all
