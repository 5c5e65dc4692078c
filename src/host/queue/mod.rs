//! The queue of a project, `<project>/.agent-queue/`: tasks as files, and the markers beside them.
//!
//! # Guarantees
//! Everything below the project is reached from an open directory handle, without following a symlink (`openat2`): an agent with a shell can write
//! there. What exists is never overwritten.
//!
//! # Does not
//! Decide which task goes where, or when one is lost.

use std::path::Path;

use crate::{
    model::Now,
    observed::{QueueView, Seen, Unseen},
    plan::{Effect, Outcome},
};

/// The queue's directory below the project.
pub const QUEUE: &str = ".agent-queue";

/// Looks at the queue of the project at `path`.
pub fn look(_path: &Path, _now: Now) -> Seen<QueueView> {
    Seen::Unknown(Unseen::NotYet)
}

/// Carries out an effect on a queue; `None` for any other.
pub fn perform(_effect: &Effect) -> Option<Outcome> {
    None
}

/// The largest task, in bytes.
pub const MAX_TASK: u64 = 256 * 1024;

/// Why a queue could not be used.
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct QueueError;

/// Adds a task.
///
/// # Errors
/// Stub.
pub fn add(_project: &Path, name: &crate::model::TaskName, _text: &str) -> Result<crate::model::TaskName, QueueError> {
    let _ = name;
    Err(QueueError)
}
