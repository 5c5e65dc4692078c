//! Parses, calls, renders. Data goes to stdout, logs to stderr, and exit codes are a contract.

pub mod args;
mod exit;
pub mod render;

pub use exit::Exit;
