//! Checkpoints while the daemon runs: when something changed, before a swap, and never otherwise.

use std::time::Duration;

use claude_failover::{
    model::{EventReason, SessionName},
    observed::{Checkpoint, CheckpointCause},
    swap::SwapVerdict,
};

use crate::lab::{LONG, Lab, POOL};

fn taken(lab: &Lab, session: &str) -> Vec<Checkpoint> {
    let session = SessionName::new(session).unwrap();
    lab.world.borrow().checkpoints(&session).iter().map(|(_, checkpoint)| checkpoint.clone()).collect()
}

fn told(lab: &Lab, reason: EventReason) -> u64 {
    lab.events().iter().filter(|stored| stored.event.reason == reason).map(|stored| stored.count).sum()
}

#[test]
fn a_turn_leaves_a_checkpoint_and_idleness_leaves_none() {
    let lab = Lab::converged(POOL);
    assert!(taken(&lab, "s-0").is_empty(), "nothing was said yet");
    lab.world.borrow_mut().person().prompt("s-0", Duration::from_secs(150));
    lab.run(Duration::from_mins(5));
    let after = taken(&lab, "s-0");
    let last = after.last().expect("one was taken");
    assert!(last.transcript.is_some() && last.activity.is_quiet(), "{last:?}");
    assert!(after.iter().any(|checkpoint| checkpoint.why == CheckpointCause::TurnEnded), "{after:?}");
    assert!(taken(&lab, "s-1").is_empty());
    lab.run(Duration::from_hours(3));
    assert_eq!(taken(&lab, "s-0"), after, "nothing happened, so nothing was written");
    assert_eq!(told(&lab, EventReason::CheckpointTaken), 0, "those that come by themselves are not told");
    lab.assert_converged("a turn");
}

#[test]
fn one_that_works_for_long_is_kept_every_minute_and_only_so_many_stay() {
    let mut lab = Lab::converged(POOL);
    lab.declare(&POOL.replace("  sessions:", "  checkpoints: { every: 1m, keep: 3 }\n  sessions:"));
    lab.world.borrow_mut().person().prompt("s-0", Duration::from_secs(20));
    lab.run(Duration::from_mins(5));
    for _ in 0..8 {
        lab.world.borrow_mut().person().prompt("s-0", Duration::from_secs(20));
        lab.run(Duration::from_mins(4));
    }
    let kept = taken(&lab, "s-0");
    assert!(!kept.is_empty() && kept.len() <= 3, "{}", kept.len());
    assert!(told(&lab, EventReason::Tidied) > 0);
    lab.assert_converged("checkpoints were removed");
}

#[test]
fn a_swap_keeps_what_each_session_leaves_before_it_is_stopped() {
    let lab = Lab::converged(POOL);
    for session in ["s-0", "s-1", "s-2", "s-3"] {
        lab.world.borrow_mut().person().prompt(session, Duration::from_secs(5));
    }
    lab.run(Duration::from_mins(5));
    // The swap finds one at work.
    lab.world.borrow_mut().person().prompt("s-2", Duration::from_hours(2));
    lab.usage("primary", 91.0);
    lab.assert_converged("a swap");
    assert_eq!(lab.verdicts(), [SwapVerdict::Committed]);
    let at_work = |checkpoint: &Checkpoint| !checkpoint.activity.is_quiet() && checkpoint.account.as_str() == "primary";
    assert!(taken(&lab, "s-2").iter().any(at_work), "what it was at when it was interrupted");
    for session in ["s-0", "s-1", "s-2", "s-3"] {
        let accounts: Vec<_> = taken(&lab, session).iter().map(|checkpoint| checkpoint.account.to_string()).collect();
        assert_eq!(accounts.first().map(String::as_str), Some("primary"), "{session}: {accounts:?}");
    }
}

#[test]
fn a_full_disk_is_said_once_and_stops_nothing() {
    let lab = Lab::converged(POOL);
    lab.world.borrow_mut().set_disk_full(true);
    for session in ["s-0", "s-1"] {
        lab.world.borrow_mut().person().prompt(session, Duration::from_mins(9));
    }
    lab.run(Duration::from_mins(20));
    assert_eq!(told(&lab, EventReason::ActionFailed), 1, "{}", lab.story());
    assert!(taken(&lab, "s-0").is_empty());
    lab.usage("primary", 91.0);
    lab.run(LONG);
    assert_eq!(lab.verdicts(), [SwapVerdict::Committed], "a failure never stops a swap");
    lab.world.borrow_mut().set_disk_full(false);
    lab.world.borrow_mut().person().prompt("s-0", Duration::from_secs(20));
    lab.assert_converged("there is room again");
    assert!(!taken(&lab, "s-0").is_empty());
}
