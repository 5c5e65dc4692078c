//! What to do: a pure function from what is wanted, what was seen and what is remembered to a list of actions with reasons.
//!
//! # Guarantees
//! The same inputs give the same plan. Time is an argument. Nothing disruptive is planned on a fact that is unknown or stale.
//!
//! # Does not
//! Act, wait, read a clock or a random source.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod absorb;
mod action;
mod backoff;
pub mod burn;
mod change;
pub mod checkpoints;
mod effect;
mod ensure;
mod evidence;
mod filter;
mod homes;
mod links;
mod lint;
mod login_ends;
mod logins;
mod memory;
mod needs;
mod planner;
pub mod poll;
mod removals;
mod restoring;
mod sessions;
pub mod target;
pub mod tasks;
#[cfg(test)]
pub(crate) mod tests;
mod tidy;

pub use absorb::{Absorbed, absorb, absorb_removals, undeclared_sessions, unspoken_transcripts, wanted_transcripts};
pub use action::{Action, Disruption, Drift, Phase, Plan, Planned, Report, Verb, Waiting};
pub use backoff::{EXIT_SPAN, MAX_EXITS};
pub use change::MemoryChange;
pub use effect::{Effect, Failure, Happened, Launch, LaunchMode, LinkNeed, Outcome, QueueChange, TargetKind};
pub use ensure::{WrongLink, ensure_active_link, ensure_links};
pub use evidence::{ACTIVE_UNKNOWN, ActiveEvidence, active_evidence};
pub use filter::{filter, pool_wide_hold};
pub use links::QUARANTINE;
pub use lint::{Finding, lint};
pub use login_ends::{LoginWarning, ends_in, stage as login_stage};
pub use logins::{CONFIRM, Refused, RefusedLogin, login_of};
pub use memory::{
    Active, AttemptEnd, AttemptVerdict, Attempts, Cordon, Latch, Memory, ServerRecord, SessionRecord, Suspension, SwapSummary, TaskAttempt,
    TaskRecord,
};
pub use needs::{link_need, link_needs};
pub use planner::{MAX_FACT_AGE, link_is_right, plan};
pub use restoring::absorb_checkpoints;
pub use sessions::{RESERVED_DESCRIPTORS, death_words, launch};
pub(crate) use tidy::count;
