//! The journal of a swap and what it folds to.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
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

impl fmt::Display for SwapCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threshold { window, used, threshold } => write!(f, "{window} is at {used}, its threshold is {threshold}"),
            Self::LimitHit { window } => write!(f, "the limit of {window} was hit"),
            Self::LoginDead { reason } => write!(f, "its login no longer works: {reason}"),
            Self::Failback => f.write_str("a more preferred account has room again"),
            Self::Operator { actor } => write!(f, "{actor} asked for it"),
        }
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

impl Step {
    /// The session that the step is about; `None` for a step of the whole pool.
    pub const fn session(&self) -> Option<&SessionName> {
        match self {
            Self::Stop(session) | Self::Start(session, _) => Some(session),
            Self::Hold | Self::Flip(_) | Self::Ensure(_) | Self::Commit => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold => f.write_str("hold the pool"),
            Self::Stop(session) => write!(f, "stop {session}"),
            Self::Start(session, account) => write!(f, "start {session} on {account}"),
            Self::Flip(account) => write!(f, "flip the active link to {account}"),
            Self::Ensure(account) => write!(f, "ensure the links of {account}"),
            Self::Commit => f.write_str("record the active account"),
        }
    }
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
        /// Whether the step may have taken place all the same. Such a step stays pending: a look tells what became of it.
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
    /// A session could not be proven under an account: it is stopped and started once more.
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
    /// A session is given up for this leg and left as it is; it alone is degraded.
    GivenUp {
        /// Which session.
        session: SessionName,
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

impl SwapEvent {
    /// When it was written.
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Opened(plan) => plan.opened_at,
            Self::Began { at, .. }
            | Self::Ended { at, .. }
            | Self::Proven { at, .. }
            | Self::Unproven { at, .. }
            | Self::GivenUp { at, .. }
            | Self::TurnedBack { at, .. }
            | Self::Closed { at, .. } => *at,
        }
    }
}

impl fmt::Display for SwapEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(plan) => write!(f, "opened from {} to {}", plan.from, plan.to),
            Self::Began { step, .. } => write!(f, "began to {step}"),
            Self::Ended { step, result: StepResult::Done(_), .. } => write!(f, "done: {step}"),
            Self::Ended { step, result: StepResult::Failed { error, in_doubt: false }, .. } => write!(f, "failed to {step}: {error}"),
            Self::Ended { step, result: StepResult::Failed { error, in_doubt: true }, .. } => {
                write!(f, "cannot tell whether it was done: {step}: {error}")
            }
            Self::Proven { session, account, .. } => write!(f, "proven: {session} on {account}"),
            Self::Unproven { session, account, why, .. } => write!(f, "not proven: {session} on {account}: {why}"),
            Self::GivenUp { session, why, .. } => write!(f, "gave up {session}: {why}"),
            Self::TurnedBack { why, .. } => write!(f, "turned back: {why}"),
            Self::Closed { verdict, rollback_error: None, .. } => write!(f, "closed: {verdict:?}"),
            Self::Closed { verdict, rollback_error: Some(error), .. } => write!(f, "closed: {verdict:?}: {error}"),
        }
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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
    /// The target is being recorded: from here on only forward.
    Commit,
    /// The target is recorded; only the closing entry is missing.
    Committed,
    /// Going back: the active link is being flipped back.
    Unflip,
    /// Going back: the links of the previous home are being verified.
    Reensure,
    /// Going back: the sessions that moved return.
    Return,
    /// Ended.
    Closed,
}

/// Where a session is in the move. A leg is one direction: out to the target, or back again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// Its place.
    pub place: Place,
    /// When it came there.
    pub since: Timestamp,
    /// Whether this swap answers for where it runs: its agent was stopped, started or proven by it.
    pub touched: bool,
    /// What failed for it in this leg: stops, starts and proofs.
    pub failures: u32,
    /// The transcript when its agent was first stopped: these bytes must be kept.
    pub transcript: Option<TranscriptMark>,
    /// The last error.
    pub error: Option<String>,
}

/// The place of one session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// Its agent runs where it ran when this leg began, or had ended by itself.
    Waiting,
    /// Its agent is being stopped.
    Stopping,
    /// No agent runs.
    Stopped,
    /// An agent is being started under the account.
    Starting(AccountName),
    /// An agent was started under the account and is to be proven.
    Proving(AccountName),
    /// Proven under the account.
    Proven(AccountName),
    /// A step or a proof failed, or the swap turned back half-way: a look decides whether to stop or to start.
    Unsettled,
    /// Given up for this leg; the session alone is degraded.
    Lost,
}

impl Place {
    /// Whether the session is on the move, and so counts for the batch.
    pub const fn is_in_flight(&self) -> bool {
        matches!(self, Self::Stopping | Self::Stopped | Self::Starting(_) | Self::Proving(_) | Self::Unsettled)
    }
}

/// A step that began and whose outcome is not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// The step.
    pub step: Step,
    /// When it began, or when it ended in doubt.
    pub since: Timestamp,
    /// The error, when it ended in doubt; `None` when the journal has no end for it, because the process was gone.
    pub doubt: Option<String>,
}

/// A swap as its journal tells it. It changes only through [`SwapRecord::apply`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwapRecord {
    /// What was fixed at the start.
    pub plan: SwapPlan,
    /// How far the shared part is.
    pub stage: Stage,
    /// When the stage began, or when its shared step last failed.
    pub since: Timestamp,
    /// Whether a session or the active link was touched: if not, going back is nothing to do.
    pub touched: bool,
    /// Each session.
    pub moves: BTreeMap<SessionName, Move>,
    /// Steps that began and are not known to have ended, in the order of the steps: only a look can tell.
    pub pending: Vec<Pending>,
    /// Failures in a row of the shared step that the stage is at.
    pub failures: u32,
    /// The last error of that step, if it is known to have failed.
    pub last_error: Option<String>,
    /// Why it goes back, once it does.
    pub turned_back: Option<String>,
    /// How it ended, once it has.
    pub verdict: Option<SwapVerdict>,
    /// When latched: why going back failed too.
    pub rollback_error: Option<String>,
}

impl SwapRecord {
    /// The account that this leg goes to: the target, or the previous account once the swap has turned back.
    pub const fn goal(&self) -> &AccountName {
        if self.turned_back.is_some() { &self.plan.from } else { &self.plan.to }
    }

    /// Whether the swap may still be undone: not once the target is being recorded, nor on the way back.
    pub const fn may_turn_back(&self) -> bool {
        matches!(self.stage, Stage::Opened | Stage::Canary | Stage::Flip | Stage::Ensure | Stage::Rest)
    }

    /// How many sessions are on the move.
    pub fn in_flight(&self) -> usize {
        self.moves.values().filter(|movement| movement.place.is_in_flight()).count()
    }

    /// How many sessions are proven under the account that this leg goes to.
    pub fn proven(&self) -> usize {
        self.proven_sessions().count()
    }

    /// The sessions that are proven under the account that this leg goes to.
    pub fn proven_sessions(&self) -> impl Iterator<Item = &SessionName> {
        let is_proven = |movement: &Move| matches!(&movement.place, Place::Proven(account) if account == self.goal());
        self.moves.iter().filter(move |(_, movement)| is_proven(movement)).map(|(name, _)| name)
    }

    /// The sessions that were given up in this leg.
    pub fn lost(&self) -> impl Iterator<Item = &SessionName> {
        self.moves.iter().filter(|(_, movement)| movement.place == Place::Lost).map(|(name, _)| name)
    }

    /// How many sessions must be proven first and alone: never more than there are left.
    pub fn canaries(&self) -> usize {
        self.plan.canary.min(self.moves.len() - self.lost().count())
    }

    /// Whether nothing is left to do for a session in this leg.
    pub fn is_settled(&self, movement: &Move) -> bool {
        match &movement.place {
            Place::Proven(account) => account == self.goal(),
            Place::Lost => true,
            // What was never touched is already where the way back leads.
            Place::Waiting => self.turned_back.is_some() && !movement.touched,
            _ => false,
        }
    }

    /// Whether nothing is left to do for any session in this leg.
    pub fn all_settled(&self) -> bool {
        self.moves.values().all(|movement| self.is_settled(movement))
    }

    /// The step, if it began and is not known to have ended.
    pub fn pending(&self, step: &Step) -> Option<&Pending> {
        self.pending.iter().find(|pending| pending.step == *step)
    }
}
