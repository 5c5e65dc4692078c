//! What an agent is doing.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The activity of one agent, combined from its register, its process and its account. `Unknown` blocks every disruption.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Activity {
    /// Ready for a prompt; nothing runs.
    Idle,
    /// A turn, a tool or a background shell runs.
    Working,
    /// A dialog or a question waits for a person.
    NeedsInput,
    /// The account's window is exhausted; the agent waits for the reset.
    LimitHit,
    /// The account's login no longer works.
    LoggedOut,
    /// The process lives, but has not said anything yet.
    Starting,
    /// No agent process.
    Exited,
    /// Not known.
    #[default]
    Unknown,
}

impl Activity {
    /// Whether stopping the agent now loses no work.
    pub const fn is_quiet(self) -> bool {
        matches!(self, Self::Idle | Self::LimitHit | Self::LoggedOut | Self::Exited)
    }

    /// The word that listings print.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Working => "working",
            Self::NeedsInput => "needs input",
            Self::LimitHit => "limit hit",
            Self::LoggedOut => "logged out",
            Self::Starting => "starting",
            Self::Exited => "exited",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
