//! The way back: the rows of the table that undo, and the latch.

use super::*;

fn answer(events: &[SwapEvent], change: impl FnOnce(&mut SwapFacts)) -> Decision {
    let plan = plan(3);
    let mut facts = facts(&plan, 10);
    facts.active_link = ActiveLinkState::At(to());
    change(&mut facts);
    next(&fold(&plan, events), &facts)
}

/// Turned back after the flip, with `s0` on the target.
fn back() -> Vec<SwapEvent> {
    [up_to_rest("s0"), vec![turned_back(8)]].concat()
}

/// The same, with the shared part undone.
fn undone() -> Vec<SwapEvent> {
    [back(), did(Step::Flip(from()), 9).to_vec(), did(Step::Ensure(from()), 9).to_vec()].concat()
}

fn latched(decision: Decision) -> String {
    match noted(decision) {
        SwapEvent::Closed { verdict: SwapVerdict::Latched, rollback_error: Some(error), .. } => error,
        other => panic!("expected the latch, got {other:?}"),
    }
}

#[test]
fn links_that_fail_behind_the_flip_send_everything_back() {
    let flipped = [did(Step::Hold, 0).to_vec(), moved("s0", &to(), 1), did(Step::Flip(to()), 2).to_vec()].concat();
    let failed = [flipped, vec![began(Step::Ensure(to()), 3), failed(Step::Ensure(to()), 4, "projects: permission denied")]].concat();
    let event = noted(answer(&failed, |_| {}));
    let SwapEvent::TurnedBack { why, .. } = &event else { panic!("{event:?}") };
    assert!(why.contains("backup") && why.contains("projects: permission denied"), "{why}");

    let mut events = [failed, vec![event]].concat();
    assert_eq!(answer(&events, |_| {}), act([Step::Flip(from())]));
    events.extend(did(Step::Flip(from()), 5));
    assert_eq!(answer(&events, |_| {}), act([Step::Ensure(from())]));
    events.extend(did(Step::Ensure(from()), 6));
    let there = |facts: &mut SwapFacts| set(facts, "s0", |fact| fact.agent = running(to(), 0));
    assert_eq!(answer(&events, there), act([Step::Stop(session("s0"))]), "and only the one that moved");
    events.extend(moved("s0", &from(), 7));
    assert!(matches!(noted(answer(&events, |_| {})), SwapEvent::Closed { verdict: SwapVerdict::RolledBack, rollback_error: None, .. }));
}

#[test]
fn a_way_back_that_fails_is_latched_with_both_errors() {
    let unflip = [back(), vec![began(Step::Flip(from()), 9), failed(Step::Flip(from()), 9, "read-only file system")]].concat();
    assert!(latched(answer(&unflip, |_| {})).contains("read-only file system"));
    let ensure =
        [back(), did(Step::Flip(from()), 9).to_vec(), vec![began(Step::Ensure(from()), 9), failed(Step::Ensure(from()), 9, "gone")]];
    let decision = answer(&ensure.concat(), |_| {});
    assert!(latched(decision.clone()).contains("gone"));
    let record = fold(&plan(3), &[ensure.concat(), vec![noted(decision)]].concat());
    assert_eq!(record.verdict, Some(SwapVerdict::Latched));
    assert_eq!(record.turned_back.as_deref(), Some("for a test"));
    assert!(record.rollback_error.as_deref().is_some_and(|error| error.contains("gone")));
    waits(&next(&record, &facts(&plan(3), 99)));
}

#[test]
fn a_flip_back_of_which_nothing_can_be_seen_is_latched() {
    let doubted = [back(), vec![began(Step::Flip(from()), 9), in_doubt(Step::Flip(from()), 9, "no answer")]].concat();
    let blind = |second| answer(&doubted, |facts| (facts.now, facts.active_link) = (at(second), ActiveLinkState::Unknown));
    assert_eq!(waits(&blind(68)).1, Some(at(69)));
    assert!(latched(blind(69)).contains("no answer"));
    let seen = answer(&doubted, |facts| facts.active_link = ActiveLinkState::At(from()));
    assert!(matches!(noted(seen), SwapEvent::Ended { result: StepResult::Done(None), .. }));
}

#[test]
fn the_way_back_of_a_canary_is_short() {
    let unproven = [did(Step::Stop(session("s0")), 1).to_vec(), did(Step::Start(session("s0"), to()), 1).to_vec()].concat();
    let events = [did(Step::Hold, 0).to_vec(), unproven, vec![turned_back(2)]].concat();
    assert_eq!(answer(&events, |_| {}), act([Step::Ensure(from())]), "the link was not flipped");
    let ensured = [events, did(Step::Ensure(from()), 3).to_vec()].concat();
    let at_work = |facts: &mut SwapFacts| {
        set(facts, "s0", |fact| (fact.agent, fact.activity) = (running(to(), 0), Activity::Working));
    };
    assert_eq!(answer(&ensured, at_work), act([Step::Stop(session("s0"))]), "what it does was never proven");
}

#[test]
fn nothing_touched_is_abandoned() {
    for before in [vec![], vec![began(Step::Hold, 0)], did(Step::Hold, 0).to_vec()] {
        let events = [before, vec![turned_back(1)]].concat();
        let decision = answer(&events, |facts| facts.from_links = LinksState::Unknown);
        assert!(matches!(noted(decision), SwapEvent::Closed { verdict: SwapVerdict::Abandoned, rollback_error: None, .. }));
    }
}

#[test]
fn a_session_that_still_runs_where_it_was_is_not_restarted() {
    let events = [up_to_rest("s0"), vec![began(Step::Stop(session("s1")), 4), turned_back(8)]].concat();
    let events = [events, did(Step::Flip(from()), 9).to_vec(), did(Step::Ensure(from()), 9).to_vec(), moved("s0", &from(), 9)].concat();
    let with =
        |proof: ProofState, activity| answer(&events, |facts| set(facts, "s1", |fact| (fact.proof, fact.activity) = (proof, activity)));
    assert!(matches!(noted(with(ProofState::Proven, Activity::Working)), SwapEvent::Proven { .. }));
    assert_eq!(waits(&with(ProofState::Unknown, Activity::Working)).1, Some(at(600)), "its work is not interrupted");
    assert_eq!(with(ProofState::Unknown, Activity::Idle), act([Step::Stop(session("s1"))]));
}

#[test]
fn an_account_without_room_is_no_reason_not_to_return() {
    let returned = [did(Step::Stop(session("s0")), 9), did(Step::Start(session("s0"), from()), 9)].concat();
    let decision = answer(&[undone(), returned].concat(), |facts| {
        set(facts, "s0", |fact| (fact.activity, fact.proof) = (Activity::LimitHit, ProofState::Proven));
    });
    assert!(matches!(noted(decision), SwapEvent::Proven { account, .. } if account == from()));
}

#[test]
fn those_that_fail_on_the_way_back_are_lost_alone() {
    let once = [did(Step::Stop(session("s0")), 9), did(Step::Start(session("s0"), from()), 9)].concat();
    let twice = [undone(), once.clone(), vec![unproven("s0", from(), 9)], once, vec![unproven("s0", from(), 9)]].concat();
    let lost = noted(answer(&twice, |_| {}));
    assert!(matches!(lost, SwapEvent::GivenUp { .. }));
    let closed = noted(answer(&[twice, vec![lost]].concat(), |_| {}));
    assert!(matches!(closed, SwapEvent::Closed { verdict: SwapVerdict::RolledBack, .. }));
}

#[test]
fn wrong_links_of_the_previous_account_are_latched_while_sessions_return() {
    let error = latched(answer(&undone(), |facts| facts.from_links = LinksState::Wrong("projects is gone".to_owned())));
    assert!(error.contains("primary") && error.contains("projects is gone"), "{error}");
    let unseen = |facts: &mut SwapFacts| facts.from_links = LinksState::Unknown;
    waits(&answer(&undone(), unseen));
    waits(&answer(&[undone(), moved("s0", &from(), 9)].concat(), unseen));
}

#[test]
fn an_abort_on_the_way_back_changes_nothing() {
    assert_eq!(answer(&back(), |facts| facts.abort = Some("again".to_owned())), act([Step::Flip(from())]));
}
