//! What the agent runs: one hook, one status line. No runtime, no threads, no waiting.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    host::{agent::report::Report, process},
    model::{AccountName, ProcessId},
};

use super::{Kind, Message, Origin, at_work, operator_line, pool_line, repeats::Saying, spool, status_file, status_line};

/// The largest input that is read: a prompt with pasted files.
const INPUT: u64 = 8 * 1024 * 1024;
/// The longest name of an event, in bytes.
const EVENT: usize = 64;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The daemon's socket took it.
    Sent,
    /// It waits in the spool.
    Spooled,
    /// Neither took it.
    Lost,
}

/// Runs the hook of `event`: reads the CLI's JSON from `input` and delivers what it says. Prints nothing and always succeeds: what a hook
/// prints goes into the conversation, and what it returns can stop the agent.
pub fn run_hook(event: &str, input: impl Read, origin: Origin, now: Timestamp, socket: &Path, spool: &Path) -> Delivery {
    let report = Report::parse(&read(input));
    let event: String = event.chars().filter(char::is_ascii_alphanumeric).take(EVENT).collect();
    let kind = Kind::Hook(event.clone());
    let message = Message { kind, process: origin.process, home: origin.home, at: now, answered_at: None, report };
    let delivery = deliver(socket, Some(spool), &message);
    if let Some(session) = &origin.session {
        let at_work = at_work::read(&at_work::path(socket)).remove(session);
        status_file::note(message.report.cwd.as_deref(), at_work.as_deref(), session, &event, &message.report, now);
    }
    delivery
}

/// Runs the status line: delivers what the CLI's JSON says, and answers the line to print.
///
/// Nothing of it is spooled: the next one comes within a minute and says it anew. What was said a short while ago is not sent again. `homes` are those of the pool, for the name of the
/// account that the agent works under. `command` is the operator's own, if there is one: what it says is shown instead.
pub fn run_statusline(
    input: impl Read,
    origin: Origin,
    now: Timestamp,
    zone: &TimeZone,
    socket: &Path,
    homes: &BTreeMap<AccountName, PathBuf>,
    command: &[String],
) -> Vec<u8> {
    let input = read(input);
    let report = Report::parse(&input);
    let account = homes.iter().find(|(_, home)| Some(*home) == origin.home.as_ref()).map(|(account, _)| account);
    let line = status_line::render(account, &report, now, zone);
    let answered_at = answered_at(&report, origin.process, now);
    let message = Message { kind: Kind::StatusLine, process: origin.process, home: origin.home, at: now, answered_at, report };
    let saying = Saying::of(&message, origin.session.as_ref(), socket);
    let heard = match &saying {
        // A daemon that is gone leaves its socket behind.
        Some(saying) if saying.is_known() => is_heard(socket),
        _ => {
            deliver(socket, None, &message) == Delivery::Sent && {
                saying.iter().for_each(Saying::keep);
                true
            }
        }
    };
    if let Some(shown) = operator_line::run(command, &input) {
        return shown;
    }
    let pool = if heard { pool_line::read(&pool_line::path(socket)) } else { None };
    let parts = [Some(line).filter(|line| !line.is_empty()), pool.map(|words| format!("pool {words}"))];
    let line = parts.into_iter().flatten().collect::<Vec<_>>().join(" · ");
    format!("{line}\n").into_bytes()
}

/// Sends `message` to the socket as one datagram, without waiting; when nobody takes it, appends it to the spool and says so with an empty
/// datagram.
pub fn deliver(socket: &Path, spool: Option<&Path>, message: &Message) -> Delivery {
    let bytes = message.encode();
    if bytes.is_empty() {
        return Delivery::Lost;
    }
    match spool {
        _ if send(socket, &bytes).is_ok() => Delivery::Sent,
        Some(spool) => set_aside(socket, spool, &bytes),
        None => Delivery::Lost,
    }
}

pub(super) fn set_aside(socket: &Path, spool: &Path, bytes: &[u8]) -> Delivery {
    if !spool::append(spool, bytes) {
        return Delivery::Lost;
    }
    // The receiver looks at the spool when its socket is empty. Had it looked just before the line was written, nothing would wake it. A
    // socket that is full, or not there, needs no such word: there is something to receive, or nobody to receive it.
    let _ = send(socket, &[]);
    Delivery::Spooled
}

fn send(socket: &Path, bytes: &[u8]) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to(bytes, socket).map(|_| ())
}

/// Whether somebody listens, without a word that would wake them.
fn is_heard(socket: &Path) -> bool {
    UnixDatagram::unbound().and_then(|probe| probe.connect(socket)).is_ok()
}

fn read(input: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What could be read before an error is cut off and says nothing; the message without it still wakes the daemon.
    let _ = input.take(INPUT).read_to_end(&mut bytes);
    bytes
}

/// See [`Message::answered_at`]. `None` when neither bound is known.
fn answered_at(report: &Report, process: Option<ProcessId>, now: Timestamp) -> Option<Timestamp> {
    let started = process.and_then(process::age).and_then(|age| now.checked_sub(age).ok());
    let written = report.transcript.as_ref().and_then(|path| fs::metadata(path).ok()?.modified().ok());
    let written = written.and_then(|written| Timestamp::try_from(written).ok());
    started.max(written).map(|at| at.min(now))
}
