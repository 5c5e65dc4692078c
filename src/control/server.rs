//! The receiving side: takes commands, hands them to the engine, passes the answers back.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use crate::engine::{Answer, Asked, Request};

/// How long a client may take to send its line.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// How long a client may take to read its answer.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// The longest command. The largest one names an object and a reason.
const MAX_REQUEST: u64 = 64 << 10;
/// Clients at the same time; a further one waits.
const MAX_CLIENTS: usize = 32;

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} the control socket {}", path.display())]
pub struct ServerError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// A bound control socket. It is removed when this is dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listener: UnixListener,
}

impl Server {
    /// Binds the socket. Called while the state's lock is held, so that a socket which stands there belongs to nobody.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn bind(path: &Path) -> Result<Self, ServerError> {
        let failed = |what: &'static str| {
            let path = path.to_owned();
            move |source| ServerError { what, path, source }
        };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed("replace")(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed("bind"))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed("protect"))?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// Serves for ever. One connection takes one command.
    pub async fn serve(self, commands: mpsc::Sender<Asked>) {
        let room = Arc::new(Semaphore::new(MAX_CLIENTS));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let commands = commands.clone();
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, commands).await {
                            tracing::debug!(error = &error as &dyn std::error::Error, "a client of the control socket went away");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of descriptors, for one: waiting gives others the time to close theirs.
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept on the control socket");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A socket that stays behind is replaced by the next one.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Our own user, and the one who can do everything anyway.
const fn is_trusted(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

async fn converse(stream: UnixStream, commands: mpsc::Sender<Asked>) -> std::io::Result<()> {
    let own = nix::unistd::geteuid().as_raw();
    let peer = stream.peer_cred()?.uid();
    if !is_trusted(peer, own) {
        tracing::warn!(peer, "a command of another user was refused");
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    timeout(READ_WITHIN, BufReader::new(read.take(MAX_REQUEST)).read_line(&mut line)).await??;
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => ask(request, &commands).await,
        Err(error) => Answer::Refused { message: format!("this is no command: {error}; are both of the same version?") },
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    timeout(WRITE_WITHIN, write.write_all(&text)).await?
}

async fn ask(request: Request, commands: &mpsc::Sender<Asked>) -> Answer {
    let (reply, answer) = oneshot::channel();
    let stopping = || Answer::Refused { message: "the daemon is stopping; ask again when it is back".to_owned() };
    if commands.send((request, reply)).await.is_err() {
        return stopping();
    }
    answer.await.unwrap_or_else(|_| stopping())
}

#[cfg(test)]
mod tests;
