//! The frame of every fact.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Now;

/// Why something could not be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unseen {
    /// Nobody has looked yet.
    #[error("not looked at yet")]
    NotYet,
    /// The source did not answer in time.
    #[error("{source_name} did not answer within {after:?}")]
    TimedOut {
        /// Which source.
        source_name: String,
        /// The deadline that passed.
        after: Duration,
    },
    /// The source answered with an error, or with something that cannot be believed.
    #[error("{source_name}: {message}")]
    Failed {
        /// Which source.
        source_name: String,
        /// The whole error chain.
        message: String,
    },
}

/// A value with the instant and the source of its observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact<T> {
    /// What was seen.
    pub value: T,
    /// When the look began: anything later may have changed it.
    pub at: Now,
}

/// A fact, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen<T> {
    /// Seen.
    Known(Fact<T>),
    /// Not seen.
    Unknown(Unseen),
}

impl<T> Seen<T> {
    /// A value seen at `at`.
    pub const fn known(value: T, at: Now) -> Self {
        Self::Known(Fact { value, at })
    }

    /// The value, if it is known.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Known(fact) => Some(&fact.value),
            Self::Unknown(_) => None,
        }
    }

    /// The value, if it is known, for a source that corrects one part of it.
    pub const fn value_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Known(fact) => Some(&mut fact.value),
            Self::Unknown(_) => None,
        }
    }

    /// The value, if it is known and not older than `bound`.
    pub fn fresh(&self, now: Now, bound: Duration) -> Option<&T> {
        match self {
            Self::Known(fact) if now.since(fact.at) <= bound => Some(&fact.value),
            _ => None,
        }
    }

    /// Why it is not known.
    pub const fn why_not(&self) -> Option<&Unseen> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(why) => Some(why),
        }
    }
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self::Unknown(Unseen::NotYet)
    }
}
