//! Which checkpoints of a session may go.

use std::time::Duration;

use jiff::Timestamp;

use crate::{observed::CheckpointId, spec::Checkpoints};

/// Whether the session that took them may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is declared, or remembered: the newest is always kept.
    Known,
    /// It is neither; what is left of it only grows old.
    Gone,
}

/// Those of `taken`, oldest first, that are over the number or the age that the policy allows. A time that lies ahead has no age.
pub fn expired_checkpoints(taken: &[CheckpointId], policy: &Checkpoints, standing: Standing, now: Timestamp) -> Vec<CheckpointId> {
    let is_old = |id: &CheckpointId| Duration::try_from(now.duration_since(id.taken_at())).is_ok_and(|age| age > policy.max_age);
    let kept_always = usize::from(standing == Standing::Known);
    let keep = policy.keep.max(kept_always);
    let expired = taken.iter().enumerate().filter(|(at, id)| {
        let newer = taken.len() - 1 - at;
        newer >= keep || (newer >= kept_always && is_old(id))
    });
    expired.map(|(_, id)| id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(second: i64) -> CheckpointId {
        CheckpointId::new(Timestamp::from_second(1_000_000 + second).expect("in range"), "0123456789ab")
    }

    fn expired(seconds: &[i64], keep: usize, max_age: u64, standing: Standing) -> Vec<i64> {
        let taken: Vec<_> = seconds.iter().map(|second| id(*second)).collect();
        let policy = Checkpoints { every: Duration::from_mins(1), keep, max_age: Duration::from_secs(max_age) };
        let now = Timestamp::from_second(1_000_100).expect("in range");
        expired_checkpoints(&taken, &policy, standing, now).iter().map(|id| id.taken_at().as_second() - 1_000_000).collect()
    }

    #[test]
    fn the_oldest_go_by_number_and_by_age_and_the_newest_stays() {
        assert_eq!(expired(&[], 2, 50, Standing::Known), [0; 0]);
        assert_eq!(expired(&[60, 70, 80, 90], 2, 50, Standing::Known), [60, 70]);
        assert_eq!(expired(&[10, 40, 60, 90], 9, 50, Standing::Known), [10, 40]);
        assert_eq!(expired(&[10, 20], 9, 50, Standing::Known), [10], "the newest is kept however old it is");
        assert_eq!(expired(&[10, 20], 9, 50, Standing::Gone), [10, 20], "unless its session is gone");
        assert_eq!(expired(&[10, 200], 0, 50, Standing::Known), [10], "a time that lies ahead has no age");
        assert_eq!(expired(&[60, 90], 0, 50, Standing::Known), [60], "at least one is kept");
    }

    proptest! {
        #[test]
        fn what_goes_was_there_and_nothing_newer_than_what_stays(
            mut seconds in proptest::collection::vec(-500_i64..500, 0..30),
            keep in 0_usize..10,
            max_age in 0_u64..600,
        ) {
            seconds.sort_unstable();
            seconds.dedup();
            let gone = expired(&seconds, keep, max_age, Standing::Known);
            prop_assert!(seconds.starts_with(&gone), "{gone:?} of {seconds:?}");
            prop_assert!(seconds.is_empty() || gone.len() < seconds.len());
            prop_assert!(seconds.len() - gone.len() <= keep.max(1));
            let again = expired(&seconds[gone.len()..], keep, max_age, Standing::Known);
            prop_assert_eq!(again, [0; 0]);
        }
    }
}
