//! The lock on the state directory: one writer at a time.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{StateDir, StoreError, directory::io_error};
use crate::model::{Pid, ProcessId};

/// The lock file's name.
const LOCK: &str = "lock";
/// More than a lock file ever holds.
const MAX_HOLDER: u64 = 256;

/// The right to write in a state directory, until it is dropped or the process ends, however it ends.
///
/// The lock file is never removed: a lock on a file that lost its name would admit a second holder (facts/crates-and-reliability.md,
/// section 9). Should a person remove it, the lock on the directory itself, which cannot be replaced while it has entries, still holds.
#[derive(Debug)]
pub struct Lock {
    directory: StateDir,
    witness: File,
    file: File,
}

/// What the lock file says about its holder.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: i32,
    started: u64,
}

impl Lock {
    /// Takes the lock, or says at once who has it.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::LockReplaced`], [`StoreError::Io`].
    pub fn acquire(directory: StateDir) -> Result<Self, StoreError> {
        let path = directory.path().join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
            .open(&path)
            .map_err(io_error("open", &path))?;
        let witness = File::open(directory.path()).map_err(io_error("open", directory.path()))?;
        for (handle, name) in [(&file, path.as_path()), (&witness, directory.path())] {
            match handle.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Locked { path: directory.path().to_owned(), pid: read_holder(&file) });
                }
                Err(TryLockError::Error(error)) => return Err(io_error("lock", name)(error)),
            }
        }
        if !is_still(&file, &path)? {
            return Err(StoreError::LockReplaced { path });
        }
        file.set_permissions(Permissions::from_mode(0o600)).map_err(io_error("set the mode of", &path))?;
        write_holder(&mut file).map_err(io_error("write", &path))?;
        Ok(Self { directory, witness, file })
    }

    /// The directory that it locks.
    pub const fn directory(&self) -> &StateDir {
        &self.directory
    }

    /// Whether the lock file still has its name. If not, somebody removed or replaced it, and that is worth a word.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn is_in_place(&self) -> Result<bool, StoreError> {
        is_still(&self.file, &self.path())
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(LOCK)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone is not enough: a child between its fork and its exec still has the handles, and the lock with them.
        let _ = self.file.unlock();
        let _ = self.witness.unlock();
    }
}

/// The process that `/proc/self/stat` tells of: number and start time (proc(5), fields 1 and 22).
///
/// # Errors
/// Those of reading it; `InvalidData` when it is not of the known form.
fn this_process() -> io::Result<ProcessId> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat is not of the known form");
    // The second field, the name, may hold anything; it ends at the last closing parenthesis.
    let (_, fields) = stat.rsplit_once(')').ok_or_else(odd)?;
    let started = fields.split_whitespace().nth(19).and_then(|field| field.parse().ok()).ok_or_else(odd)?;
    Ok(ProcessId { pid: Pid(nix::unistd::getpid().as_raw()), started })
}

fn write_holder(file: &mut File) -> io::Result<()> {
    let us = this_process()?;
    let text = serde_json::to_string(&Holder { pid: us.pid.0, started: us.started }).map_err(io::Error::other)?;
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// Who holds the lock, if the file says so: its holder may be just about to write it.
fn read_holder(file: &File) -> Option<Pid> {
    let mut text = String::new();
    file.take(MAX_HOLDER).read_to_string(&mut text).ok()?;
    serde_json::from_str::<Holder>(&text).ok().map(|holder| Pid(holder.pid))
}

/// Whether the open file is the one that the path names.
fn is_still(file: &File, path: &Path) -> Result<bool, StoreError> {
    let ours = file.metadata().map_err(io_error("look at", path))?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("look at", path)(error)),
    }
}
