//! Usage windows of an account. A window that is absent is unknown: neither empty nor full.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Percent;

/// One limit of an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WindowKind {
    /// The rolling 5-hour window: `fiveHour`.
    FiveHour,
    /// The weekly window over all models: `weekly`.
    Weekly,
    /// The weekly window of one model, by its display name: `model:NAME`.
    Model(String),
}

impl fmt::Display for WindowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FiveHour => f.write_str("fiveHour"),
            Self::Weekly => f.write_str("weekly"),
            Self::Model(name) => write!(f, "model:{name}"),
        }
    }
}

/// A text that names no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no window; use fiveHour, weekly or model:NAME")]
pub struct WindowKindError {
    /// The text as it was given.
    pub text: String,
}

impl TryFrom<String> for WindowKind {
    type Error = WindowKindError;
    fn try_from(text: String) -> Result<Self, WindowKindError> {
        match text.as_str() {
            "fiveHour" => Ok(Self::FiveHour),
            "weekly" => Ok(Self::Weekly),
            other => match other.strip_prefix("model:") {
                Some(name) if !name.is_empty() => Ok(Self::Model(name.to_owned())),
                _ => Err(WindowKindError { text }),
            },
        }
    }
}

impl From<WindowKind> for String {
    fn from(kind: WindowKind) -> Self {
        kind.to_string()
    }
}

/// Where a reading came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReadingSource {
    /// The agent handed its rate limits to the status line command.
    Statusline,
    /// The agent reported that a limit was hit, with its reset time.
    LimitRecord,
    /// The official CLI's own usage answer.
    Cli,
    /// The usage endpoint over HTTPS.
    Api,
    /// A file that somebody else writes.
    File,
    /// A command of the operator.
    Command,
}

impl fmt::Display for ReadingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Statusline => "statusline",
            Self::LimitRecord => "limit record",
            Self::Cli => "cli",
            Self::Api => "api",
            Self::File => "file",
            Self::Command => "command",
        })
    }
}

/// What was read of one window.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowReading {
    /// The share of the window that is used.
    pub used: Percent,
    /// When the window begins anew; `None` when the source does not say.
    pub resets_at: Option<Timestamp>,
    /// When the figure was true, by the wall clock of the source.
    pub measured_at: Timestamp,
    /// Where it came from.
    pub source: ReadingSource,
}

/// The newest reading of each window of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AccountUsage {
    /// By window; a window that is absent is unknown.
    pub windows: BTreeMap<WindowKind, WindowReading>,
}

impl AccountUsage {
    /// Takes over every reading of `newer` that was measured later than what is held.
    pub fn merge(&mut self, newer: &Self) {
        for (kind, reading) in &newer.windows {
            match self.windows.get(kind) {
                Some(held) if held.measured_at >= reading.measured_at => {}
                _ => {
                    self.windows.insert(kind.clone(), reading.clone());
                }
            }
        }
    }
}
