//! All that is known of the Claude Code CLI: how it is started, what it writes, what it reads. Nothing else may know it.
//!
//! # Guarantees
//! What the CLI writes is data: bounded in size, tolerant of other versions, never able to panic us. What is torn or not understood is an
//! error or an absent fact, never a default. A token is never kept, returned, logged or written.
//!
//! # Assumes
//! The behaviour that facts/claude-code.md records, seen with CLI 2.1.330.
//!
//! # Does not
//! Start or stop an agent (tmux and `process` do), decide, or retry.

pub mod activity;
mod cells;
mod error;
mod file;
pub mod home;
pub mod input_box;
mod json;
pub mod launch;
pub mod leftover;
pub mod login;
pub mod register;
pub mod report;
pub mod screen;
pub mod settings;
pub mod tail;
pub mod transcript;

pub use error::AgentError;
