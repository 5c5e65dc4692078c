//! The shared root: its marker, and what links point at.
//!
//! The marker `.claude-failover` tells a root of ours from the empty mount point of a share that is not mounted
//! (facts/crates-and-reliability.md, section 22, L6). It is written once and never changed.

use std::{
    ffi::OsStr,
    io::{self, Read as _, Write as _},
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Change, LinkError,
    dir::{Dir, Entry, Renamed},
    error::Stopped,
    look::{observe_home, view},
};
use crate::{
    model::PoolId,
    observed::{LinkView, RootView},
    plan::TargetKind,
};

/// The marker's name in the shared root.
const MARKER: &str = ".claude-failover";

/// The marker's name while it is written. Only a killed process leaves it behind, and it does not count as content.
const UNFINISHED_MARKER: &str = ".claude-failover.new";

/// A marker has about 100 bytes; a larger file is none.
const MAX_MARKER: u64 = 4096;

/// What the marker says.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    /// Whose root it is.
    pool: PoolId,
    /// When it became so.
    made: Timestamp,
}

/// Looks at the shared root.
///
/// # Errors
/// [`LinkError`] when it could not be looked at, is no directory, or has a marker that cannot be read. None of these means that it is empty.
pub fn observe_root(root: &Path) -> Result<RootView, LinkError> {
    match Dir::open(root) {
        Ok(dir) => view_root(&dir),
        Err(LinkError::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => match Dir::holding(root) {
            // Something that leads nowhere, such as a dangling symlink, is not "nothing": it may lead to a share that is not mounted.
            Ok((parent, name)) => match view(&parent, name, None)? {
                LinkView::Absent => Ok(RootView::Absent),
                found => Err(LinkError::BadTarget { path: root.to_owned(), expected: Some(TargetKind::Directory), found }),
            },
            Err(LinkError::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(RootView::Absent),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

fn view_root(dir: &Dir) -> Result<RootView, LinkError> {
    if let Some(marker) = read_marker(dir)? {
        return Ok(RootView::Marked(marker.pool));
    }
    let has_content = dir.names()?.iter().any(|name| name != UNFINISHED_MARKER);
    Ok(if has_content { RootView::Unmarked } else { RootView::Empty })
}

fn read_marker(dir: &Dir) -> Result<Option<Marker>, LinkError> {
    let name = OsStr::new(MARKER);
    if dir.entry(name)?.is_none() {
        return Ok(None);
    }
    let mut text = Vec::new();
    dir.file(name)?.take(MAX_MARKER).read_to_end(&mut text).map_err(|source| dir.error("read", name, source))?;
    serde_json::from_slice(&text).map(Some).map_err(|source| LinkError::BadMarker { path: dir.join(name), source })
}

/// Opens a root that carries a marker; nothing is ever made in one that does not.
pub(super) fn open_marked(root: &Path) -> Result<Dir, LinkError> {
    let refused = |found| LinkError::NotOurRoot { path: root.to_owned(), expected: None, found };
    match observe_root(root)? {
        RootView::Marked(_) => {}
        found => return Err(refused(found)),
    }
    // The marker is read again through the handle that the work is done with: the share may have been unmounted in between.
    let dir = Dir::open(root)?;
    match view_root(&dir)? {
        RootView::Marked(_) => Ok(dir),
        found => Err(refused(found)),
    }
}

/// Makes the root if it is absent, and puts the pool's marker into it if it is empty. The directory that holds it must exist: a missing
/// one may be a share that is not mounted.
pub(super) fn init(root: &Path, pool: PoolId) -> Result<Change, Stopped> {
    let refused = |found| Stopped::from(LinkError::NotOurRoot { path: root.to_owned(), expected: Some(pool), found });
    match observe_root(root)? {
        RootView::Marked(found) if found == pool => return Ok(Change::None),
        RootView::Absent => make_root(root)?,
        RootView::Empty => {}
        found => return Err(refused(found)),
    }
    let dir = Dir::open(root)?;
    write_marker(&dir, pool)?;
    // Another pool may have been quicker; its marker was not replaced.
    match view_root(&dir)? {
        RootView::Marked(found) if found == pool => dir.sync().map(|()| Change::Made).map_err(Stopped::unsynced),
        found => Err(refused(found)),
    }
}

/// Puts the pool's marker into a root that holds something and carries none: an operator has looked at it and said so. Only a directory of
/// ours that nobody else may write to is taken, and a marker that stands there is never replaced.
pub(super) fn adopt(root: &Path, pool: PoolId) -> Result<Change, Stopped> {
    let refused = |found| Stopped::from(LinkError::NotOurRoot { path: root.to_owned(), expected: Some(pool), found });
    match observe_root(root)? {
        RootView::Marked(found) if found == pool => return Ok(Change::None),
        RootView::Unmarked => {}
        found => return Err(refused(found)),
    }
    if let Some(problem) = observe_home(root)?.unsafe_mode {
        return Err(LinkError::UnsafeRoot { path: root.to_owned(), problem }.into());
    }
    let dir = Dir::open(root)?;
    match view_root(&dir)? {
        RootView::Unmarked => write_marker(&dir, pool)?,
        found => return Err(refused(found)),
    }
    match view_root(&dir)? {
        RootView::Marked(found) if found == pool => dir.sync().map(|()| Change::Made).map_err(Stopped::unsynced),
        found => Err(refused(found)),
    }
}

fn make_root(root: &Path) -> Result<(), LinkError> {
    let (parent, name) = Dir::holding(root)?;
    parent.make_dir(name, 0o700)?;
    parent.sync()
}

fn write_marker(dir: &Dir, pool: PoolId) -> Result<(), LinkError> {
    let unfinished = OsStr::new(UNFINISHED_MARKER);
    if dir.entry(unfinished)? == Some(Entry::File) {
        dir.unlink(unfinished)?;
    }
    let marker = Marker { pool, made: Timestamp::now() };
    let text = serde_json::to_vec(&marker).map_err(|source| LinkError::BadMarker { path: dir.join(unfinished), source })?;
    let mut file = dir.make_file(unfinished)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(|source| dir.error("write", unfinished, source))?;
    if dir.rename_new(unfinished, dir, OsStr::new(MARKER))? != Renamed::Done {
        dir.unlink(unfinished)?;
    }
    Ok(())
}

/// Makes what a link will point at. What exists is left alone, if it is of the right kind.
pub(super) fn create_target(root: &Path, target: &Path, kind: TargetKind) -> Result<Change, Stopped> {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(LinkError::BadPath { path: target.to_owned(), why: "a link target must end in a plain name" }.into());
    };
    if parent != root {
        return Err(LinkError::BadPath { path: target.to_owned(), why: "a link target must lie directly below the shared root" }.into());
    }
    let dir = open_marked(root)?;
    if stands(&dir, name, kind)? {
        return Ok(Change::None);
    }
    let made = match kind {
        TargetKind::Directory => dir.make_dir(name, 0o700)?,
        TargetKind::File => {
            let file = dir.make_file(name)?;
            file.sync_all().map_err(|source| Stopped::unsynced(dir.error("sync", name, source)))?;
            true
        }
    };
    // Somebody else may have made it at the same moment.
    if !made && !stands(&dir, name, kind)? {
        return Err(LinkError::Restless { path: target.to_owned() }.into());
    }
    dir.sync().map_err(Stopped::unsynced)?;
    Ok(if made { Change::Made } else { Change::None })
}

/// Whether `name` is there and of the right kind; an error when something else stands there.
fn stands(dir: &Dir, name: &OsStr, kind: TargetKind) -> Result<bool, LinkError> {
    match (dir.entry(name)?, kind) {
        (None, _) => Ok(false),
        (Some(Entry::Directory), TargetKind::Directory) | (Some(Entry::File), TargetKind::File) => Ok(true),
        _ => Err(LinkError::BadTarget { path: dir.join(name), expected: Some(kind), found: view(dir, name, Some(kind))? }),
    }
}
