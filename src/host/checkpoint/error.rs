//! What can go wrong with keeping checkpoints.

use std::{io, path::PathBuf};

/// Why a checkpoint was not kept, removed or found.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system is full.
    #[error("no room to write {}; free some space on its file system", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// A file or directory could not be used.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// Something else stands where our directory belongs.
    #[error("{} is not a directory of ours that nobody else may enter; move it away", path.display())]
    NotOurs {
        /// The path.
        path: PathBuf,
    },
    /// There are more entries than we would ever make.
    #[error("{} has more than {limit} entries; look at what is there", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
        /// The bound.
        limit: usize,
    },
}

impl CheckpointError {
    pub(super) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path, source },
            _ => Self::Io { what, path, source },
        }
    }
}
