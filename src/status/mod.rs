//! What the pool looks like, for people and programs: conditions and rows, computed from facts.
//!
//! # Guarantees
//! Nothing here is remembered except when a condition last flipped, which is handed in. `Synced` (matches the spec) and `Ready` (usable now)
//! are two facts.
//!
//! # Does not
//! Look, decide or render.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod conditions;
mod rows;
mod tasks;
#[cfg(test)]
mod tests;

pub use conditions::{Conditions, Inputs, STATE_UNREADABLE, SpecState, conditions};
pub use rows::{AccountRow, LinkRow, SessionRow, Status, SwapRow, WindowRow, status};
pub use tasks::{ProjectRow, TaskDetail, TaskRow, TaskState, project_rows, record_of, task_rows};
