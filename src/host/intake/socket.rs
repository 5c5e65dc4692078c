//! The receiving side: the socket, and the spool when the socket is empty.

use std::{
    collections::VecDeque,
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixDatagram as StdDatagram,
    },
    path::{Path, PathBuf},
};

use tokio::net::UnixDatagram;

use super::{IntakeError, MESSAGE_LIMIT, Message, spool::Spool};

/// How many datagrams are taken before they are handed out.
const ROUND: usize = 256;

/// The daemon's ear.
#[derive(Debug)]
pub struct Intake {
    path: PathBuf,
    /// Tells when there is something to receive.
    ready: UnixDatagram,
    /// The same socket. The runtime learns late of what came in while we were busy, and the spool is only to be looked at when the socket
    /// is empty: so it is asked directly.
    socket: StdDatagram,
    /// Device and inode of the socket as we bound it.
    identity: (u64, u64),
    spool: Spool,
    /// Whether the spool may hold something: at start, when a sender says so, and when the socket may have been full.
    look_at_spool: bool,
    /// What was received and not yet handed out.
    waiting: VecDeque<Message>,
    /// One byte more than the largest message, so that a larger one is not taken for a whole one.
    buffer: Box<[u8]>,
    /// The last trouble with the spool that was logged.
    trouble: Option<String>,
}

impl Intake {
    /// Listens on `path`, with mode 0600, and takes up what waits in `spool`. The directory of the socket is made, with mode 0700, if it is
    /// absent. A socket that nobody listens on any more is replaced. To be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`IntakeError::InUse`], [`IntakeError::NotASocket`], [`IntakeError::UnsafeDirectory`] and [`IntakeError::Io`].
    pub fn bind(path: &Path, spool: &Path) -> Result<Self, IntakeError> {
        let (ready, socket, identity) = listen(path)?;
        Ok(Self {
            path: path.to_owned(),
            ready,
            socket,
            identity,
            spool: Spool::new(spool),
            look_at_spool: true,
            waiting: VecDeque::new(),
            buffer: vec![0; MESSAGE_LIMIT + 1].into_boxed_slice(),
            trouble: None,
        })
    }

    /// The next message. Cancel-safe: a message is handed out by the very poll that completes.
    ///
    /// A message of the spool is removed from disk by the call after the one that handed out the last of them: whoever dies in between
    /// gets them again.
    ///
    /// # Errors
    /// [`IntakeError::Io`] when the socket fails. Trouble with the spool is logged once, and the socket goes on.
    pub async fn recv(&mut self) -> Result<Message, IntakeError> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(message);
            }
            // All that was taken from the spool is handed out, and dealt with: we were called again.
            let done = self.spool.done();
            self.note(done);
            if self.receive_waiting()? && self.look_at_spool {
                self.take_spool();
            }
            if self.waiting.is_empty() {
                self.ready.readable().await.map_err(IntakeError::io("receive on", &self.path))?;
            }
        }
    }

    /// Looks whether the socket is still ours, and binds it anew if somebody removed or replaced the file; senders would then spool for
    /// ever. Meant for every resync. Answers whether it had to.
    ///
    /// # Errors
    /// Those of [`Self::bind`].
    pub fn ensure(&mut self) -> Result<bool, IntakeError> {
        self.look_at_spool = true;
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            return Ok(false);
        }
        (self.ready, self.socket, self.identity) = listen(&self.path)?;
        self.take_spool();
        Ok(true)
    }

    /// Takes what the socket holds, and answers whether it is empty now.
    fn receive_waiting(&mut self) -> Result<bool, IntakeError> {
        for round in 0..ROUND {
            // One that came alone found the socket empty, and so did its sender.
            self.look_at_spool |= round > 1;
            let received = match self.socket.recv(&mut self.buffer) {
                // The runtime forgets that there was something only when it finds nothing itself.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.ready.try_recv(&mut self.buffer),
                received => received,
            };
            match received {
                // An empty one only says that there is something in the spool.
                Ok(0) => self.look_at_spool = true,
                Ok(length) => self.waiting.extend(Message::decode(&self.buffer[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(IntakeError::io("receive on", &self.path)(error)),
            }
        }
        Ok(false)
    }

    fn take_spool(&mut self) {
        let taken = self.spool.take().map(|messages| {
            // There may be more behind what was handed out. A writer that is at work says when it is done.
            self.look_at_spool = !messages.is_empty() || self.spool.is_held();
            self.waiting.extend(messages);
            // At start the spool is older than the socket, after an overflow it is newer.
            self.waiting.make_contiguous().sort_by_key(|message| message.at);
        });
        self.note(taken);
    }

    /// Logs trouble with the spool when it is another one than before.
    fn note(&mut self, result: Result<(), IntakeError>) {
        let Err(error) = result else { return };
        let text = format!("{error:?}");
        if self.trouble.as_ref() != Some(&text) {
            tracing::warn!(error = &error as &dyn std::error::Error, "what agents said while nobody listened cannot be read");
            self.trouble = Some(text);
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // Without it senders go straight to the spool; one that stays is replaced by the next daemon.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds under a temporary name, so that nobody can send before the mode is right, and a dead socket is replaced in one step.
fn listen(path: &Path) -> Result<(UnixDatagram, StdDatagram, (u64, u64)), IntakeError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    check_directory(directory)?;
    check_free(path)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(IntakeError::io("remove", &temporary)(error));
    }
    let socket = StdDatagram::bind(&temporary).map_err(IntakeError::io("bind", &temporary))?;
    socket.set_nonblocking(true).map_err(IntakeError::io("bind", &temporary))?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600)).map_err(IntakeError::io("set the mode of", &temporary))?;
    fs::rename(&temporary, path).map_err(IntakeError::io("create", path))?;
    let identity = identity(path).map_err(IntakeError::io("look at", path))?;
    let ready = socket.try_clone().and_then(UnixDatagram::from_std).map_err(IntakeError::io("listen on", path))?;
    Ok((ready, socket, identity))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn check_directory(directory: &Path) -> Result<(), IntakeError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory).map_err(IntakeError::io("create", directory))?;
    let metadata = fs::metadata(directory).map_err(IntakeError::io("look at", directory))?;
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    if owner == nix::unistd::geteuid().as_raw() && mode & 0o022 == 0 {
        Ok(())
    } else {
        Err(IntakeError::UnsafeDirectory { path: directory.to_owned(), mode, owner })
    }
}

/// Whether nothing stands at `path`, or a socket that nobody listens on any more.
fn check_free(path: &Path) -> Result<(), IntakeError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(IntakeError::io("look at", path)(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(IntakeError::NotASocket { path: path.to_owned() }),
        Ok(_) => {}
    }
    match StdDatagram::unbound().and_then(|probe| probe.connect(path)) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(IntakeError::io("probe", path)(error)),
        Err(_) => Ok(()),
        Ok(()) => Err(IntakeError::InUse { path: path.to_owned() }),
    }
}
