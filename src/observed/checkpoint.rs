//! A checkpoint: what is needed to take a session up again elsewhere, and the form in which it is kept.

use std::{fmt, path::PathBuf};

use jiff::{Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::TranscriptMark;
use crate::model::{AccountName, Activity, ClaimId, ConversationId, PoolId, PoolName, SessionName, TaskId, sha256_hex};

/// What is needed to take a session up again elsewhere. What could not be learnt is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The pool that took it.
    pub pool: PoolName,
    /// The identity of the state directory that took it.
    pub pool_id: PoolId,
    /// Whose it is.
    pub session: SessionName,
    /// When it was taken.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub taken_at: Timestamp,
    /// Why it was taken.
    pub why: CheckpointCause,
    /// The conversation.
    pub conversation: ConversationId,
    /// Its transcript, and how far it had been written; absent while nothing was ever said in it.
    pub transcript: Option<TranscriptMark>,
    /// The directory that the conversation was begun in: it is found by it.
    pub workdir: PathBuf,
    /// The directory that the agent worked in last.
    pub directory: PathBuf,
    /// The state of the repository around that directory, if there is one.
    pub git: Option<GitState>,
    /// The task that it was at.
    pub task: Option<TaskAtHand>,
    /// The last prompt, cut.
    pub prompt: Option<String>,
    /// The last call of a tool.
    pub tool: Option<ToolAtHand>,
    /// The last words of the agent, cut.
    pub answer: Option<String>,
    /// Whether a person interrupted the last turn and has said nothing since.
    pub interrupted: bool,
    /// The account that it ran under.
    pub account: AccountName,
    /// Tokens in the conversation's context.
    pub context_tokens: Option<u64>,
    /// What the agent did.
    pub activity: Activity,
}

/// Why a checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CheckpointCause {
    /// Its time had come.
    Periodic,
    /// A turn had ended.
    TurnEnded,
    /// The session was about to be moved to another account.
    BeforeSwap,
    /// Somebody asked for it.
    ByHand,
}

impl CheckpointCause {
    /// As listings say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Periodic => "periodic",
            Self::TurnEnded => "turn ended",
            Self::BeforeSwap => "before a swap",
            Self::ByHand => "by hand",
        }
    }
}

impl fmt::Display for CheckpointCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The task that a session was at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskAtHand {
    /// Which.
    pub task: TaskId,
    /// Its file.
    pub file: Option<PathBuf>,
    /// The attempt's name.
    pub claim: ClaimId,
    /// Whether the agent's own word showed that it took the prompt.
    pub delivered: bool,
}

/// The last call of a tool, without its input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolAtHand {
    /// The tool.
    pub name: String,
    /// Whether its result stands in the transcript. If not, whether it took effect is not known.
    pub finished: bool,
}

/// A repository, as `git status` tells of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitState {
    /// The branch; absent when the head is detached.
    pub branch: Option<String>,
    /// The commit; absent before the first one.
    pub head: Option<String>,
    /// Files that differ from the commit, at most [`GitState::NAMED`] of them.
    pub dirty: Vec<String>,
    /// How many differ.
    pub dirty_count: usize,
    /// Whether there are more than could be counted.
    pub more: bool,
}

impl GitState {
    /// How many files are named.
    pub const NAMED: usize = 50;
}

/// The name of one checkpoint: when it was taken, and the beginning of its content's digest. Names sort by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct CheckpointId(#[schemars(regex(pattern = r"^\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{12}$"))] String);

/// A text that is no checkpoint's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a checkpoint; `checkpoint ls` shows them")]
pub struct CheckpointIdError(pub String);

const TIME: &str = "%Y%m%dT%H%M%S%.3f";

impl CheckpointId {
    const DIGITS: usize = 12;

    /// The name of a checkpoint with this content that was taken at `at`.
    pub fn new(at: Timestamp, digest: &str) -> Self {
        let time = at.to_zoned(TimeZone::UTC).strftime(TIME);
        Self(format!("{time}Z-{}", digest.get(..Self::DIGITS).unwrap_or(digest)))
    }

    /// Reads a name.
    ///
    /// # Errors
    /// [`CheckpointIdError`].
    pub fn parse(text: &str) -> Result<Self, CheckpointIdError> {
        let error = || CheckpointIdError(text.to_owned());
        let (time, digest) = text.split_once("Z-").ok_or_else(error)?;
        let is_digest = digest.len() == Self::DIGITS && digest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let at = jiff::civil::DateTime::strptime(TIME, time).ok().and_then(|time| time.to_zoned(TimeZone::UTC).ok()).ok_or_else(error)?;
        let id = Self::new(at.timestamp(), digest);
        if is_digest && id.0 == text { Ok(id) } else { Err(error()) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it was taken, to the millisecond.
    pub fn taken_at(&self) -> Timestamp {
        let time = self.0.split_once('Z').map_or("", |(time, _)| time);
        let at = jiff::civil::DateTime::strptime(TIME, time).ok().and_then(|time| time.to_zoned(TimeZone::UTC).ok());
        at.map(|at| at.timestamp()).unwrap_or_default()
    }
}

impl TryFrom<String> for CheckpointId {
    type Error = CheckpointIdError;
    fn try_from(text: String) -> Result<Self, CheckpointIdError> {
        Self::parse(&text)
    }
}

impl From<CheckpointId> for String {
    fn from(id: CheckpointId) -> Self {
        id.0
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The checkpoints of one session, as their names tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointsView {
    /// All of them, oldest first.
    pub taken: Vec<CheckpointId>,
    /// The newest good one, of a session that is asked about because nothing else is known of it.
    pub newest: Option<FoundCheckpoint>,
}

/// A checkpoint that was read, and what was passed over on the way to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundCheckpoint {
    /// Its name.
    pub id: CheckpointId,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// Whether its conversation has a transcript now.
    pub resumable: bool,
    /// Newer ones that were refused, each with why.
    pub refused: Vec<String>,
}

/// What became of a checkpoint that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedCheckpoint {
    /// What was gathered, or what it was to be gathered for.
    pub checkpoint: Checkpoint,
    /// How it ended.
    pub how: CheckpointEnd,
    /// Earlier ones that were refused on the way, each with why.
    pub refused: Vec<String>,
}

/// How the taking of a checkpoint ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointEnd {
    /// It is on disk under this name.
    Written(CheckpointId),
    /// The newest one on disk says the same; nothing was written.
    Unchanged(CheckpointId),
    /// Nothing was ever said in the conversation, and nobody asked for this one: nothing was written.
    Nothing,
    /// It could not be kept: the whole error chain on one line.
    Failed(String),
}

/// Why a file is no checkpoint that may be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    /// It is torn, or was never one.
    #[error("it is torn or not a checkpoint: {0}")]
    Torn(String),
    /// Its bytes were changed.
    #[error("its content does not have the checksum that stands in it")]
    Changed,
    /// A newer version of this program wrote it.
    #[error("it has version {0}, which only a newer version of this program reads")]
    Newer(u64),
    /// Another pool took it.
    #[error("it belongs to pool {0}")]
    OtherPool(PoolName),
    /// It is about another session than the one in whose place it stands.
    #[error("it is about session {0}")]
    OtherSession(SessionName),
}

impl Checkpoint {
    /// The version of the form on disk.
    pub const VERSION: u64 = 1;

    /// SHA-256 over everything but when and why it was taken: two checkpoints with one digest say the same.
    pub fn digest(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.shift_remove("takenAt");
            fields.shift_remove("why");
        }
        sha256_hex(value.to_string().as_bytes())
    }

    /// The file: version, checksum, content.
    pub fn encode(&self) -> Vec<u8> {
        let content = serde_json::to_value(self).unwrap_or_default();
        let file = json!({ "version": Self::VERSION, "sha256": sha256_hex(content.to_string().as_bytes()), "checkpoint": content });
        format!("{file:#}\n").into_bytes()
    }

    /// Reads a file that stands in the place of `session`'s checkpoints in the state of `pool`.
    ///
    /// # Errors
    /// [`BadCheckpoint`]: nothing of such a file may be used.
    pub fn decode(bytes: &[u8], pool: &PoolName, session: &SessionName) -> Result<Self, BadCheckpoint> {
        let torn = |what: &str| BadCheckpoint::Torn(what.to_owned());
        let mut file: Value = serde_json::from_slice(bytes).map_err(|error| torn(json_fault(&error)))?;
        match file["version"].as_u64() {
            Some(Self::VERSION) => {}
            Some(version) if version > Self::VERSION => return Err(BadCheckpoint::Newer(version)),
            _ => return Err(torn("it has no version")),
        }
        let content = file["checkpoint"].take();
        if file["sha256"].as_str() != Some(sha256_hex(content.to_string().as_bytes()).as_str()) {
            return Err(BadCheckpoint::Changed);
        }
        let checkpoint: Self = serde_json::from_value(content).map_err(|error| torn(json_fault(&error)))?;
        if checkpoint.pool != *pool {
            return Err(BadCheckpoint::OtherPool(checkpoint.pool));
        }
        if checkpoint.session != *session {
            return Err(BadCheckpoint::OtherSession(checkpoint.session));
        }
        Ok(checkpoint)
    }
}

/// What is wrong with a text, without quoting any of it.
fn json_fault(error: &serde_json::Error) -> &'static str {
    use serde_json::error::Category;
    match error.classify() {
        Category::Io => "it could not be read",
        Category::Syntax => "it is not JSON",
        Category::Data => "a field is missing or of another type",
        Category::Eof => "it ends in the middle",
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
