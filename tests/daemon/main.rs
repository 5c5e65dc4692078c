//! The whole product as an operator meets it: the built binary, a tmux server of its own, real links, the stand-in agent.
//!
//! Each test has a pool of its own below a temporary directory, asserts on what the world looks like afterwards (panes, processes, links,
//! transcripts byte by byte, the store through the CLI, exit codes), and leaves no process behind, also when it fails.

mod activity;
mod apply;
mod asking;
mod blind;
mod checkpoints;
mod edited;
mod hooks;
mod killed;
mod killed_daemon;
mod links;
mod lost;
mod notices;
mod orphan;
mod pool;
mod rollback;
mod run;
mod screens;
mod swap;
mod task_verbs;
mod tasks;
mod terminals;
mod vandal;
mod verbs;
#[path = "../support/waiting.rs"]
mod waiting;
mod witness;
mod words;
