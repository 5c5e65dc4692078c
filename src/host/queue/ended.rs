//! What stands in and beside tasks that are done or failed, for people who look at them. The look at the queue reads only their names.

use std::path::Path;

use super::{
    ends::{MAX_REASON, reason_name},
    error::QueueError,
    header,
    place::{Queue, beginning, task_file},
};
use crate::{
    host::links::{Stamp, dir::Dir},
    model::TaskName,
    observed::TaskHeader,
};

/// What can be read of one task. What cannot is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndedTask {
    /// What stands at its top.
    pub header: Option<TaskHeader>,
    /// What stands beside it in `NAME.md.reason`.
    pub reason: Option<String>,
}

/// Reads tasks in one directory of a project's queue, [`super::DONE`] or [`super::FAILED`], and answers one for each, in order.
///
/// # Errors
/// [`QueueError`]: the directory cannot be read at all.
pub fn read_ended<'a>(
    project: &Path,
    directory: &str,
    tasks: impl IntoIterator<Item = &'a TaskName>,
) -> Result<Vec<EndedTask>, QueueError> {
    let dir = Queue::open(project)?.child(directory)?;
    // A reason without its task is that of another one.
    let stands = |task| task_file(&dir, task).is_ok_and(|found| found.is_some());
    let read = |task| EndedTask { header: header_of(&dir, task), reason: reason_of(&dir, task) };
    Ok(tasks.into_iter().map(|task| if stands(task) { read(task) } else { EndedTask::default() }).collect())
}

fn header_of(dir: &Dir, task: &TaskName) -> Option<TaskHeader> {
    let bytes = beginning(dir, task.as_str(), header::WINDOW).ok()?;
    header::read(task, &bytes)?.ok()
}

fn reason_of(dir: &Dir, task: &TaskName) -> Option<String> {
    let name = reason_name(task);
    dir.stamp(name.as_ref()).ok()?.filter(Stamp::is_file)?;
    let bytes = beginning(dir, &name, MAX_REASON).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned()).filter(|text| !text.is_empty())
}
