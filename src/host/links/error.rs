//! What can go wrong with links.

use std::{io, path::PathBuf};

use crate::{
    model::PoolId,
    observed::{LinkView, RootView},
    plan::{Happened, TargetKind},
};

/// Why something could not be seen or done. Nothing that is not ours was lost in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A call of the system failed.
    #[error("cannot {doing} {}", path.display())]
    System {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A path that no effect may work on: this is our bug, or a spec that was not checked.
    #[error("{}: {why}", path.display())]
    BadPath {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Something else stands where an effect or a start relies on something. It was left as it is.
    #[error("{} should be {}, but is {}; it was left as it is", path.display(), words(expected), words(found))]
    Unexpected {
        /// The link.
        path: PathBuf,
        /// What should be there.
        expected: LinkView,
        /// What is there.
        found: LinkView,
    },
    /// What a link points at, or shall point at, is missing or of the wrong kind. A symlink counts as wrong: a link is one hop.
    #[error("the link target {} should be {}, but is {}; make it or put it right before anything is linked to it", path.display(), kind_words(*expected), words(found))]
    BadTarget {
        /// The target.
        path: PathBuf,
        /// What it should be; `None` when a directory and a file would do.
        expected: Option<TargetKind>,
        /// What it is.
        found: LinkView,
    },
    /// The shared root is to be taken over and is not safe.
    #[error("the shared root {} cannot be taken over: {problem}", path.display())]
    UnsafeRoot {
        /// The root.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The shared root is not the one that we may work in.
    #[error("the shared root {} is {}{}; nothing was changed in it. Is the right share mounted there?", path.display(), root_words(found), marker_words(*expected))]
    NotOurRoot {
        /// The root.
        path: PathBuf,
        /// Whose marker it should carry; `None` when any marker would do.
        expected: Option<PoolId>,
        /// What it is.
        found: RootView,
    },
    /// The marker of a shared root cannot be understood. It is never written anew: it may be another program's.
    #[error("{} is not a marker that we can read; restore it, or move it away if it is not ours", path.display())]
    BadMarker {
        /// The marker file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file system has no `RENAME_NOREPLACE` or no `RENAME_EXCHANGE` (renameat2(2)): NFS, for one.
    #[error("the file system of {} cannot rename without overwriting; keep account homes, the shared root and queues on a local file system", path.display())]
    NoSafeRename {
        /// What was to be renamed.
        path: PathBuf,
    },
    /// The directory and the target that it shall be merged into are the same directory, or one lies in the other.
    #[error("{} and {} are one directory, or one lies in the other, so that neither can be merged into the other", path.display(), target.display())]
    Overlap {
        /// The directory.
        path: PathBuf,
        /// The link's target.
        target: PathBuf,
    },
    /// A socket, a pipe or a device cannot be carried to another file system.
    #[error("{} is no file, directory or symlink, and cannot be carried to another file system; remove it, or move it away by hand", path.display())]
    CannotCarry {
        /// The special file.
        path: PathBuf,
    },
    /// The tree is deeper than a merge goes.
    #[error("{} lies more than {limit} directories deep; merge it by hand", path.display())]
    TooDeep {
        /// The directory.
        path: PathBuf,
        /// The bound.
        limit: usize,
    },
    /// No free name was found for the losing side of a clash.
    #[error("all of {} and its {tried} numbered variants are taken; clear the quarantine up", path.display())]
    Crowded {
        /// The wanted name.
        path: PathBuf,
        /// How many were tried.
        tried: u32,
    },
    /// Somebody changes it faster than it can be worked on.
    #[error("{} changes while it is worked on; stop what writes there", path.display())]
    Restless {
        /// What changes.
        path: PathBuf,
    },
    /// Somebody put something new into a directory that was about to be replaced by its link. The directory was put back.
    #[error("{} got new entries while it was merged, and was kept; stop the sessions of that home", path.display())]
    Refilled {
        /// The directory.
        path: PathBuf,
    },
    /// Two programs changed a link at the same time as we did. The newest stands at its place, the other was kept beside it.
    #[error("{} was changed by somebody else at the same moment; what stood there is kept as {}", path.display(), aside.display())]
    SetAside {
        /// The link.
        path: PathBuf,
        /// Where the other one is.
        aside: PathBuf,
    },
}

/// An error with what it means for the effect.
#[derive(Debug)]
pub(super) struct Stopped {
    /// Whether the effect took place all the same.
    pub happened: Happened,
    /// What went wrong.
    pub error: LinkError,
}

/// An error that nothing else is said of came before the first change.
impl From<LinkError> for Stopped {
    fn from(error: LinkError) -> Self {
        Self { happened: Happened::No, error }
    }
}

impl Stopped {
    /// The effect is visible, but it is not known to last: a directory could not be synced. It is not tried again and then believed, since
    /// the kernel reports such an error only once (fsync(2)).
    pub(super) fn unsynced(error: LinkError) -> Self {
        Self { happened: Happened::CannotTell, error }
    }
}

/// What stands at a path, as messages say it.
fn words(view: &LinkView) -> String {
    match view {
        LinkView::Absent => "absent".to_owned(),
        LinkView::Link { target, target_ok: true } => format!("a symlink to {}", target.display()),
        LinkView::Link { target, target_ok: false } => format!("a symlink to {}, which is missing or of the wrong kind", target.display()),
        LinkView::Directory { entries } => format!("a real directory (entries: {entries})"),
        LinkView::File => "a regular file".to_owned(),
        LinkView::Other => "neither file, directory nor symlink".to_owned(),
    }
}

/// A kind of target, as messages say it.
fn kind_words(kind: Option<TargetKind>) -> &'static str {
    match kind {
        Some(TargetKind::Directory) => "a real directory",
        Some(TargetKind::File) => "a regular file",
        None => "a real directory or a regular file",
    }
}

/// A shared root, as messages say it.
fn root_words(view: &RootView) -> String {
    match view {
        RootView::Absent => "absent".to_owned(),
        RootView::Empty => "empty".to_owned(),
        RootView::Unmarked => "in use without our marker".to_owned(),
        RootView::Marked(pool) => format!("marked as the root of pool {pool}"),
    }
}

/// The marker that was expected, as messages say it.
fn marker_words(pool: Option<PoolId>) -> String {
    pool.map(|pool| format!(", not as that of pool {pool}")).unwrap_or_default()
}
