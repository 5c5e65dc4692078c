//! The state directory: ours alone, or not used.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::StoreError;

/// The bits of a mode that let others in.
const OTHERS: u32 = 0o077;

/// A directory that belongs to us and that nobody else may enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Makes the directory with mode 0700 whatever the umask, or checks the one that is there.
    ///
    /// # Errors
    /// [`StoreError::NotADirectory`], [`StoreError::Foreign`], [`StoreError::NotPrivate`]; [`StoreError::Io`] for the rest.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(io_error("make the directory", parent))?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            // A umask can only take bits away from the mode above, and this one is ours to set.
            Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(io_error("set the mode of", path))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error("make the directory", path)(error)),
        }
        Self::existing(path)
    }

    /// Checks a directory that must be there, and makes nothing.
    ///
    /// # Errors
    /// As [`Self::open`], and [`StoreError::Missing`].
    pub fn existing(path: &Path) -> Result<Self, StoreError> {
        let resolved = fs::canonicalize(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing { path: path.to_owned() },
            _ => io_error("resolve", path)(error),
        })?;
        let seen = fs::symlink_metadata(&resolved).map_err(io_error("look at", &resolved))?;
        let us = nix::unistd::geteuid().as_raw();
        if !seen.is_dir() {
            return Err(StoreError::NotADirectory { path: resolved });
        }
        if seen.uid() != us {
            return Err(StoreError::Foreign { path: resolved, found: seen.uid(), expected: us });
        }
        if seen.mode() & OTHERS != 0 {
            return Err(StoreError::NotPrivate { path: resolved, mode: seen.mode() & 0o7777 });
        }
        Ok(Self { path: resolved })
    }

    /// The directory, without links in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes names that were added, changed or removed in the directory last over a loss of power.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(io_error("sync", &self.path))
    }
}

/// Wraps an error of the file system with what was being done to what.
pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}
