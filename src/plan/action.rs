//! The plan as a value: phases of independent actions, each with its reason.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Effect;
use crate::model::{AccountName, Generation, ObjectRef, SpecDigest};

/// What an action does to its object, as people say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// `+` make it.
    Create,
    /// `~` put it right.
    Repair,
    /// `~` start it again.
    Restart,
    /// `~` take it over.
    Adopt,
    /// `-` leave it running, unowned.
    Release,
    /// `-` stop and close it.
    Stop,
    /// `>` carry the pool to another account.
    Swap,
    /// `>` give a task to a session.
    Dispatch,
    /// `~` bring a task to its end, or offer it again.
    Settle,
    /// `-` clean away what is old.
    Tidy,
}

impl Verb {
    /// The sign in front of the line in the human form.
    pub const fn sign(self) -> char {
        match self {
            Self::Create => '+',
            Self::Repair | Self::Restart | Self::Adopt | Self::Settle => '~',
            Self::Release | Self::Stop | Self::Tidy => '-',
            Self::Swap | Self::Dispatch => '>',
        }
    }
}

/// How much an action disturbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Disruption {
    /// Nothing that runs is touched.
    None,
    /// An agent that is idle is stopped.
    Idle,
    /// A working agent may be interrupted.
    Working,
}

/// One action: one effect on one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// What it is about.
    pub object: ObjectRef,
    /// What it does.
    pub verb: Verb,
    /// The particulars, such as `start on primary`.
    pub what: String,
    /// Why, such as `declared, not running`.
    pub why: String,
    /// How much it disturbs.
    pub disruption: Disruption,
    /// What the host is told; `None` for a swap, which has steps of its own.
    pub effect: Option<Effect>,
    /// The account whose links and home it relies on: if an earlier phase failed for that account, it is not done.
    pub relies_on: Option<AccountName>,
}

/// What comes first. Phases run in this order; inside one, objects are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Shared root and link targets.
    Shared,
    /// Links of the homes, home preparation.
    Homes,
    /// The active account and its link.
    Active,
    /// The tmux server.
    Server,
    /// What ends: stops and releases.
    Stop,
    /// What begins: creations, restarts, adoptions.
    Start,
    /// What ends of tasks: finished, failed, offered again.
    Settle,
    /// What begins of tasks: claims and prompts.
    Dispatch,
    /// What is old is cleaned away.
    Tidy,
    /// Carry the pool to another account.
    Swap,
}

/// Something that differs from what we last made, without the spec having changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// What it is about.
    pub object: ObjectRef,
    /// What differs.
    pub message: String,
}

/// Something that is not done now, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// What it is about.
    pub object: ObjectRef,
    /// One CamelCase word: why.
    pub reason: String,
    /// One sentence: what it waits for, and until when if that is known.
    pub message: String,
}

/// The actions that would make the world match the spec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The spec's generation.
    pub generation: Generation,
    /// The spec's digest.
    pub spec: Option<SpecDigest>,
    /// By phase, then by object.
    pub actions: Vec<(Phase, Action)>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

/// What was found beside the plan. It is not a summary: it is what a stuck pool is asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Changed outside.
    pub drift: Vec<Drift>,
    /// Wanted, but not done now.
    pub waiting: Vec<Waiting>,
    /// Worth a person's look.
    pub warnings: Vec<Waiting>,
}

/// A plan with its report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[must_use]
pub struct Planned {
    /// What to do.
    pub plan: Plan,
    /// What it waits for.
    pub report: Report,
}
