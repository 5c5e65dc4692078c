//! What can go wrong with the state directory and its files.

use std::{io, path::PathBuf};

use super::IntentId;
use crate::model::{Pid, SwapId};

/// A failure of the store. Nothing of a write that failed is in the file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no state yet, and this opening may not make any.
    #[error("there is no state in {}; `apply` or `run` makes it", .path.display())]
    Missing {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// The path of the state directory is taken by something else.
    #[error("{} is not a directory; move it away or name another state directory", .path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// Somebody else may read or write the state directory.
    #[error("the state directory {} has mode {mode:04o} and others may use it; run `chmod 700` on it", .path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The state directory belongs to another user.
    #[error("the state directory {} belongs to user {found}, this process runs as user {expected}; name another one", .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        found: u32,
        /// Our effective user.
        expected: u32,
    },
    /// Another process holds the state directory.
    #[error("the state directory {} is in use by {}; stop that one first, or use another state directory", .path.display(), holder(*.pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The holder, if the lock file says.
        pid: Option<Pid>,
    },
    /// Somebody put another file in the place of the lock file while it was being locked.
    #[error("{} was replaced while it was being locked; leave that file alone and try again", .path.display())]
    LockReplaced {
        /// The lock file.
        path: PathBuf,
    },
    /// A newer version of this program wrote the file. It can be looked at with that version only.
    #[error("{} has schema version {found}, this program knows up to {supported}; install the newer version again", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        supported: i64,
    },
    /// An older version of this program wrote the file, and this opening may not bring it up to date.
    #[error("{} has schema version {found}, this program reads {supported}; `apply` or `run` brings it up to date", .path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        supported: i64,
    },
    /// The file does not hold what it must. It is left as it is.
    #[error("{} is damaged: {finding}; it was left as it is: restore the whole state directory, or move it away", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        finding: String,
    },
    /// The file system, or the file's own limit, is full.
    #[error("no room to write {}; free some space on its file system", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
    /// Another program held the file for longer than we wait: a person's shell, a backup.
    #[error("{} is locked by another program; end its transaction", .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
    /// The file may not be written: its mode, or a file system that is mounted read-only.
    #[error("{} cannot be written; check its mode and whether its file system is mounted read-only", .path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
    /// Any other failure of SQLite.
    #[error("cannot {action} {}", .path.display())]
    Sqlite {
        /// What was being done, as a verb with its object.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
    /// A failure of the file system.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// Events and readings cannot be kept at present; everything else can.
    #[error("the history is off: {why}")]
    HistoryOff {
        /// The whole error chain.
        why: String,
    },
    /// An outcome for an intent that has one already, or that was never written.
    #[error("intent {0} is not open")]
    NoSuchIntent(IntentId),
    /// A swap would be opened while another is open.
    #[error("swap {open} is open; close it first")]
    SwapOpen {
        /// The open one.
        open: SwapId,
    },
    /// A swap event that does not open a swap, while none is open.
    #[error("no swap is open that the event could belong to")]
    NoSwapOpen,
}

/// The holder of a lock in words.
fn holder(pid: Option<Pid>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
