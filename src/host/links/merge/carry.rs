//! Carrying the entries of one directory into another.

use std::{
    ffi::OsStr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    super::{
        LinkError,
        dir::{Dir, Entry, Renamed},
    },
    copy::{Open, Relation, Spot, first_stays, ready_name, remove_unfinished, stage},
    quarantine::{MAX_VARIANTS, Quarantine, variant},
};

/// How deep a merge goes. The CLI's own trees have about five levels; each level holds two descriptors open.
const MAX_DEPTH: usize = 64;

/// How often one entry is looked at anew. Three looks are enough when nobody else writes there.
const MAX_LOOKS: u32 = 8;

/// What happens to two different things of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// One stays, the other is put away: in the target.
    OneStays,
    /// Neither is touched, and the caller finds another name: in the quarantine.
    BothStay,
}

/// Carries entries from a home into the target.
#[derive(Debug)]
pub(super) struct Carrier {
    /// The target, for the relative paths in the quarantine.
    target: PathBuf,
    quarantine: Quarantine,
    changed: bool,
    depth: usize,
}

impl Carrier {
    /// A carrier into `target`.
    pub(super) fn new(target: PathBuf, quarantine: Quarantine) -> Self {
        Self { target, quarantine, changed: false, depth: 0 }
    }

    /// Whether anything was moved, made or removed.
    pub(super) const fn has_changed(&self) -> bool {
        self.changed
    }

    /// Carries every entry of `here` into `there`, so that `here` is empty.
    pub(super) fn merge(&mut self, here: &Dir, there: &Dir) -> Result<(), LinkError> {
        self.carry_all(here, there, Rule::OneStays)
    }

    fn carry_all(&mut self, from: &Dir, to: &Dir, rule: Rule) -> Result<(), LinkError> {
        // In one directory, seen through two mounts, each file would be taken for its own twin and be removed.
        if from.identity()? == to.identity()? {
            return Err(LinkError::Overlap { path: from.path().to_owned(), target: to.path().to_owned() });
        }
        if self.depth == MAX_DEPTH {
            return Err(LinkError::TooDeep { path: from.path().to_owned(), limit: MAX_DEPTH });
        }
        self.depth += 1;
        for name in from.names()? {
            let from = Spot { dir: from, name: &name };
            match rule {
                Rule::OneStays => {
                    self.carry(from, Spot { dir: to, name: &name }, rule)?;
                }
                Rule::BothStay => self.keep(from, to, &name)?,
            }
        }
        self.depth -= 1;
        to.sync()?;
        from.sync()
    }

    /// Carries one entry, after what a killed process left on the way to the same place. Answers whether it left its old place; under
    /// [`Rule::OneStays`] it always has.
    fn carry(&mut self, from: Spot<'_>, to: Spot<'_>, rule: Rule) -> Result<bool, LinkError> {
        remove_unfinished(to)?;
        let ready = ready_name(to.name);
        let left_over = Spot { dir: to.dir, name: &ready };
        if left_over.entry()?.is_some() {
            self.settle(left_over, to, rule)?;
        }
        self.settle(from, to, rule)
    }

    /// Looks at both sides and does the next step, until the entry is at its place, put away, or must stay.
    fn settle(&mut self, from: Spot<'_>, to: Spot<'_>, rule: Rule) -> Result<bool, LinkError> {
        for _ in 0..MAX_LOOKS {
            let Some(here) = from.entry()? else { return Ok(true) };
            let Some(there) = to.entry()? else {
                self.place(from, &here, to)?;
                continue;
            };
            let stays = match (here, there) {
                (Entry::Directory, Entry::Directory) => {
                    self.carry_all(&from.dir.child_on_this_mount(from.name)?, &to.dir.child(to.name)?, rule)?;
                    return self.remove_emptied(from);
                }
                (Entry::Link(here), Entry::Link(there)) if here == there => {
                    to.dir.sync()?;
                    from.dir.unlink(from.name)?;
                    self.changed = true;
                    continue;
                }
                (Entry::File, Entry::File) => {
                    let (mut here, mut there) = (Open::at(from)?, Open::at(to)?);
                    let relation = here.relate(&mut there)?;
                    if relation == Relation::Same {
                        self.changed |= here.remove_as_twin_of(&there)?;
                        continue;
                    }
                    first_stays(relation, here.weight()?, there.weight()?)
                }
                _ => false,
            };
            match rule {
                Rule::BothStay => return Ok(false),
                Rule::OneStays if stays => self.replace(from, to)?,
                Rule::OneStays => self.put_away(from, to)?,
            }
        }
        Err(LinkError::Restless { path: from.dir.join(from.name) })
    }

    /// Brings an entry to a free place: in one step on one file system. Across two, its like is made there, and the next look finds both.
    fn place(&mut self, from: Spot<'_>, here: &Entry, to: Spot<'_>) -> Result<(), LinkError> {
        match from.dir.rename_new(from.name, to.dir, to.name)? {
            Renamed::Done => self.changed = true,
            Renamed::Taken => {}
            Renamed::Apart => {
                self.changed = true;
                make_like(from, here, to)?;
            }
        }
        Ok(())
    }

    /// Lets a winning file take the place of another, which then has the winner's old name and loses the next look.
    fn replace(&mut self, from: Spot<'_>, to: Spot<'_>) -> Result<(), LinkError> {
        self.changed = true;
        if from.dir.exchange(from.name, to.dir, to.name)? {
            return Ok(());
        }
        stage(from, to)?;
        let ready = ready_name(to.name);
        let loser = Spot { dir: to.dir, name: &ready };
        to.dir.exchange(&ready, to.dir, to.name)?;
        self.put_away(loser, to)
    }

    /// Moves an entry into the quarantine, under the relative path of `place`.
    fn put_away(&mut self, entry: Spot<'_>, place: Spot<'_>) -> Result<(), LinkError> {
        let parent = place.dir.path().strip_prefix(&self.target).unwrap_or(Path::new(""));
        let room = self.quarantine.room_for(parent)?;
        self.keep(entry, &room, place.name)?;
        room.sync()
    }

    /// Moves an entry to the first free variant of a name.
    fn keep(&mut self, from: Spot<'_>, to: &Dir, name: &OsStr) -> Result<(), LinkError> {
        for number in 0..MAX_VARIANTS {
            if self.carry(from, Spot { dir: to, name: &variant(name, number) }, Rule::BothStay)? {
                return Ok(());
            }
        }
        Err(LinkError::Crowded { path: to.join(name), tried: MAX_VARIANTS })
    }

    fn remove_emptied(&mut self, from: Spot<'_>) -> Result<bool, LinkError> {
        if from.dir.remove_dir(from.name)? {
            self.changed = true;
            Ok(true)
        } else {
            Err(LinkError::Refilled { path: from.dir.join(from.name) })
        }
    }
}

/// Makes the like of an entry on another file system. A place that was taken meanwhile is left as it is.
fn make_like(from: Spot<'_>, here: &Entry, to: Spot<'_>) -> Result<(), LinkError> {
    match here {
        Entry::Directory => {
            let mode = from.dir.metadata(from.name)?.map_or(0, |metadata| metadata.permissions().mode() & 0o777);
            to.dir.make_dir(to.name, mode | 0o700)?;
        }
        Entry::Link(target) => {
            to.dir.make_link(target, to.name)?;
        }
        Entry::File => {
            stage(from, to)?;
            let ready = ready_name(to.name);
            if to.dir.rename_new(&ready, to.dir, to.name)? != Renamed::Done {
                // The source is still there, so the copy is not missed.
                to.dir.unlink(&ready)?;
            }
        }
        Entry::Other => return Err(LinkError::CannotCarry { path: from.dir.join(from.name) }),
    }
    Ok(())
}
