//! The control-mode connection: one `tmux -C` that is attached to our anchor session and lives as long as we do.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout},
    time::{Duration, Instant, timeout, timeout_at},
};

use super::{
    ANCHOR,
    client::{Client, Exchange, start},
    error::TmuxError,
    script::{Answers, Batch, Tag},
    wire::{Event, OutOfStep, Parser},
};
use crate::host::ready;

/// A connection. Dropping it kills the client, which changes nothing on the server.
#[derive(Debug)]
pub(super) struct Control {
    /// Held for its end: killed when dropped, and collected by the runtime.
    _client: Child,
    input: ChildStdin,
    output: ChildStdout,
    parser: Parser,
    socket: std::path::PathBuf,
    /// Whether something was said since the last answered look that may concern the sessions.
    pub(super) look_again: bool,
}

impl Control {
    /// Starts a client. Whether it is of use shows with the first exchange.
    ///
    /// `no-output`: a client that is told what panes print and does not read it would stop them. `ignore-size`: it has no size of its own
    /// (`facts/tmux.md`, section 3.4).
    pub(super) fn start(client: &Client) -> Result<Self, TmuxError> {
        let mut command = client.command();
        command
            .arg("-C")
            .args(["attach-session", "-t", &format!("={ANCHOR}"), "-f", "no-output,ignore-size"])
            .stderr(std::process::Stdio::null());
        let mut child = start(&mut command, &client.binary)?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => {
                let (parser, socket) = (Parser::default(), client.socket.clone());
                Ok(Self { _client: child, input, output, parser, socket, look_again: false })
            }
            _ => Err(TmuxError::Unanswered { socket: client.socket.clone(), said: String::new() }),
        }
    }

    /// Sends a batch and reads its answers at the same time. Each request may take `patience` from the answer to the one before it. With
    /// `look`, the answers show the sessions, so that what was said before them is no longer news.
    ///
    /// Not cancel-safe: a connection whose exchange was dropped, or failed, must be dropped too.
    pub(super) async fn exchange(&mut self, tag: &Tag, batch: &Batch, patience: Duration, look: bool) -> Exchange {
        let mut answers = Answers::new(tag, batch);
        let mut written = 0;
        let mut due = Instant::now() + patience;
        let error = loop {
            let before = answers.answered();
            if let Err(error) = self.take(&mut answers, look) {
                break Some(error);
            }
            if answers.complete() {
                break None;
            }
            if answers.answered() > before {
                due = Instant::now() + patience;
            }
            let unread = self.parser.room();
            let step = async {
                tokio::select! {
                    // Either may be cancelled by the other: a cancelled read took nothing, a cancelled write wrote nothing.
                    read = self.output.read_buf(unread) => read.map(|read| (read == 0, 0)),
                    wrote = self.input.write(&batch.bytes[written..]), if written < batch.bytes.len() => wrote.map(|wrote| (false, wrote)),
                }
            };
            match timeout_at(due, step).await {
                Ok(Ok((false, wrote))) => written += wrote,
                Ok(Ok((true, _))) => break Some(self.ended(String::new())),
                Ok(Err(source)) => break Some(TmuxError::Broken { socket: self.socket.clone(), source }),
                Err(_) => break Some(TmuxError::TimedOut { socket: self.socket.clone(), after: patience }),
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
        let read = self.output.read_buf(self.parser.room());
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
        match read {
            Ok(0) => Err(self.ended(String::new())),
            // Nothing is awaited from here on. There is no request, so a block can only be a hook's.
            Ok(_) => self.take_notices().map(|()| true),
            Err(source) => Err(TmuxError::Broken { socket: self.socket.clone(), source }),
        }
    }

    fn take(&mut self, answers: &mut Answers<'_>, look: bool) -> Result<(), TmuxError> {
        while let Some(event) = self.parser.next() {
            match event.map_err(|error| error.at(&self.socket))? {
                Event::Block(block) => {
                    self.look_again &= !(look && block.ours);
                    answers.block(block).map_err(|error| error.at(&self.socket))?;
                }
                Event::Notice(look_again) => self.look_again |= look_again,
                Event::Exit(reason) => return Err(self.ended(reason)),
            }
        }
        Ok(())
    }

    fn take_notices(&mut self) -> Result<(), TmuxError> {
        while let Some(event) = self.parser.next() {
            match event.map_err(|error| error.at(&self.socket))? {
                Event::Block(_) => {}
                Event::Notice(look_again) => self.look_again |= look_again,
                Event::Exit(reason) => return Err(self.ended(reason)),
            }
        }
        Ok(())
    }

    fn ended(&self, said: String) -> TmuxError {
        TmuxError::Unanswered { socket: self.socket.clone(), said }
    }
}

impl OutOfStep {
    /// With the socket that it came from.
    pub(super) fn at(self, socket: &std::path::Path) -> TmuxError {
        TmuxError::Malformed { socket: socket.to_owned(), why: self.why, line: super::error::shorten(&self.line) }
    }
}
