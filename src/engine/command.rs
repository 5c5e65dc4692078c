//! What an operator or a program may ask of the engine, and what it answers.

use std::{collections::BTreeSet, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    model::{AccountName, ConversationId, ObjectRef, ProjectName, SessionName, SpecDigest, TaskId},
    observed::CheckpointId,
    plan::Planned,
    status::{Status, TaskDetail},
};

/// A command with what makes it safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Chosen by the sender; the same id again gets the first answer and does nothing.
    pub id: String,
    /// Who asks, for the record.
    pub actor: String,
    /// What is asked.
    pub command: Command,
}

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Command {
    /// The published status.
    Status,
    /// What would be done now.
    Plan,
    /// The tasks of all projects.
    Tasks {
        /// Also those that are done.
        all: bool,
    },
    /// Offer a failed task again, with all its attempts.
    RetryTask {
        /// Which.
        task: TaskId,
    },
    /// Take a task out of the queue. The session that has it is not interrupted.
    CancelTask {
        /// Which.
        task: TaskId,
        /// Why.
        reason: String,
    },
    /// Move a task that nobody has to another project.
    MoveTask {
        /// Which.
        task: TaskId,
        /// Where to.
        to: ProjectName,
    },
    /// Read the spec again, look at everything, act, and say what was done. Refused when the spec's digest is another one.
    Apply {
        /// The digest that the sender has shown to its user, if it did.
        expect: Option<SpecDigest>,
        /// Undeclared sessions that may be stopped, however many they are: the sender has shown them to its user.
        #[serde(default)]
        confirm_prune: BTreeSet<SessionName>,
    },
    /// Look at everything now.
    Reconcile,
    /// Carry the pool to another account.
    Swap {
        /// Where to; the best target when absent.
        to: Option<AccountName>,
        /// Only say what would happen.
        dry_run: bool,
    },
    /// Take over an existing tmux session of a declared name.
    Adopt {
        /// Which.
        session: SessionName,
    },
    /// Take over a shared root that holds something and carries no marker.
    AdoptSharedRoot {
        /// Only show what is seen.
        look_only: bool,
    },
    /// Say which account the pool is on, when nothing remembers it and it cannot be told.
    AdoptAccount {
        /// Which.
        account: AccountName,
        /// Only show what is seen.
        look_only: bool,
    },
    /// Change nothing until resumed.
    Suspend {
        /// Why.
        reason: String,
        /// When it ends by itself.
        until: Option<Timestamp>,
    },
    /// End the suspension.
    Resume,
    /// Take an account or a session out of use.
    Cordon {
        /// Which.
        object: ObjectRef,
        /// Why.
        reason: String,
    },
    /// Bring it back into use.
    Uncordon {
        /// Which.
        object: ObjectRef,
    },
    /// Take checkpoints now.
    TakeCheckpoints {
        /// Of which sessions; all declared ones when empty.
        sessions: Vec<SessionName>,
    },
    /// Bind a session to the conversation of a checkpoint.
    Restore {
        /// The session.
        session: SessionName,
        /// The checkpoint.
        from: CheckpointId,
        /// Its conversation.
        conversation: ConversationId,
        /// The directory that the conversation was begun in.
        workdir: PathBuf,
    },
    /// Look again, show what is seen, and clear a latch or a quarantine.
    Clear {
        /// Which object's.
        object: ObjectRef,
        /// Only show what is seen.
        look_only: bool,
    },
}

impl Command {
    /// Whether the last look answers it: nothing is to be looked at for its sake.
    pub const fn is_answered_by_what_was_seen(&self) -> bool {
        matches!(self, Self::Status | Self::Plan | Self::Tasks { .. })
    }

    /// Whether it changes nothing, so that it needs no record of having been handled.
    pub const fn is_read(&self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::Plan
                | Self::Tasks { .. }
                | Self::Swap { dry_run: true, .. }
                | Self::Clear { look_only: true, .. }
                | Self::AdoptSharedRoot { look_only: true }
                | Self::AdoptAccount { look_only: true, .. }
        )
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Answer {
    /// The status.
    Status(Box<Status>),
    /// The plan.
    Planned(Box<Planned>),
    /// The tasks, each with all its attempts.
    Tasks {
        /// In the order in which they would be worked on.
        tasks: Vec<TaskDetail>,
        /// Why the memory cannot be used, while it cannot.
        blind: Option<String>,
    },
    /// It was done, or there was nothing to do.
    Done {
        /// One line for each thing that was done or found.
        lines: Vec<String>,
        /// Whether anything was changed.
        changed: bool,
        /// Whether something is degraded or latched all the same.
        degraded: bool,
    },
    /// It was not done.
    Refused {
        /// Why, and what to do.
        message: String,
    },
}
