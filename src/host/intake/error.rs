//! What can go wrong on the receiving side. The sending side has no errors: nobody could act on them.

use std::{io, path::PathBuf};

/// An error of the socket or the spool.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// A call of the operating system failed.
    #[error("cannot {action} {path:?}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process receives on this socket.
    #[error("{path:?} is in use by another process; is a second daemon of this pool running?")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something stands there that is not a socket of ours. It is left alone.
    #[error("{path:?} is not a socket; move it away or choose another runtime directory")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Other users could put their own socket there.
    #[error("{path:?} has mode {mode:o} and owner {owner}; it must belong to us and be writable by nobody else")]
    UnsafeDirectory {
        /// The directory.
        path: PathBuf,
        /// Its mode bits.
        mode: u32,
        /// The user that it belongs to.
        owner: u32,
    },
}

impl IntakeError {
    /// For `map_err`: what was tried on which path.
    pub(super) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
