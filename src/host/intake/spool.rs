//! Messages that nobody received, one JSON line each, until somebody does.
//!
//! # Guarantees
//! Writers never wait. A line that was written is handed out at least once: the file is renamed, read, and removed only after its
//! messages were taken. Whoever is killed in between reads the same lines again.
//!
//! A writer holds the file's lock shared, and looks again whether the name still means that file; the reader renames first and then needs
//! the lock alone. So no line is written to a file that was already read.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags};

use super::{IntakeError, Message};

/// What the file may grow to. Writers at the same moment can each add one message to that.
pub(super) const CAP: u64 = 4 * 1024 * 1024;
/// How often a writer begins anew when a reader takes the file away.
const TRIES: usize = 8;

/// Appends one message; `false` when the spool is full or cannot be written.
pub(super) fn append(path: &Path, message: &[u8]) -> bool {
    // A line feed on both sides: a line that was torn by a full disk does not spoil the next one.
    let line = [b"\n", message, b"\n"].concat();
    (0..TRIES).find_map(|_| open(path).and_then(|file| write(path, file, &line)).transpose()).is_some_and(|written| written.is_ok())
}

fn open(path: &Path) -> io::Result<File> {
    // Also for reading: over NFS a shared lock is refused without it (flock(2)).
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))?))
}

/// `None` when a reader has just taken the file away.
fn write(path: &Path, mut file: File, line: &[u8]) -> io::Result<Option<()>> {
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let opened = file.metadata()?;
    let same = |named: fs::Metadata| (named.dev(), named.ino()) == (opened.dev(), opened.ino());
    if !fs::symlink_metadata(path).is_ok_and(same) {
        return Ok(None);
    }
    if !opened.is_file() || opened.len() + line.len() as u64 > CAP {
        return Err(io::ErrorKind::StorageFull.into());
    }
    file.write_all(line).map(Some)
}

/// The reading side.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    /// Where the file lies while it is read.
    taken: PathBuf,
    /// The file whose messages were handed out, with its lock, until they are done.
    held: Option<File>,
}

impl Spool {
    pub(super) fn new(path: &Path) -> Self {
        let mut taken = path.as_os_str().to_owned();
        taken.push(".taken");
        Self { path: path.to_owned(), taken: taken.into(), held: None }
    }

    /// The messages that wait, in the order in which they were written. They are kept on disk until [`Self::done`]; before that, and while
    /// a writer is at work, there are none.
    pub(super) fn take(&mut self) -> Result<Vec<Message>, IntakeError> {
        // A file without a single message is removed at once, and the one behind it is looked at.
        while self.held.is_none() {
            let Some(mut file) = self.take_file()? else { break };
            let mut bytes = Vec::new();
            // Twice the cap is more than writers can have added; what lies behind is not ours.
            io::Read::by_ref(&mut file).take(2 * CAP).read_to_end(&mut bytes).map_err(IntakeError::io("read", &self.taken))?;
            self.held = Some(file);
            let messages: Vec<Message> = bytes.split(|&byte| byte == b'\n').filter_map(Message::decode).collect();
            if !messages.is_empty() {
                return Ok(messages);
            }
            self.done()?;
        }
        Ok(Vec::new())
    }

    /// Takes the file away from the writers, and answers it once no writer is at work in it.
    fn take_file(&self) -> Result<Option<File>, IntakeError> {
        // What an earlier reader left comes first; the new file is not put in its place.
        if let Err(error) = fs::symlink_metadata(&self.taken) {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(IntakeError::io("look at", &self.taken)(error));
            }
            match fs::rename(&self.path, &self.taken) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(IntakeError::io("rename", &self.path)(error)),
            }
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, &self.taken, flags, Mode::empty());
        let file = File::from(opened.map_err(|errno| IntakeError::io("open", &self.taken)(errno.into()))?);
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            // The writer tells us when it is done.
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(IntakeError::io("lock", &self.taken)(error)),
        }
    }

    /// Whether messages were handed out that are not done.
    pub(super) const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Removes what was taken. Until that succeeds nothing more is taken, so that the same messages do not come for ever.
    pub(super) fn done(&mut self) -> Result<(), IntakeError> {
        if self.held.is_none() {
            return Ok(());
        }
        match fs::remove_file(&self.taken) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(IntakeError::io("remove", &self.taken)(error)),
            _ => {
                // Unlocked only now: a writer that waits for it must find the name gone.
                self.held = None;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
