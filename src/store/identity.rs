//! The pool's identity, kept a second time beside the state.
//!
//! Marks of sessions, the marker of the shared root, checkpoints and the ids of conversations hang on it. Should the state be lost, the one that is
//! made in its place gets the same identity, so that what is ours stays ours.
//!
//! # Does not
//! Overrule the state: where the two differ, this file is written anew.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
};

use super::{StateDir, StoreError, database::beside, directory::io_error};
use crate::model::PoolId;

/// The file's name.
const IDENTITY: &str = "identity";
/// More than the file ever holds.
const LIMIT: u64 = 256;

/// What the file says; `None` when there is none.
///
/// # Errors
/// [`StoreError::Corrupt`] when it holds something else, [`StoreError::Io`].
pub(super) fn read(directory: &StateDir) -> Result<Option<PoolId>, StoreError> {
    let path = directory.path().join(IDENTITY);
    let found = match fs::symlink_metadata(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("look at", &path)(error)),
    };
    let corrupt = || StoreError::Corrupt { path: path.clone(), finding: "it holds no pool's identity".to_owned() };
    if !found.is_file() || found.len() > LIMIT {
        return Err(corrupt());
    }
    let text = fs::read_to_string(&path).map_err(io_error("read", &path))?;
    text.trim().parse().map(|id| Some(PoolId(id))).map_err(|_| corrupt())
}

/// Sees to it that the file says `pool`. One that does is not touched.
///
/// # Errors
/// [`StoreError::Io`].
pub(super) fn keep(directory: &StateDir, pool: PoolId) -> Result<(), StoreError> {
    if matches!(read(directory), Ok(Some(kept)) if kept == pool) {
        return Ok(());
    }
    let path = directory.path().join(IDENTITY);
    let draft = beside(&path, ".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(io_error("make", &draft))?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(io_error("set the mode of", &draft))?;
    writeln!(file, "{pool}").and_then(|()| file.sync_all()).map_err(io_error("write", &draft))?;
    fs::rename(&draft, &path).map_err(io_error("move into place", &draft))?;
    directory.sync()
}
