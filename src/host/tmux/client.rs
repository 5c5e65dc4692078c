//! Clients of tmux as processes: how they are started, and the one-shot client that stands in for the control connection.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    process::{Child, Command},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    error::{TmuxError, shorten},
    script::{Answers, Batch, Reply, Tag},
};

/// The most that a client may write: a list of 4,000 panes is 1 MB, a screen much less.
const OUTPUT_LIMIT: usize = 16 << 20;

/// How much of an error output is kept.
const ERROR_LIMIT: usize = 16 << 10;

/// A pipe takes so much at once, whoever reads (pipe(7)).
const SHORT: usize = 4096;

/// How much a client that was started ahead may say before somebody listens: as much as everybody may ask for (`/proc/sys/fs/pipe-max-size`).
const AHEAD: usize = 1 << 20;

/// The variables that a tmux process gets from us; no other one can reach a pane through it. The names with a `*` stand for all that begin so.
const ALLOWED: [&str; 9] = ["HOME", "LANG", "LC_*", "LOGNAME", "PATH", "SHELL", "TZ", "USER", "XDG_RUNTIME_DIR"];

/// The allowed part of an environment, with a terminal type that fits what tmux is.
pub(super) fn scrubbed(variables: impl IntoIterator<Item = (OsString, OsString)>) -> BTreeMap<OsString, OsString> {
    let allowed = |name: &OsStr| {
        let name = name.to_string_lossy();
        ALLOWED.iter().any(|allowed| allowed.strip_suffix('*').map_or(name == *allowed, |stem| name.starts_with(stem)))
    };
    let terminal = (OsString::from("TERM"), OsString::from("tmux-256color"));
    variables.into_iter().filter(|(name, _)| allowed(name)).chain([terminal]).collect()
}

/// How clients are started.
#[derive(Debug)]
pub(super) struct Client {
    /// The tmux program.
    pub(super) binary: PathBuf,
    /// The server's socket.
    pub(super) socket: PathBuf,
}

/// What a batch of requests brought.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The answers to the first requests, in order.
    pub(super) replies: Vec<Reply>,
    /// How many requests may have reached the server.
    pub(super) begun: usize,
    /// Why there are no more answers.
    pub(super) error: Option<TmuxError>,
}

impl Exchange {
    /// Nothing reached the server.
    pub(super) const fn none(error: TmuxError) -> Self {
        Self { replies: Vec::new(), begun: 0, error: Some(error) }
    }
}

/// Whether a server holds the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listener {
    /// Somebody listens, or may: only an answer shows more.
    Present,
    /// The socket does not exist, or it does and its server is gone.
    Absent,
}

impl Client {
    /// A command that runs tmux on our socket. `-N`: never start a server; `-u`: text is UTF-8 whatever the locale.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("-u").arg("-N").arg("-S").arg(&self.socket);
        prepare(&mut command);
        command
    }

    /// Sends a batch through a client of its own: the lines are its standard input, so no limit of length and no second parser applies. Each
    /// request may take `patience` from the answer to the one before it.
    pub(super) async fn run(&self, tag: &Tag, batch: &Batch, patience: Duration) -> Exchange {
        match self.start_client() {
            Ok(child) => self.hear(child, tag, batch, patience).await,
            Err(error) => Exchange::none(error),
        }
    }

    /// Starts a client that takes its lines from its standard input.
    fn start_client(&self) -> Result<Child, TmuxError> {
        start(self.command().args(["source-file", "-"]), &self.binary)
    }

    /// Starts a client and gives it a short batch, for [`Self::hear`] to be called on it soon; `None` when that cannot be done without waiting.
    pub(super) fn begin(&self, batch: &Batch) -> Option<Child> {
        if batch.bytes.len() > SHORT {
            return None;
        }
        let mut child = self.start_client().ok()?;
        let input = child.stdin.take()?.into_owned_fd().ok()?;
        File::from(input).write_all(&batch.bytes).ok()?;
        if let Some(output) = &child.stdout {
            // So that it can say all that it has to say before somebody listens. Without it, it waits.
            let _ = rustix::pipe::fcntl_setpipe_size(output, AHEAD);
        }
        Some(child)
    }

    /// Takes the answers of a client that was started, and gives it its batch if it has not got it.
    pub(super) async fn hear(&self, child: Child, tag: &Tag, batch: &Batch, patience: Duration) -> Exchange {
        let mut answers = Answers::new(tag, batch);
        let mut said = String::new();
        let result = self.talk(child, batch, &mut answers, &mut said, patience).await;
        let error = match result {
            _ if answers.complete() => None,
            Ok(()) => Some(TmuxError::Unanswered { socket: self.socket.clone(), said: shorten(&said) }),
            Err(error) => Some(error),
        };
        let mut replies = answers.into_replies();
        let errors: Vec<String> = said.lines().map(str::to_owned).collect();
        for reply in &mut replies {
            reply.errors.clone_from(&errors);
        }
        Exchange { replies, begun: batch.begun(usize::MAX), error }
    }

    /// Feeds a client and reads it until it ends. Its output may have no end when it was killed: a hung server holds the pipe too.
    async fn talk(
        &self,
        mut child: Child,
        batch: &Batch,
        answers: &mut Answers<'_>,
        said: &mut String,
        patience: Duration,
    ) -> Result<(), TmuxError> {
        let (Some(mut output), Some(mut errors)) = (child.stdout.take(), child.stderr.take()) else { return Ok(()) };
        let input = child.stdin.take();
        let broken = |source| TmuxError::Broken { socket: self.socket.clone(), source };
        let mut unread = Vec::with_capacity(64 << 10);
        {
            let feed = async {
                if let Some(mut input) = input {
                    // A client that fails does not read; its error output says why.
                    let _ = input.write_all(&batch.bytes).await;
                }
                child.wait().await
            };
            tokio::pin!(feed);
            let mut due = Instant::now() + patience;
            loop {
                let before = answers.answered();
                tokio::select! {
                    // Cancelled by the end of the client; what is left in the pipe is read below.
                    read = output.read_buf(&mut unread) => {
                        if read.map_err(broken)? == 0 {
                            // Its end follows; it needs no time for that, but a stopped client would take for ever.
                            let _ = timeout_at(due, feed).await;
                            break;
                        }
                        self.take_lines(&mut unread, answers)?;
                    }
                    ended = &mut feed => {
                        ended.map_err(broken)?;
                        break;
                    }
                    () = sleep_until(due) => return Err(TmuxError::TimedOut { socket: self.socket.clone(), after: patience }),
                }
                if answers.answered() > before {
                    due = Instant::now() + patience;
                }
            }
        }
        drain(&mut output, &mut unread, OUTPUT_LIMIT).await;
        self.take_lines(&mut unread, answers)?;
        let mut text = Vec::new();
        drain(&mut errors, &mut text, ERROR_LIMIT).await;
        *said = String::from_utf8_lossy(&text).into_owned();
        Ok(())
    }

    /// Hands over the whole lines.
    fn take_lines(&self, unread: &mut Vec<u8>, answers: &mut Answers<'_>) -> Result<(), TmuxError> {
        let whole = unread.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        for line in unread[..whole].split_inclusive(|&byte| byte == b'\n') {
            let line = String::from_utf8_lossy(&line[..line.len() - 1]).into_owned();
            answers.line(line).map_err(|error| error.at(&self.socket))?;
        }
        unread.drain(..whole);
        if unread.len() > OUTPUT_LIMIT {
            return Err(TmuxError::Malformed { socket: self.socket.clone(), why: "a line has no end", line: String::new() });
        }
        Ok(())
    }

    /// Whether there is not even a socket, so that nobody can answer: a client of its own would say the same, a hundred times as slowly.
    pub(super) fn has_no_socket(&self) -> bool {
        fs::symlink_metadata(&self.socket).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    }

    /// Asks the socket itself whether there is a server: positive knowledge, whatever the words of a client are.
    pub(super) async fn listener(&self) -> Listener {
        match UnixStream::connect(&self.socket).await {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => Listener::Absent,
            // Also a full queue of a server that hangs (EAGAIN), and a socket that we may not open.
            _ => Listener::Present,
        }
    }
}

/// Where `PATH` leads for a program that is only named; the name itself when it leads nowhere. Children get another environment than ours, and to
/// search a path in their stead the whole process would have to be forked.
pub(super) fn found(program: &Path) -> PathBuf {
    if program.components().count() > 1 {
        return program.to_owned();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&path).filter(|directory| directory.is_absolute()).map(|directory| directory.join(program));
    let is_executable = |candidate: &PathBuf| candidate.is_file() && nix::unistd::access(candidate, nix::unistd::AccessFlags::X_OK).is_ok();
    candidates.into_iter().find(is_executable).unwrap_or_else(|| program.to_owned())
}

/// What all our children have in common: a scrubbed environment, no terminal signals of ours, an end with us.
pub(super) fn prepare(command: &mut Command) {
    command
        .env_clear()
        .envs(scrubbed(std::env::vars_os()))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
}

/// Starts a prepared command.
pub(super) fn start(command: &mut Command, program: &std::path::Path) -> Result<Child, TmuxError> {
    command.spawn().map_err(|source| TmuxError::Run { program: program.to_owned(), source })
}

/// Runs a command that needs no input to its end; answers its status and what it wrote to its error output.
pub(super) async fn finish(
    command: &mut Command,
    program: &std::path::Path,
    socket: &std::path::Path,
    within: Duration,
) -> Result<(ExitStatus, String), TmuxError> {
    let mut child = start(command.stdin(Stdio::null()).stdout(Stdio::null()), program)?;
    let status = match timeout(within, child.wait()).await {
        Ok(status) => status.map_err(|source| TmuxError::Broken { socket: socket.to_owned(), source })?,
        Err(_) => return Err(TmuxError::TimedOut { socket: socket.to_owned(), after: within }),
    };
    let mut text = Vec::new();
    if let Some(mut errors) = child.stderr.take() {
        drain(&mut errors, &mut text, ERROR_LIMIT).await;
    }
    Ok((status, shorten(&String::from_utf8_lossy(&text))))
}

/// Reads what a process that has ended left in a pipe. It is there at once, but a pipe that somebody else holds too has no end.
async fn drain(pipe: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>, limit: usize) {
    let pause = Duration::from_millis(50);
    while into.len() < limit {
        match timeout(pause, pipe.read_buf(into)).await {
            Ok(Ok(read)) if read > 0 => {}
            _ => break,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_account_and_no_secret_reaches_tmux() {
        let given = [
            "HOME",
            "PATH",
            "LC_ALL",
            "LC_CTYPE",
            "CLAUDE_CONFIG_DIR",
            "ANTHROPIC_API_KEY",
            "TMUX",
            "TMUX_PANE",
            "TERM",
            "HOMEBREW",
            "LD_PRELOAD",
        ];
        let kept = scrubbed(given.map(|name| (name.into(), "x".into())));
        let names: Vec<_> = kept.keys().map(|name| name.to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["HOME", "LC_ALL", "LC_CTYPE", "PATH", "TERM"]);
        assert_eq!(kept[OsStr::new("TERM")], "tmux-256color");
    }
}
