//! What to do: a pure function from what is wanted, what was seen and what is remembered to a list of actions with reasons.
//!
//! # Guarantees
//! The same inputs give the same plan. Time is an argument. Nothing disruptive is planned on a fact that is unknown or stale.
//!
//! # Does not
//! Act, wait, read a clock or a random source.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod action;
mod effect;
mod memory;
mod needs;

pub use action::{Action, Disruption, Drift, Phase, Plan, Planned, Report, Verb, Waiting};
pub use effect::{Effect, Failure, Happened, Launch, LaunchMode, LinkNeed, Outcome, TargetKind};
pub use memory::{Active, Attempts, Cordon, Latch, Memory, SessionRecord, Suspension, SwapSummary};
pub use needs::link_needs;
