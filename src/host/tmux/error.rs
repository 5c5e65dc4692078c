//! What can go wrong between us and a tmux server.

use std::{io, path::PathBuf, time::Duration};

/// A call to tmux that brought no answer that can be believed. None of these says anything about the sessions.
#[derive(Debug, thiserror::Error)]
pub enum TmuxError {
    /// No answer in time. A server that hangs looks like this; so does a host that is very busy.
    #[error("tmux at {} did not answer within {after:?}; if that goes on, run `doctor`", socket.display())]
    TimedOut {
        /// The server's socket.
        socket: PathBuf,
        /// How long it was waited.
        after: Duration,
    },
    /// Nobody listens on the socket: it does not exist, or its server is gone. This one is positively known.
    #[error("no tmux server listens on {}", socket.display())]
    NoServer {
        /// The socket.
        socket: PathBuf,
    },
    /// The client ended without the marker.
    #[error("tmux at {} ended without an answer{}", socket.display(), quoted(said))]
    Unanswered {
        /// The server's socket.
        socket: PathBuf,
        /// What it wrote to its error output, shortened.
        said: String,
    },
    /// The answer does not have the form that tmux gives it.
    #[error("the answer of tmux at {} cannot be understood: {why}: {line:?}", socket.display())]
    Malformed {
        /// The server's socket.
        socket: PathBuf,
        /// What is wrong.
        why: &'static str,
        /// The line, shortened.
        line: String,
    },
    /// A program could not be started.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Bytes could not be exchanged with a client that was started.
    #[error("the connection to tmux at {} broke", socket.display())]
    Broken {
        /// The server's socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket's path does not fit into an address (unix(7)).
    #[error("the socket path {} has {found} bytes, at most {limit} are possible; choose a shorter one in `tmux.socket`", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        found: usize,
        /// The longest possible.
        limit: usize,
    },
    /// A socket name that is not one plain path component.
    #[error("the socket name {name:?} must be one plain path component; a path must begin with /")]
    BadName {
        /// The name.
        name: String,
    },
    /// The directory of our sockets cannot be trusted.
    #[error("the directory {} {why}; remove it, or set XDG_RUNTIME_DIR", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A directory or a socket could not be looked at or made.
    #[error("cannot use {}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The command that starts the server failed.
    #[error("{command} did not start a tmux server{}{hint}", quoted(said))]
    NotStarted {
        /// The program that was run.
        command: String,
        /// What it wrote to its error output, shortened.
        said: String,
        /// What to do, as the end of the sentence.
        hint: &'static str,
    },
    /// The server that used the socket before still shuts down.
    #[error("the former tmux server, process {pid}, still exists; it must be gone before another one can use {}", socket.display())]
    StillEnding {
        /// The socket.
        socket: PathBuf,
        /// The former server.
        pid: i32,
    },
    /// The process of the server could not be looked at.
    #[error(transparent)]
    Process(#[from] crate::host::process::ProcessError),
}

/// The most of a foreign text that goes into a message.
const QUOTED: usize = 300;

/// A foreign text, short enough for a message.
pub(super) fn shorten(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The words of tmux as the end of a message, escaped: they may hold text of others.
fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("; it said {text:?}") }
}
