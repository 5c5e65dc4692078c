//! Usage windows of an account. A window that is absent is unknown: neither empty nor full.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
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

impl WindowKind {
    /// How long the window lasts.
    pub const fn length(&self) -> Duration {
        match self {
            Self::FiveHour => Duration::from_hours(5),
            Self::Weekly | Self::Model(_) => Duration::from_hours(7 * 24),
        }
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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

/// Two reset times that are this close name the same window: the endpoint gives fractions of a second, the status line whole ones.
const SAME_RESET: Duration = Duration::from_mins(5);

impl WindowReading {
    /// Whether both name the same reset time. Without a reset time nobody can tell.
    pub fn is_same_window(&self, other: &Self) -> bool {
        match (self.resets_at, other.resets_at) {
            (Some(one), Some(two)) => one.duration_since(two).unsigned_abs() <= SAME_RESET,
            _ => false,
        }
    }

    /// Whether both say the same share of the same window, whenever and by whomever it was measured.
    pub fn has_figures_of(&self, other: &Self) -> bool {
        self.used == other.used && (self.resets_at == other.resets_at || self.is_same_window(other))
    }

    /// Whether `reading`, of the same second, counts in its place: the larger share does, and a later window.
    fn gives_way(&self, reading: &Self) -> bool {
        match (self.resets_at, reading.resets_at) {
            (Some(held), Some(found)) if !self.is_same_window(reading) => found > held,
            _ => reading.used > self.used,
        }
    }

    /// Whether `reading` is the old figure of an idle session: its status line is drawn now, but its rate limits are those of the last
    /// answer that its process got (facts/claude-code.md, section 4). Inside one window the share only grows.
    fn outlives(&self, reading: &Self) -> bool {
        let (ReadingSource::Statusline, Some(held), Some(found)) = (reading.source, self.resets_at, reading.resets_at) else {
            return false;
        };
        let runs = held > reading.measured_at;
        runs && if self.is_same_window(reading) { reading.used < self.used } else { found < held }
    }
}

/// The newest reading of each window of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AccountUsage {
    /// By window; a window that is absent is unknown.
    pub windows: BTreeMap<WindowKind, WindowReading>,
}

impl AccountUsage {
    /// Takes over every reading of `newer` that was measured later than what is held, save the old figure of an idle session's status
    /// line. A reading without a reset time keeps the one that is held, as long as it may be the same window: it lies ahead and the share
    /// did not fall.
    pub fn merge(&mut self, newer: &Self) {
        for (kind, reading) in &newer.windows {
            let Some(held) = self.windows.get_mut(kind) else {
                self.windows.insert(kind.clone(), reading.clone());
                continue;
            };
            if held.outlives(reading) {
                continue;
            }
            // Many sources say the second and no more: of two figures of one second nobody knows which is the newer, unless both say more.
            let is_whole = |at: Timestamp| at.subsec_nanosecond() == 0;
            let is_tie = held.measured_at.as_second() == reading.measured_at.as_second()
                && (is_whole(held.measured_at) || is_whole(reading.measured_at) || held.measured_at == reading.measured_at);
            if if is_tie { !held.gives_way(reading) } else { held.measured_at > reading.measured_at } {
                continue;
            }
            let known = held.resets_at.filter(|at| *at > reading.measured_at && reading.used >= held.used);
            *held = WindowReading { resets_at: reading.resets_at.or(known), ..reading.clone() };
        }
    }
}

/// What came of reading an account's usage, as far as it decides when the next reading may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PollOutcome {
    /// Readings came in.
    Read,
    /// The source asked us to wait.
    RateLimited {
        /// For how long, if it said so.
        retry_after: Option<Duration>,
    },
    /// The source answered with what it had before, which is how the CLI shows that it was asked to wait.
    NotRefreshed,
    /// It failed otherwise.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn reading(used: u8, resets_at: Option<i64>, measured_at: i64, source: ReadingSource) -> WindowReading {
        WindowReading { used: Percent::whole(used), resets_at: resets_at.map(at), measured_at: at(measured_at), source }
    }

    fn merged(held: WindowReading, newer: WindowReading) -> WindowReading {
        let mut usage = AccountUsage { windows: BTreeMap::from([(WindowKind::FiveHour, held)]) };
        usage.merge(&AccountUsage { windows: BTreeMap::from([(WindowKind::FiveHour, newer)]) });
        usage.windows.remove(&WindowKind::FiveHour).expect("still there")
    }

    #[test]
    fn the_newest_reading_counts() {
        let (old, new) = (reading(40, Some(9_000), 10, ReadingSource::Cli), reading(30, Some(9_000), 20, ReadingSource::Api));
        assert_eq!(merged(old.clone(), new.clone()), new);
        assert_eq!(merged(new.clone(), old), new);
    }

    #[test]
    fn of_two_figures_of_one_second_the_larger_counts() {
        let (low, high) = (reading(40, Some(9_000), 10, ReadingSource::File), reading(90, Some(9_000), 10, ReadingSource::File));
        assert_eq!(merged(low.clone(), high.clone()), high);
        assert_eq!(merged(high.clone(), low), high);
        let anew = reading(3, Some(30_000), 10, ReadingSource::File);
        assert_eq!(merged(high.clone(), anew.clone()), anew, "another window");
        assert_eq!(merged(anew.clone(), high), anew);
    }

    #[test]
    fn an_idle_sessions_old_figure_never_hides_a_higher_one() {
        let held = reading(86, Some(9_000), 10, ReadingSource::Cli);
        assert_eq!(merged(held.clone(), reading(42, Some(9_001), 20, ReadingSource::Statusline)), held, "same window, lower");
        assert_eq!(merged(held.clone(), reading(99, Some(4_000), 20, ReadingSource::Statusline)), held, "the window before");
        for newer in [
            reading(87, Some(9_001), 20, ReadingSource::Statusline),
            reading(2, Some(20_000), 20, ReadingSource::Statusline),
            reading(42, Some(9_000), 20, ReadingSource::Cli),
            reading(5, Some(9_000), 9_000, ReadingSource::Statusline),
        ] {
            assert_eq!(merged(held.clone(), newer.clone()), newer);
        }
    }

    #[test]
    fn a_known_reset_time_outlasts_a_source_that_does_not_say() {
        let held = reading(86, Some(9_000), 10, ReadingSource::Cli);
        assert_eq!(merged(held.clone(), reading(100, None, 20, ReadingSource::LimitRecord)).resets_at, Some(at(9_000)));
        assert_eq!(merged(held.clone(), reading(0, None, 20, ReadingSource::Cli)).resets_at, None, "begun anew");
        assert_eq!(merged(held, reading(90, None, 9_000, ReadingSource::Cli)).resets_at, None, "the old window is over");
    }
}
