//! How attempts end by what is seen.

use super::*;

use AttemptVerdict as V;

type Case = (&'static str, fn(&mut Board), Option<AttemptVerdict>, &'static [EventReason]);

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
