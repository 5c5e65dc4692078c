//! How attempts end by what is seen.

use super::*;

use AttemptVerdict as V;

type Case = (&'static str, fn(&mut Board), Option<AttemptVerdict>, &'static [EventReason]);

/// The agent of `s-0` ended by itself at these times.
fn exits(board: &mut Board, times: &[i64], quarantined: bool) {
    let exits = times.iter().map(|time| at(*time).wall).collect();
    let attempts = crate::plan::Attempts { exits, quarantined, ..crate::plan::Attempts::default() };
    board.world.memory.attempts.insert(ObjectRef::Session(session("s-0")), attempts);
}

/// It was claimed a short while ago, and its session has refused to be typed into so often since then.
fn refused_unasked(board: &mut Board, times: u32) {
    untaken(board, 0, 0);
    board.attempt("a").claimed_at = at(-20).wall;
    board.refuse_typing(times);
}

#[test]
fn an_attempt_ends_by_what_is_seen_and_by_nothing_else() {
    use EventReason::{TaskDelivered, TaskDone, TaskFailed, TaskReleased};
    let cases: &[Case] = &[
        ("at work", |_| {}, None, &[]),
        (
            "delivered",
            |board| {
                board.attempt("a").taken_at = None;
                board.attempt("a").delivered_at = None;
            },
            None,
            &[TaskDelivered],
        ),
        (
            "in done",
            |board| {
                board.queue().inbox.clear();
                board.queue().done.insert(name("a"), at(-1).wall);
            },
            Some(V::Done),
            &[TaskDone],
        ),
        (
            "in done since before",
            |board| {
                board.attempt("a").done_before = Some(at(-99).wall);
                board.queue().done.insert(name("a"), at(-99).wall);
                board.queue().inbox.clear();
            },
            None,
            &[],
        ),
        (
            "in failed",
            |board| {
                board.queue().inbox.clear();
                board.queue().failed.insert(name("a"), at(-1).wall);
            },
            Some(V::GivenUp),
            &[TaskFailed],
        ),
        (
            "in the inbox and in done",
            |board| {
                board.queue().done.insert(name("a"), at(-1).wall);
            },
            None,
            &[],
        ),
        ("nowhere, seen once", |board| board.queue().inbox.clear(), None, &[]),
        (
            "nowhere, seen twice, and its session at rest",
            |board| {
                board.rest("s-0", 30);
                board.queue().inbox.clear();
                board.record("a").gone_since = Some(at(-2).wall);
            },
            Some(V::Vanished),
            &[EventReason::TaskVanished],
        ),
        (
            "nowhere, seen twice, and its session at work",
            |board| {
                board.queue().inbox.clear();
                board.record("a").gone_since = Some(at(-2).wall);
            },
            None,
            &[],
        ),
        (
            "being written into, and seen as gone before",
            |board| {
                board.rest("s-0", 2);
                board.queue().inbox.clear();
                board.queue().restless.insert(name("a"));
                board.record("a").gone_since = Some(at(-2).wall);
            },
            None,
            &[],
        ),
        (
            "being written into, with an older one in done",
            |board| {
                board.queue().inbox.clear();
                board.queue().restless.insert(name("a"));
                board.queue().done.insert(name("a"), at(-1).wall);
            },
            None,
            &[],
        ),
        (
            "the queue is not known",
            |board| {
                board.queue().inbox.clear();
                board.world.seen.queues.insert(project_name(), crate::plan::tests::world::unseen());
            },
            None,
            &[],
        ),
        ("turn over", |board| board.rest("s-0", 30), None, &[]),
        (
            "asked once more, over again",
            |board| {
                board.rest("s-0", 30);
                board.attempt("a").follow_ups = 1;
            },
            Some(V::Undone),
            &[TaskReleased],
        ),
        (
            "asked once more, and cut off",
            |board| {
                board.rest("s-0", 40);
                board.attempt("a").follow_ups = 1;
                let agent = board.world.agent("s-0");
                (agent.turn_ended_at, agent.turn_cut_off_at) = (None, Some(at(-40).wall));
            },
            None,
            &[],
        ),
        (
            "asked once more, over a moment ago",
            |board| {
                board.rest("s-0", 1);
                board.attempt("a").follow_ups = 1;
            },
            None,
            &[],
        ),
        ("never typed", |board| untaken(board, 0, 0), Some(V::Undelivered), &[TaskReleased]),
        (
            "never typed, claimed just now",
            |board| {
                untaken(board, 0, 0);
                board.attempt("a").claimed_at = at(-9).wall;
            },
            None,
            &[],
        ),
        ("typed twice", |board| untaken(board, 2, 30), None, &[]),
        ("typed three times", |board| untaken(board, 3, 10), Some(V::Undelivered), &[TaskReleased]),
        ("typed three times, just now", |board| untaken(board, 3, 9), None, &[]),
        (
            "unproven, and the lease is over",
            |board| {
                untaken(board, 1, 30);
                board.attempt("a").lease_until = at(-1).wall;
            },
            Some(V::Undelivered),
            &[TaskReleased],
        ),
        (
            "unproven, at work, and the lease is over",
            |board| {
                untaken(board, 1, 30);
                board.world.agent("s-0").activity = Activity::Working;
                board.attempt("a").lease_until = at(-1).wall;
            },
            None,
            &[],
        ),
        ("overdue, at work", |board| board.attempt("a").claimed_at = at(-20_000).wall, None, &[]),
        (
            "overdue, waits for a person",
            |board| {
                board.attempt("a").claimed_at = at(-20_000).wall;
                board.world.agent("s-0").activity = Activity::NeedsInput;
            },
            None,
            &[],
        ),
        (
            "overdue, idle",
            |board| {
                board.rest("s-0", 30);
                board.attempt("a").claimed_at = at(-20_000).wall;
            },
            Some(V::TimedOut),
            &[TaskReleased],
        ),
        (
            "another conversation",
            |board| {
                board.world.agent("s-0").register.as_mut().unwrap().conversation = World::conversation("s-9");
            },
            Some(V::SessionLost),
            &[TaskReleased],
        ),
        ("not declared, at work", |board| board.world.undeclare("s-0"), None, &[]),
        (
            "not declared, idle",
            |board| {
                board.rest("s-0", 30);
                board.world.undeclare("s-0");
            },
            Some(V::SessionLost),
            &[TaskReleased],
        ),
        ("ended, to be started again", |board| board.world.end_agent("s-0"), None, &[]),
        (
            "ended, lease over, to be started again with what it took",
            |board| {
                board.world.end_agent("s-0");
                board.attempt("a").lease_until = at(-1).wall;
            },
            None,
            &[],
        ),
        (
            "ended, lease over, and never seen to take it",
            |board| {
                board.world.end_agent("s-0");
                board.world.agent("s-0").prompts.clear();
                let attempt = board.attempt("a");
                (attempt.lease_until, attempt.delivered_at, attempt.taken_at) = (at(-1).wall, None, None);
            },
            Some(V::SessionLost),
            &[TaskReleased],
        ),
        (
            "ended for good",
            |board| {
                board.world.end_agent("s-0");
                let attempts = crate::plan::Attempts { quarantined: true, ..crate::plan::Attempts::default() };
                board.world.memory.attempts.insert(ObjectRef::Session(session("s-0")), attempts);
            },
            Some(V::SessionLost),
            &[TaskReleased],
        ),
        (
            "ended for good, and twice while it was at it",
            |board| {
                board.world.end_agent("s-0");
                exits(board, &[-45, -20], true);
            },
            Some(V::Crashed),
            &[TaskReleased],
        ),
        (
            "ended for good, and once while it was at it",
            |board| {
                board.world.end_agent("s-0");
                exits(board, &[-300, -200, -20], true);
            },
            Some(V::SessionLost),
            &[TaskReleased],
        ),
        ("ended four times while it was at it", |board| exits(board, &[-40, -30, -20, -10], false), None, &[]),
        ("ended five times while it was at it, and at it again", |board| exits(board, &[-40, -30, -20, -10, -5], false), None, &[]),
        (
            "ended five times while it was at it, and idle",
            |board| {
                exits(board, &[-40, -30, -20, -10, -5], false);
                board.rest("s-0", 1);
            },
            Some(V::Crashed),
            &[TaskReleased],
        ),
        ("refused to be typed into", |board| refused_unasked(board, MAX_REFUSALS), Some(V::Undelivered), &[TaskReleased]),
        ("refused to be typed into for the first time", |board| refused_unasked(board, 1), None, &[]),
        (
            "the agent is not known, lease over",
            |board| {
                board.world.seen.agents.insert(session("s-0"), crate::plan::tests::world::unseen());
                board.attempt("a").lease_until = at(-1).wall;
            },
            None,
            &[],
        ),
        (
            "tmux is not known, lease over",
            |board| {
                board.world.seen.tmux = crate::plan::tests::world::unseen();
                board.rest("s-0", 30);
                board.attempt("a").lease_until = at(-1).wall;
            },
            None,
            &[],
        ),
        (
            "a turn is enough",
            |board| {
                board.rest("s-0", 30);
                board.world.spec.projects[0].completion = Completion::Turn;
            },
            None,
            &[],
        ),
    ];
    for (what, change, verdict, events) in cases {
        let mut board = Board::new(1);
        board.put_taken("a", "s-0");
        change(&mut board);
        assert_eq!(board.learn(), *events, "{what}");
        assert_eq!(board.verdict("a"), *verdict, "{what}");
        assert!(board.absorb().is_empty(), "{what}: learnt twice {:?}", board.absorb());
        // What cannot be looked at is looked at again at the next resync.
        if verdict.is_none() && board.world.seen.queues[&project_name()].value().is_some() {
            assert!(board.deadline().is_some(), "{what}: nothing wakes us");
        }
    }
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_up() {
    let mut board = Board::new(1);
    board.put_taken("a", "s-0");
    untaken(&mut board, 1, -5_000);
    let attempt = board.attempt("a");
    (attempt.claimed_at, attempt.lease_until) = (at(4_990).wall, at(5_600).wall);
    board.learn();
    let attempt = board.attempt("a");
    let times = (attempt.claimed_at, attempt.typed_at, attempt.lease_until);
    assert_eq!(times, (at(0).wall, Some(at(0).wall), at(600).wall));
    assert_eq!(board.deadline(), Some(at(10).wall), "it is asked again when the proof is due");
    // The turn was over before the clock was set back.
    let mut board = Board::new(1);
    board.put_taken("a", "s-0").taken_at = Some(at(4_000).wall);
    board.rest("s-0", -4_100);
    board.learn();
    assert_eq!(board.told(), ["Dispatch task/api/a.md: ask session s-0 once more"]);
    // It pauses no longer than any task does.
    board.attempt("a").follow_ups = 1;
    assert_eq!(board.learn(), [EventReason::TaskReleased]);
    board.record("a").not_before = Some(at(9_000).wall);
    board.learn();
    assert_eq!(board.record("a").not_before, Some(at(600).wall));
}

#[test]
fn a_session_is_typed_into_again_once_its_agent_shows_something_new() {
    type Change = fn(&mut Board);
    let cases: [(&str, Change, bool); 6] = [
        ("nothing new", |_| {}, true),
        ("not to be seen", |board| drop(board.world.seen.agents.insert(session("s-0"), crate::plan::tests::world::unseen())), true),
        ("at work", |board| board.world.agent("s-0").activity = Activity::Working, false),
        ("idle again", |board| board.rest("s-0", 1), false),
        ("another agent", |board| board.world.end_agent("s-0"), false),
        ("left out until long after any time", |board| refused(board).until = at(700).wall, false),
    ];
    for (what, change, holds) in cases {
        let mut board = Board::new(1);
        board.rest("s-0", 30);
        board.refuse_typing(2);
        change(&mut board);
        board.learn();
        assert_eq!(board.world.memory.untyped.contains_key(&session("s-0")), holds, "{what}");
    }
}

fn refused(board: &mut Board) -> &mut Untyped {
    board.world.memory.untyped.get_mut(&session("s-0")).expect("it refused")
}

#[test]
fn a_session_that_goes_on_refusing_is_left_out_for_longer() {
    let mut board = Board::new(1);
    board.rest("s-0", 30);
    let mut waits = Vec::new();
    for _ in 0..9 {
        let process = board.world.agent("s-0").process.expect("it lives");
        let World { seen, memory, now, .. } = &board.world;
        let next = Untyped::after(memory, seen, &session("s-0"), process, "a draft".to_owned(), *now);
        waits.push(now.wall.duration_until(next.until).as_secs());
        board.world.memory.untyped.insert(session("s-0"), next);
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
}

#[test]
fn what_is_accounted_for_is_forgotten() {
    let mut board = Board::new(1);
    board.put_taken("a", "s-0");
    board.queue().inbox.clear();
    board.queue().done.insert(name("a"), at(-1).wall);
    assert_eq!(board.learn(), [EventReason::TaskDone]);
    assert_eq!(board.told(), ["Settle task/api/a.md: take its marker away"]);
    board.queue().markers.clear();
    board.learn();
    assert!(board.world.memory.tasks.is_empty());
    assert!(board.absorb().is_empty());
}

#[test]
fn what_is_being_written_into_is_not_forgotten() {
    let mut board = Board::new(1);
    board.put_taken("a", "s-0").follow_ups = 1;
    board.rest("s-0", 30);
    assert_eq!(board.learn(), [EventReason::TaskReleased]);
    let attempts = crate::plan::Attempts { failures: 1, not_before: Some(at(5).wall), ..crate::plan::Attempts::default() };
    board.world.memory.attempts.insert(ObjectRef::Task(task("b")), attempts);
    board.queue().inbox.clear();
    board.queue().markers.clear();
    board.queue().restless.extend([name("a"), name("b")]);
    assert!(board.absorb().is_empty(), "{:?}", board.absorb());
    board.queue().restless.clear();
    let record = TaskRecord { not_before: None, ..board.record("a").clone() };
    let gone = [MemoryChange::CloseTask(task("a"), record), MemoryChange::ClearAttempts(ObjectRef::Task(task("b")))];
    assert_eq!(board.absorb().changes, gone);
}

#[test]
fn another_task_of_the_same_name_begins_anew() {
    let mut board = Board::new(1);
    board.put_taken("a", "s-0");
    board.queue().inbox.clear();
    board.queue().done.insert(name("a"), at(-1).wall);
    board.learn();
    board.put("a", 0);
    assert_eq!(board.told(), ["Settle task/api/a.md: take its marker away"], "the old one first");
    board.queue().markers.clear();
    board.rest("s-0", 1);
    board.learn();
    assert!(board.world.memory.tasks.is_empty());
    assert_eq!(board.told(), ["Dispatch task/api/a.md: claim it for session s-0"]);
}

#[test]
fn a_project_that_is_not_registered_any_more_is_left_alone() {
    let mut board = Board::new(1);
    board.put_taken("a", "s-0");
    board.world.spec.projects.clear();
    assert_eq!(board.learn(), [EventReason::TaskReleased]);
    assert!(board.world.memory.tasks.is_empty() && board.told().is_empty());
}
