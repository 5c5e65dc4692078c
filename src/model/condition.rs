//! Conditions in the shape of Kubernetes: type, status, reason, message, observed generation, last transition.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Generation;

/// A condition's status. Unknown is an answer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be told.
    Unknown,
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        })
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The closed set of conditions. `docs/recovery.md` has a section for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ConditionKind { $($(#[$doc])* $name),+ }

        impl ConditionKind {
            /// Every kind, for the documentation and its test.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The kind as programs match it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

kinds! {
    /// Pool: the spec on disk is valid and is the one acted on.
    SpecAccepted,
    /// The object matches the spec.
    Synced,
    /// The object is usable now.
    Ready,
    /// Pool: a swap or another change is under way.
    Progressing,
    /// The operator has suspended the object.
    Suspended,
    /// Something failed repeatedly or is quarantined.
    Degraded,
    /// Pool: a swap could neither be finished nor undone. Latched until cleared.
    PartialSwap,
    /// Pool: no account has room.
    Exhausted,
    /// Pool: the finished plan broke a safety rule; nothing was done.
    PlanRejected,
    /// Account: the login works.
    LoginValid,
    /// Account: its windows are known and fresh.
    QuotaKnown,
    /// Account: it may be a swap's target.
    Available,
    /// Session: it runs with other settings than the present ones, or under another account than the active one.
    Drifted,
    /// Session: a person must answer something.
    NeedsInput,
    /// Link or session: something stands there that is not ours.
    Conflicted,
}

impl fmt::Display for ConditionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One condition of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which condition.
    #[serde(rename = "type")]
    pub kind: ConditionKind,
    /// Whether it holds.
    pub status: Truth,
    /// One CamelCase word that programs may match.
    pub reason: String,
    /// One sentence for people: what is so, and what to do.
    pub message: String,
    /// The generation of the spec that this was computed from.
    pub observed_generation: Generation,
    /// When `status` last changed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_transition_time: Timestamp,
}
