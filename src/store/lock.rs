//! The lock on the state directory: one writer at a time.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{StateDir, StoreError, directory::io_error};
use crate::model::{Pid, ProcessId};

/// The lock file's name.
const LOCK: &str = "lock";
/// More than a lock file ever holds.
const MAX_HOLDER: u64 = 256;

/// How long a child of a holder that was killed may have the lock: it was forked off, and has not got to its exec yet.
const CHILDS_MOMENT: Duration = Duration::from_secs(1);
/// How often it is tried again meanwhile.
const PACE: Duration = Duration::from_millis(10);

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

impl Holder {
    /// Whether the process that wrote it is no more. One that nobody has collected yet has closed its files.
    fn has_ended(&self) -> bool {
        match process(&self.pid.to_string()) {
            Ok((found, state)) => found.started != self.started || matches!(state, 'Z' | 'X'),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

impl Lock {
    /// Takes the lock, or says who has it: at once, unless that process has ended.
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
            let until = Instant::now() + CHILDS_MOMENT;
            loop {
                match handle.try_lock() {
                    Ok(()) => break,
                    Err(TryLockError::WouldBlock) => {
                        let holder = read_holder(&file);
                        if Instant::now() >= until || !holder.as_ref().is_some_and(Holder::has_ended) {
                            return Err(StoreError::Locked {
                                path: directory.path().to_owned(),
                                pid: holder.map(|holder| Pid(holder.pid)),
                            });
                        }
                        thread::sleep(PACE);
                    }
                    Err(TryLockError::Error(error)) => return Err(io_error("lock", name)(error)),
                }
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

/// The process that `/proc/WHO/stat` tells of, number and start time, with its state (proc(5), fields 1, 22 and 3).
///
/// # Errors
/// Those of reading it; `InvalidData` when it is not of the known form.
fn process(who: &str) -> io::Result<(ProcessId, char)> {
    let stat = fs::read_to_string(format!("/proc/{who}/stat"))?;
    let known = || {
        // The second field, the name, may hold anything; it ends at the last closing parenthesis.
        let (head, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let pid = Pid(head.split_whitespace().next()?.parse().ok()?);
        Some((ProcessId { pid, started: fields.get(19)?.parse().ok()? }, fields.first()?.chars().next()?))
    };
    known().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{who}/stat is not of the known form")))
}

fn write_holder(file: &mut File) -> io::Result<()> {
    let (us, _) = process("self")?;
    let text = serde_json::to_string(&Holder { pid: us.pid.0, started: us.started }).map_err(io::Error::other)?;
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// Who holds the lock, if the file says so: its holder may be just about to write it.
fn read_holder(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(MAX_HOLDER).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
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
