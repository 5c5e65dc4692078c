//! What is seen of a project's queue: `<project>/.agent-queue/`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ClaimId, SessionName, TaskName};

/// One project's queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueView {
    /// Whether the project's directory exists.
    pub project_exists: bool,
    /// Whether all the directories of the queue exist.
    pub exists: bool,
    /// The files of the inbox that have come to rest and may be tasks, by name; of those with a marker, all.
    pub inbox: BTreeMap<TaskName, InboxView>,
    /// Tasks of the inbox that are there and cannot be offered: just being written, too large, a directory. They are not gone; ask
    /// [`Self::stands`].
    pub restless: BTreeSet<TaskName>,
    /// The markers beside them, by the task that they mark.
    pub markers: BTreeMap<TaskName, MarkerView>,
    /// The files in `done/`, with when they were put there, or changed since.
    pub done: BTreeMap<TaskName, Timestamp>,
    /// The tasks in `failed/`, with when they were put there, or changed since.
    pub failed: BTreeMap<TaskName, Timestamp>,
    /// Entries of the inbox that are not taken, by their names as messages show them, each with why; at most 100.
    pub ignored: BTreeMap<String, String>,
    /// Whether a file in the inbox has not come to rest yet: it is to be looked at again in a moment.
    pub unsettled: bool,
}

impl QueueView {
    /// Whether anything has the task's name in the inbox, settled or not: what stands there was neither finished nor removed.
    pub fn stands(&self, task: &TaskName) -> bool {
        self.inbox.contains_key(task) || self.restless.contains(task)
    }

    /// Whether a task is done, and not in the inbox again as another one.
    pub fn is_done(&self, task: &TaskName) -> bool {
        self.done.contains_key(task) && !self.stands(task)
    }
}

/// A task's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxView {
    /// Which file this is, and in which state it was read.
    pub identity: FileIdentity,
    /// What stands at its top, or why it cannot be read: one sentence that names the file and the line.
    pub header: Result<TaskHeader, String>,
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileIdentity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub length: u64,
    /// When its content was last changed, in nanoseconds since the epoch.
    pub modified: i64,
}

impl FileIdentity {
    /// When its content was last changed.
    pub fn modified_at(&self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.modified)).unwrap_or_default()
    }
}

/// The front matter of a task: YAML between two lines of `---`. All of it may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskHeader {
    /// Higher goes first; over the project's own.
    pub priority: Option<i32>,
    /// Only this session may do it.
    pub session: Option<SessionName>,
    /// Tasks of the same project that must be done before.
    pub after: Vec<TaskName>,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// How many attempts it gets.
    pub attempts: Option<u32>,
    /// The first line that says something, cut: what listings show.
    pub title: String,
}

/// A marker beside a task: `NAME.md.dispatched`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarkerView {
    /// It reads as a marker.
    Marker(Marker),
    /// It does not, with why and when it was last changed.
    Unreadable {
        /// Why not.
        why: String,
        /// When it was last changed.
        modified_at: Timestamp,
    },
}

/// What a marker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Marker {
    /// The session that the task was given to.
    pub session: SessionName,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// The attempt's name.
    pub claim: ClaimId,
    /// When it was claimed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub claimed_at: Timestamp,
    /// Until when nobody else may take it, also when its holder shows no sign of life.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub lease_until: Timestamp,
}

/// What an agent said of a prompt that it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptView {
    /// The claim whose tag stood in it.
    pub claim: ClaimId,
    /// When.
    pub at: Timestamp,
}
