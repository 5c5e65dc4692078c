//! Bounded reading and atomic replacing of small files.

use std::{
    fs::{self, File, Metadata},
    io::{Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags};

use super::AgentError;

/// Opens a regular file for reading. `None` when nothing stands there.
///
/// A symlink is refused, and a pipe or a device cannot hold us up: `O_NONBLOCK` and `O_NOFOLLOW` (open(2)).
pub(super) fn open(path: &Path) -> Result<Option<(File, Metadata)>, AgentError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(handle) => File::from(handle),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(AgentError::NotRegular { path: path.to_owned(), found: "a symlink" }),
        Err(rustix::io::Errno::NXIO) => return Err(AgentError::NotRegular { path: path.to_owned(), found: "a socket" }),
        Err(errno) => return Err(AgentError::io("open", path)(errno.into())),
    };
    let metadata = file.metadata().map_err(AgentError::io("look at", path))?;
    if metadata.is_file() {
        Ok(Some((file, metadata)))
    } else {
        let found = if metadata.is_dir() { "a directory" } else { "a special file" };
        Err(AgentError::NotRegular { path: path.to_owned(), found })
    }
}

/// The content of a regular file of at most `limit` bytes, and what it was when it was opened. `None` when nothing stands there.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<(Vec<u8>, Metadata)>, AgentError> {
    let Some((file, metadata)) = open(path)? else { return Ok(None) };
    let too_large = |found| AgentError::TooLarge { path: path.to_owned(), found, limit };
    if metadata.len() > limit {
        return Err(too_large(metadata.len()));
    }
    // With room for one byte more the buffer is never moved, so that no copy of it stays behind.
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(AgentError::io("read", path))?;
    if bytes.len() as u64 > limit { Err(too_large(bytes.len() as u64)) } else { Ok(Some((bytes, metadata))) }
}

/// How far a replacement came when it failed.
#[derive(Debug)]
pub(super) struct ReplaceError {
    /// Whether the new content may stand there all the same.
    pub in_doubt: bool,
    /// Why it failed.
    pub error: AgentError,
}

impl From<AgentError> for ReplaceError {
    fn from(error: AgentError) -> Self {
        Self { in_doubt: false, error }
    }
}

/// Puts `bytes` in the place of the file: temporary file, fsync, rename, fsync of the directory. Nobody ever sees half of it.
///
/// `expect` is what the file was when the caller read it; when something else stands there by now, nothing is written.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32, expect: Expect<'_>) -> Result<(), ReplaceError> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(AgentError::NotRegular { path: path.to_owned(), found: "a directory" }.into());
    };
    // One fixed name: what a crash leaves behind is replaced by the next attempt and never piles up.
    let mut temporary_name = std::ffi::OsString::from(".claude-failover.");
    temporary_name.push(name);
    let temporary = directory.join(temporary_name);
    let written = write_new(&temporary, bytes, mode).and_then(|()| expect.check(path));
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path).map_err(AgentError::io("replace", path))) {
        // The first error is the one to report; the leftover has a name of ours and the next attempt removes it.
        let _ = fs::remove_file(&temporary);
        return Err(error.into());
    }
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|source| ReplaceError { in_doubt: true, error: AgentError::io("make durable", path)(source) })
}

/// What must stand at a path when it is replaced.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expect<'a> {
    /// Anything, since the file is ours alone.
    Anything,
    /// What the caller read, or nothing if it found nothing.
    AsRead(Option<&'a Metadata>),
}

impl Expect<'_> {
    fn check(self, path: &Path) -> Result<(), AgentError> {
        let Self::AsRead(before) = self else { return Ok(()) };
        let same = match (before, fs::symlink_metadata(path)) {
            (Some(before), Ok(after)) => print_of(before) == print_of(&after),
            (None, Err(error)) => error.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        };
        if same { Ok(()) } else { Err(AgentError::ChangedMeanwhile { path: path.to_owned() }) }
    }
}

/// What changes when a file is rewritten or replaced.
fn print_of(metadata: &Metadata) -> (u64, u64, u64, i64, i64) {
    (metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

fn write_new(path: &PathBuf, bytes: &[u8], mode: u32) -> Result<(), AgentError> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(AgentError::io("remove", path)(error));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600));
    let mut file = File::from(handle.map_err(|errno| AgentError::io("create", path)(errno.into()))?);
    file.write_all(bytes).map_err(AgentError::io("write", path))?;
    // Set afterwards, so that the umask has no say.
    file.set_permissions(fs::Permissions::from_mode(mode & 0o777)).map_err(AgentError::io("set the mode of", path))?;
    file.sync_all().map_err(AgentError::io("make durable", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_of_bounded_size_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f");
        assert!(read(&path, 10).expect("absent is fine").is_none());
        fs::write(&path, b"0123456789").expect("written");
        assert_eq!(read(&path, 10).expect("readable").expect("there").0, b"0123456789");
        assert!(matches!(read(&path, 9), Err(AgentError::TooLarge { found: 10, limit: 9, .. })));
        let link = directory.path().join("l");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        assert!(matches!(read(&link, 10), Err(AgentError::NotRegular { found: "a symlink", .. })));
        assert!(matches!(read(directory.path(), 10), Err(AgentError::NotRegular { found: "a directory", .. })));
        let pipe = directory.path().join("p");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
        assert!(matches!(read(&pipe, 10), Err(AgentError::NotRegular { found: "a special file", .. })));
    }

    #[test]
    fn a_replacement_is_whole_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f");
        fs::write(directory.path().join(".claude-failover.f"), b"of a crash").expect("written");
        replace(&path, b"one", 0o640, Expect::AsRead(None)).expect("made");
        let (_, metadata) = read(&path, 10).expect("readable").expect("there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
        replace(&path, b"two", 0o600, Expect::AsRead(Some(&metadata))).expect("replaced");
        assert_eq!(fs::read(&path).expect("readable"), b"two");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_file_that_changed_since_it_was_read_is_not_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f");
        fs::write(&path, b"before").expect("written");
        let (_, metadata) = read(&path, 10).expect("readable").expect("there");
        fs::write(&path, b"of another program").expect("written");
        let failed = replace(&path, b"ours", 0o600, Expect::AsRead(Some(&metadata))).expect_err("it changed");
        assert!(!failed.in_doubt && matches!(failed.error, AgentError::ChangedMeanwhile { .. }));
        let failed = replace(&path, b"ours", 0o600, Expect::AsRead(None)).expect_err("it appeared");
        assert!(matches!(failed.error, AgentError::ChangedMeanwhile { .. }));
        assert_eq!(fs::read(&path).expect("readable"), b"of another program");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    }
}
