//! Checkpoints on disk: `<state>/checkpoints/<session>/<time>-<digest>.json`. The directory itself is the index.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::CheckpointError;
use crate::{
    model::{PoolName, SessionName, later},
    observed::{BadCheckpoint, Checkpoint, CheckpointId},
};

/// The directory below the state directory.
const DIRECTORY: &str = "checkpoints";
/// What is not yet a checkpoint. One fixed name: what a crash leaves behind is replaced by the next one and never piles up.
const TEMPORARY: &str = ".unfinished";
/// The largest file that we would have written: the texts are cut at 4 KiB each, and names at 300 characters.
const LIMIT: u64 = 1024 * 1024;
/// What names tell times apart by.
const MILLISECOND: Duration = Duration::from_millis(1);
/// More entries than a directory of ours has.
const ENTRIES: usize = 20_000;

/// A checkpoint that was kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name, or that of the one which says the same.
    pub id: CheckpointId,
    /// Whether it was written.
    pub written: bool,
    /// Those that were passed over in search of the newest one, each with why.
    pub refused: Vec<String>,
}

/// Where a session's checkpoints are.
pub fn directory(state: &Path, session: &SessionName) -> PathBuf {
    state.join(DIRECTORY).join(session.as_str())
}

/// Keeps a checkpoint, unless the newest good one says the same.
///
/// # Errors
/// [`CheckpointError`]; nothing is there then that could be taken for a checkpoint.
pub fn keep(state: &Path, checkpoint: &Checkpoint) -> Result<Kept, CheckpointError> {
    let path = directory(state, &checkpoint.session);
    let digest = checkpoint.digest();
    let place = make(state, &checkpoint.session)?;
    let names = names(&place, &path)?;
    let Found { newest, refused } = newest_in(&place, &path, &names, &checkpoint.pool, &checkpoint.session);
    // Behind one that was refused a good one is written in any case, so that it is met once.
    if let Some((id, found)) = newest
        && refused.is_empty()
        && found.digest() == digest
    {
        return Ok(Kept { id, written: false, refused });
    }
    // The clock may have been set back: what is newest must also sort last.
    let after = names.last().map(|last| later(last.taken_at(), MILLISECOND));
    let at = after.map_or(checkpoint.taken_at, |after| after.max(checkpoint.taken_at));
    let id = CheckpointId::new(at, &digest);
    write(&place, &path, &id, &checkpoint.encode())?;
    Ok(Kept { id, written: true, refused })
}

fn write(place: &OwnedFd, path: &Path, id: &CheckpointId, bytes: &[u8]) -> Result<(), CheckpointError> {
    let temporary = path.join(TEMPORARY);
    match rustix::fs::unlinkat(place, TEMPORARY, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(CheckpointError::io("replace", &temporary)(errno.into())),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(place, TEMPORARY, flags, Mode::from_raw_mode(0o600));
    let mut file = File::from(handle.map_err(|errno| CheckpointError::io("create", &temporary)(errno.into()))?);
    let name = file_name(id);
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| Ok(rustix::fs::renameat_with(place, TEMPORARY, place, name.as_str(), RenameFlags::NOREPLACE)?));
    if let Err(error) = written {
        // The first error is the one to report; on a full disk what was written must not stay.
        let _ = rustix::fs::unlinkat(place, TEMPORARY, AtFlags::empty());
        return Err(CheckpointError::io("write", &path.join(name))(error));
    }
    rustix::fs::fsync(place).map_err(|errno| CheckpointError::io("make durable", path)(errno.into()))
}

fn file_name(id: &CheckpointId) -> String {
    format!("{id}.json")
}

/// The names as they were last listed. A directory that was not changed since is not listed again.
#[derive(Debug, Default)]
pub struct Shelf {
    listed: BTreeMap<SessionName, (Changed, Vec<CheckpointId>)>,
}

/// When a directory was last changed, in seconds and nanoseconds, and which one it is.
type Changed = (i64, i64, u64);

impl Shelf {
    /// All sessions that have a directory, each with the names of its checkpoints, oldest first.
    ///
    /// # Errors
    /// [`CheckpointError`] when the directory of all cannot be listed; one session's trouble is its own.
    pub fn list(&mut self, state: &Path) -> Result<BTreeMap<SessionName, Result<Vec<CheckpointId>, CheckpointError>>, CheckpointError> {
        let all = state.join(DIRECTORY);
        let Some(place) = open(CWD, &all, &all)? else {
            self.listed.clear();
            return Ok(BTreeMap::new());
        };
        let sessions: Vec<_> = entries(&place, &all)?.into_iter().filter_map(|name| SessionName::new(name).ok()).collect();
        self.listed.retain(|session, _| sessions.contains(session));
        let mut found = BTreeMap::new();
        for session in sessions {
            let names = self.list_in(&place, state, &session);
            found.insert(session, names);
        }
        Ok(found)
    }

    fn list_in(&mut self, place: &OwnedFd, state: &Path, session: &SessionName) -> Result<Vec<CheckpointId>, CheckpointError> {
        let path = directory(state, session);
        let seen = rustix::fs::statat(place, session.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        let seen = seen.map_err(|errno| CheckpointError::io("look at", &path)(errno.into()))?;
        let changed = (seen.st_mtime, seen.st_mtime_nsec.cast_signed(), seen.st_ino);
        if let Some((before, names)) = self.listed.get(session)
            && *before == changed
        {
            return Ok(names.clone());
        }
        let inner = open(place, Path::new(session.as_str()), &path)?;
        let names = inner.map_or(Ok(Vec::new()), |inner| names(&inner, &path))?;
        self.listed.insert(session.clone(), (changed, names.clone()));
        Ok(names)
    }
}

/// The names of a session's checkpoints, oldest first.
///
/// # Errors
/// [`CheckpointError`].
pub fn list(state: &Path, session: &SessionName) -> Result<Vec<CheckpointId>, CheckpointError> {
    let path = directory(state, session);
    match open_session(state, session)? {
        Some(place) => names(&place, &path),
        None => Ok(Vec::new()),
    }
}

/// A checkpoint by its name; `None` when there is none of it.
///
/// # Errors
/// The outer error when the file cannot be read, the inner one when it may not be used.
pub fn read(
    state: &Path,
    pool: &PoolName,
    session: &SessionName,
    id: &CheckpointId,
) -> Result<Option<Result<Checkpoint, BadCheckpoint>>, CheckpointError> {
    let path = directory(state, session).join(file_name(id));
    let Some(place) = open_session(state, session)? else { return Ok(None) };
    match read_in(&place, id) {
        Ok(Some(bytes)) => Ok(Some(Checkpoint::decode(&bytes, pool, session))),
        Ok(None) => Ok(None),
        Err(error) => Err(CheckpointError::io("read", &path)(error)),
    }
}

/// The newest good checkpoint of a session, and what was passed over on the way to it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// With its name.
    pub newest: Option<(CheckpointId, Checkpoint)>,
    /// Each with why, newest first.
    pub refused: Vec<String>,
}

/// Looks for the newest good checkpoint of a session.
///
/// # Errors
/// [`CheckpointError`] when the directory cannot be looked at. A file that cannot be read is refused like one that is torn.
pub fn newest(state: &Path, pool: &PoolName, session: &SessionName) -> Result<Found, CheckpointError> {
    let path = directory(state, session);
    let Some(place) = open_session(state, session)? else { return Ok(Found::default()) };
    let names = names(&place, &path)?;
    Ok(newest_in(&place, &path, &names, pool, session))
}

fn newest_in(place: &OwnedFd, path: &Path, names: &[CheckpointId], pool: &PoolName, session: &SessionName) -> Found {
    let mut found = Found::default();
    for id in names.iter().rev() {
        let read = match read_in(place, id) {
            Ok(Some(bytes)) => Checkpoint::decode(&bytes, pool, session).map_err(|bad| bad.to_string()),
            // Somebody took it away in between.
            Ok(None) => continue,
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(checkpoint) => {
                found.newest = Some((id.clone(), checkpoint));
                break;
            }
            Err(why) => found.refused.push(format!("{} was passed over: {why}", path.join(file_name(id)).display())),
        }
    }
    found
}

/// Removes checkpoints of a session. Answers whether there were any of them.
///
/// # Errors
/// [`CheckpointError`].
pub fn remove(state: &Path, session: &SessionName, ids: &[CheckpointId]) -> Result<bool, CheckpointError> {
    let path = directory(state, session);
    let Some(place) = open_session(state, session)? else { return Ok(false) };
    let mut any = false;
    for id in ids {
        let name = file_name(id);
        match rustix::fs::unlinkat(&place, name.as_str(), AtFlags::empty()) {
            Ok(()) => any = true,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(CheckpointError::io("remove", &path.join(name))(errno.into())),
        }
    }
    Ok(any)
}

/// The bytes of a regular file; a pipe cannot hold us up, and a link is not followed.
fn read_in(place: &OwnedFd, id: &CheckpointId) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(place, file_name(id), flags, Mode::empty()) {
        Ok(handle) => File::from(handle),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no regular file of a checkpoint's size"));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn open_session(state: &Path, session: &SessionName) -> Result<Option<OwnedFd>, CheckpointError> {
    let all = state.join(DIRECTORY);
    let Some(place) = open(CWD, &all, &all)? else { return Ok(None) };
    open(&place, Path::new(session.as_str()), &directory(state, session))
}

/// Opens a directory without following a link at its end. `None` when nothing stands there.
fn open(at: impl std::os::fd::AsFd, name: &Path, path: &Path) -> Result<Option<OwnedFd>, CheckpointError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(at, name, flags, Mode::empty()) {
        Ok(place) => Ok(Some(place)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => Err(CheckpointError::NotOurs { path: path.to_owned() }),
        Err(errno) => Err(CheckpointError::io("open", path)(errno.into())),
    }
}

/// Makes the directory of a session, and that of all, where they are absent.
fn make(state: &Path, session: &SessionName) -> Result<OwnedFd, CheckpointError> {
    let all = state.join(DIRECTORY);
    let outer = make_one(CWD, &all, &all)?;
    make_one(&outer, Path::new(session.as_str()), &directory(state, session))
}

fn make_one(at: impl std::os::fd::AsFd, name: &Path, path: &Path) -> Result<OwnedFd, CheckpointError> {
    match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(CheckpointError::io("make the directory", path)(errno.into())),
    }
    let place = open(&at, name, path)?.ok_or_else(|| CheckpointError::NotOurs { path: path.to_owned() })?;
    let found = rustix::fs::fstat(&place).map_err(|errno| CheckpointError::io("look at", path)(errno.into()))?;
    if found.st_uid != rustix::process::geteuid().as_raw() || found.st_mode & 0o077 != 0 {
        return Err(CheckpointError::NotOurs { path: path.to_owned() });
    }
    Ok(place)
}

/// The names of the checkpoints in a directory, oldest first. What has no such name is not ours, and is left alone.
fn names(place: &OwnedFd, path: &Path) -> Result<Vec<CheckpointId>, CheckpointError> {
    let id_of = |name: String| CheckpointId::parse(name.strip_suffix(".json")?).ok();
    let mut found: Vec<_> = entries(place, path)?.into_iter().filter_map(id_of).collect();
    found.sort();
    Ok(found)
}

fn entries(place: &OwnedFd, path: &Path) -> Result<Vec<String>, CheckpointError> {
    let failed = |errno: Errno| CheckpointError::io("list", path)(errno.into());
    let mut found = Vec::new();
    for entry in Dir::read_from(place).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if found.len() == ENTRIES {
            return Err(CheckpointError::TooMany { path: path.to_owned(), limit: ENTRIES });
        }
        found.extend(entry.file_name().to_str().ok().map(ToOwned::to_owned));
    }
    Ok(found)
}
