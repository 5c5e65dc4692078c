//! The control-mode connection: one `tmux -C` that is attached to our anchor session and lives as long as we do.
//!
//! # How a control client may end
//! Without its pull requests 5004 and 4980 (spring of 2026), tmux takes a client for a control client before it has made what it needs for one.
//! A client that dies in between, or a notice that is sent in between, **crashes the server, and every session with it**. With 3.3a, one in a
//! hundred clients that were killed at a random moment of their first 4 ms did it; five that were started and killed while the server hung did
//! it 100 times in 100, as soon as it woke. Of 8,000 that were killed after the server's first word, none did. So:
//! - a control client is started only when the server has just answered another client, never towards one that may hang, and never soon
//!   after another one ended (`Connection` in `server.rs`);
//! - one that is given up before the server's first word is left alone until it comes, or until the client has had ample time to introduce
//!   itself.
//!
//! # How it ends when we are killed
//! tmux ends a control client whose input has ended, but only once it has written out what it has to say to it, and a server does not end
//! before its clients. If nobody is left to read that, the write fails, tmux does not try again, and client and server hang for ever: seen
//! with 3.3a each time that we were killed while the server had notices for us. So the client itself holds the reading end of its output
//! too, as its error output: what is written then has a reader for as long as the client lives, and room until long after we are gone. Only
//! a client that we had not read for [`ROOM`] bytes is left behind; `former.rs` ends that one.

use std::{
    io::pipe,
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::fcntl::{FcntlArg, fcntl};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe::Receiver,
    process::{Child, ChildStdin},
    runtime::Handle,
    time::{Duration, Instant, timeout, timeout_at},
};

use super::{
    ANCHOR,
    client::{Client, Exchange, start},
    error::{TmuxError, shorten},
    script::{Answers, Batch, Tag},
    wire::{Event, OutOfStep, Parser},
};
use crate::{host::ready, model::Pid};

/// How long a client that never answered is left alone: it needs three turns of its loop to introduce itself.
pub(super) const INTRODUCTION: Duration = Duration::from_secs(5);

/// How much a client may have to say while nobody reads: what the kernel allows everybody (pipe(7), `pipe-max-size`), some 30,000 notices.
const ROOM: i32 = 1 << 20;

/// A connection. Dropping it ends the client, which changes nothing on the server.
#[derive(Debug)]
pub(super) struct Control {
    /// Taken out by the end only.
    wires: Option<Wires>,
    ear: Ear,
    started: Instant,
}

/// The client and its pipes.
#[derive(Debug)]
struct Wires {
    client: Child,
    input: ChildStdin,
    output: Receiver,
}

/// What was heard of the server so far.
#[derive(Debug)]
struct Ear {
    parser: Parser,
    socket: PathBuf,
    /// Whether the server has said anything: then it has made what it needs, and the client may be killed.
    introduced: bool,
    /// Whether something was said since the last answered look that may concern the sessions.
    look_again: bool,
}

impl Control {
    /// Starts a client. Whether it is of use shows with the first exchange.
    ///
    /// `no-output`: a client that is told what panes print and does not read it would stop them. `ignore-size`: it has no size of its own
    /// (`facts/tmux.md`, section 3.4).
    pub(super) fn start(client: &Client) -> Result<Self, TmuxError> {
        let broken = |source| TmuxError::Broken { socket: client.socket.clone(), source };
        let (reader, writer) = pipe().map_err(broken)?;
        // A smaller pipe does as well, until something goes wrong.
        let _ = fcntl(&reader, FcntlArg::F_SETPIPE_SZ(ROOM));
        let mut command = client.command();
        command
            .args(["-C", "attach-session", "-t", &format!("={ANCHOR}"), "-f", "no-output,ignore-size"])
            .stdout(Stdio::from(writer))
            .stderr(Stdio::from(reader.try_clone().map_err(broken)?))
            .kill_on_drop(false);
        let output = Receiver::from_owned_fd(reader.into()).map_err(broken)?;
        let mut child = start(&mut command, &client.binary)?;
        let wires = child.stdin.take().map(|input| Wires { client: child, input, output });
        let ear = Ear { parser: Parser::default(), socket: client.socket.clone(), introduced: false, look_again: false };
        Ok(Self { wires, ear, started: Instant::now() })
    }

    /// The client's process number, while it has not been collected.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.wires.as_ref()?.client.id()?.try_into().ok().map(Pid)
    }

    /// Whether something was said since the last answered look that may concern the sessions.
    pub(super) const fn look_again(&self) -> bool {
        self.ear.look_again
    }

    /// Whether the client has ended. Its pipe may have no end yet: the server holds it too.
    pub(super) fn has_ended(&mut self) -> bool {
        self.wires.as_mut().is_none_or(|wires| !matches!(wires.client.try_wait(), Ok(None)))
    }

    /// Sends a batch and reads its answers at the same time. Each request may take `patience` from the answer to the one before it. With
    /// `look`, the answers show the sessions, so that what was said before them is no longer news.
    ///
    /// Not cancel-safe: a connection whose exchange was dropped, or failed, must be dropped too.
    pub(super) async fn exchange(&mut self, tag: &Tag, batch: &Batch, patience: Duration, look: bool) -> Exchange {
        let Self { wires: Some(Wires { input, output, .. }), ear, .. } = self else { return Exchange::none(self.ear.ended(String::new())) };
        let mut answers = Answers::new(tag, batch);
        let mut written = 0;
        let mut due = Instant::now() + patience;
        let error = loop {
            let before = answers.answered();
            if let Err(error) = ear.take(Some((&mut answers, look))) {
                break Some(error);
            }
            if answers.complete() {
                break None;
            }
            if answers.answered() > before {
                due = Instant::now() + patience;
            }
            let step = async {
                tokio::select! {
                    // Either may be cancelled by the other: a cancelled read took nothing, a cancelled write wrote nothing.
                    read = output.read_buf(ear.parser.room()) => read.map(Step::Read),
                    wrote = input.write(&batch.bytes[written..]), if written < batch.bytes.len() => wrote.map(Step::Wrote),
                }
            };
            match timeout_at(due, step).await {
                Ok(Ok(Step::Wrote(bytes))) => written += bytes,
                Ok(Ok(Step::Read(0))) => break Some(ear.ended(String::new())),
                Ok(Ok(Step::Read(_))) => {}
                Ok(Err(source)) => break Some(ear.broken(source)),
                Err(_) => break Some(TmuxError::TimedOut { socket: ear.socket.clone(), after: patience }),
            }
        };
        Exchange { replies: answers.into_replies(), begun: batch.begun(written), error }
    }

    /// Waits until the server says anything, or for `within`; answers whether it did. With no time at all, only what has arrived is read.
    /// Cancel-safe.
    ///
    /// # Errors
    /// The connection has ended and must be dropped.
    pub(super) async fn listen(&mut self, within: Option<Duration>) -> Result<bool, TmuxError> {
        let Self { wires: Some(Wires { output, .. }), ear, .. } = self else { return Err(self.ear.ended(String::new())) };
        let read = output.read_buf(ear.parser.room());
        let read = match within {
            Some(Duration::ZERO) => match ready::now(read).await {
                Some(read) => read,
                None => return Ok(false),
            },
            Some(within) => match timeout(within, read).await {
                Ok(read) => read,
                Err(_) => return Ok(false),
            },
            None => read.await,
        };
        // Nothing is awaited from here on.
        match read {
            Ok(0) => Err(ear.ended(String::new())),
            Ok(_) => ear.take(None).map(|()| true),
            Err(source) => Err(ear.broken(source)),
        }
    }
}

/// What came first.
enum Step {
    Read(usize),
    Wrote(usize),
}

impl Ear {
    /// Takes in what was read. Without a request, a block can only be a hook's.
    fn take(&mut self, mut answers: Option<(&mut Answers<'_>, bool)>) -> Result<(), TmuxError> {
        while let Some(event) = self.parser.next() {
            self.introduced = true;
            match event.map_err(|error| error.at(&self.socket))? {
                Event::Block(block) => {
                    if let Some((answers, look)) = &mut answers {
                        self.look_again &= !(*look && block.ours);
                        answers.block(block).map_err(|error| error.at(&self.socket))?;
                    }
                }
                Event::Notice(look_again) => self.look_again |= look_again,
                Event::Exit(reason) => return Err(self.ended(reason)),
            }
        }
        Ok(())
    }

    fn ended(&self, said: String) -> TmuxError {
        TmuxError::Unanswered { socket: self.socket.clone(), said }
    }

    fn broken(&self, source: std::io::Error) -> TmuxError {
        TmuxError::Broken { socket: self.socket.clone(), source }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let Some(mut wires) = self.wires.take() else { return };
        if self.ear.introduced {
            // It may have ended already; the runtime collects it either way.
            let _ = wires.client.start_kill();
        } else if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(outlive_introduction(wires, self.started + INTRODUCTION));
        }
        // Without a runtime we are about to end; the client notices that by itself.
    }
}

/// Ends a client that never answered, once that is safe. Its pipes stay open until then: it must not see an end either.
async fn outlive_introduction(mut wires: Wires, safe: Instant) {
    let mut first = [0; 1];
    // It ended, or the server said something, or it had its time.
    let _ = timeout_at(safe, wires.output.read(&mut first)).await;
    let _ = wires.client.start_kill();
    let _ = wires.client.wait().await;
}

impl OutOfStep {
    /// With the socket that it came from.
    pub(super) fn at(self, socket: &Path) -> TmuxError {
        TmuxError::Malformed { socket: socket.to_owned(), why: self.why, line: shorten(&self.line) }
    }
}
