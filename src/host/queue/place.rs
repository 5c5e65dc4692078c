//! The directories of one project's queue, each held open.

use std::{
    ffi::OsStr,
    fs::Permissions,
    io::{self, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use rustix::fs::FileType;

use super::error::{QueueError, shown};
use crate::{
    host::links::{
        LinkError, Stamp,
        dir::{Dir, Entry, Renamed},
    },
    model::{TaskName, sha256_hex},
};

/// The queue's directory below the project.
pub const QUEUE: &str = ".agent-queue";
/// Where tasks are put.
pub const INBOX: &str = "inbox";
/// Where they are when they are done.
pub const DONE: &str = "done";
/// Where they are when they failed for good.
pub const FAILED: &str = "failed";

/// What keeps the queue out of the project's repository.
const IGNORE: &str = ".gitignore";

/// What the name of a file begins with while it is written. Only a killed process leaves one behind.
const UNFINISHED: &str = ".claude-failover-new-";

/// For people of the same group too; the umask takes away what it should.
const DIRECTORY_MODE: u32 = 0o775;

/// A project's queue, held open.
#[derive(Debug)]
pub(super) struct Queue {
    dir: Dir,
}

impl Queue {
    /// Opens the project; `None` when its directory does not exist.
    pub(super) fn project(path: &Path) -> Result<Option<Dir>, QueueError> {
        match Dir::open(path) {
            Ok(dir) => Ok(Some(dir)),
            Err(LinkError::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the queue of a project, both of which must exist.
    pub(super) fn open(project: &Path) -> Result<Self, QueueError> {
        let dir = Self::project(project)?.ok_or_else(|| QueueError::NoProject(shown(project)))?;
        Self::within(&dir)?.ok_or_else(|| QueueError::NoDirectory(shown(&dir.join(QUEUE.as_ref()))))
    }

    /// Opens the queue in a project; `None` when there is none.
    pub(super) fn within(project: &Dir) -> Result<Option<Self>, QueueError> {
        Ok(real_directory(project, QUEUE)?.map(|dir| Self { dir }))
    }

    /// Makes the queue in a project, and all its directories. Answers whether anything was made.
    pub(super) fn make(project: &Dir) -> Result<(Self, bool), QueueError> {
        let mut made = make_directory(project, QUEUE)?;
        let queue = Self::within(project)?.ok_or_else(|| QueueError::NoDirectory(shown(&project.join(QUEUE.as_ref()))))?;
        // A queue without an inbox was never whole: it is ours to furnish.
        if queue.find(INBOX)?.is_none() {
            keep_from_git(&queue.dir)?;
        }
        for name in [INBOX, DONE, FAILED] {
            made |= make_directory(&queue.dir, name)?;
        }
        Ok((queue, made))
    }

    /// A directory of the queue; `None` when it does not exist.
    pub(super) fn find(&self, name: &str) -> Result<Option<Dir>, QueueError> {
        real_directory(&self.dir, name)
    }

    /// A directory of the queue, which must exist.
    pub(super) fn child(&self, name: &str) -> Result<Dir, QueueError> {
        self.find(name)?.ok_or_else(|| QueueError::NoDirectory(shown(&self.dir.join(name.as_ref()))))
    }

    /// A directory of the queue, made if it does not exist.
    pub(super) fn child_made(&self, name: &str) -> Result<Dir, QueueError> {
        make_directory(&self.dir, name)?;
        self.child(name)
    }
}

/// Opens a directory that is no symlink. A mount point is one like any other.
fn real_directory(parent: &Dir, name: &str) -> Result<Option<Dir>, QueueError> {
    match parent.child(name.as_ref()) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) => match parent.stamp(name.as_ref())? {
            None => Ok(None),
            Some(found) if found.kind != FileType::Directory => {
                Err(QueueError::NotADirectory { path: shown(&parent.join(name.as_ref())), found: kind_words(found.kind) })
            }
            Some(_) => Err(error.into()),
        },
    }
}

/// Keeps the queue out of the project's repository: no agent commits it, and no `git clean` takes it away. What stands there already is left alone.
fn keep_from_git(queue: &Dir) -> Result<(), QueueError> {
    if queue.stamp(IGNORE.as_ref())?.is_some() || put_new(queue, IGNORE.as_ref(), b"*\n")? != Renamed::Done {
        return Ok(());
    }
    // For people of the same group too, like the directories.
    let opened = queue.file(IGNORE.as_ref())?.set_permissions(Permissions::from_mode(0o644));
    opened.map_err(|source| QueueError::system("open up", &queue.join(IGNORE.as_ref()), source))
}

fn make_directory(parent: &Dir, name: &str) -> Result<bool, QueueError> {
    if parent.stamp(name.as_ref())?.is_some_and(|found| found.kind == FileType::Directory) {
        return Ok(false);
    }
    let made = parent.make_dir(name.as_ref(), DIRECTORY_MODE)?;
    if made {
        parent.sync()?;
    }
    Ok(made)
}

/// What a file begins with, at most so many bytes.
pub(super) fn beginning(dir: &Dir, name: &str, length: usize) -> Result<Vec<u8>, QueueError> {
    let mut bytes = Vec::new();
    let read = dir.file(name.as_ref())?.take(length as u64).read_to_end(&mut bytes);
    read.map_err(|source| QueueError::system("read", &dir.join(name.as_ref()), source))?;
    Ok(bytes)
}

/// Whether a file holds this text and nothing else.
pub(super) fn holds(dir: &Dir, name: &str, text: &str) -> Result<bool, QueueError> {
    let is_as_long = dir.stamp(name.as_ref())?.is_some_and(|found| found.is_file() && found.identity.length == text.len() as u64);
    Ok(is_as_long && beginning(dir, name, text.len() + 1)? == text.as_bytes())
}

/// What stands at a name, as messages say it.
pub(super) const fn kind_words(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symlink",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        _ => "a device",
    }
}

/// The stamp of a task's file; an error when something else has its name.
pub(super) fn task_file(dir: &Dir, task: &TaskName) -> Result<Option<Stamp>, QueueError> {
    match dir.stamp(task.as_str().as_ref())? {
        Some(found) if !found.is_file() => {
            Err(QueueError::NotAFile { path: shown(&dir.join(task.as_str().as_ref())), found: kind_words(found.kind) })
        }
        found => Ok(found),
    }
}

/// Writes a file whole under another name, and then gives it its own, only when nothing has that. The directory is not synced yet.
pub(super) fn put_new(dir: &Dir, name: &OsStr, content: &[u8]) -> Result<Renamed, QueueError> {
    put_new_by(dir, &unfinished_name(name), name, content)
}

/// The same under a temporary name of the caller's choice: one that nobody else has, where two may write at the same time.
pub(super) fn put_new_by(dir: &Dir, unfinished: &str, name: &OsStr, content: &[u8]) -> Result<Renamed, QueueError> {
    write_unfinished(dir, unfinished, content)?;
    let renamed = dir.rename_new(unfinished.as_ref(), dir, name);
    if !matches!(renamed, Ok(Renamed::Done)) {
        dir.unlink(unfinished.as_ref())?;
    }
    Ok(renamed?)
}

/// Writes and syncs a file under a temporary name.
pub(super) fn write_unfinished(dir: &Dir, unfinished: &str, content: &[u8]) -> Result<(), QueueError> {
    clear_unfinished(dir, unfinished)?;
    let mut file = dir.make_file(unfinished.as_ref())?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if let Err(source) = written {
        let error = QueueError::system("write", &dir.join(unfinished.as_ref()), source);
        // A disk that is full must not be filled with what could not be written.
        dir.unlink(unfinished.as_ref())?;
        return Err(error);
    }
    Ok(())
}

/// Removes what a killed process left under a temporary name.
pub(super) fn clear_unfinished(dir: &Dir, unfinished: &str) -> Result<(), QueueError> {
    if dir.entry(unfinished.as_ref())? == Some(Entry::File) {
        dir.unlink(unfinished.as_ref())?;
    }
    Ok(())
}

/// The temporary name that belongs to a name: the next attempt finds what the last one left.
pub(super) fn unfinished_name(name: &OsStr) -> String {
    let mut digits = sha256_hex(name.as_encoded_bytes());
    digits.truncate(16);
    format!("{UNFINISHED}{digits}")
}

/// A temporary name that nobody else has.
pub(super) fn own_unfinished_name() -> String {
    format!("{UNFINISHED}{}", uuid::Uuid::new_v4().simple())
}
