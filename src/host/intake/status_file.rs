//! `.agent-queue/status.json` of a project: what the agents that work in it do, for scripts and for other agents, and as the third source of
//! activity for the daemon.
//!
//! # Guarantees
//! The file is replaced as a whole, one writer at a time; a writer that does not get its turn at once gives up. Only a directory
//! `.agent-queue` of our own user, that is no symlink, is written to, and in it nothing but `status.json` and the draft beside it. What is read
//! is bounded; a file that is broken, half written, or anything but a file says nothing.
//!
//! The project of an agent is the nearest directory at or above its own that has a queue. It is looked for only in directories of our own user
//! on one file system.
//!
//! # Assumes
//! Others that write the file replace it as well (`mv`), so that nobody reads half of it.
//!
//! # Does not
//! Believe it: how old a word may be and what goes before it is decided where it is used.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, TryLockError},
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    host::{
        agent::{activity::Word, report::Report},
        queue::QUEUE,
    },
    model::{Activity, ClaimId, SessionName, TaskName},
    observed::Marker,
};

/// The name of the file in the queue's directory.
pub const FILE: &str = "status.json";
/// Where the next content is written, and what writers lock.
const DRAFT: &str = ".status.json.draft";
/// The longest file that is read.
const LIMIT: u64 = 64 * 1024;
/// How many are read in one look.
const FILES: usize = 64;
/// The longest marker of a task that is read.
const MARKER: u64 = 4096;
/// How many entries of an inbox are looked at for the task of a claim.
const ENTRIES: usize = 1024;
/// How many directories are looked at for a queue, from an agent's own upwards.
const LEVELS: usize = 32;
/// How many sessions are kept.
const SESSIONS: usize = 200;
/// A session that has not said anything for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_hours(24);
/// How long a writer waits for its turn. It is a hook: the agent may be waiting for it.
const TURN: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_millis(1);

/// What `.agent-queue/status.json` holds. A script may write it too: `state`, `session` and `heartbeat` are enough. Without a session it is about
/// nobody, as it is once every agent has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentStatus {
    /// What is said of that session, or of all that work here when none is named.
    #[serde(flatten)]
    pub first: SessionStatus,
    /// The session that the fields beside this one are about: the one that works, or the one that spoke last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionName>,
    /// Each session by name, when several work here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sessions: BTreeMap<SessionName, SessionStatus>,
}

/// One session in [`AgentStatus`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionStatus {
    /// `working` while a turn runs, else `idle`.
    pub state: AgentState,
    /// The task that it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskName>,
    /// When this was last known to be so.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub heartbeat: Timestamp,
    /// Since when the state is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
}

/// Whether a turn runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    /// No turn runs.
    Idle,
    /// A turn runs.
    Working,
}

impl AgentStatus {
    /// What it says of each session.
    fn into_sessions(self) -> BTreeMap<SessionName, SessionStatus> {
        let mut sessions = self.sessions;
        if let Some(session) = self.session {
            sessions.entry(session).or_insert(self.first);
        }
        sessions
    }

    /// The file of these sessions.
    fn of(sessions: BTreeMap<SessionName, SessionStatus>, now: Timestamp) -> Self {
        let Some((name, first)) = sessions.iter().max_by_key(|(_, status)| (status.state, status.heartbeat)) else {
            let first = SessionStatus { state: AgentState::Idle, task: None, heartbeat: now, since: None };
            return Self { first, session: None, sessions };
        };
        let (first, session) = (first.clone(), Some(name.clone()));
        let sessions = if sessions.len() > 1 { sessions } else { BTreeMap::new() };
        Self { first, session, sessions }
    }
}

/// Notes what a hook of `session` said, in the project that its agent is in and in the one whose task it has, if that is another. Whatever goes
/// wrong, nothing is said about it.
pub(super) fn note(cwd: Option<&Path>, at_work: Option<&Path>, session: &SessionName, event: &str, report: &Report, now: Timestamp) {
    let mut noted = Vec::new();
    for queue in [cwd.and_then(queue_above), at_work.and_then(open_queue)].into_iter().flatten() {
        let identity = identity(&queue);
        if !noted.contains(&identity) {
            note_in(&queue, session, event, report, now);
        }
        noted.push(identity);
    }
}

fn note_in(queue: &OwnedFd, session: &SessionName, event: &str, report: &Report, now: Timestamp) {
    let Some(mut draft) = take_turn(queue.as_fd()) else { return };
    let before = read_at(queue.as_fd(), FILE, LIMIT);
    if before.is_none() && rustix::fs::statat(queue, FILE, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|found| !is_file(found.st_mode)) {
        // Somebody put something else there.
        return;
    }
    let mut sessions = before.and_then(|bytes| parse(&bytes)).map(AgentStatus::into_sessions).unwrap_or_default();
    sessions.retain(|_, status| now.duration_since(status.heartbeat).unsigned_abs() < FORGOTTEN);
    let task = || report.prompt.as_deref().and_then(|prompt| task_of(queue.as_fd(), prompt));
    update(&mut sessions, session, event, report.source.as_deref(), report.notification.as_deref(), task, now);
    while sessions.len() > SESSIONS {
        let oldest = sessions.iter().filter(|(name, _)| *name != session).min_by_key(|(_, status)| status.heartbeat);
        let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { break };
        sessions.remove(&oldest);
    }
    let Ok(mut text) = serde_json::to_vec_pretty(&AgentStatus::of(sessions, now)) else { return };
    text.push(b'\n');
    if draft.set_len(0).and_then(|()| draft.write_all(&text)).is_ok() {
        // No sync: after a crash of the machine no agent runs, and a torn file says nothing.
        let _ = rustix::fs::renameat(queue, DRAFT, queue, FILE);
    }
}

/// What an event means for a session.
fn update(
    sessions: &mut BTreeMap<SessionName, SessionStatus>,
    session: &SessionName,
    event: &str,
    source: Option<&str>,
    notification: Option<&str>,
    task: impl FnOnce() -> Option<TaskName>,
    now: Timestamp,
) {
    let before = sessions.get(session);
    let state = match (event, source, notification) {
        ("SessionEnd", ..) => {
            sessions.remove(session);
            return;
        }
        ("UserPromptSubmit", ..) => Some(AgentState::Working),
        // A turn that was interrupted goes on by itself, and a conversation is compacted in the middle of one.
        ("SessionStart", Some("resume" | "compact"), _) if before.is_some() => None,
        ("SessionStart" | "Stop" | "StopFailure", ..) | ("Notification", _, Some("idle_prompt")) => Some(AgentState::Idle),
        _ => None,
    };
    let Some(state) = state.or(before.map(|before| before.state)) else { return };
    let same = before.filter(|before| before.state == state);
    let kept = same.and_then(|before| before.task.clone());
    let task = match state {
        AgentState::Idle => None,
        AgentState::Working => task().or(kept),
    };
    let since = same.map_or(Some(now), |before| before.since);
    sessions.insert(session.clone(), SessionStatus { state, task, heartbeat: now, since });
}

/// What the status files of the projects that `places` are in say of sessions, each read once; those that come first count when there are too many.
pub fn read_all(places: &[PathBuf]) -> Vec<(SessionName, Word)> {
    let mut read = BTreeSet::new();
    let mut said = Vec::new();
    for queue in places.iter().filter_map(|place| queue_above(place)) {
        if read.len() == FILES {
            break;
        }
        if identity(&queue).is_some_and(|queue| read.insert(queue)) {
            let status = read_at(queue.as_fd(), FILE, LIMIT).and_then(|bytes| parse(&bytes));
            let sessions = status.map(AgentStatus::into_sessions).unwrap_or_default();
            said.extend(sessions.into_iter().map(|(name, status)| (name, word_of(status))));
        }
    }
    said
}

fn word_of(status: SessionStatus) -> Word {
    let (activity, state) = match status.state {
        AgentState::Idle => (Activity::Idle, "idle"),
        AgentState::Working => (Activity::Working, "working"),
    };
    let says = status.task.map_or_else(|| state.to_owned(), |task| format!("{state} on {task}"));
    Word { activity, says, at: status.heartbeat, since: status.since.unwrap_or(status.heartbeat) }
}

fn parse(bytes: &[u8]) -> Option<AgentStatus> {
    serde_json::from_slice(bytes).ok()
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn open_directory(path: &Path) -> Option<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::PATH | DIRECTORY, Mode::empty()).ok()
}

/// The queue's directory of a project, if it is one of ours.
fn open_queue(project: &Path) -> Option<OwnedFd> {
    queue_in(&open_directory(project)?)
}

fn queue_in(project: &OwnedFd) -> Option<OwnedFd> {
    let queue = rustix::fs::openat(project, QUEUE, OFlags::NOFOLLOW | DIRECTORY, Mode::empty()).ok()?;
    is_ours(&rustix::fs::fstat(&queue).ok()?).then_some(queue)
}

/// The nearest queue at or above a directory. What stands there in place of one ends the search: it is somebody's project all the same.
fn queue_above(directory: &Path) -> Option<OwnedFd> {
    let mut directory = open_directory(directory)?;
    let first = rustix::fs::fstat(&directory).ok()?;
    for _ in 0..LEVELS {
        if rustix::fs::statat(&directory, QUEUE, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return queue_in(&directory);
        }
        let parent = rustix::fs::openat(&directory, "..", OFlags::PATH | DIRECTORY, Mode::empty()).ok()?;
        let found = rustix::fs::fstat(&parent).ok()?;
        if found.st_dev != first.st_dev || !is_ours(&found) {
            return None;
        }
        directory = parent;
    }
    None
}

fn identity(queue: &OwnedFd) -> Option<(u64, u64)> {
    rustix::fs::fstat(queue).map(|found| (found.st_dev, found.st_ino)).ok()
}

fn is_ours(found: &rustix::fs::Stat) -> bool {
    found.st_uid == rustix::process::geteuid().as_raw()
}

/// A file below `directory`, if it is a regular one of at most `limit` bytes.
fn read_at(directory: BorrowedFd<'_>, name: &str, limit: u64) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(directory, name, flags, Mode::empty()).ok()?);
    let metadata = file.metadata().ok().filter(|metadata| metadata.is_file() && metadata.len() <= limit)?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1);
    file.take(limit + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

/// The draft, locked, once nobody else writes. It becomes the file, so whoever waited for it must look whether it still has its name.
fn take_turn(queue: BorrowedFd<'_>) -> Option<File> {
    let until = Instant::now() + TURN;
    loop {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let draft = File::from(rustix::fs::openat(queue, DRAFT, flags, Mode::from_raw_mode(0o644)).ok()?);
        match draft.try_lock() {
            Ok(()) => {
                let opened = draft.metadata().ok().filter(std::fs::Metadata::is_file)?;
                let named = rustix::fs::statat(queue, DRAFT, AtFlags::SYMLINK_NOFOLLOW);
                if opened.nlink() == 1 && named.is_ok_and(|named| named.st_ino == opened.ino()) {
                    return Some(draft);
                }
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(_)) => return None,
        }
        if Instant::now() >= until {
            return None;
        }
        thread::sleep(PAUSE);
    }
}

/// The task whose marker carries the claim that stands in a prompt.
fn task_of(queue: BorrowedFd<'_>, prompt: &str) -> Option<TaskName> {
    let claim = ClaimId::all_in(prompt).pop()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inbox = rustix::fs::openat(queue, "inbox", flags, Mode::empty()).ok()?;
    let names = Dir::read_from(&inbox).ok()?.take(ENTRIES).flatten();
    let names = names.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
    let mut tasks = names.filter_map(|name| Some((name.strip_suffix(".dispatched").and_then(|task| TaskName::new(task).ok())?, name)));
    let is_it = |marker: &str| {
        let marker = read_at(inbox.as_fd(), marker, MARKER).and_then(|bytes| serde_json::from_slice::<Marker>(&bytes).ok());
        marker.is_some_and(|marker| marker.claim == claim)
    };
    tasks.find(|(_, marker)| is_it(marker)).map(|(task, _)| task)
}

fn is_file(mode: u32) -> bool {
    rustix::fs::FileType::from_raw_mode(mode).is_file()
}

#[cfg(test)]
#[path = "status_file_tests.rs"]
mod tests;
