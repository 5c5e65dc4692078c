//! What the status line of each session said last: an idle agent says the same once a minute, and the daemon need not hear it every time.
//!
//! # Guarantees
//! Only what says exactly what was said before, of the same process and to the same socket, is left out, and never for longer than
//! [`REPEATED`]. A daemon that starts binds another socket, and is told everything anew. When in doubt it is said.
//!
//! # Assumes
//! Whoever was told keeps it for as long as the process lives.
//!
//! # Does not
//! Concern hooks: each of them is said.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{MESSAGE_LIMIT, Message};
use crate::model::SessionName;

/// After so many seconds the same is said again, so that nothing that got lost stays lost.
const REPEATED: i64 = 600;
/// In how many seconds an answer counts as the same: the start of a process, which bounds it, is known to some hundredths of a second only.
const GRAIN: i64 = 10;

/// What a session's status line says now, and where what it said last stands: a small file for each session, beside the socket.
#[derive(Debug)]
pub(super) struct Saying {
    path: PathBuf,
    /// The socket and the message, without the times that change by themselves.
    text: String,
    now: Timestamp,
}

impl Saying {
    /// `None` when nobody listens, or when it cannot be told whose word it is.
    pub fn of(message: &Message, session: Option<&SessionName>, socket: &Path) -> Option<Self> {
        message.process?;
        let found = fs::symlink_metadata(socket).ok()?;
        let answered = message.answered_at.map(|at| at.as_second() / GRAIN);
        let lasting = Message { at: Timestamp::UNIX_EPOCH, answered_at: None, ..message.clone() };
        let said = String::from_utf8(lasting.encode()).ok()?;
        let text = format!("{} {} {}.{:09} {answered:?} {said}", found.dev(), found.ino(), found.ctime(), found.ctime_nsec());
        Some(Self { path: socket.parent()?.join("said").join(session?.as_str()), text, now: message.at })
    }

    /// Whether the same was said a short while ago.
    pub fn is_known(&self) -> bool {
        let Ok(file) = fs::File::open(&self.path) else { return false };
        let mut held = String::new();
        if file.take(2 * MESSAGE_LIMIT as u64).read_to_string(&mut held).is_err() {
            return false;
        }
        let Some((at, text)) = held.split_once('\n') else { return false };
        let age = at.parse().map(|at: i64| self.now.as_second() - at);
        text == self.text && age.is_ok_and(|age| (0..REPEATED).contains(&age))
    }

    /// Notes that it was said. When that cannot be kept, it is said again.
    pub fn keep(&self) {
        let Some(directory) = self.path.parent() else { return };
        let text = format!("{}\n{}", self.now.as_second(), self.text);
        if fs::write(&self.path, &text).is_err() && fs::DirBuilder::new().mode(0o700).create(directory).is_ok() {
            let _ = fs::write(&self.path, &text);
        }
    }
}

#[cfg(test)]
#[path = "repeats_tests.rs"]
mod tests;
