//! The stand-in agent as a controller meets it: its process, its register entry, its transcript, its hooks, its exit codes.
//!
//! Each test has homes of its own and runs the built binary; nothing is looked at inside it.

mod account;
mod agent;
mod ends;
mod resume;
mod start;
mod turns;
#[path = "../support/waiting.rs"]
mod waiting;
