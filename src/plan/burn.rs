//! What a reading is worth now, and how fast a window fills.
//!
//! # Guarantees
//! A reading that is too old never counts as known. Until its window begins anew it is a lower bound, since the share of a window only grows;
//! after that it says nothing.
//!
//! # Assumes
//! The wall clock: a reading carries the wall time at which it was true and must outlive a reboot. A reading from the future is unknown, so a
//! clock that jumps back makes nothing look fresh for ever.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Now, Percent, ReadingSource, WindowKind, WindowReading};

/// How far the clock of a source may be ahead of ours.
pub const CLOCK_TOLERANCE: Duration = Duration::from_mins(5);

/// More readings than this are not looked at: the oldest go first.
pub const MAX_HISTORY: usize = 512;

/// A rate over less than this is noise.
const MIN_SPAN: Duration = Duration::from_mins(5);

/// What is known of a window now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effective {
    /// Fresh.
    Known(Percent),
    /// Too old to act on, but its window still runs: at least so much is used.
    LowerBound {
        /// The share at the time of the reading.
        used: Percent,
        /// How old the reading is.
        age: Duration,
    },
    /// Nothing.
    Unknown(Ignorance),
}

impl Effective {
    /// The share that is used at least, if anything is known.
    pub const fn at_least(self) -> Option<Percent> {
        match self {
            Self::Known(used) | Self::LowerBound { used, .. } => Some(used),
            Self::Unknown(_) => None,
        }
    }

    /// The share, if it is known and fresh.
    pub const fn fresh(self) -> Option<Percent> {
        match self {
            Self::Known(used) => Some(used),
            Self::LowerBound { .. } | Self::Unknown(_) => None,
        }
    }
}

/// Why nothing is known of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Ignorance {
    /// No source has told of it.
    NeverRead,
    /// The window has begun anew since the reading.
    BegunAnew {
        /// When it did.
        at: Timestamp,
    },
    /// The reading is too old, and it did not say when its window begins anew.
    Stale {
        /// How old it is.
        age: Duration,
    },
    /// The reading lies ahead of our clock.
    FromTheFuture {
        /// The time that it carries.
        measured_at: Timestamp,
    },
}

impl fmt::Display for Ignorance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverRead => f.write_str("never read"),
            Self::BegunAnew { at } => write!(f, "begun anew at {at:.0}, not read since"),
            Self::Stale { age } => write!(f, "last read {} ago", Span(*age)),
            Self::FromTheFuture { measured_at } => write!(f, "its reading is dated {measured_at:.0}, ahead of this host's clock"),
        }
    }
}

/// A length of time as people say it: `45s`, `12m`, `3h 5m`, `2d 4h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        match () {
            () if minutes == 0 => write!(f, "{seconds}s"),
            () if hours == 0 => write!(f, "{minutes}m"),
            () if days == 0 => write!(f, "{hours}h {}m", minutes % 60),
            () => write!(f, "{days}d {}h", hours % 24),
        }
    }
}

/// The share that a reading states. A limit record states that the window is full, whatever figure it carries.
pub fn stated(reading: &WindowReading) -> Percent {
    match reading.source {
        ReadingSource::LimitRecord => reading.used.max(Percent::FULL),
        _ => reading.used,
    }
}

/// What `reading` is worth at `now`, when a reading supports a decision for `stale_after`.
pub fn effective(reading: Option<&WindowReading>, now: Now, stale_after: Duration) -> Effective {
    let Some(reading) = reading else { return Effective::Unknown(Ignorance::NeverRead) };
    let ahead = Duration::try_from(reading.measured_at.duration_since(now.wall)).unwrap_or(Duration::ZERO);
    if ahead > CLOCK_TOLERANCE {
        return Effective::Unknown(Ignorance::FromTheFuture { measured_at: reading.measured_at });
    }
    if let Some(at) = reading.resets_at.filter(|at| *at <= now.wall) {
        return Effective::Unknown(Ignorance::BegunAnew { at });
    }
    let age = now.since_wall(reading.measured_at);
    match reading.resets_at {
        _ if age <= stale_after => Effective::Known(stated(reading)),
        Some(_) => Effective::LowerBound { used: stated(reading), age },
        None => Effective::Unknown(Ignorance::Stale { age }),
    }
}

/// How fast a window fills, in percent per hour. Never negative.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct BurnRate(f64);

impl BurnRate {
    /// Percent per hour.
    pub const fn per_hour(self) -> f64 {
        self.0
    }
}

/// The rate at which `window` filled lately: over the last hour for the 5-hour window, over the last day for a weekly one, inside the window
/// of the newest reading. `history` may have any order; only the newest [`MAX_HISTORY`] readings count.
///
/// `None` when fewer than two readings lie at least 5 minutes apart.
pub fn burn_rate(window: &WindowKind, history: &[WindowReading]) -> Option<BurnRate> {
    let mut readings: Vec<&WindowReading> = history.iter().collect();
    readings.sort_by_key(|reading| reading.measured_at);
    let newest = *readings.last()?;
    let look_back = match window {
        WindowKind::FiveHour => Duration::from_hours(1),
        WindowKind::Weekly | WindowKind::Model(_) => Duration::from_hours(24),
    };
    let mut oldest = newest;
    for &reading in readings.iter().rev().take(MAX_HISTORY) {
        let age = newest.measured_at.duration_since(reading.measured_at).unsigned_abs();
        // A share that was higher before belongs to a window that is over, whatever its reset time says.
        if age > look_back || reading.used > oldest.used || !(reading.is_same_window(newest) || reading.resets_at == newest.resets_at) {
            break;
        }
        oldest = reading;
    }
    let span = newest.measured_at.duration_since(oldest.measured_at).unsigned_abs();
    (span >= MIN_SPAN).then(|| BurnRate((newest.used.value() - oldest.used.value()) * 3_600.0 / span.as_secs_f64()))
}

/// When the window of `reading` reaches `threshold` if it goes on at `rate`. `None` when it begins anew before, or stands still.
pub fn reaches(reading: &WindowReading, rate: BurnRate, threshold: Percent) -> Option<Timestamp> {
    let missing = threshold.saturating_sub(reading.used).value();
    if missing <= 0.0 {
        return Some(reading.measured_at);
    }
    let seconds = missing / rate.per_hour() * 3_600.0;
    let at = reading.measured_at.checked_add(Duration::try_from_secs_f64(seconds).ok()?).ok()?;
    reading.resets_at.is_none_or(|resets_at| at < resets_at).then_some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Monotonic;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).expect("in range")
    }

    fn now(minute: i64) -> Now {
        Now { wall: at(minute), mono: Monotonic(Duration::from_secs(5)) }
    }

    fn reading(used: f64, measured: i64, resets: Option<i64>) -> WindowReading {
        WindowReading {
            used: Percent::new(used).expect("a percentage"),
            resets_at: resets.map(at),
            measured_at: at(measured),
            source: ReadingSource::Cli,
        }
    }

    const STALE: Duration = Duration::from_mins(15);

    #[test]
    fn a_reading_is_known_then_a_lower_bound_then_nothing() {
        let held = reading(40.0, 0, Some(60));
        let forty = Percent::whole(40);
        assert_eq!(effective(Some(&held), now(15), STALE), Effective::Known(forty));
        assert_eq!(effective(Some(&held), now(16), STALE), Effective::LowerBound { used: forty, age: Duration::from_mins(16) });
        assert_eq!(effective(Some(&held), now(60), STALE), Effective::Unknown(Ignorance::BegunAnew { at: at(60) }));
        assert_eq!(effective(None, now(0), STALE), Effective::Unknown(Ignorance::NeverRead));
        let silent = reading(40.0, 0, None);
        assert_eq!(effective(Some(&silent), now(16), STALE), Effective::Unknown(Ignorance::Stale { age: Duration::from_mins(16) }));
    }

    #[test]
    fn a_clock_that_jumps_back_makes_nothing_fresh() {
        let held = reading(40.0, 60, Some(90));
        assert_eq!(effective(Some(&held), now(56), STALE), Effective::Known(Percent::whole(40)), "within the tolerance");
        assert!(matches!(effective(Some(&held), now(0), STALE), Effective::Unknown(Ignorance::FromTheFuture { .. })));
    }

    #[test]
    fn a_limit_record_means_full() {
        let record = WindowReading { source: ReadingSource::LimitRecord, ..reading(3.0, 0, Some(60)) };
        assert_eq!(effective(Some(&record), now(1), STALE), Effective::Known(Percent::FULL));
    }

    #[test]
    fn the_rate_is_taken_inside_the_present_window() {
        let history =
            [reading(90.0, -30, Some(-5)), reading(10.0, 0, Some(290)), reading(12.0, 10, Some(290)), reading(20.0, 30, Some(290))];
        let rate = burn_rate(&WindowKind::FiveHour, &history).expect("two readings of one window");
        assert!((rate.per_hour() - 20.0).abs() < 1e-9, "{rate:?}");
        assert_eq!(reaches(&history[3], rate, Percent::whole(80)), Some(at(30 + 180)));
        assert_eq!(reaches(&history[3], rate, Percent::whole(20)), Some(at(30)), "reached");
        let soon_over = reading(20.0, 30, Some(100));
        assert_eq!(reaches(&soon_over, rate, Percent::whole(80)), None, "it begins anew before");
    }

    #[test]
    fn no_rate_from_too_little() {
        let window = WindowKind::FiveHour;
        assert_eq!(burn_rate(&window, &[]), None);
        assert_eq!(burn_rate(&window, &[reading(1.0, 0, None)]), None);
        assert_eq!(burn_rate(&window, &[reading(1.0, 0, None), reading(9.0, 4, None)]), None);
        assert_eq!(burn_rate(&window, &[reading(1.0, 0, Some(200)), reading(9.0, 30, Some(500))]), None, "two windows");
        let still = burn_rate(&window, &[reading(9.0, 0, None), reading(9.0, 30, None)]).expect("a rate of zero");
        assert_eq!(reaches(&reading(9.0, 30, None), still, Percent::whole(80)), None);
    }

    #[test]
    fn spans_read_as_people_say_them() {
        for (seconds, text) in [(45, "45s"), (61, "1m"), (3_700, "1h 1m"), (90_000, "1d 1h")] {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_a_rate_is_a_number(
            samples in prop::collection::vec((0.0..=1000.0_f64, -100_000_i64..100_000, prop::option::of(-100_000_i64..100_000)), 0..40),
            threshold in 0_u8..=100,
            minute in -200_000_i64..200_000,
        ) {
            let history: Vec<_> = samples.iter().map(|(used, measured, resets)| reading(*used, *measured, *resets)).collect();
            for window in [WindowKind::FiveHour, WindowKind::Weekly] {
                if let Some(rate) = burn_rate(&window, &history) {
                    prop_assert!(rate.per_hour().is_finite() && rate.per_hour() >= 0.0);
                    for sample in &history {
                        if let Some(when) = reaches(sample, rate, Percent::whole(threshold)) {
                            prop_assert!(when >= sample.measured_at);
                        }
                    }
                }
            }
            for sample in &history {
                if let Effective::Known(_) = effective(Some(sample), now(minute), STALE) {
                    let age = at(minute).duration_since(sample.measured_at);
                    prop_assert!(age.as_secs() >= -300 && age.as_secs() <= 900);
                    prop_assert!(sample.resets_at.is_none_or(|resets| resets > at(minute)));
                }
            }
        }
    }
}
