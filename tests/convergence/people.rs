//! What people do, and what the pool must not do to them.

use std::time::Duration;

use claude_failover::{model::EventReason, sim::Source};

use crate::lab::{LONG, Lab, POOL};

#[test]
fn a_converged_pool_is_silent() {
    let lab = Lab::converged(POOL);
    lab.assert_converged("left alone");
}

#[test]
fn a_spec_that_stays_refused_is_passed_for_once() {
    let lab = Lab::converged(POOL);
    let [unheard, once, often] = [0, 1, 5].map(|times| lab.passes_with_a_refused_spec(times));
    assert_eq!((once, often), (unheard + 1, unheard + 1));
}

#[test]
fn lost_wake_ups_cost_time_only() {
    let lab = Lab::converged(POOL);
    lab.world.borrow_mut().set_deaf(true);
    lab.world.borrow_mut().person().kill_agent("s-3");
    lab.world.borrow_mut().person().remove("/lab/primary/projects".as_ref());
    lab.assert_converged("deaf");
}

#[test]
fn a_server_that_hangs_is_not_taken_for_an_empty_one() {
    let lab = Lab::converged(POOL);
    let before = lab.effects();
    lab.world.borrow_mut().blind(Source::Tmux, 5);
    lab.run(Duration::from_mins(30));
    assert_eq!(lab.effects(), before, "{}", lab.story());
    lab.world.borrow_mut().person().hang_server(true);
    lab.run(Duration::from_mins(30));
    lab.world.borrow_mut().person().hang_server(false);
    assert_eq!(lab.effects(), before, "{}", lab.story());
    lab.assert_converged("it answers again");
}

#[test]
fn an_unmounted_share_starts_nothing() {
    let lab = Lab::converged(POOL);
    lab.world.borrow_mut().person().rename("/lab/shared".as_ref(), "/lab/elsewhere".as_ref());
    lab.world.borrow_mut().person().put_directory("/lab/shared".as_ref(), &[]);
    let before = lab.effects();
    lab.world.borrow_mut().person().kill_agent("s-0");
    lab.run(LONG);
    assert_eq!(lab.effects(), before, "{}", lab.story());
    lab.world.borrow_mut().person().remove("/lab/shared".as_ref());
    lab.world.borrow_mut().person().rename("/lab/elsewhere".as_ref(), "/lab/shared".as_ref());
    lab.assert_converged("mounted again");
}

#[test]
fn an_agent_that_ends_again_and_again_is_left_alone_and_said() {
    let lab = Lab::converged(POOL);
    let who = claude_failover::sim::Who { session: Some(claude_failover::model::SessionName::new("s-1").unwrap()), account: None };
    let manner = claude_failover::sim::Manner { exits: Some((Duration::from_millis(300), 1)), ..Default::default() };
    lab.world.borrow_mut().set_manner(who, manner);
    lab.world.borrow_mut().person().kill_agent("s-1");
    lab.run(LONG);
    let quarantined = lab.memory().attempts.values().filter(|attempts| attempts.quarantined).count();
    assert_eq!(quarantined, 1, "{}", lab.story());
    let before = (lab.effects(), lab.events().len());
    lab.run(LONG);
    assert_eq!((lab.effects(), lab.events().len()), before, "{}", lab.story());
    lab.assert_promises("quarantined");
}

/// However often the server goes: its sessions have not ended by themselves, and none is given up for it.
#[test]
fn a_server_that_is_lost_again_and_again_quarantines_nobody() {
    let lab = Lab::converged(POOL);
    for _ in 0..7 {
        lab.world.borrow_mut().person().kill_server();
        lab.run(Duration::from_secs(30));
    }
    let losses = lab.events().into_iter().filter(|stored| stored.event.reason == EventReason::ServerLost);
    let told: u64 = losses.map(|stored| stored.count).sum();
    assert_eq!(told, 7, "{}", lab.story());
    assert!(lab.memory().attempts.is_empty(), "{}", lab.story());
    lab.assert_converged("the server lives");
}

/// Also when the process that found it lost was killed at once.
#[test]
fn a_state_that_was_lost_is_told_once() {
    let lab = Lab::converged(POOL);
    lab.lose_state();
    drop(lab.store());
    lab.run(LONG);
    lab.run(LONG);
    let told: Vec<_> = lab.events().into_iter().filter(|stored| stored.event.reason == EventReason::StateRenewed).collect();
    assert_eq!(told.iter().map(|stored| stored.count).sum::<u64>(), 1, "{}", lab.story());
    lab.assert_converged("the state was lost");
}

#[test]
fn going_there_and_back_gives_the_first_world_again() {
    let mut lab = Lab::converged(POOL);
    let conversations = lab.memory().sessions.iter().map(|(name, record)| (name.clone(), record.conversation)).collect::<Vec<_>>();
    let more = POOL.replace("s-{0..3}", "s-{0..5}");
    lab.declare(&more);
    lab.assert_converged("two more sessions");
    lab.declare(POOL);
    lab.assert_converged("without them again");
    let after = lab.memory().sessions.iter().map(|(name, record)| (name.clone(), record.conversation)).collect::<Vec<_>>();
    assert_eq!(conversations, after, "{}", lab.story());
}
