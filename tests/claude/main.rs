//! The real CLI in a laboratory on loopback. What the controller and its stand-in rely on is shown here on the thing itself.
//!
//! The tests run when `CLAUDE_FAILOVER_REAL_CLI` names the CLI's binary; `make test-claude` fetches it. Otherwise each says that it was
//! skipped, and passes. Only `contained` runs in any case: it tests the laboratory.

mod account;
mod answers;
mod api;
mod contained;
mod failover;
mod hooks;
mod lab;
mod pool;
mod screens;
mod start;
mod story;
mod tasks;
mod typing;
#[path = "../support/waiting.rs"]
mod waiting;
