//! The ends of a task: done, failed, and back from failed.
//!
//! The file moves first and the marker goes last: whatever is cut off, the task is either still claimed, or at its new place. Done again, what is left
//! is done.

use super::{
    Change,
    error::{QueueError, Stopped, shown},
    marker,
    place::{DONE, FAILED, INBOX, Queue, holds, put_new, task_file},
    relocate::{carry, names, put_aside},
};
use crate::{
    host::links::dir::{Dir, Renamed},
    model::{ClaimId, TaskName},
    plan::Happened,
};

/// What the name of a reason ends with: `failed/NAME.md.reason`.
pub(super) const REASON: &str = ".reason";
/// The longest reason that is kept, in bytes.
pub(super) const MAX_REASON: usize = 16 * 1024;

/// Moves a task to `done/`, where its agent has not, then takes its marker away.
pub(super) fn finish(queue: &Queue, task: &TaskName, claim: &ClaimId) -> Result<Change, Stopped> {
    let inbox = queue.child(INBOX)?;
    let done = queue.child_made(DONE)?;
    let is_claimed = marker::carries(&inbox, task, claim)?;
    let unmarked = || QueueError::Unmarked(shown(&inbox.join(marker::name(task).as_ref())));
    match (task_file(&inbox, task)?, is_claimed) {
        (Some(_), true) => drop(put_aside(&inbox, task, &done)?),
        (Some(_), false) => return Err(unmarked().into()),
        (None, _) if task_file(&done, task)?.is_none() => return Err(gone(&inbox, task).into()),
        (None, true) => {}
        (None, false) => return Ok(Change::None),
    }
    marker::release(&inbox, task, Some(claim)).map_err(midway)
}

/// Writes the reason beside the place in `failed/` that the task will have, moves the task there, then takes its marker away.
pub(super) fn fail(queue: &Queue, task: &TaskName, claim: Option<&ClaimId>, reason: &str) -> Result<Change, Stopped> {
    let inbox = queue.child(INBOX)?;
    let failed = queue.child_made(FAILED)?;
    let is_claimed = match claim {
        Some(claim) => marker::carries(&inbox, task, claim)?,
        None => {
            marker::must_be_absent(&inbox, task)?;
            false
        }
    };
    let reason = cut(reason);
    if task_file(&inbox, task)?.is_none() {
        if !failed_with(&failed, task, reason)? {
            return Err(gone(&inbox, task).into());
        }
        // It was moved by an attempt that was cut off.
        return if is_claimed { marker::release(&inbox, task, claim).map_err(midway) } else { Ok(Change::None) };
    }
    if claim.is_some() && !is_claimed {
        return Err(QueueError::Unmarked(shown(&inbox.join(marker::name(task).as_ref()))).into());
    }
    put_beside(&inbox, task, &failed, reason)?;
    if is_claimed { marker::release(&inbox, task, claim).map_err(midway) } else { Ok(Change::Made) }
}

/// Moves a task to `failed/` under the first name that is free there for the task and for its reason.
fn put_beside(inbox: &Dir, task: &TaskName, failed: &Dir, reason: &str) -> Result<(), Stopped> {
    for name in names(task) {
        let beside = reason_name(&name);
        if failed.stamp(name.as_str().as_ref())?.is_some() {
            continue;
        }
        // A reason without a task is what an attempt that was cut off left; only the same one is ours.
        let made = match put_new(failed, beside.as_ref(), reason.as_bytes())? {
            Renamed::Done => true,
            Renamed::Taken | Renamed::Apart if holds(failed, &beside, reason)? => false,
            Renamed::Taken | Renamed::Apart => continue,
        };
        failed.sync()?;
        match carry(inbox, task.as_str(), failed, &name) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(stopped) if stopped.happened == Happened::No => {
                if made {
                    failed.unlink(beside.as_ref())?;
                }
                return Err(stopped);
            }
            Err(stopped) => return Err(stopped),
        }
        if made {
            failed.unlink(beside.as_ref())?;
        }
    }
    Err(QueueError::Taken(shown(&failed.join(task.as_str().as_ref()))).into())
}

/// Moves a failed task back to the inbox, then takes its reason away.
pub(super) fn retry(queue: &Queue, task: &TaskName) -> Result<Change, Stopped> {
    let inbox = queue.child_made(INBOX)?;
    let failed = queue.child(FAILED)?;
    let beside = reason_name(task);
    let moved = if task_file(&failed, task)?.is_some() {
        marker::must_be_absent(&inbox, task)?;
        if !carry(&failed, task.as_str(), &inbox, task)? {
            return Err(QueueError::Taken(shown(&inbox.join(task.as_str().as_ref()))).into());
        }
        true
    } else if task_file(&inbox, task)?.is_some() {
        false
    } else {
        return Err(gone(&failed, task).into());
    };
    let has_reason = failed.stamp(beside.as_ref()).map_err(Stopped::midway)?.is_some_and(|found| found.is_file());
    if has_reason {
        failed.unlink(beside.as_ref()).map_err(Stopped::midway)?;
        failed.sync().map_err(Stopped::midway)?;
    }
    Ok(if moved || has_reason { Change::Made } else { Change::None })
}

/// Whether the task is in `failed/` under one of its names with this very reason.
fn failed_with(failed: &Dir, task: &TaskName, reason: &str) -> Result<bool, QueueError> {
    for name in names(task) {
        if failed.stamp(name.as_str().as_ref())?.is_none() {
            return Ok(false);
        }
        if holds(failed, &reason_name(&name), reason)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where the reason of a failed task stands.
pub(super) fn reason_name(task: &TaskName) -> String {
    format!("{}{REASON}", task.as_str())
}

fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default()
}

fn gone(dir: &Dir, task: &TaskName) -> QueueError {
    QueueError::Gone(shown(&dir.join(task.as_str().as_ref())))
}

/// The file has moved already.
fn midway(stopped: Stopped) -> Stopped {
    Stopped { happened: Happened::CannotTell, ..stopped }
}
