//! The journal of a swap and what it folds to.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    model::{AccountName, ConversationId, Percent, SessionName, SwapId, WindowKind},
    observed::TranscriptMark,
};

/// Why a swap begins. Only these causes may begin one; a tool error, a 529 or a per-minute 429 never does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SwapCause {
    /// A window is at or over its threshold.
    Threshold {
        /// Which window.
        window: WindowKind,
        /// Its reading.
        used: Percent,
        /// The account's threshold.
        threshold: Percent,
    },
    /// A window is full: the agent reported that its limit was hit, or a fresh reading says 100 % or more.
    LimitHit {
        /// Which window.
        window: WindowKind,
    },
    /// The login of the active account no longer works.
    LoginDead {
        /// In the CLI's words.
        reason: String,
    },
    /// A more preferred account has room again.
    Failback,
    /// An operator asked for it.
    Operator {
        /// Who.
        actor: String,
    },
}

impl SwapCause {
    /// Whether the sessions cannot work on any more, so that waiting for their turn to end has a shorter limit.
    pub const fn is_hard(&self) -> bool {
        matches!(self, Self::LimitHit { .. } | Self::LoginDead { .. })
    }
}

/// What is fixed when a swap is opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwapPlan {
    /// The fence: every step carries it.
    pub id: SwapId,
    /// The account that the pool is on.
    pub from: AccountName,
    /// The account that it goes to.
    pub to: AccountName,
    /// Why.
    pub cause: SwapCause,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When busy sessions are interrupted.
    pub drain_until: Timestamp,
    /// How many sessions move first and alone.
    pub canary: usize,
    /// How many move at the same time after that.
    pub batch: usize,
    /// How long a session may take to be proven.
    pub prove_within: Duration,
    /// Whether there is an active link to flip.
    pub has_active_link: bool,
    /// The sessions, with what each is bound to.
    pub sessions: BTreeMap<SessionName, Bound>,
}

/// What a session must still be bound to after the move.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bound {
    /// The conversation.
    pub conversation: ConversationId,
    /// The start directory.
    pub workdir: PathBuf,
}

/// One step, each one idempotent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Nothing new is begun in the pool until the swap is closed.
    Hold,
    /// End the agent of a session and take its transcript's mark.
    Stop(SessionName),
    /// Start the agent of a session under an account, with its conversation.
    Start(SessionName, AccountName),
    /// Point the active link at an account's home.
    Flip(AccountName),
    /// Verify the links of an account's home, and put right what is ours to put right.
    Ensure(AccountName),
    /// Record the target as the active account.
    Commit,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepResult {
    /// Done, or already so. A stop carries the transcript's mark, if there is a transcript.
    Done(Option<TranscriptMark>),
    /// Not done, or not known to be done: the whole error chain, and whether it may have taken place.
    Failed {
        /// The error with its sources on one line.
        error: String,
        /// Whether the step may have taken place all the same.
        in_doubt: bool,
    },
}

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SwapEvent {
    /// The swap was opened.
    Opened(SwapPlan),
    /// A step is about to be done.
    Began {
        /// Which.
        step: Step,
        /// When.
        at: Timestamp,
    },
    /// A step was done or failed.
    Ended {
        /// Which.
        step: Step,
        /// When.
        at: Timestamp,
        /// What came of it.
        result: StepResult,
    },
    /// A session was proven under an account.
    Proven {
        /// Which session.
        session: SessionName,
        /// Which account.
        account: AccountName,
        /// When.
        at: Timestamp,
    },
    /// A session could not be proven under an account.
    Unproven {
        /// Which session.
        session: SessionName,
        /// Which account.
        account: AccountName,
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
    },
    /// The swap goes back.
    TurnedBack {
        /// When.
        at: Timestamp,
        /// Why, with the whole error chain.
        why: String,
    },
    /// The swap ended.
    Closed {
        /// When.
        at: Timestamp,
        /// How.
        verdict: SwapVerdict,
        /// When latched: why going back failed too.
        rollback_error: Option<String>,
    },
}

/// How a swap ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SwapVerdict {
    /// The pool is on the target.
    Committed,
    /// The pool is back where it was.
    RolledBack,
    /// Nothing was changed.
    Abandoned,
    /// Neither; see the latch.
    Latched,
}

/// How far the shared part of a swap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Opened; the hold is not yet in force.
    Opened,
    /// The canary moves.
    Canary,
    /// The active link is being flipped.
    Flip,
    /// The links of the target are being verified behind the flip.
    Ensure,
    /// The rest moves.
    Rest,
    /// The target is being recorded.
    Commit,
    /// Going back: the active link is being flipped back.
    Unflip,
    /// Going back: the links of the previous home are being verified.
    Reensure,
    /// Going back: the sessions that moved return.
    Return,
    /// Ended.
    Closed,
}

/// Where a session is in the move.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// Its place.
    pub place: Place,
    /// Whether an agent of ours was ever stopped or started for it by this swap.
    pub touched: bool,
    /// How often it was started under the account that it is going to at present.
    pub starts: u32,
    /// The transcript when its agent was first stopped: these bytes must be kept.
    pub transcript: Option<TranscriptMark>,
    /// The last error.
    pub error: Option<String>,
}

/// The place of one session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// Its agent runs on the account that it had when this leg began, or had ended by itself.
    Waiting,
    /// Its agent is being stopped.
    Stopping,
    /// No agent runs.
    Stopped,
    /// An agent is being started under the account.
    Starting(AccountName),
    /// An agent was started under the account and is to be proven, since the time given.
    Proving(AccountName, Timestamp),
    /// Proven under the account.
    Proven(AccountName),
    /// Given up for this leg; the session alone is degraded.
    Lost,
}

/// A swap as its journal tells it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwapRecord {
    /// What was fixed at the start.
    pub plan: SwapPlan,
    /// How far the shared part is.
    pub stage: Stage,
    /// Each session.
    pub moves: BTreeMap<SessionName, Move>,
    /// Steps that began and have no end in the journal: after a crash only a look can tell.
    pub pending: Vec<Step>,
    /// Failures in a row of the shared step that the stage is at.
    pub failures: u32,
    /// The last error of the shared step.
    pub last_error: Option<String>,
    /// Why it goes back, once it does.
    pub turned_back: Option<String>,
    /// How it ended, once it has.
    pub verdict: Option<SwapVerdict>,
    /// When latched: why going back failed too.
    pub rollback_error: Option<String>,
}
