# What people and the CI run alike. `make` shows the targets.

.PHONY: help build test test-daemon test-others test-claude test-kills demo bench lint generate install

help:
	@echo "make build        the program, as it is shipped: target/dist/claude-failover"
	@echo "make install      the same, into ~/.cargo/bin"
	@echo "make test         all tests that need no account and no network"
	@echo "make demo         the main job in a temporary directory; ends by itself"
	@echo "make test-claude  the whole story with the real Claude Code CLI against a loopback stand-in of the API (npm, 400 MB)"
	@echo "make test-kills   the kills of daemon and commands at every point of a swap, not at a sample (strace, a quarter of an hour)"
	@echo "make bench        every figure of docs/benchmarks.md beside its floor"
	@echo "make lint         formatting, lints and documentation, warnings denied"
	@echo "make generate     write what is generated from the code, or recorded from the demo, anew"

build:
	cargo build --locked --profile dist

install:
	cargo install --locked --profile dist --path .

# The tests of the daemon wait for a condition most of the time; there is room for more of them, and beside them for those that compute.
suites := $(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs)) $(patsubst tests/%.rs,%,$(wildcard tests/*.rs))
processors := $(shell nproc)

test:
	@.ci/need tmux
	cargo test --locked --no-run
	@$(MAKE) --no-print-directory --jobs=2 test-daemon test-others

test-daemon:
	RUST_TEST_THREADS=$$((2 * $(processors))) cargo test --locked --test daemon

test-others:
	cargo test --locked --lib --bins $(addprefix --test=,$(filter-out daemon,$(suites)))
	cargo test --locked --doc

test-claude:
	@.ci/need tmux npm
	cargo test --locked --test claude --no-run
	CLAUDE_FAILOVER_REAL_CLI="$$(.ci/install-claude)" .ci/contained cargo test --locked --offline --test claude -- --nocapture

test-kills:
	@.ci/need tmux strace
	CLAUDE_FAILOVER_KILL_ALL=1 cargo test --locked --test daemon -- killed:: killed_daemon:: --nocapture

demo:
	@.ci/need tmux
	cargo build --locked
	examples/demo.sh target/debug/claude-failover

bench:
	@.ci/need tmux
	cargo bench --locked --profile dist --bench floors

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --locked --no-deps --document-private-items

generate:
	@.ci/need tmux
	UPDATE_GENERATED=1 cargo test --locked --test spec --test demo
	UPDATE_GENERATED=1 cargo test --locked --lib current
