//! The sending side: one command over one connection.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::MAX_LINE;
use crate::engine::{Answer, Request};

/// Why a command did not reach the daemon, or its answer did not reach us.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon listens on {}; start one with `claude-failover run`", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The connection failed.
    #[error("cannot {what} the daemon on {}", path.display())]
    Connection {
        /// What was tried.
        what: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The answer is not one.
    #[error("the daemon on {} gave an answer that does not read; are both of the same version?", path.display())]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: UnixStream,
}

impl Client {
    /// Connects to the daemon's socket.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] when there is no socket or nobody behind it.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        use std::io::ErrorKind;
        match UnixStream::connect(path) {
            Ok(stream) => Ok(Self { path: path.to_owned(), stream }),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Err(ClientError::NotRunning { path: path.to_owned() })
            }
            Err(source) => Err(ClientError::Connection { what: "reach", path: path.to_owned(), source }),
        }
    }

    /// Sends one command and waits for its answer, at most `within`.
    ///
    /// # Errors
    /// [`ClientError::Connection`], also when the time is over; the command may be carried out all the same, and may be sent again with its id.
    pub fn ask(mut self, request: &Request, within: Duration) -> Result<Answer, ClientError> {
        let failed = |what: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| ClientError::Connection { what, path, source }
        };
        self.stream.set_read_timeout(Some(within)).map_err(failed("set a deadline for", &self.path))?;
        let mut line = serde_json::to_vec(request).map_err(|source| ClientError::Answer { path: self.path.clone(), source })?;
        line.push(b'\n');
        self.stream.write_all(&line).map_err(failed("send to", &self.path))?;
        let mut answer = String::new();
        let mut reader = BufReader::new(&self.stream).take(MAX_LINE as u64);
        reader.read_line(&mut answer).map_err(failed("read the answer of", &self.path))?;
        serde_json::from_str(&answer).map_err(|source| ClientError::Answer { path: self.path.clone(), source })
    }
}
