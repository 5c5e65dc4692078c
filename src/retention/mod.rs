//! What may be deleted is decided here, as a list, before anything is deleted.
//!
//! # Guarantees
//! Only names that were seen are in a list. The newest of what is kept for a session that may come back is in none.
//!
//! # Does not
//! Delete: the plan carries the lists, and the host acts on them.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod checkpoints;
mod tasks;

pub use checkpoints::{Standing, expired_checkpoints};
pub use tasks::archivable_tasks;
