//! Files: which of two stays, copies across file systems, and the removal of what is there twice.
//!
//! # Temporary names
//! A copy is written as `.claude-failover-copy-<16 digits>` beside its place. When it is whole, synced and compared, it is renamed to
//! `.claude-failover-ready-<16 digits>`, and from there on moves within one file system. The digits are of the SHA-256 of the place's name,
//! so that the next run finds both. An unfinished copy is removed, since its source is still there. A ready one is whole: the next run goes
//! on with it as with any other entry, for after an exchange it may be what the copy replaced.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Metadata, Permissions},
    io::{self, Read, Seek as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _},
    },
    time::SystemTime,
};

use super::super::{
    LinkError,
    dir::{Dir, Entry, Renamed},
};
use crate::model::sha256_hex;

/// How much is compared at a time.
const CHUNK: usize = 64 * 1024;

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot<'a> {
    /// The directory.
    pub dir: &'a Dir,
    /// The name.
    pub name: &'a OsStr,
}

impl Spot<'_> {
    /// What has the name.
    pub(super) fn entry(self) -> Result<Option<Entry>, LinkError> {
        self.dir.entry(self.name)
    }

    fn error(self, doing: &'static str, source: io::Error) -> LinkError {
        self.dir.error(doing, self.name, source)
    }
}

/// How the bytes of two files relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// They are the same.
    Same,
    /// The first is the beginning of the second.
    FirstBegins,
    /// The second is the beginning of the first.
    SecondBegins,
    /// Neither.
    Different,
}

/// What decides between two files that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    /// When it was last written.
    pub modified: SystemTime,
    /// Its length in bytes.
    pub length: u64,
}

/// Whether the first of two files stays: the longer if one is the beginning of the other, else the newer, then the larger, then the second.
pub(super) fn first_stays(relation: Relation, first: Weight, second: Weight) -> bool {
    match relation {
        Relation::Same | Relation::FirstBegins => false,
        Relation::SecondBegins => true,
        Relation::Different => (first.modified, first.length) > (second.modified, second.length),
    }
}

/// A file that is open, with what it was when it was opened.
pub(super) struct Open<'a> {
    spot: Spot<'a>,
    file: File,
    metadata: Metadata,
}

impl<'a> Open<'a> {
    /// Opens a regular file.
    pub(super) fn at(spot: Spot<'a>) -> Result<Self, LinkError> {
        let file = spot.dir.file(spot.name)?;
        let metadata = file.metadata().map_err(|source| spot.error("look at", source))?;
        Ok(Self { spot, file, metadata })
    }

    /// What speaks for it.
    pub(super) fn weight(&self) -> Result<Weight, LinkError> {
        let modified = self.metadata.modified().map_err(|source| self.spot.error("look at", source))?;
        Ok(Weight { modified, length: self.metadata.len() })
    }

    /// Compares the bytes.
    pub(super) fn relate(&mut self, other: &mut Self) -> Result<Relation, LinkError> {
        relate(&mut self.file, &mut other.file).map_err(|source| self.spot.error("compare", source))
    }

    /// Removes this file, whose bytes were just seen to be those of `twin`. Answers `false`, with nothing removed, when either name or
    /// either file has changed since it was opened.
    pub(super) fn remove_as_twin_of(self, twin: &Self) -> Result<bool, LinkError> {
        // The twin must outlive a power loss before this one may go.
        twin.file.sync_all().map_err(|source| twin.spot.error("sync", source))?;
        twin.spot.dir.sync()?;
        if !twin.is_unchanged()? || !self.is_unchanged()? {
            return Ok(false);
        }
        self.spot.dir.unlink(self.spot.name).map(|()| true)
    }

    fn is_unchanged(&self) -> Result<bool, LinkError> {
        let now = self.spot.dir.metadata(self.spot.name)?;
        Ok(now.is_some_and(|now| stamp(&now) == stamp(&self.metadata)))
    }
}

/// What changes when a file is written to or replaced.
fn stamp(metadata: &Metadata) -> impl PartialEq + use<> {
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    (metadata.dev(), metadata.ino(), metadata.len(), modified, changed)
}

/// Compares what two readers give.
fn relate(first: &mut impl Read, second: &mut impl Read) -> io::Result<Relation> {
    let (mut ours, mut theirs) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let (ours, theirs) = (fill(first, &mut ours)?, fill(second, &mut theirs)?);
        let shared = ours.len().min(theirs.len());
        if ours.get(..shared) != theirs.get(..shared) {
            return Ok(Relation::Different);
        }
        match ours.len().cmp(&theirs.len()) {
            std::cmp::Ordering::Less => return Ok(Relation::FirstBegins),
            std::cmp::Ordering::Greater => return Ok(Relation::SecondBegins),
            std::cmp::Ordering::Equal if shared < CHUNK => return Ok(Relation::Same),
            std::cmp::Ordering::Equal => {}
        }
    }
}

/// Reads until the buffer is full or the reader is at its end.
fn fill<'b>(reader: &mut impl Read, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let mut filled = 0;
    while let Some(rest @ [_, ..]) = buffer.get_mut(filled..) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}

/// The name of a whole copy that shall become `place`.
pub(super) fn ready_name(place: &OsStr) -> OsString {
    temporary_name("ready", place)
}

fn temporary_name(state: &str, place: &OsStr) -> OsString {
    let digest = sha256_hex(place.as_bytes());
    format!(".claude-failover-{state}-{}", digest.get(..16).unwrap_or(&digest)).into()
}

/// Removes the unfinished copy of a killed process.
pub(super) fn remove_unfinished(place: Spot<'_>) -> Result<(), LinkError> {
    let unfinished = temporary_name("copy", place.name);
    match place.dir.entry(&unfinished)? {
        Some(Entry::File) => place.dir.unlink(&unfinished),
        _ => Ok(()),
    }
}

/// Copies a file to the ready name of `to`, which is on another file system: whole, synced and compared. The source stays.
pub(super) fn stage(from: Spot<'_>, to: Spot<'_>) -> Result<(), LinkError> {
    let unfinished = temporary_name("copy", to.name);
    let place = Spot { dir: to.dir, name: &unfinished };
    let written = write_copy(from, place).and_then(|()| match to.dir.rename_new(&unfinished, to.dir, &ready_name(to.name))? {
        Renamed::Done => to.dir.sync(),
        Renamed::Taken | Renamed::Apart => Err(LinkError::Restless { path: to.dir.join(to.name) }),
    });
    if written.is_err() {
        // The first error is the one to be told; what cannot be removed now is removed by the next run.
        let _ = remove_unfinished(to);
    }
    written
}

fn write_copy(from: Spot<'_>, to: Spot<'_>) -> Result<(), LinkError> {
    let mut source = Open::at(from)?;
    let mut copy = to.dir.make_file(to.name)?;
    io::copy(&mut source.file, &mut copy).map_err(|source| to.error("copy to", source))?;
    let finish = |copy: &File| {
        copy.set_permissions(Permissions::from_mode(source.metadata.mode() & 0o777))?;
        copy.set_modified(source.metadata.modified()?)?;
        copy.sync_all()
    };
    finish(&copy).map_err(|source| to.error("finish the copy", source))?;
    source.file.rewind().and_then(|()| copy.rewind()).map_err(|source| to.error("read", source))?;
    match relate(&mut source.file, &mut copy).map_err(|source| to.error("compare", source))? {
        Relation::Same => Ok(()),
        _ => Err(LinkError::Restless { path: from.dir.join(from.name) }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn relation(first: &[u8], second: &[u8]) -> Relation {
        relate(&mut &first[..], &mut &second[..]).expect("reading memory does not fail")
    }

    #[test]
    fn bytes_are_compared_to_their_end() {
        let long = vec![7; 3 * CHUNK];
        let mut other = long.clone();
        other[3 * CHUNK - 1] = 8;
        assert_eq!(relation(b"", b""), Relation::Same);
        assert_eq!(relation(b"ab", b"ab"), Relation::Same);
        assert_eq!(relation(&long, &long), Relation::Same);
        assert_eq!(relation(b"", b"a"), Relation::FirstBegins);
        assert_eq!(relation(&long[..CHUNK], &long), Relation::FirstBegins);
        assert_eq!(relation(&long, &long[..=CHUNK]), Relation::SecondBegins);
        assert_eq!(relation(b"ab", b"ac"), Relation::Different);
        assert_eq!(relation(b"b", b"ab"), Relation::Different);
        assert_eq!(relation(&long, &other), Relation::Different);
    }

    #[test]
    fn the_longer_of_two_transcripts_and_the_newer_of_two_others_stays() {
        let weight = |seconds, length| Weight { modified: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), length };
        for (relation, first, second, stays) in [
            (Relation::SecondBegins, weight(1, 9), weight(2, 3), true),
            (Relation::FirstBegins, weight(2, 3), weight(1, 9), false),
            (Relation::Different, weight(2, 3), weight(1, 9), true),
            (Relation::Different, weight(1, 9), weight(2, 3), false),
            (Relation::Different, weight(1, 9), weight(1, 3), true),
            (Relation::Different, weight(1, 3), weight(1, 9), false),
            (Relation::Different, weight(1, 3), weight(1, 3), false),
            (Relation::Same, weight(2, 3), weight(1, 3), false),
        ] {
            assert_eq!(first_stays(relation, first, second), stays, "{relation:?} {first:?} {second:?}");
        }
    }
}
