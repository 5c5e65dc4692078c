//! Keeps a pool of Claude Code sessions in tmux as its spec says, and carries it to the next account when one reaches its limit.
//!
//! # The map
//! Lower layers never import higher ones; `tests/architecture.rs` holds them to it.
//!
//! ```text
//!  cli   control                talk to people and programs
//!    \     /
//!    engine                     observe, plan, lint, execute, record, publish
//!    /   |  \
//!  host store sim               touch the host · durable memory · simulated host
//!    \   |   /
//!  plan  swap  status           pure decisions
//!    \   |   /
//!  spec   observed              pure values: wanted · seen
//!      \ /
//!     model                     words
//! ```
//!
//! Data goes round like this: `spec::load` makes a [`spec::Spec`], [`host::Host::observe`] an [`observed::Snapshot`], the store a
//! [`plan::Memory`]; the planner makes a [`plan::Plan`] of the three; the engine carries it out through [`host::Host::perform`], with each
//! intent in the store before its effect and each outcome behind it.
//!
//! Beside the layers stands [`standin`], a leaf that imports only `model`: the process that plays the agent in tests and demos.

pub mod cli;
pub mod control;
pub mod engine;
pub mod host;
pub mod model;
pub mod observed;
pub mod plan;
pub mod retention;
pub mod sim;
pub mod spec;
pub mod standin;
pub mod status;
pub mod store;
pub mod swap;
