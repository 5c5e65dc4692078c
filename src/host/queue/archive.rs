//! What was done long ago, as one compressed archive for each month: `archive/2026-11.tar.gz`.
//!
//! A new archive is written whole under a temporary name: the bytes of the one that stands there, and behind them what is added. It is synced, takes the
//! other's place in one step, and only then are the originals removed that did not change meanwhile. A kill at any moment leaves each task in `done/`,
//! in the archive, or in both.
//!
//! An archive is a row of gzip members (RFC 1952, section 2.2), the last of which holds nothing but the end of the tar. So more can be put in without
//! reading what is there, and `tar` and `gunzip` read it as one. An archive that does not end so is not ours to extend, and one that is large is not
//! written again: the next is `2026-11.2.tar.gz`.

use std::{
    fs::File,
    io::{self, Read, Seek as _, SeekFrom, Write},
};

use flate2::{Compression, write::GzEncoder};

use super::{
    Change,
    error::{QueueError, Stopped, shown},
    place::{DONE, Queue, clear_unfinished, unfinished_name},
};
use crate::{
    host::links::{
        Stamp,
        dir::{Dir, Renamed},
    },
    model::{Month, TaskName},
};

/// Where the archives are.
pub const ARCHIVE: &str = "archive";
/// The end of a tar, two blocks of zeros, as a gzip member of its own.
const END: [u8; 29] = [31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 99, 96, 24, 5, 163, 96, 20, 140, 84, 0, 0, 46, 175, 181, 239, 0, 4, 0, 0];
/// An archive beyond this is left as it is, so that a month with many tasks is not written again and again.
const LARGE: u64 = 64 * 1024 * 1024;
/// The most archives of one month.
const MAX_PARTS: u32 = 1000;

/// A task that is archived, in the state in which it was read.
struct Archived<'a> {
    task: &'a TaskName,
    stamp: Stamp,
}

/// Puts tasks of `done/` into the archive of a month.
pub(super) fn archive(queue: &Queue, month: &Month, tasks: &[TaskName]) -> Result<Change, Stopped> {
    let done = queue.child(DONE)?;
    let mut there = Vec::new();
    for task in tasks {
        if done.stamp(task.as_str().as_ref())?.is_some_and(|found| found.is_file()) {
            there.push(task);
        }
    }
    if there.is_empty() {
        return Ok(Change::None);
    }
    let directory = queue.child_made(ARCHIVE)?;
    let part = Part::choose(&directory, month)?;
    let archived = part.extend(&done, &there)?;
    for Archived { task, stamp } in &archived {
        // One that was changed or replaced since it was read stays; it is archived anew next time.
        if done.stamp(task.as_str().as_ref()).map_err(Stopped::midway)? == Some(*stamp) {
            done.unlink(task.as_str().as_ref()).map_err(Stopped::midway)?;
        }
    }
    done.sync().map_err(Stopped::midway)?;
    Ok(Change::Made)
}

/// The archive that is written.
struct Part<'a> {
    dir: &'a Dir,
    name: String,
    /// The one that stands there and is extended.
    old: Option<(File, Stamp)>,
}

impl<'a> Part<'a> {
    /// The first of the month's archives that can be extended, or a new one.
    fn choose(dir: &'a Dir, month: &Month) -> Result<Self, QueueError> {
        for name in names(month) {
            let Some(stamp) = dir.stamp(name.as_ref())? else { return Ok(Self { dir, name, old: None }) };
            if !stamp.is_file() || stamp.identity.length > LARGE {
                continue;
            }
            let mut file = dir.file(name.as_ref())?;
            let is_ours = ends_as_ours(&mut file).map_err(|source| QueueError::system("read", &dir.join(name.as_ref()), source))?;
            if is_ours && Stamp::of(&file).is_ok_and(|now| now == stamp) {
                return Ok(Self { dir, name, old: Some((file, stamp)) });
            }
        }
        Err(QueueError::AllTaken { path: shown(&dir.join(month.as_str().as_ref())), tried: MAX_PARTS })
    }

    /// Puts tasks into it, and answers those that are in it once it is in its place and on disk.
    fn extend<'t>(self, done: &Dir, tasks: &[&'t TaskName]) -> Result<Vec<Archived<'t>>, Stopped> {
        let unfinished = unfinished_name(self.name.as_ref());
        clear_unfinished(self.dir, &unfinished)?;
        let new = self.dir.make_file(unfinished.as_ref())?;
        let written = self.write(&new, done, tasks);
        let archived = match written {
            Ok(archived) => archived,
            Err(error) => {
                // A disk that is full must not be filled with what could not be written.
                self.dir.unlink(unfinished.as_ref())?;
                return Err(error.into());
            }
        };
        self.place(&unfinished)?;
        self.dir.sync().map_err(Stopped::midway)?;
        Ok(archived)
    }

    fn write<'t>(&self, new: &File, done: &Dir, tasks: &[&'t TaskName]) -> Result<Vec<Archived<'t>>, QueueError> {
        let failed = |source| QueueError::system("write", &self.dir.join(self.name.as_ref()), source);
        let mut out = io::BufWriter::new(new);
        if let Some((old, stamp)) = &self.old {
            let kept = stamp.identity.length.saturating_sub(END.len() as u64);
            (&mut &*old).rewind().map_err(failed)?;
            if io::copy(&mut old.take(kept), &mut out).map_err(failed)? != kept {
                return Err(QueueError::Changed(shown(&self.dir.join(self.name.as_ref()))));
            }
        }
        let mut archived = Vec::with_capacity(tasks.len());
        let mut tar = tar::Builder::new(Entries { out: GzEncoder::new(&mut out, Compression::default()), are_complete: false });
        for task in tasks {
            archived.extend(append(&mut tar, done, task)?);
        }
        // What the builder adds at its end is the end of the tar, which goes into a member of its own.
        tar.get_mut().are_complete = true;
        tar.into_inner().and_then(|entries| entries.out.finish()).map_err(failed)?;
        out.write_all(&END).and_then(|()| out.flush()).map_err(failed)?;
        drop(out);
        new.sync_all().map_err(failed)?;
        Ok(archived)
    }

    /// Gives the finished archive its name.
    fn place(&self, unfinished: &str) -> Result<(), Stopped> {
        let taken = || QueueError::Changed(shown(&self.dir.join(self.name.as_ref())));
        let Some((_, stamp)) = &self.old else {
            let renamed = self.dir.rename_new(unfinished.as_ref(), self.dir, self.name.as_ref());
            if !matches!(renamed, Ok(Renamed::Done)) {
                self.dir.unlink(unfinished.as_ref())?;
                renamed?;
                return Err(taken().into());
            }
            return Ok(());
        };
        let exchanged = self.dir.exchange(unfinished.as_ref(), self.dir, self.name.as_ref());
        if !matches!(exchanged, Ok(true)) {
            self.dir.unlink(unfinished.as_ref())?;
            exchanged?;
            return Err(taken().into());
        }
        // What came out must be what was read: all of that is in the new one, and on disk.
        let came_out = self.dir.stamp(unfinished.as_ref()).map_err(Stopped::midway)?;
        if came_out.is_some_and(|found| found.is_same_file(stamp) && found.identity == stamp.identity) {
            self.dir.sync().map_err(Stopped::midway)?;
            self.dir.unlink(unfinished.as_ref()).map_err(Stopped::midway)?;
            return Ok(());
        }
        // Somebody else put another one there at the same moment: it is kept as a part of its own.
        for name in self.name.split_once('.').into_iter().flat_map(|(month, _)| parts(month)) {
            if self.dir.rename_new(unfinished.as_ref(), self.dir, name.as_ref()).map_err(Stopped::midway)? == Renamed::Done {
                return Ok(());
            }
        }
        Err(Stopped::midway(taken()))
    }
}

fn names(month: &Month) -> impl Iterator<Item = String> {
    parts(month.as_str())
}

fn parts(month: &str) -> impl Iterator<Item = String> {
    let numbered = (2..=MAX_PARTS).map(move |number| format!("{month}.{number}.tar.gz"));
    std::iter::once(format!("{month}.tar.gz")).chain(numbered)
}

fn ends_as_ours(file: &mut File) -> io::Result<bool> {
    let mut end = [0; END.len()];
    if file.metadata()?.len() < END.len() as u64 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-29))?;
    file.read_exact(&mut end)?;
    Ok(end == END)
}

/// Adds one task; `None` when it has gone meanwhile.
fn append<'t, W: Write>(tar: &mut tar::Builder<W>, done: &Dir, task: &'t TaskName) -> Result<Option<Archived<'t>>, QueueError> {
    let name = task.as_str();
    if done.stamp(name.as_ref())?.is_none_or(|found| !found.is_file()) {
        return Ok(None);
    }
    let file = done.file(name.as_ref())?;
    let failed = |source| QueueError::system("archive", &done.join(name.as_ref()), source);
    let stamp = Stamp::of(&file).map_err(failed)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(stamp.identity.length);
    header.set_mode(stamp.mode & 0o777);
    header.set_mtime(u64::try_from(stamp.identity.modified / 1_000_000_000).unwrap_or(0));
    tar.append_data(&mut header, name, Exactly { file: &file, left: stamp.identity.length }).map_err(failed)?;
    Ok(Some(Archived { task, stamp }))
}

/// The entries of a tar without its end.
struct Entries<W> {
    out: W,
    are_complete: bool,
}

impl<W: Write> Write for Entries<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.are_complete { Ok(bytes.len()) } else { self.out.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A file of which exactly that much is read: one that is cut off meanwhile would spoil all entries behind it.
struct Exactly<'a> {
    file: &'a File,
    left: u64,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let room = buffer.get_mut(..most).unwrap_or_default();
        if room.is_empty() {
            return Ok(0);
        }
        let read = self.file.read(room)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it was cut off while it was read"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_archive_is_the_end_of_a_tar() {
        let mut end = Vec::new();
        flate2::read::GzDecoder::new(&END[..]).read_to_end(&mut end).expect("a gzip member");
        assert_eq!(end, [0; 1024]);
    }
}
