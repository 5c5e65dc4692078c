//! Two clocks: the wall for people and reset times, the monotonic one for every interval.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Time since the host booted, including suspend (`CLOCK_BOOTTIME`, clock_gettime(2)). It never goes back and is the same for
/// every process of one boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Monotonic(pub Duration);

impl Monotonic {
    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The instant `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

/// The instant `by` later, the last one that can be written where there is none.
pub fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// A pause that is doubled so often, and never longer than the longest.
pub fn doubled(first: Duration, doublings: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(doublings)).min(longest)
}

/// One instant on both clocks, read together. Pure code takes it as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Now {
    /// For display, for reset times and for what must outlive a reboot. It may jump.
    pub wall: Timestamp,
    /// For ages and deadlines.
    pub mono: Monotonic,
}

impl Now {
    /// How long ago `earlier` was, by the monotonic clock.
    pub fn since(self, earlier: Self) -> Duration {
        self.mono.since(earlier.mono)
    }

    /// How long ago the wall-clock time `earlier` was; zero when it lies ahead.
    pub fn since_wall(self, earlier: Timestamp) -> Duration {
        Duration::try_from(self.wall.duration_since(earlier)).unwrap_or(Duration::ZERO)
    }

    /// The instant `by` later, on both clocks.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self { wall: later(self.wall, by), mono: self.mono.plus(by) }
    }
}
