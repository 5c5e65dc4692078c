//! How long an object waits after a failure or an exit, and when it is given up.

use std::time::Duration;

use jiff::Timestamp;

use super::Attempts;
use crate::model::{Now, ObjectRef, doubled, later, share_of};

/// Exits within [`EXIT_SPAN`] that make a session quarantined.
pub const MAX_EXITS: usize = 5;
/// The span in which exits are counted.
pub const EXIT_SPAN: Duration = Duration::from_mins(10);
/// Waiting time after the second, third and fourth exit of a span. The first is followed by a start at once.
const EXIT_DELAYS: [Duration; MAX_EXITS - 1] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];
/// The longest waiting time after failures.
const MAX_DELAY: Duration = Duration::from_mins(5);
/// The same with its jitter: nothing waits for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(375);

impl Attempts {
    /// After an agent ended by itself.
    #[must_use]
    pub fn after_exit(&self, now: Now) -> Self {
        let mut next = self.clone();
        next.exits.retain(|exit| now.since_wall(*exit) <= EXIT_SPAN);
        next.exits.push(now.wall);
        let surplus = next.exits.len().saturating_sub(MAX_EXITS);
        next.exits.drain(..surplus);
        match EXIT_DELAYS.get(next.exits.len() - 1) {
            Some(&Duration::ZERO) => {}
            Some(delay) => next.not_before = Some(later(now.wall, *delay)),
            None => next.quarantined = true,
        }
        next
    }

    /// After an action on `object` failed: 1 s, doubled with each failure in a row up to 5 minutes, and up to a quarter more so that objects
    /// that failed together are not tried together. The jitter is a function of object and count: the planner stays without randomness.
    #[must_use]
    pub fn after_failure(&self, object: &ObjectRef, error: &str, now: Now) -> Self {
        let failures = self.failures.saturating_add(1);
        let base = doubled(Duration::from_secs(1), failures - 1, MAX_DELAY);
        let jitter = share_of(base / 4, &format!("{object}/{failures}"));
        Self {
            failures,
            not_before: Some(later(now.wall, base + jitter)),
            last_error: Some(error.to_owned()),
            exits: self.exits.clone(),
            quarantined: self.quarantined,
        }
    }

    /// After an action on the object succeeded: failures are forgotten, exits are not.
    #[must_use]
    pub fn after_success(&self) -> Self {
        Self { failures: 0, not_before: None, last_error: None, ..self.clone() }
    }

    /// Whether the object must still wait.
    pub fn waits_until(&self, now: Now) -> Option<Timestamp> {
        self.not_before.filter(|until| *until > now.wall)
    }

    /// With a wait that is no longer than any can be, if the present one is: a wall clock that was set back leaves such waits behind.
    pub fn bounded(&self, now: Now) -> Option<Self> {
        let longest = later(now.wall, LONGEST_WAIT);
        self.not_before.filter(|until| *until > longest).map(|_| Self { not_before: Some(longest), ..self.clone() })
    }

    /// Whether there is nothing to remember.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Monotonic;

    fn at(second: i64) -> Now {
        Now { wall: Timestamp::from_second(1_000_000 + second).unwrap(), mono: Monotonic(Duration::from_secs(second.unsigned_abs())) }
    }

    #[test]
    fn the_first_exit_is_repaired_at_once_and_the_fifth_is_the_last() {
        let mut attempts = Attempts::default();
        let mut delays = Vec::new();
        for second in 0..5 {
            attempts = attempts.after_exit(at(second));
            delays.push(attempts.waits_until(at(second)).map(|until| at(second).wall.duration_until(until).as_secs()));
        }
        assert_eq!(delays, [None, Some(1), Some(5), Some(20), Some(19)]);
        assert!(attempts.quarantined);
    }

    #[test]
    fn a_clock_that_is_set_back_prolongs_no_wait_beyond_the_longest() {
        let failed = (0..12).fold(Attempts::default(), |attempts, _| attempts.after_failure(&ObjectRef::Pool, "no", at(86_400)));
        assert_eq!(failed.bounded(at(86_400)), None, "an honest wait stays");
        let bounded = failed.bounded(at(0)).expect("a day is too long");
        let wait = at(0).wall.duration_until(bounded.waits_until(at(0)).unwrap());
        assert!((300..=375).contains(&wait.as_secs()), "{wait}");
        assert_eq!(bounded.bounded(at(10)), None, "bounded once, it runs off");
        assert_eq!(bounded.waits_until(at(376)), None);
    }

    #[test]
    fn exits_far_apart_are_not_a_crash_loop() {
        let mut attempts = Attempts::default();
        for round in 0..50 {
            attempts = attempts.after_exit(at(round * 700));
        }
        assert!(!attempts.quarantined);
        assert_eq!(attempts.exits.len(), 1);
    }

    #[test]
    fn failures_double_up_to_a_bound_and_success_forgets_them() {
        let object = ObjectRef::Pool;
        let mut attempts = Attempts::default();
        let mut last = 0;
        for round in 1..=12 {
            attempts = attempts.after_failure(&object, "no", at(0));
            let delay = at(0).wall.duration_until(attempts.not_before.unwrap()).as_secs();
            assert!(delay >= last.min(300) && delay <= 375, "round {round}: {delay} s after {last} s");
            last = delay;
        }
        assert!(last >= 300);
        assert!(attempts.after_success().is_clean());
    }
}
