//! When to try the control connection again after it failed: pure, time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::doubled;

const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_mins(1);

/// Closed while the connection works, open for a growing time after each failure to open or to use it.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    retry_at: Option<Instant>,
}

impl Breaker {
    /// Whether the connection may be tried.
    pub(super) fn allows(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }

    /// When it may be tried; `None` for at once.
    pub(super) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// It answered.
    pub(super) const fn worked(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }

    /// It could not be opened, or hung.
    pub(super) fn failed(&mut self, now: Instant) {
        let pause = doubled(SHORTEST, self.failures, LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_a_minute_and_success_ends_it() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..40 {
            assert!(breaker.allows(now));
            breaker.failed(now);
            assert!(!breaker.allows(now));
            let at = breaker.retry_at().expect("open");
            pauses.push(at - now);
            now = at;
        }
        assert_eq!(pauses[..3], [SHORTEST, 2 * SHORTEST, 4 * SHORTEST]);
        assert!(pauses.is_sorted() && pauses[39] == LONGEST);
        breaker.worked();
        assert!(breaker.allows(now));
        breaker.failed(now);
        assert_eq!(breaker.retry_at(), Some(now + SHORTEST));
    }
}
