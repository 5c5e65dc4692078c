//! Which project each session has a task of, in a file beside the socket. The daemon writes it when it changes; a hook reads it, so that the status
//! file of that project is kept true wherever the agent was started.
//!
//! # Guarantees
//! The file is replaced as a whole, in the runtime directory, which does not outlive a reboot. A session keeps its project until it has a task of
//! another: the word that its turn is over comes when the task may be done already.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::model::SessionName;

/// The largest file that is read.
const LIMIT: u64 = 1024 * 1024;

/// Projects by the session that has a task of theirs, or had one last.
pub type AtWork = BTreeMap<SessionName, PathBuf>;

/// Where it stands, beside the socket of the intake.
pub fn path(socket: &Path) -> PathBuf {
    socket.with_extension("at-work")
}

/// Puts it in place.
///
/// # Errors
/// That of the file system.
pub fn write(path: &Path, at_work: &AtWork) -> io::Result<()> {
    let draft = path.with_extension("at-work.new");
    fs::write(&draft, serde_json::to_vec(at_work)?)?;
    fs::rename(draft, path)
}

/// Reads it; one that is absent or broken names nothing.
pub fn read(path: &Path) -> AtWork {
    let read = || {
        let mut bytes = Vec::new();
        fs::File::open(path).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_nothing_broken_does() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = path(&directory.path().join("intake.sock"));
        assert_eq!(read(&path), AtWork::new());
        let at_work = AtWork::from([(SessionName::new("s1").expect("valid"), PathBuf::from("/src/a b"))]);
        write(&path, &at_work).expect("written");
        assert_eq!(read(&path), at_work);
        for broken in ["", "[]", "{\"s1\":", "{\"a:b\":\"/x\"}", "{\"s1\":1}"] {
            fs::write(&path, broken).expect("written");
            assert_eq!(read(&path), AtWork::new(), "{broken}");
        }
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    }
}
