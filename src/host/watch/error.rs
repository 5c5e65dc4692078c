//! What can go wrong with watching. None of it stops anything: the regular look finds the same, only later.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a directory is not watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The kernel gives no watcher: `fs.inotify.max_user_instances` is reached, or descriptors are short (inotify(7)).
    #[error("files cannot be watched, so that changes are seen at the regular look only; raise fs.inotify.max_user_instances")]
    Start {
        /// Why not.
        source: notify::Error,
    },
    /// Nothing stands there.
    #[error("{} does not exist, and cannot be watched until it does", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// Something else stands there.
    #[error("{} is not a directory, and only directories are watched", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The user's limit of watches is reached.
    #[error("{} is not watched, so that changes there are seen at the regular look only; raise fs.inotify.max_user_watches", path.display())]
    Limit {
        /// The directory.
        path: PathBuf,
    },
    /// Something else.
    #[error("{} cannot be watched, so that changes there are seen at the regular look only", path.display())]
    Failed {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: notify::Error,
    },
}

impl WatchError {
    pub(super) fn from_notify(path: &Path, source: notify::Error) -> Self {
        let path = path.to_owned();
        match &source.kind {
            notify::ErrorKind::MaxFilesWatch => Self::Limit { path },
            notify::ErrorKind::PathNotFound => Self::Missing { path },
            notify::ErrorKind::Io(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Failed { path, source },
        }
    }
}
