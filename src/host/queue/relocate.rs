//! Moves of a task's file from one directory to another, never over anything.
//!
//! Within a file system that is one rename. Across two, as with a directory that is a mount point, the file is copied whole under a temporary name,
//! synced, put in its place, compared, and only then removed where it was.

use std::{
    fs::{File, Permissions},
    io::{self, Read as _, Seek as _},
    os::unix::fs::PermissionsExt as _,
};

use super::{
    Change,
    error::{QueueError, Stopped, shown},
    look::MAX_TASK,
    marker,
    place::{clear_unfinished, task_file, unfinished_name},
};
use crate::{
    host::links::{
        Stamp,
        dir::{Dir, Renamed},
    },
    model::TaskName,
};

/// What the name of a task ends with while it is moved to another inbox on another file system: it is offered at neither.
pub const ENDING: &str = ".moving";
/// The most numbered names that are tried.
const MAX_NAMES: u32 = 1000;
/// An agent may have written into its task; a file beyond this is not copied.
const MAX_COPIED: u64 = 64 * MAX_TASK;

/// The name and its numbered variants: `a.md`, `a~2.md`, … A name that would be too long is cut.
pub(super) fn names(task: &TaskName) -> impl Iterator<Item = TaskName> {
    let stem = task.as_str().strip_suffix(TaskName::ENDING).unwrap_or_default().to_owned();
    let numbered = (2..=MAX_NAMES).filter_map(move |number| {
        let ending = format!("~{number}{}", TaskName::ENDING);
        let mut end = stem.len().min(TaskName::MAX - ending.len());
        while !stem.is_char_boundary(end) {
            end -= 1;
        }
        TaskName::new(format!("{}{ending}", stem.get(..end)?)).ok()
    });
    std::iter::once(task.clone()).chain(numbered)
}

/// Moves a task's file into another directory under the first name that is free there. Both directories are synced, the new place first.
pub(super) fn put_aside(from: &Dir, task: &TaskName, to: &Dir) -> Result<TaskName, Stopped> {
    for name in names(task) {
        if carry(from, task.as_str(), to, &name)? {
            return Ok(name);
        }
    }
    Err(QueueError::AllTaken { path: shown(&to.join(task.as_str().as_ref())), tried: MAX_NAMES }.into())
}

/// Moves a file to a name that nothing has. Answers `false`, with nothing changed, when something has it. A file of the same content there, where
/// the two are on different file systems, is what an earlier move left.
pub(super) fn carry(from: &Dir, name: &str, to: &Dir, to_name: &TaskName) -> Result<bool, Stopped> {
    match from.rename_new(name.as_ref(), to, to_name.as_str().as_ref())? {
        Renamed::Taken => return Ok(false),
        Renamed::Done => {}
        Renamed::Apart => {
            let source = Source::open(from, name)?;
            if !source.copy_to(to, to_name)? {
                return Ok(false);
            }
            to.sync().map_err(Stopped::midway)?;
            source.remove_as_twin_of(to, to_name).map_err(Stopped::midway)?;
        }
    }
    to.sync().map_err(Stopped::midway)?;
    from.sync().map_err(Stopped::midway)?;
    Ok(true)
}

/// A file that is to be carried to another file system.
struct Source<'a> {
    dir: &'a Dir,
    name: &'a str,
    file: File,
    stamp: Stamp,
}

impl<'a> Source<'a> {
    fn open(dir: &'a Dir, name: &'a str) -> Result<Self, QueueError> {
        let file = dir.file(name.as_ref())?;
        let stamp = Stamp::of(&file).map_err(|source| QueueError::system("look at", &dir.join(name.as_ref()), source))?;
        if stamp.identity.length > MAX_COPIED {
            let message = format!("{} has {} bytes; move it by hand", shown(&dir.join(name.as_ref())), stamp.identity.length);
            return Err(QueueError::Refused(message));
        }
        Ok(Self { dir, name, file, stamp })
    }

    /// Puts a whole copy at a name that nothing has; `false` when something else has it.
    fn copy_to(&self, to: &Dir, to_name: &TaskName) -> Result<bool, QueueError> {
        let unfinished = unfinished_name(to_name.as_str().as_ref());
        clear_unfinished(to, &unfinished)?;
        let mut copy = to.make_file(unfinished.as_ref())?;
        let placed = self
            .write(&mut copy)
            .map_err(|source| QueueError::system("write", &to.join(unfinished.as_ref()), source))
            .and_then(|()| Ok(to.rename_new(unfinished.as_ref(), to, to_name.as_str().as_ref())?));
        if matches!(placed, Ok(Renamed::Done)) {
            return Ok(true);
        }
        to.unlink(unfinished.as_ref())?;
        placed?;
        self.is_twin_of(to, to_name)
    }

    fn write(&self, copy: &mut File) -> io::Result<()> {
        (&self.file).rewind()?;
        io::copy(&mut (&self.file).take(MAX_COPIED), copy)?;
        copy.set_permissions(Permissions::from_mode(self.stamp.mode & 0o777))?;
        copy.sync_all()
    }

    fn is_twin_of(&self, to: &Dir, to_name: &TaskName) -> Result<bool, QueueError> {
        if task_file(to, to_name)?.is_none_or(|found| found.identity.length != self.stamp.identity.length) {
            return Ok(false);
        }
        let mut contents = [Vec::new(), Vec::new()];
        let twin = to.file(to_name.as_str().as_ref())?;
        for (file, content) in [&self.file, &twin].into_iter().zip(&mut contents) {
            let read = (&mut &*file).rewind().and_then(|()| file.take(MAX_COPIED).read_to_end(content));
            read.map_err(|source| QueueError::system("compare", &self.dir.join(self.name.as_ref()), source))?;
        }
        let [mine, other] = contents;
        Ok(mine == other)
    }

    /// Removes the file once its copy was read back, unless it has changed since.
    fn remove_as_twin_of(&self, to: &Dir, to_name: &TaskName) -> Result<(), QueueError> {
        let is_unchanged = self.dir.stamp(self.name.as_ref())? == Some(self.stamp);
        if !is_unchanged || !self.is_twin_of(to, to_name)? {
            return Err(QueueError::Changed(shown(&self.dir.join(self.name.as_ref()))));
        }
        Ok(self.dir.unlink(self.name.as_ref())?)
    }
}

/// Moves a task that has no marker from one inbox to another. At no moment is it offered at both: across file systems it first gets a name that
/// is no task's.
pub(super) fn move_task(from: &Dir, to: &Dir, task: &TaskName) -> Result<Change, Stopped> {
    let moving = format!("{}{ENDING}", task.as_str());
    let taken = || QueueError::Taken(shown(&to.join(task.as_str().as_ref())));
    if from.own_stamp()?.is_same_file(&to.own_stamp()?) {
        return Err(QueueError::Refused("a task cannot be moved to the project that it is in".to_owned()).into());
    }
    marker::must_be_absent(from, task)?;
    let source = task_file(from, task)?;
    let cut_off = from.stamp(moving.as_ref())?.is_some();
    match (source, cut_off) {
        (None, false) if task_file(to, task)?.is_some() => return Ok(Change::None),
        (None, false) => return Err(QueueError::Gone(shown(&from.join(task.as_str().as_ref()))).into()),
        (None, true) => {}
        (Some(_), _) => match from.rename_new(task.as_str().as_ref(), to, task.as_str().as_ref())? {
            Renamed::Done => {
                to.sync().map_err(Stopped::midway)?;
                from.sync().map_err(Stopped::midway)?;
                return Ok(Change::Made);
            }
            Renamed::Taken => return Err(taken().into()),
            Renamed::Apart => {
                if from.rename_new(task.as_str().as_ref(), from, moving.as_ref())? != Renamed::Done {
                    return Err(QueueError::Taken(shown(&from.join(moving.as_ref()))).into());
                }
                from.sync().map_err(Stopped::midway)?;
            }
        },
    }
    let carried = carry(from, &moving, to, task);
    if matches!(carried, Ok(true)) {
        return Ok(Change::Made);
    }
    if !matches!(&carried, Err(stopped) if stopped.happened != crate::plan::Happened::No) {
        // Nothing is at the new place: it is offered again at the old one.
        from.rename_new(moving.as_ref(), from, task.as_str().as_ref()).map_err(Stopped::midway)?;
        from.sync().map_err(Stopped::midway)?;
    }
    carried?;
    Err(taken().into())
}
