# A bare `make` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help fmt lint test schedules simulate simulate-broken faults crashes fuzz bench load demo run image-test

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

fmt: ## Format the code
	cargo fmt

lint: ## Formatting, clippy on all targets, documentation: no warning passes
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

test: ## All tests
	cargo test --locked

schedules: ## The session under 100,000 random schedules (SCHEDULES=n, SEED=x to replay one)
	SCHEDULES=$${SCHEDULES:-100000} cargo test --locked --test schedules

simulate: ## Clients, networks and servers that break (SEEDS=n, SEED=x to replay one)
	SEEDS=$${SEEDS:-20000} cargo test --locked --release --test simulation -- --nocapture

simulate-broken: ## Break the product on purpose, in a copy: the simulation has to find each break (minutes)
	@tests/simulation/broken/run

faults: ## Real programs behind nginx, and what breaks around them (FAULTS="kill-9 loss" DESKS=50 FRAMES=8)
	FAULTS="$${FAULTS:-none kill-9 sigterm reload cut silence latency loss hang flood}" DESKS=$${DESKS:-50} FRAMES=$${FRAMES:-8} \
	OUTAGE=$${OUTAGE:-40} cargo test --locked --test faults -- --nocapture

crashes: ## The server killed at random moments, and what its clients were told (CRASHES=300, SEED=x for the same dice)
	CRASHES=$${CRASHES:-300} cargo test --locked --test crashes -- --nocapture

fuzz: ## A parser of outside bytes under libFuzzer (TARGET=tokens SECONDS=600; bare, it lists the targets)
	@tests/fuzz/run "$(TARGET)" $(SECONDS)

bench: ## CPU and memory beside a bare tonic server; an outcome with and without its log; logs beside bare SQLite; tools' calls beside bare ones
	cargo bench --locked --no-fail-fast --bench frame --bench log --bench tools

load: ## 10,000 sessions idle and 200 active, restarts, a flood: half an hour (MINUTES=10 IDLE=10000 ACTIVE=200)
	cargo bench --locked --bench load

demo: ## A whole conversation in one process
	cargo run --locked -- demo

image-test: ## The image built and run read-only, and the chart's pod (root, buildah, podman; minutes)
	deploy/try-image.sh

run: ## Serve, configured from the environment
	cargo run --locked --release -- serve
