//! Everything that can be done to the host, as values. The host carries them out and decides nothing.
//!
//! Every effect is idempotent by observation: done twice, the second one answers [`Outcome::Unchanged`]. Every effect checks its own
//! precondition at the moment of acting (what it expects stands in its fields) and fails with [`Happened::No`] when the world has moved on.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    model::{
        AccountName, ClaimId, ConversationId, Month, PaneId, Pid, PoolId, ProcessId, SessionName, TaskName, TmuxSessionId, error_chain,
    },
    observed::{CheckpointId, FileIdentity, Mark, Marker},
    spec::PermissionMode,
};

/// One effect on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Effect {
    /// Start the tmux server on its socket, outside our cgroup, with a scrubbed environment and our anchor session.
    StartServer,
    /// Make the shared root, if it is absent or empty, and put the pool's marker into it.
    InitSharedRoot {
        /// The directory.
        root: PathBuf,
        /// Whose marker.
        pool: PoolId,
    },
    /// Put the pool's marker into a shared root that holds something and carries no marker, at an operator's word.
    AdoptSharedRoot {
        /// The directory.
        root: PathBuf,
        /// Whose marker.
        pool: PoolId,
    },
    /// Make what a link will point at, below the shared root. What exists is left alone.
    CreateTarget {
        /// The shared root; its marker must name the pool.
        root: PathBuf,
        /// The target, directly below the root.
        target: PathBuf,
        /// Directory or file.
        kind: TargetKind,
    },
    /// Make a symlink where nothing stands (`renameat2` with `RENAME_NOREPLACE`).
    CreateLink {
        /// The link.
        path: PathBuf,
        /// Its literal, absolute target.
        target: PathBuf,
    },
    /// Point an existing symlink elsewhere (`renameat2` with `RENAME_EXCHANGE`, then look at what came out).
    RepointLink {
        /// The link.
        path: PathBuf,
        /// The literal target that it must have now.
        expect: PathBuf,
        /// Its new literal, absolute target.
        target: PathBuf,
    },
    /// Move the entries of a real directory into the link's target, lose nothing, then replace it by the link.
    MergeDirectory {
        /// The directory, where the link shall be.
        path: PathBuf,
        /// The link's target.
        target: PathBuf,
        /// Where the losing side of a name that exists twice is kept.
        quarantine: PathBuf,
    },
    /// Set the onboarding and trust keys of a home. Only while no process of that home runs.
    PrepareHome {
        /// Whose home.
        account: AccountName,
        /// The directory.
        home: PathBuf,
        /// Directories to trust.
        trust: Vec<PathBuf>,
        /// Also accept the bypass-permissions disclaimer.
        accept_bypass: bool,
    },
    /// Make a tmux session with our mark and start an agent in it.
    CreateSession {
        /// What to start.
        launch: Launch,
        /// The mark.
        mark: Mark,
    },
    /// Start an agent in a pane of ours whose process has ended.
    RespawnAgent {
        /// The tmux session, for its environment.
        session_id: TmuxSessionId,
        /// The pane.
        pane: PaneId,
        /// The process that must be the pane's last one, and must be gone.
        expect_pid: Option<Pid>,
        /// What to start.
        launch: Launch,
        /// The mark; written again only when it changed.
        mark: Mark,
    },
    /// End an agent: SIGTERM through a pidfd, wait, SIGKILL after the grace, wait. Unchanged when it is already gone.
    StopAgent {
        /// Whose agent.
        session: SessionName,
        /// The process.
        process: ProcessId,
        /// How long it may take before it is killed.
        grace: Duration,
    },
    /// Put our mark on an existing tmux session.
    AdoptSession {
        /// The tmux session.
        session_id: TmuxSessionId,
        /// Its pane, whose `remain-on-exit` is set.
        pane: PaneId,
        /// The mark.
        mark: Mark,
    },
    /// Take our mark off a tmux session and leave it running.
    ReleaseSession {
        /// The tmux session.
        session_id: TmuxSessionId,
        /// The mark that it must carry.
        mark: Mark,
    },
    /// Close a tmux session of ours whose agent has ended.
    CloseSession {
        /// The tmux session.
        session_id: TmuxSessionId,
        /// The mark that it must carry.
        mark: Mark,
    },
    /// Remove checkpoints of a session. Unchanged when none of them is there.
    RemoveCheckpoints {
        /// Whose.
        session: SessionName,
        /// Which.
        checkpoints: Vec<CheckpointId>,
    },
    /// Bind a session to the conversation of a checkpoint. The host only verifies that the conversation has a transcript and that no process
    /// has it open; the engine then writes the store.
    RestoreSession {
        /// The session.
        session: SessionName,
        /// The checkpoint.
        from: CheckpointId,
        /// The conversation.
        conversation: ConversationId,
        /// The directory that it was begun in.
        workdir: PathBuf,
    },
    /// Record the account that the pool works under. The host only verifies `needs`; the engine then writes the store.
    RecordActive {
        /// The account.
        account: AccountName,
        /// Its links, all of which must be right at that moment.
        needs: Vec<LinkNeed>,
    },
    /// Change the queue of a project.
    Queue {
        /// The project's directory.
        project: PathBuf,
        /// What is done to it.
        change: QueueChange,
    },
    /// Type a prompt into an idle agent's pane and submit it, in one step of the tmux server.
    TypePrompt {
        /// Whose agent.
        session: SessionName,
        /// Its pane.
        pane: PaneId,
        /// The process that must be alive, idle by its own register, and without a draft in its box.
        process: ProcessId,
        /// The home whose register tells.
        home: PathBuf,
        /// The text, which carries the claim's tag.
        text: String,
        /// The claim: a box that holds its tag already is submitted and not typed into again.
        claim: ClaimId,
    },
}

/// One change of a project's queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum QueueChange {
    /// Make its directories that are absent. The project's directory must exist.
    Create,
    /// Make the marker beside a task, where none stands (`O_EXCL`). Unchanged when the same claim stands there.
    Claim {
        /// The task.
        task: TaskName,
        /// The state in which its file was read; another one is another task.
        expect: FileIdentity,
        /// What the marker says.
        marker: Marker,
    },
    /// Write a later lease into a marker of ours.
    Renew {
        /// The task.
        task: TaskName,
        /// What the marker says from now on; it must carry the same claim already.
        marker: Marker,
    },
    /// Take the marker of a claim away: the task is offered again, or is finished. Unchanged when it is gone.
    Release {
        /// The task.
        task: TaskName,
        /// The claim that the marker must carry; `None` for one that cannot be read.
        claim: Option<ClaimId>,
    },
    /// Move a task from the inbox to `done/`, then take its marker away. A file of that name in `done/` is kept under another one.
    Finish {
        /// The task.
        task: TaskName,
        /// The claim that the marker must carry.
        claim: ClaimId,
    },
    /// Move a task from the inbox to `failed/` with the reason beside it, then take its marker away.
    Fail {
        /// The task.
        task: TaskName,
        /// The claim that its marker must carry; `None` for a task without one.
        claim: Option<ClaimId>,
        /// Why, for people.
        reason: String,
    },
    /// Move a task from `failed/` back to the inbox, and its reason away.
    Retry {
        /// The task.
        task: TaskName,
    },
    /// Move a task to the inbox of another project.
    Move {
        /// The task, which must have no marker.
        task: TaskName,
        /// The other project's directory.
        to: PathBuf,
    },
    /// Put tasks of `done/` into the archive of their month, and take away those that are in it unchanged. Tasks that are gone are passed over.
    Archive {
        /// The month whose archive it is.
        month: Month,
        /// The tasks.
        tasks: Vec<TaskName>,
    },
}

impl QueueChange {
    /// The change, of the queue of the project in that directory.
    pub fn at(self, project: &Path) -> Effect {
        Effect::Queue { project: project.to_owned(), change: self }
    }
}

/// Whether a link's target is a directory or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TargetKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
}

/// A link that must be right at the moment of acting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkNeed {
    /// The link.
    pub path: PathBuf,
    /// Its literal target.
    pub target: PathBuf,
    /// What the target must be.
    pub kind: TargetKind,
}

/// All that is needed to start one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    /// Which session.
    pub session: SessionName,
    /// Under which account.
    pub account: AccountName,
    /// The account's real home, never a path through the active link.
    pub home: PathBuf,
    /// The start directory.
    pub workdir: PathBuf,
    /// Program and first arguments of the operator.
    pub command: Vec<String>,
    /// Always passed.
    pub permission_mode: PermissionMode,
    /// The operator's extra variables.
    pub environment: BTreeMap<String, String>,
    /// The conversation.
    pub conversation: ConversationId,
    /// Whether it begins or goes on.
    pub mode: LaunchMode,
    /// Columns and lines of a new tmux session.
    pub size: (u16, u16),
    /// The account's links, checked right before the start; one that is wrong means that nothing is started.
    pub needs: Vec<LinkNeed>,
}

/// Whether a conversation begins or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LaunchMode {
    /// It has no transcript yet: `--session-id`.
    Fresh,
    /// It has one: `--resume`.
    Resume,
}

/// What became of an effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The world was already so.
    Unchanged,
    /// Done, and seen to be done.
    Changed,
    /// Not done, or not known to be done.
    Failed(Failure),
}

impl Outcome {
    /// The failure, if it is one.
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

/// A failed effect, as data that a planner can react to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Whether the effect took place all the same.
    pub happened: Happened,
    /// The error with all its sources, outermost first.
    pub chain: Vec<String>,
}

impl Failure {
    /// Keeps the whole chain of `error`.
    pub fn from_error(happened: Happened, error: &dyn std::error::Error) -> Self {
        Self { happened, chain: error_chain(error) }
    }

    /// The chain on one line.
    pub fn message(&self) -> String {
        self.chain.join(": ")
    }
}

/// Whether a failed effect took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Happened {
    /// It did not.
    No,
    /// It did.
    Yes,
    /// Only a look can tell.
    CannotTell,
}
