//! Making a symlink and pointing one elsewhere.
//!
//! # Temporary names
//! A link is made under a temporary name beside its place, and moved in one step. The name is
//! `.claude-failover-link-<first 16 digits of SHA-256 of the link's name>-<random>`, so that each link has its own. What a killed process
//! left under such a name is cleaned by the next effect on the same link, and by nothing else, and only what is certainly ours or nothing:
//!
//! - a symlink whose target is one that this effect writes or replaces: removed;
//! - a directory: removed if it is empty (the kernel refuses otherwise);
//! - anything else came out of an exchange at the moment of the kill and is not ours: left there, with a warning in the log.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use tracing::warn;
use uuid::Uuid;

use super::{
    Change, LinkError,
    dir::{Dir, Entry, Renamed},
    error::Stopped,
    look::{check_target, view},
};
use crate::{model::sha256_hex, observed::LinkView, plan::Happened};

/// Makes a symlink where nothing stands.
pub(super) fn create(path: &Path, target: &Path) -> Result<Change, Stopped> {
    check_absolute(target)?;
    let (dir, name) = Dir::holding(path)?;
    sweep(&dir, name, &[target]);
    match dir.entry(name)? {
        None => {}
        Some(Entry::Link(found)) if found == target => return Ok(Change::None),
        Some(_) => return Err(unexpected(&dir, name, LinkView::Absent)?.into()),
    }
    check_target(target, None)?;
    let own = Own::make(&dir, name, target)?;
    match dir.rename_new(&own.name, &dir, name) {
        Ok(Renamed::Done) => {}
        Ok(Renamed::Taken | Renamed::Apart) => {
            own.discard();
            // Somebody was quicker; if it is the very link that is wanted, all is well.
            return match dir.entry(name)? {
                Some(Entry::Link(found)) if found == target => Ok(Change::None),
                _ => Err(unexpected(&dir, name, LinkView::Absent)?.into()),
            };
        }
        Err(error) => {
            own.discard();
            return Err(error.into());
        }
    }
    dir.sync().map_err(Stopped::unsynced)?;
    Ok(Change::Made)
}

/// Points a symlink from `expect` to `target`.
pub(super) fn repoint(path: &Path, expect: &Path, target: &Path) -> Result<Change, Stopped> {
    check_absolute(target)?;
    let (dir, name) = Dir::holding(path)?;
    sweep(&dir, name, &[expect, target]);
    match dir.entry(name)? {
        Some(Entry::Link(found)) if found == target => return Ok(Change::None),
        Some(Entry::Link(found)) if found == expect => {}
        _ => return Err(unexpected(&dir, name, LinkView::Link { target: expect.to_owned(), target_ok: true })?.into()),
    }
    check_target(target, None)?;
    let own = Own::make(&dir, name, target)?;
    match own.swap_in(&|came_out| *came_out == Entry::Link(expect.to_owned()))? {
        Swapped::Ours(own) => {
            dir.unlink(own.came_out()).map_err(|error| Stopped { happened: Happened::Yes, error })?;
            dir.sync().map_err(Stopped::unsynced)?;
            Ok(Change::Made)
        }
        Swapped::PutBack => Err(LinkError::Restless { path: path.to_owned() }.into()),
    }
}

/// What an exchange with our temporary link brought out.
pub(super) enum Swapped<'a> {
    /// What was expected: it has the temporary name now, and our link stands at the place.
    Ours(Own<'a>),
    /// Something else; it was put back, and our link was removed.
    PutBack,
}

/// A symlink of ours under its temporary name.
pub(super) struct Own<'a> {
    dir: &'a Dir,
    /// Where it shall stand.
    place: &'a OsStr,
    target: &'a Path,
    name: OsString,
}

impl<'a> Own<'a> {
    /// Makes a symlink to `target` under a temporary name of `place`.
    pub(super) fn make(dir: &'a Dir, place: &'a OsStr, target: &'a Path) -> Result<Self, LinkError> {
        let name = OsString::from(format!("{}{}", prefix(place), Uuid::new_v4().simple()));
        if dir.make_link(target, &name)? {
            Ok(Self { dir, place, target, name })
        } else {
            Err(LinkError::Restless { path: dir.join(&name) })
        }
    }

    /// Exchanges our link with what stands at its place, looks at what came out, and exchanges back if it is not what was expected.
    pub(super) fn swap_in(self, is_expected: &dyn Fn(&Entry) -> bool) -> Result<Swapped<'a>, Stopped> {
        if let Err(error) = self.exchange() {
            self.discard();
            return Err(error.into());
        }
        match self.dir.entry(&self.name) {
            Ok(Some(came_out)) if is_expected(&came_out) => return Ok(Swapped::Ours(self)),
            Ok(_) => {}
            Err(error) => warn!(%error, "what came out of an exchange could not be looked at and is put back"),
        }
        self.put_back()
    }

    /// The temporary name, which after an exchange is that of what came out.
    pub(super) fn came_out(&self) -> &OsStr {
        &self.name
    }

    /// Undoes the exchange. If somebody replaced our link meanwhile, theirs is the newest and gets the place again, and what first came
    /// out stays under the temporary name: neither is ours to remove.
    pub(super) fn put_back(self) -> Result<Swapped<'a>, Stopped> {
        let in_doubt = |error| Stopped { happened: Happened::CannotTell, error };
        let set_aside = || in_doubt(LinkError::SetAside { path: self.dir.join(self.place), aside: self.dir.join(&self.name) });
        match self.exchange() {
            Ok(()) => {}
            // Somebody removed our link: the place is free.
            Err(LinkError::Restless { .. }) => match self.dir.rename_new(&self.name, self.dir, self.place).map_err(in_doubt)? {
                Renamed::Done => return self.dir.sync().map(|()| Swapped::PutBack).map_err(in_doubt),
                Renamed::Taken | Renamed::Apart => return Err(set_aside()),
            },
            Err(error) => return Err(in_doubt(error)),
        }
        match self.dir.entry(&self.name).map_err(in_doubt)? {
            Some(Entry::Link(target)) if target == self.target => {
                self.discard();
                self.dir.sync().map(|()| Swapped::PutBack).map_err(in_doubt)
            }
            _ => {
                self.exchange().map_err(in_doubt)?;
                Err(set_aside())
            }
        }
    }

    /// Removes our link from its temporary name; it holds nothing, so a failure is only worth a warning.
    pub(super) fn discard(&self) {
        if let Err(error) = self.dir.unlink(&self.name) {
            warn!(%error, "a temporary link is left behind; the next effect on this link cleans it");
        }
    }

    fn exchange(&self) -> Result<(), LinkError> {
        // Both names are in one directory, so they are never on different file systems; a mount point in place of the link is refused.
        if self.dir.exchange(&self.name, self.dir, self.place)? {
            Ok(())
        } else {
            Err(LinkError::Restless { path: self.dir.join(self.place) })
        }
    }
}

/// The error that says what stands at `name` instead of what was expected.
pub(super) fn unexpected(dir: &Dir, name: &OsStr, expected: LinkView) -> Result<LinkError, LinkError> {
    Ok(LinkError::Unexpected { path: dir.join(name), expected, found: view(dir, name, None)? })
}

/// A link is absolute: a relative one would change its meaning with the directory that it is read from.
pub(super) fn check_absolute(target: &Path) -> Result<(), LinkError> {
    if target.is_absolute() { Ok(()) } else { Err(LinkError::BadPath { path: target.to_owned(), why: "a link target must be absolute" }) }
}

/// Cleans what a killed process left of earlier effects on the link `place`, by the rule of the module. Nothing depends on it, so that what
/// cannot be cleaned is only said.
pub(super) fn sweep(dir: &Dir, place: &OsStr, ours: &[&Path]) {
    let prefix = prefix(place);
    let names = match dir.names() {
        Ok(names) => names,
        Err(error) => return warn!(%error, "left-overs were not looked for"),
    };
    for name in names.iter().filter(|name| name.as_bytes().starts_with(prefix.as_bytes())) {
        match sweep_one(dir, name, ours) {
            Ok(true) => {}
            Ok(false) => {
                let path = dir.join(name);
                warn!(path = %path.display(), "left by an interrupted exchange, and not ours: look at it, and move it back or away");
            }
            Err(error) => warn!(%error, "a left-over was not cleaned"),
        }
    }
}

/// Answers whether the left-over is gone.
fn sweep_one(dir: &Dir, name: &OsStr, ours: &[&Path]) -> Result<bool, LinkError> {
    match dir.entry(name)? {
        None => Ok(true),
        Some(Entry::Link(target)) if ours.contains(&target.as_path()) => dir.unlink(name).map(|()| true),
        Some(Entry::Directory) => dir.remove_dir(name),
        Some(_) => Ok(false),
    }
}

/// How every temporary name of the link `place` begins. It has a fixed length, whatever the length of the link's name.
fn prefix(place: &OsStr) -> String {
    let digest = sha256_hex(place.as_bytes());
    format!(".claude-failover-link-{}-", digest.get(..16).unwrap_or(&digest))
}
