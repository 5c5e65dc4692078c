//! What stands under a task's name in `done/` and `failed/` steps aside before the task is given out: the agent is told to move its file there, and
//! `mv` replaces what it finds.

use super::{
    ends::reason_name,
    error::{QueueError, Stopped, shown},
    place::{DONE, FAILED, Queue},
    relocate::names,
};
use crate::{
    host::links::dir::{Dir, Renamed},
    model::TaskName,
};

/// Gives what has the task's name in `done/` and `failed/` the first numbered name that is free there, a reason along with its task.
pub(super) fn clear_way(queue: &Queue, task: &TaskName) -> Result<(), Stopped> {
    if let Some(done) = queue.find(DONE)?
        && done.stamp(task.as_str().as_ref())?.is_some()
    {
        step_aside(&done, task, None)?;
    }
    if let Some(failed) = queue.find(FAILED)? {
        let reason = failed.stamp(reason_name(task).as_ref())?.is_some();
        if reason || failed.stamp(task.as_str().as_ref())?.is_some() {
            step_aside(&failed, task, Some(reason))?;
        }
    }
    Ok(())
}

/// `reason` says whether one stands there; it goes first, so that its task never stands without it. A reason that stands alone under the new name
/// is what a kill left of this very step.
fn step_aside(dir: &Dir, task: &TaskName, reason: Option<bool>) -> Result<(), QueueError> {
    for name in names(task).skip(1) {
        if dir.stamp(name.as_str().as_ref())?.is_some() {
            continue;
        }
        if reason == Some(true) && dir.rename_new(reason_name(task).as_ref(), dir, reason_name(&name).as_ref())? != Renamed::Done {
            continue;
        }
        let stands = dir.stamp(task.as_str().as_ref())?.is_some();
        if !stands || dir.rename_new(task.as_str().as_ref(), dir, name.as_str().as_ref())? == Renamed::Done {
            return Ok(dir.sync()?);
        }
    }
    Err(QueueError::Taken(shown(&dir.join(task.as_str().as_ref()))))
}
