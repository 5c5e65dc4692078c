//! New tasks, as the verb `task add` makes them.

use std::path::Path;

use super::{
    error::{QueueError, shown},
    header,
    look::MAX_TASK,
    place::{INBOX, Queue, holds, own_unfinished_name, put_new_by},
};
use crate::{host::links::dir::Renamed, model::TaskName};

/// Puts a task into a project's inbox, whole or not at all, and makes the queue if it does not exist. `.md` is added to a name that lacks it. A
/// task of the same name and text that stands there already is this one: doing it twice adds one task.
///
/// # Errors
/// [`QueueError`]: nothing was added, or it is not known to last.
pub fn add(project: &Path, name: &str, text: &str) -> Result<TaskName, QueueError> {
    let task = TaskName::new(TaskName::with_ending(name))?;
    let path = || shown(Path::new(task.as_str()));
    if text.len() as u64 > MAX_TASK {
        return Err(QueueError::TooLong { path: path(), length: text.len(), limit: MAX_TASK });
    }
    let beginning = text.as_bytes().get(..text.len().min(header::WINDOW)).unwrap_or_default();
    match header::read(&task, beginning) {
        None => return Err(QueueError::Empty(path())),
        Some(Err(why)) => return Err(QueueError::BadHeader(why)),
        Some(Ok(_)) => {}
    }
    let dir = Queue::project(project)?.ok_or_else(|| QueueError::NoProject(shown(project)))?;
    let inbox = Queue::make(&dir)?.0.child(INBOX)?;
    match put_new_by(&inbox, &own_unfinished_name(), task.as_str().as_ref(), text.as_bytes())? {
        Renamed::Done => inbox.sync()?,
        Renamed::Taken | Renamed::Apart if holds(&inbox, task.as_str(), text)? => {}
        Renamed::Taken | Renamed::Apart => return Err(QueueError::Taken(shown(&inbox.join(task.as_str().as_ref())))),
    }
    Ok(task)
}
