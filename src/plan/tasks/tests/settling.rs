//! What ends.

use super::*;

fn marker(claim: &str, claimed: i64, lease: i64) -> MarkerView {
    MarkerView::Marker(Marker {
        session: session("s-0"),
        attempt: 1,
        claim: ClaimId(claim.to_owned()),
        claimed_at: at(claimed).wall,
        lease_until: at(lease).wall,
    })
}

#[test]
fn a_marker_that_is_nobodys_goes_when_it_and_its_lease_are_old() {
    const TAKEN: &str = "Tidy task/api/a.md: take its marker away";
    let unreadable = |age| MarkerView::Unreadable { why: "not JSON".to_owned(), modified_at: at(age).wall };
    for (what, view, wanted) in [
        ("young", marker("0123456789ab", -1_700, -100), "waits task/api/a.md ForeignMarker"),
        ("leased", marker("0123456789ab", -1_900, 100), "waits task/api/a.md ForeignMarker"),
        ("old", marker("0123456789ab", -1_900, -100), TAKEN),
        ("unreadable and young", unreadable(-1_700), "waits task/api/a.md UnreadableMarker"),
        ("unreadable and old", unreadable(-1_900), TAKEN),
    ] {
        let mut board = Board::new(1);
        board.put("a", 3_000);
        board.queue().markers.insert(name("a"), view);
        assert_eq!(board.told(), [wanted], "{what}");
        assert!(board.deadline().is_some() || wanted == TAKEN, "{what}: nothing wakes us");
    }
}

#[test]
fn a_task_that_had_all_its_attempts_is_put_aside() {
    let mut board = Board::new(1);
    board.put_taken("a", "s-0").follow_ups = 1;
    board.rest("s-0", 30);
    board.world.spec.projects[0].attempts = 1;
    assert_eq!(board.learn(), [EventReason::TaskReleased]);
    assert_eq!(board.verdict("a"), Some(AttemptVerdict::Undone));
    assert_eq!(board.told(), ["Settle task/api/a.md: put it into failed/"]);
    board.queue().markers.clear();
    assert_eq!(board.told(), ["Settle task/api/a.md: put it into failed/"], "without a marker too");
    board.put("a", 300).attempts = Some(2);
    assert_eq!(board.told(), ["waits project/api TaskPause"], "it may have more");
}

#[test]
fn a_task_that_ends_its_agents_is_put_aside_at_once() {
    let mut board = Board::new(2);
    board.put_taken("a", "s-0").exits = [-40, -30].map(|second| at(second).wall).into();
    board.world.end_agent("s-0");
    let attempts = crate::plan::Attempts { quarantined: true, ..crate::plan::Attempts::default() };
    board.world.memory.attempts.insert(ObjectRef::Session(session("s-0")), attempts);
    assert_eq!(board.learn(), [EventReason::TaskReleased]);
    let planned = board.plan();
    let failed = planned.plan.actions.iter().find_map(|(_, action)| match &action.effect {
        Some(Effect::Queue { change: QueueChange::Fail { reason, .. }, .. }) => Some(reason),
        _ => None,
    });
    let reason = failed.expect("it is put aside, although it may have three attempts");
    for words in ["session s-0", "ended 2 times", &format!("{:.0}, {:.0}", at(-40).wall, at(-30).wall)] {
        assert!(reason.contains(words), "{words} is not in: {reason}");
    }
}

#[test]
fn what_never_reached_an_agent_does_not_count() {
    let mut board = Board::new(1);
    let attempt = board.put_taken("a", "s-0");
    (attempt.typed, attempt.typed_at, attempt.taken_at, attempt.delivered_at) = (0, None, None, None);
    board.world.agent("s-0").prompts.clear();
    board.world.spec.projects[0].attempts = 1;
    assert_eq!(board.learn(), [EventReason::TaskReleased]);
    assert_eq!(board.verdict("a"), Some(AttemptVerdict::Undelivered));
    assert_eq!(board.told(), ["Settle task/api/a.md: offer it again"]);
}
