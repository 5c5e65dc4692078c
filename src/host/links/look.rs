//! What is to be seen of links and homes. Nothing is changed, not even what a crash left behind.

use std::{
    ffi::OsStr,
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use super::{
    LinkError,
    dir::{Dir, Entry},
};
use crate::{
    observed::LinkView,
    plan::{LinkNeed, TargetKind},
};

/// The file-system half of an account's home; its keys and its login are read by the agent's module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HomeGround {
    /// Whether the directory exists.
    pub exists: bool,
    /// Device and inode behind every symlink and bind mount: two accounts with the same pair share one home.
    pub identity: Option<(u64, u64)>,
    /// Why it cannot be trusted or used: it is another user's, others may write there, or we may not.
    pub unsafe_mode: Option<String>,
}

/// Looks at what stands at `path`, where a link to something of the kind `expected` should be.
///
/// A link's target is looked at without following it any further: the CLI cuts chains of links, so one whose target is itself a symlink is
/// not ok (facts/crates-and-reliability.md, section 21, law 5). A home that does not exist has no links: its links are absent.
///
/// # Errors
/// [`LinkError`] when it could not be looked at; that says nothing about what stands there.
pub fn observe_link(path: &Path, expected: TargetKind) -> Result<LinkView, LinkError> {
    let (home, name) = match Dir::holding(path) {
        Err(LinkError::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(LinkView::Absent),
        opened => opened?,
    };
    view(&home, name, Some(expected))
}

/// Looks at an account's home.
///
/// # Errors
/// [`LinkError`] when it could not be looked at, or when it is not a directory.
pub fn observe_home(path: &Path) -> Result<HomeGround, LinkError> {
    let home = match Dir::open(path) {
        Err(LinkError::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(HomeGround::default()),
        opened => opened?,
    };
    let metadata = home.own_metadata()?;
    let us = rustix::process::geteuid().as_raw();
    let mode = metadata.permissions().mode() & 0o7777;
    let unsafe_mode = if metadata.uid() != us {
        Some(format!("it belongs to user {}, and we are user {us}", metadata.uid()))
    } else if mode & 0o022 != 0 {
        Some(format!("its mode is {mode:04o}: others may write there; take that away with `chmod go-w`"))
    } else if !home.is_writable()? {
        Some("we may not write there, or its file system is mounted read-only".to_owned())
    } else {
        None
    };
    Ok(HomeGround { exists: true, identity: Some(home.identity()?), unsafe_mode })
}

/// Checks that every link is right at this very moment: a symlink with exactly this target, and behind it what is needed.
///
/// # Errors
/// [`LinkError::Unexpected`] or [`LinkError::BadTarget`] for the first link that is not right; another [`LinkError`] when one could not
/// be looked at.
pub fn verify(needs: &[LinkNeed]) -> Result<(), LinkError> {
    for need in needs {
        let found = observe_link(&need.path, need.kind)?;
        match &found {
            LinkView::Link { target, target_ok: true } if *target == need.target => {}
            LinkView::Link { target, target_ok: false } if *target == need.target => check_target(&need.target, Some(need.kind))?,
            _ => {
                let expected = LinkView::Link { target: need.target.clone(), target_ok: true };
                return Err(LinkError::Unexpected { path: need.path.clone(), expected, found });
            }
        }
    }
    Ok(())
}

/// Checks that a link may point at `target`: absolute, there, and itself no symlink.
pub(super) fn check_target(target: &Path, expected: Option<TargetKind>) -> Result<(), LinkError> {
    let found = observe_link(target, expected.unwrap_or(TargetKind::Directory))?;
    match (&found, expected) {
        (LinkView::Directory { .. }, None | Some(TargetKind::Directory)) | (LinkView::File, None | Some(TargetKind::File)) => Ok(()),
        _ => Err(LinkError::BadTarget { path: target.to_owned(), expected, found }),
    }
}

/// What `name` is. The target of a link is ok when it is of the kind `expected`; `None` takes a directory and a file alike.
pub(super) fn view(dir: &Dir, name: &OsStr, expected: Option<TargetKind>) -> Result<LinkView, LinkError> {
    Ok(match dir.entry(name)? {
        None => LinkView::Absent,
        Some(Entry::Directory) => LinkView::Directory { entries: dir.child(name)?.names()?.len() },
        Some(Entry::File) => LinkView::File,
        Some(Entry::Link(target)) => LinkView::Link { target_ok: target_is(dir, name, &target, expected)?, target },
        Some(Entry::Other) => LinkView::Other,
    })
}

/// Whether the literal target of a link is of the kind `expected`. A relative one counts from the link's directory, as for the kernel.
fn target_is(dir: &Dir, name: &OsStr, target: &Path, expected: Option<TargetKind>) -> Result<bool, LinkError> {
    match dir.metadata_through(target) {
        Ok(Some(found)) => Ok(match expected {
            Some(TargetKind::Directory) => found.is_dir(),
            Some(TargetKind::File) => found.is_file(),
            None => found.is_dir() || found.is_file(),
        }),
        Ok(None) => Ok(false),
        Err(source) => Err(dir.error("look at the target of", name, source)),
    }
}
