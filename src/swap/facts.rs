//! What a decision about a swap rests on, cut down from the snapshot to what the swap asks.
//!
//! # Assumes
//! Every fact was looked at after the last journal entry about its object. A fact that is older, or that could not be looked at, is
//! unknown: the caller makes it so.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;

use crate::model::{AccountName, Activity, ConversationId, SessionName};

/// The latest facts about everything that a swap touches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SwapFacts {
    /// The wall clock: deadlines of a swap must outlive a reboot.
    pub now: Timestamp,
    /// Since when this process looks. Time in which nobody looked counts for no deadline of a proof or of a doubt.
    pub looking_since: Timestamp,
    /// Why the swap should be undone: an operator asked for it, or a guard that is checked again no longer holds.
    pub abort: Option<String>,
    /// The shared links of the account that the swap goes to.
    pub target_links: LinksState,
    /// The shared links of the account that it left.
    pub from_links: LinksState,
    /// The active link.
    pub active_link: ActiveLinkState,
    /// Each session; one that is absent is unknown.
    pub sessions: BTreeMap<SessionName, SessionFacts>,
}

/// All shared links of one home, taken together.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinksState {
    /// At least one could not be looked at, and none is known to be wrong.
    #[default]
    Unknown,
    /// All are right.
    Right,
    /// At least one is not: which, and what stands there.
    Wrong(String),
}

/// Where the active link leads.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActiveLinkState {
    /// It could not be looked at.
    #[default]
    Unknown,
    /// Nothing stands there.
    Absent,
    /// To the home of an account of the pool.
    At(AccountName),
    /// To no home of the pool, or it is no symlink. It is not ours to change.
    Foreign(PathBuf),
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionFacts {
    /// Its agent process.
    pub agent: AgentFact,
    /// What the agent does.
    pub activity: Activity,
    /// Whether it is proven under the account that it is being moved to: [`SwapRecord::goal`](super::SwapRecord::goal).
    pub proof: ProofState,
    /// How many clients are attached: a person may be looking.
    pub attached: u32,
    /// Whether it has a task that is not done: it goes along and is gone on with, but another one is better moved first.
    pub at_task: bool,
}

impl Default for SessionFacts {
    fn default() -> Self {
        Self { agent: AgentFact::Unknown, activity: Activity::Unknown, proof: ProofState::Unknown, attached: 0, at_task: false }
    }
}

/// The agent process of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgentFact {
    /// It could not be looked at.
    #[default]
    Unknown,
    /// Looked, and no agent runs: also when the whole tmux session is gone.
    None,
    /// One runs.
    Running {
        /// The account whose home stands in the process's own environment; `None` when that is unreadable or no home of the pool.
        account: Option<AccountName>,
        /// The conversation that it has open, if the agent says.
        conversation: Option<ConversationId>,
    },
}

/// How far the proof of a session is.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProofState {
    /// It could not be looked at.
    #[default]
    Unknown,
    /// Process, transcript, register and start hook all say so.
    Proven,
    /// Something is still missing: what.
    Pending(String),
    /// Something is wrong and will not become right by waiting: what.
    Refuted(String),
}
