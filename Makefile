# One line a target; `make` alone lists them.
.PHONY: help run reset doctor test bench slow microbench chaos simulate loadtest
.DEFAULT_GOAL := help
# Tests run what was built with TLS and kill points; clippy and docs see what was built without.
TEST_FEATURES := --features edge/tls,settler/tls,stack/tls,edge/kill-points,settler/kill-points,stack/kill-points

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Install what is missing, build, and run the whole system on http://127.0.0.1:8080
	@cargo build --release --locked -p stack -p edge -p settler
	@target/release/stack install
	@exec target/release/stack up

reset: ## Delete the data of the stack in STACK_DIR
	@cargo build --release --locked --quiet -p stack
	@target/release/stack reset

doctor: ## Say what this machine has and lacks, and the command that helps
	@cargo build --release --locked --quiet -p stack
	@target/release/stack doctor

test: ## Install what tests need; format, clippy, docs, unit and integration tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --document-private-items
	cargo build --workspace --locked $(TEST_FEATURES)
	target/debug/stack install --tests
	PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo deny --locked check licenses bans sources
	if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --workspace --locked $(TEST_FEATURES); \
	else cargo test --workspace --locked $(TEST_FEATURES) --lib --bins --tests -- --test-threads=2; fi

bench: ## The whole system beside what the machine could do, 15 minutes (BENCH_ROWS, BENCH_SECONDS)
	@cargo build --release --locked -p stack -p edge -p settler -p bench
	@target/release/stack install --bench
	@target/release/bench

slow: ## Buyers beside a thousand slow clients (slowhttptest): they notice nothing, 8 minutes
	@cargo build --release --locked -p stack -p edge -p settler -p bench
	@target/release/stack install --bench
	@BENCH_ROWS=slow BENCH_JSON=target/slow.json target/release/bench

microbench: ## Criterion: what runs per request or per batch
	cargo build --release --locked -p stack -p edge -p settler
	cargo bench --locked -p edge -p settler

chaos: ## Sell while everything is killed, then check every invariant (CHAOS_SECONDS, SEED)
	@cargo build --release --locked -p stack -p edge -p settler -p chaos
	@target/release/stack install
	@target/release/chaos

simulate: ## The protocol over models of every server, thousands of seeded schedules (RUNS, SEED)
	@cargo run --release --locked --quiet -p simulator

loadtest: ## k6: 100 virtual users for 10 s against the running stack, then check PostgreSQL
	@cargo build --release --locked --quiet -p stack
	@target/release/stack loadtest
