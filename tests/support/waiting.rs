//! Waiting for what somebody else does. Only here do these tests wait for a condition, up to a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before a test gives it up; reached only when a test fails.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Between two looks: what comes soon is seen soon, and what takes long is not slowed down by looking.
const SHORTEST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(20);

/// Looks until something is found, for as long as `patience` lasts.
pub fn found_within<T>(patience: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
    found_at_pace(patience, SHORTEST, LONGEST, look)
}

/// The same at a pace of one's own, for what is over in a moment: the pause between two looks grows from `first` to `longest`.
pub fn found_at_pace<T>(patience: Duration, first: Duration, longest: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + patience;
    let mut pause = first;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= until {
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

/// Waits until `look` finds something.
#[track_caller]
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    let Some(found) = found_within(DEADLINE, look) else { panic!("waited in vain for {what}") };
    found
}

/// Waits until `look` is true.
#[track_caller]
pub fn wait_until(what: &str, mut look: impl FnMut() -> bool) {
    wait_for(what, || look().then_some(()));
}
