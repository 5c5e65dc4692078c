//! Merging a real directory into the link's target, and putting the link in its place.
//!
//! Each entry of the directory is moved into the target. Of a name that stands on both sides:
//!
//! | here and there | what happens |
//! | --- | --- |
//! | two directories | they are merged, entry by entry |
//! | two files, the same bytes | the one here is removed, right after the compare |
//! | two files, one the beginning of the other | the longer stays, the other is put away: transcripts only grow |
//! | two other files | the newer stays, by modification time; if equal the larger; if equal the one there |
//! | two symlinks with the same target | the one here is removed |
//! | anything else | the one there stays, the one here is put away |
//!
//! What is put away keeps its relative path below the quarantine; a name that is taken there gets a number. Symlinks are never followed.
//!
//! # Killed at any step
//! Done again, it goes on where it was and ends in the same state. On one file system every step is one rename, and a winner from here takes
//! the loser's place in one exchange, so that a name in use by the sessions of another account never vanishes. Across two, a file is copied
//! beside its place, synced and compared, and then renamed within one file system; its source is removed last. See `copy`.
//!
//! Across two file systems, a file keeps its bytes, its permission bits and its modification time; other attributes are not carried.

mod carry;
mod copy;
mod quarantine;

use std::{
    ffi::OsStr,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

use self::{carry::Carrier, quarantine::Quarantine};
use super::{
    Change, LinkError,
    dir::{Dir, Entry},
    error::Stopped,
    link::{Own, Swapped, check_absolute, sweep, unexpected},
    look::check_target,
    root::open_marked,
};
use crate::{
    observed::LinkView,
    plan::{Happened, TargetKind},
};

/// One merge at a time: merges of several homes have the same target, and one whose caller has given up may still be under way.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Merges the directory `path` into `target` and replaces it by a link to `target`.
pub(super) fn merge(path: &Path, target: &Path, quarantine: &Path) -> Result<Change, Stopped> {
    // The mutex guards nothing but the order, so a merge that panicked leaves nothing to repair.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    check_absolute(target)?;
    let (home, name) = Dir::holding(path)?;
    sweep(&home, name, &[target]);
    match home.entry(name)? {
        Some(Entry::Directory) => {}
        Some(Entry::Link(found)) if found == target => return Ok(Change::None),
        _ => return Err(unexpected(&home, name, LinkView::Directory { entries: 0 })?.into()),
    }
    let source = home.child_on_this_mount(name)?;
    let (root, there) = open_target(target)?;
    if source.lies_in(&there)? || there.lies_in(&source)? {
        return Err(LinkError::Overlap { path: path.to_owned(), target: target.to_owned() }.into());
    }
    let mut carrier = Carrier::new(there.path().to_owned(), Quarantine::new(root, quarantine)?);
    carrier.merge(&source, &there).map_err(|error| Stopped { happened: begun(carrier.has_changed()), error })?;
    replace_by_link(&home, name, &source, target)
}

/// What a failure means: a merge that has moved something is neither done nor untouched.
const fn begun(has_changed: bool) -> Happened {
    if has_changed { Happened::CannotTell } else { Happened::No }
}

/// Opens the shared root and the target directly below it.
fn open_target(target: &Path) -> Result<(Dir, Dir), LinkError> {
    let (Some(root), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(LinkError::BadPath { path: target.to_owned(), why: "a link target must end in a plain name" });
    };
    let root = open_marked(root)?;
    check_target(target, Some(TargetKind::Directory))?;
    let there = root.child(name)?;
    Ok((root, there))
}

/// Puts the link in the place of the directory, which is empty now. If it is not, or is another one, it is put back.
fn replace_by_link(home: &Dir, name: &OsStr, emptied: &Dir, target: &Path) -> Result<Change, Stopped> {
    let after = |error| Stopped { happened: Happened::CannotTell, error };
    let refilled = || after(LinkError::Refilled { path: home.join(name) });
    if !emptied.names().map_err(after)?.is_empty() {
        return Err(refilled());
    }
    let own = Own::make(home, name, target).map_err(after)?;
    match own.swap_in(&|came_out| *came_out == Entry::Directory).map_err(|stopped| after(stopped.error))? {
        Swapped::PutBack => Err(after(LinkError::Restless { path: home.join(name) })),
        Swapped::Ours(own) => {
            let identity = home.metadata(own.came_out()).map_err(after)?.map(|metadata| (metadata.dev(), metadata.ino()));
            let is_the_same = identity == Some(emptied.identity().map_err(after)?);
            // The kernel removes a directory only when it is empty, so that nothing is lost if it was filled at this very moment.
            if is_the_same && home.remove_dir(own.came_out()).map_err(after)? {
                return home.sync().map(|()| Change::Made).map_err(Stopped::unsynced);
            }
            own.put_back().map_err(|stopped| after(stopped.error))?;
            Err(refilled())
        }
    }
}
