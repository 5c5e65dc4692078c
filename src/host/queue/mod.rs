//! The queue of a project, `<project>/.agent-queue/`: tasks as files, and the markers beside them.
//!
//! ```text
//! .agent-queue/inbox/NAME.md              a task that is waited for, or worked on
//! .agent-queue/inbox/NAME.md.dispatched   who works on it: its marker
//! .agent-queue/done/NAME.md               a task that is done
//! .agent-queue/failed/NAME.md             a task that failed for good
//! .agent-queue/failed/NAME.md.reason      why
//! .agent-queue/archive/2026-11.tar.gz     what was done long ago
//! .agent-queue/.gitignore                 keeps all of it out of the project's repository
//! ```
//!
//! # Guarantees
//! - Everything below the project is reached from an open directory handle, without following a symlink (`openat2`): an agent with a shell can write
//!   there. The path of the project itself may lead through symlinks.
//! - What exists is never overwritten, and no task is ever removed: it moves, and what was archived is removed once the archive is on disk.
//! - Every effect looks again at the moment of acting, may be killed at any point, and done again ends in the same state.
//! - A look reads only regular files that were left alone for [`REST`], and changes nothing.
//!
//! # Assumes
//! A file system with `RENAME_NOREPLACE` and `RENAME_EXCHANGE`. One process at a time carries out effects; anybody may add, move and remove
//! files. Whoever writes a task slower than [`REST`] writes it under another name first. The calls block; the caller bounds them in time.
//!
//! # Does not
//! Decide which task goes where, or when one is lost.

mod add;
mod archive;
mod aside;
mod ended;
mod ends;
mod error;
mod header;
mod look;
mod marker;
mod place;
mod relocate;

pub use add::add;
pub use archive::ARCHIVE;
pub use ended::{EndedTask, read_ended};
pub use error::QueueError;
pub use look::{MAX_TASK, QueueCache, REST, look};
pub use marker::ENDING as MARKER_ENDING;
pub use place::{DONE, FAILED, INBOX, QUEUE};
pub use relocate::ENDING as MOVING_ENDING;

use std::path::Path;

use self::{
    error::{Stopped, shown},
    place::Queue,
};
use crate::plan::{Failure, Outcome, QueueChange};

/// Changes the queue of the project in that directory.
pub fn perform(project: &Path, change: &QueueChange) -> Outcome {
    let result = match change {
        QueueChange::Create => create(project),
        QueueChange::Claim { task, expect, marker } => within(project, |queue| marker::claim(queue, task, expect, marker)),
        QueueChange::Renew { task, marker } => within(project, |queue| marker::renew(&queue.child(INBOX)?, task, marker)),
        QueueChange::Release { task, claim } => within(project, |queue| marker::release(&queue.child(INBOX)?, task, claim.as_ref())),
        QueueChange::Finish { task, claim } => within(project, |queue| ends::finish(queue, task, claim)),
        QueueChange::Fail { task, claim, reason } => within(project, |queue| ends::fail(queue, task, claim.as_ref(), reason)),
        QueueChange::Retry { task } => within(project, |queue| ends::retry(queue, task)),
        QueueChange::Move { task, to } => within(project, |queue| {
            let to = Queue::open(to)?;
            relocate::move_task(&queue.child(INBOX)?, &to.child(INBOX)?, task)
        }),
        QueueChange::Archive { month, tasks } => within(project, |queue| archive::archive(queue, month, tasks)),
    };
    match result {
        Ok(Change::None) => Outcome::Unchanged,
        Ok(Change::Made) => Outcome::Changed,
        Err(stopped) => Outcome::Failed(Failure::from_error(stopped.happened, &stopped.error)),
    }
}

fn within(project: &Path, work: impl FnOnce(&Queue) -> Result<Change, Stopped>) -> Result<Change, Stopped> {
    work(&Queue::open(project)?)
}

fn create(project: &Path) -> Result<Change, Stopped> {
    let dir = Queue::project(project)?.ok_or_else(|| QueueError::NoProject(shown(project)))?;
    let (_, made) = Queue::make(&dir)?;
    Ok(if made { Change::Made } else { Change::None })
}

/// Whether an effect had anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// The world was already so.
    None,
    /// Done.
    Made,
}
