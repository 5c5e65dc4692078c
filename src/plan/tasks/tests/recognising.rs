use super::*;
use crate::{
    plan::tasks::recognise::{claim_of, is_ours},
    plan::tests::world::{OTHER_POOL, POOL},
};

/// A task with a marker of ours for `by`, of which nothing is remembered, like everything else of tasks.
fn lost(by: &str, lease: i64) -> Board {
    let mut board = Board::new(2);
    board.put("a", 300);
    let claim = claim_of(POOL, &task("a"), &session(by), 2, at(-60).wall);
    let marker = Marker { session: session(by), attempt: 2, claim, claimed_at: at(-60).wall, lease_until: at(lease).wall };
    board.queue().markers.insert(name("a"), MarkerView::Marker(marker));
    board
}

fn claim(board: &mut Board) -> ClaimId {
    let Some(MarkerView::Marker(marker)) = board.queue().markers.get(&name("a")) else { panic!("a marker") };
    marker.claim.clone()
}

#[test]
fn what_was_claimed_can_be_told_from_its_marker() {
    let mut board = Board::new(1);
    board.put("a", 300);
    let planned = board.plan();
    let marker = planned.plan.actions.iter().find_map(|(_, action)| match action.effect.as_ref()? {
        Effect::Queue { change: QueueChange::Claim { marker, .. }, .. } => Some(marker.clone()),
        _ => None,
    });
    let marker = marker.expect("it is claimed");
    assert!(is_ours(POOL, &task("a"), &marker));
    assert!(!is_ours(OTHER_POOL, &task("a"), &marker), "another pool's");
    assert!(!is_ours(POOL, &task("b"), &marker), "another task's");
    assert!(!is_ours(POOL, &task("a"), &Marker { session: session("s-7"), ..marker.clone() }), "of another session");
    assert!(!is_ours(POOL, &task("a"), &Marker { claimed_at: at(1).wall, ..marker }), "of another time");
}

#[test]
fn a_task_that_its_session_works_on_stays_with_it() {
    let mut board = lost("s-0", 540);
    let claim = claim(&mut board);
    let agent = board.world.agent("s-0");
    (agent.activity, agent.activity_since) = (Activity::Working, Some(at(-40).wall));
    agent.prompts.push(PromptView { claim: claim.clone(), at: at(-50).wall });
    assert_eq!(board.learn(), [EventReason::TaskClaimed]);
    assert_eq!(board.learn(), [EventReason::TaskDelivered], "its agent's own word is heard");
    assert_eq!((board.attempt("a").session.clone(), board.attempt("a").claim.clone()), (session("s-0"), claim));
    assert_eq!(board.told(), [""; 0], "neither is it given to the other session, nor is anybody asked again");
    // The agent puts its file into done/.
    board.queue().inbox.clear();
    board.queue().done.insert(name("a"), at(0).wall);
    assert_eq!(board.learn(), [EventReason::TaskDone]);
    assert_eq!(board.told(), ["Settle task/api/a.md: take its marker away"]);
}

#[test]
fn a_task_that_was_asked_about_once_more_is_not_asked_about_a_third_time() {
    let mut board = lost("s-0", 540);
    let claim = claim(&mut board);
    board
        .world
        .agent("s-0")
        .prompts
        .extend([(claim.clone(), -50), (claim.again(), -30)].map(|(claim, when)| PromptView { claim, at: at(when).wall }));
    board.rest("s-0", 20);
    board.learn();
    board.learn();
    assert_eq!(board.attempt("a").follow_ups, 1);
    board.learn();
    assert_eq!(board.verdict("a"), Some(AttemptVerdict::Undone));
}

/// Only the newest prompts of an agent are kept: those with which the attempt began may not be among them.
#[test]
fn an_attempt_that_was_told_to_go_on_often_stands_at_its_last_prompt() {
    for known in [0..=1, 2..=6, 5..=12] {
        let mut board = lost("s-0", 540);
        let (claim, last) = (claim(&mut board), *known.end());
        let prompts = known.map(|number| PromptView { claim: claim.prompt(number), at: at(i64::from(number) - 60).wall });
        let agent = board.world.agent("s-0");
        agent.prompts.extend(prompts);
        (agent.activity, agent.activity_since, agent.turn_cut_off_at) = (Activity::Idle, Some(at(-30).wall), Some(at(-30).wall));
        assert_eq!(board.learn(), [EventReason::TaskClaimed]);
        assert_eq!(board.learn(), [EventReason::TaskDelivered], "{last}");
        assert_eq!((board.attempt("a").follow_ups, board.attempt("a").prompts_before()), (1, last));
        board.world.look_again(at(600));
        let queue = board.queue().clone();
        board.world.seen.queues.insert(project_name(), Seen::known(queue, at(600)));
        let typed = board.plan().plan.actions.into_iter().find_map(|(_, action)| match action.effect {
            Some(Effect::TypePrompt { claim, .. }) => Some(claim),
            _ => None,
        });
        assert_eq!(typed, Some(claim.prompt(last + 1)), "the next one has a name that none had before");
    }
}

/// Whether it was typed is not known, so it is never typed again: the same session could do it twice.
#[test]
fn a_task_that_nobody_works_on_is_offered_again_when_its_lease_is_over() {
    let mut board = lost("s-0", 540);
    board.rest("s-0", 100);
    board.learn();
    for _ in 0..2 {
        assert_eq!(board.learn(), [], "its lease holds");
        assert_eq!(board.told(), [""; 0]);
    }
    let mut board = lost("s-0", -1);
    board.rest("s-0", 100);
    assert_eq!(board.learn(), [EventReason::TaskClaimed]);
    assert_eq!(board.learn(), [EventReason::TaskReleased]);
    assert_eq!(board.told(), ["Settle task/api/a.md: offer it again"]);
}

#[test]
fn a_session_that_is_not_declared_any_more_has_no_task() {
    let mut board = lost("gone", 540);
    assert_eq!(board.learn(), [EventReason::TaskClaimed]);
    assert_eq!(board.learn(), [EventReason::TaskReleased]);
    assert_eq!(board.told(), ["Settle task/api/a.md: offer it again"]);
}

#[test]
fn a_session_of_which_nothing_is_known_yet_keeps_its_task() {
    for lease in [540, -10_000] {
        let mut board = lost("s-0", lease);
        board.world.memory.sessions.remove(&session("s-0"));
        assert_eq!(board.learn(), []);
        let told = board.told();
        assert!(told.contains(&"waits task/api/a.md SessionNotFree".to_owned()), "{told:?}");
        assert!(told.iter().all(|line| !line.contains("Tidy") && !line.contains("Dispatch")), "{told:?}");
    }
}

#[test]
fn a_marker_of_others_and_one_that_cannot_be_looked_at_teach_nothing() {
    let mut board = lost("s-0", 540);
    if let Some(MarkerView::Marker(marker)) = board.queue().markers.get_mut(&name("a")) {
        marker.claim = claim_of(OTHER_POOL, &task("a"), &session("s-0"), 2, at(-60).wall);
    }
    assert_eq!(board.learn(), []);
    assert_eq!(board.told(), ["waits task/api/a.md ForeignMarker"]);
    let mut board = lost("s-0", 540);
    board.world.seen.queues.insert(project_name(), crate::plan::tests::world::unseen());
    assert_eq!(board.learn(), []);
    // What is remembered goes before the marker.
    let mut board = Board::new(2);
    board.put_taken("a", "s-1");
    let held = board.attempt("a").clone();
    let marker = claim_of(POOL, &task("a"), &session("s-0"), 2, at(-60).wall);
    let marker = Marker { session: session("s-0"), attempt: 2, claim: marker, claimed_at: at(-60).wall, lease_until: at(5).wall };
    board.queue().markers.insert(name("a"), MarkerView::Marker(marker));
    board.learn();
    assert_eq!(board.record("a").attempts, [held]);
}
