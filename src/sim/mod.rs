//! A simulated host that behaves like the real one, failures included.
//!
//! A [`World`] holds everything that is outside of us: a tmux server, agents with their manners, homes, the shared root, transcripts with
//! their bytes, logins with their windows, and time, which passes only when somebody waits. [`SimHost`] is a process of ours in that world;
//! it may be killed by a [`Fault`] and made anew, and the world lives on. A [`Person`] may do there whatever a careless hand does.
//!
//! # Guarantees
//! The same calls give the same world: no clock, no threads, no chance. What must never happen is noticed by the world itself
//! ([`World::violations`]). `tests/conformance` holds it to what the real host does.
//!
//! # Assumes
//! One thread. One process of ours at a time.
//!
//! # Does not
//! Decide, or know why something is done.

mod account;
mod act;
mod checkpoints;
mod fault;
mod files;
mod host;
mod look;
mod merge;
mod oracle;
mod person;
mod process;
mod queue;
#[cfg(test)]
mod tests;
mod tmux;
mod violation;
mod world;

pub use account::{Home, Usage, Window};
pub use fault::{Crashed, Fault, FaultPlan, until_crash};
pub use files::{Files, Node};
pub use host::SimHost;
pub use person::Person;
pub use process::{Agent, Manner, Phase, Process, Who};
pub use queue::{Work, WorkResult};
pub use tmux::{Session, Tmux};
pub use violation::Violation;
pub use world::{Performed, Source, World};
