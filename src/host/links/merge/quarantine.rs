//! Where the losing side of a clash is kept.

use std::{
    ffi::{OsStr, OsString},
    path::{Component, Path},
};

use super::super::{
    LinkError,
    dir::{Dir, Entry},
};

/// How many numbered variants of a name are tried.
pub(super) const MAX_VARIANTS: u32 = 1000;

/// A directory below the shared root, made when it is first needed.
#[derive(Debug)]
pub(super) struct Quarantine {
    root: Dir,
    below: Vec<OsString>,
}

impl Quarantine {
    /// The quarantine at `path`, which must lie below `root`.
    pub(super) fn new(root: Dir, path: &Path) -> Result<Self, LinkError> {
        let plain = |part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            _ => None,
        };
        let below = path.strip_prefix(root.path()).ok().and_then(|below| below.components().map(plain).collect::<Option<Vec<_>>>());
        match below {
            Some(below) if !below.is_empty() => Ok(Self { root, below }),
            _ => Err(LinkError::BadPath { path: path.to_owned(), why: "a quarantine must lie below the shared root" }),
        }
    }

    /// The directory in the quarantine that keeps what had `parent` as its relative parent directory.
    pub(super) fn room_for(&self, parent: &Path) -> Result<Dir, LinkError> {
        let mut parts = self.below.iter().map(OsString::as_os_str).chain(parent.iter());
        let first = match parts.next() {
            Some(first) => directory(&self.root, first)?,
            None => {
                return Err(LinkError::BadPath { path: self.root.path().to_owned(), why: "a quarantine must lie below the shared root" });
            }
        };
        parts.try_fold(first, |here, part| directory(&here, part))
    }
}

/// Opens or makes the directory `name`, or the first numbered variant of it that is not something else.
fn directory(dir: &Dir, name: &OsStr) -> Result<Dir, LinkError> {
    for number in 0..MAX_VARIANTS {
        let name = variant(name, number);
        match dir.entry(&name)? {
            Some(Entry::Directory) => return dir.child(&name),
            Some(_) => {}
            None => {
                dir.make_dir(&name, 0o700)?;
                dir.sync()?;
                return dir.child(&name);
            }
        }
    }
    Err(LinkError::Crowded { path: dir.join(name), tried: MAX_VARIANTS })
}

/// The name itself, then `name.1`, `name.2` and so on.
pub(super) fn variant(name: &OsStr, number: u32) -> OsString {
    let mut variant = name.to_owned();
    if number > 0 {
        variant.push(format!(".{number}"));
    }
    variant
}
