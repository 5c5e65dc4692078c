//! What is typed, and when.

use super::*;

const ASK: &str = "Dispatch task/api/a.md: ask session s-0";
const GO_ON: &str = "Dispatch task/api/a.md: tell session s-0 to go on";
const ASK_AGAIN: &str = "Dispatch task/api/a.md: ask session s-0 once more";

type Case = (&'static str, fn(&mut Board), &'static [&'static str]);

/// The turn was cut off so many seconds ago, after it had been told to go on so often.
fn cut_off(board: &mut Board, seconds: i64, resumed: u32) {
    let agent = board.world.agent("s-0");
    (agent.activity, agent.activity_since, agent.turn_cut_off_at) = (Activity::Idle, Some(at(-seconds).wall), Some(at(-seconds).wall));
    board.attempt("a").resumed = resumed;
    assert_eq!(board.learn(), []);
}

#[test]
fn a_prompt_is_typed_when_it_can_arrive_and_has_not() {
    let cases: &[Case] = &[
        ("at work", |_| {}, &[]),
        ("claimed", |board| untaken(board, 0, 0), &[ASK]),
        ("typed a moment ago", |board| untaken(board, 1, 9), &[]),
        ("not proven in time", |board| untaken(board, 1, 10), &[ASK]),
        ("typed three times", |board| untaken(board, 3, 10), &[]),
        (
            "somebody is there",
            |board| {
                untaken(board, 0, 0);
                board.world.pane("s-0").attached = 1;
            },
            &["waits task/api/a.md SessionNotFree"],
        ),
        (
            "a draft stands in its box",
            |board| {
                untaken(board, 0, 0);
                board.refuse_typing(1);
            },
            &["waits task/api/a.md SessionNotFree"],
        ),
        (
            "held",
            |board| {
                untaken(board, 0, 0);
                board.gate.hold = Some(Hold { reason: "Suspended".to_owned(), message: "m".to_owned(), until: None });
            },
            &[],
        ),
        (
            "a swap is open",
            |board| {
                untaken(board, 0, 0);
                board.world.open_swap(&["s-0"]);
            },
            &[],
        ),
        (
            "not idle",
            |board| {
                untaken(board, 0, 0);
                board.world.agent("s-0").activity = Activity::NeedsInput;
            },
            &[],
        ),
        (
            "not known",
            |board| {
                untaken(board, 0, 0);
                board.world.agent("s-0").activity = Activity::Unknown;
            },
            &[],
        ),
        (
            "no marker",
            |board| {
                untaken(board, 0, 0);
                board.queue().markers.clear();
            },
            &["Dispatch task/api/a.md: mark it for session s-0 again"],
        ),
        ("turn over a moment ago", |board| board.rest("s-0", 2), &[]),
        ("turn over", |board| board.rest("s-0", 4), &[ASK_AGAIN]),
        (
            "at rest, nothing said of an end",
            |board| {
                board.rest("s-0", 15);
                board.world.agent("s-0").turn_ended_at = None;
            },
            &[],
        ),
        (
            "at rest for long, nothing said of an end",
            |board| {
                board.rest("s-0", 25);
                board.world.agent("s-0").turn_ended_at = None;
            },
            &[ASK_AGAIN],
        ),
        ("cut off a moment ago", |board| cut_off(board, 19, 0), &["waits task/api/a.md TurnCutOff"]),
        ("cut off", |board| cut_off(board, 20, 0), &[GO_ON]),
        (
            "cut off, and a turn is enough",
            |board| {
                cut_off(board, 20, 0);
                board.world.spec.projects[0].completion = Completion::Turn;
            },
            &[GO_ON],
        ),
        ("cut off for the third time", |board| cut_off(board, 48, 2), &["waits task/api/a.md TurnCutOff"]),
        (
            "cut off after it was asked once more",
            |board| {
                cut_off(board, 20, 0);
                board.attempt("a").follow_ups = 1;
            },
            &[GO_ON],
        ),
        (
            "cut off, and over since then",
            |board| {
                cut_off(board, 20, 0);
                board.rest("s-0", 10);
            },
            &[ASK_AGAIN],
        ),
        ("idle since before the prompt", |board| board.rest("s-0", 100), &[]),
        (
            "the queue was looked at before the end",
            |board| {
                board.rest("s-0", 4);
                let queue = board.queue().clone();
                board.world.seen.queues.insert(project_name(), Seen::known(queue, at(-5)));
            },
            &[],
        ),
        (
            "asked once more and not proven",
            |board| {
                board.rest("s-0", 200);
                let attempt = board.attempt("a");
                (attempt.follow_ups, attempt.taken_at) = (1, None);
            },
            &[ASK_AGAIN],
        ),
        (
            "turn over, and a turn is enough",
            |board| {
                board.rest("s-0", 4);
                board.world.spec.projects[0].completion = Completion::Turn;
            },
            &["Settle task/api/a.md: move it to done/"],
        ),
        (
            "interrupted, and a turn is enough",
            |board| {
                board.rest("s-0", 25);
                board.world.agent("s-0").turn_ended_at = None;
                board.world.spec.projects[0].completion = Completion::Turn;
            },
            &[ASK_AGAIN],
        ),
        (
            "overdue and at work",
            |board| board.world.spec.projects[0].timeout = Duration::from_mins(1),
            &["warns task/api/a.md TaskOverdue"],
        ),
        (
            "overdue and idle",
            |board| {
                board.rest("s-0", 4);
                board.world.spec.projects[0].timeout = Duration::from_mins(1);
            },
            &[],
        ),
        ("its agent has ended", |board| board.world.end_agent("s-0"), &["Restart session/s-0: resume on primary"]),
    ];
    for (what, change, wanted) in cases {
        let mut board = Board::new(2);
        board.put_taken("a", "s-0");
        change(&mut board);
        assert_eq!(board.told(), *wanted, "{what}");
    }
}

/// What is said of a task while there is nothing to do about it.
#[test]
fn what_is_awaited_of_its_session_is_said() {
    type Change = fn(&mut Board);
    let cases: [(&str, Change, &str); 5] = [
        ("overdue, at work", overdue, "session s-0 has it since 2027-01-15T07:59:00Z and is working; OFFERED"),
        (
            "overdue, its agent has ended",
            |board| {
                overdue(board);
                board.world.end_agent("s-0");
            },
            "session s-0 has it since 2027-01-15T07:59:00Z and has no agent now; OFFERED",
        ),
        (
            "overdue, not known",
            |board| {
                overdue(board);
                board.world.agent("s-0").activity = Activity::Unknown;
            },
            "session s-0 has it since 2027-01-15T07:59:00Z and cannot be looked at; OFFERED",
        ),
        (
            "cut off a moment ago",
            |board| cut_off(board, 19, 0),
            "session s-0 was cut off in its turn by a limit or an error of the API; it is told to go on at 2027-01-15T08:00:01Z",
        ),
        (
            "cut off, and what it did was not looked at",
            |board| {
                cut_off(board, 25, 0);
                board.truth.clear();
            },
            "session s-0 was cut off in its turn by a limit or an error of the API; it is told to go on once what it did was looked at",
        ),
    ];
    for (what, change, wanted) in cases {
        let mut board = Board::new(1);
        board.put_taken("a", "s-0");
        change(&mut board);
        let report = board.plan().report;
        let of_task = report.waiting.into_iter().chain(report.warnings).filter(|entry| entry.object == ObjectRef::Task(task("a")));
        let said: Vec<_> = of_task.map(|entry| entry.message).collect();
        assert_eq!(said, [wanted.replace("OFFERED", "it is offered again once that has ended")], "{what}");
    }
}

fn overdue(board: &mut Board) {
    board.world.spec.projects[0].timeout = Duration::from_mins(1);
}

#[test]
fn a_prompt_that_asks_once_more_has_a_claim_of_its_own() {
    let mut board = Board::new(1);
    board.put_taken("a", "s-0");
    board.rest("s-0", 4);
    let claim = board.attempt("a").claim.clone();
    let planned = board.plan();
    let Some(Effect::TypePrompt { text, claim: typed, .. }) = &planned.plan.actions[0].1.effect else { panic!("{planned:?}") };
    assert_eq!((typed, ClaimId::all_in(text)), (&claim.again(), vec![claim.again()]));
}

#[test]
fn a_lease_that_was_prolonged_is_written_into_the_marker() {
    let mut board = Board::new(1);
    board.put_taken("a", "s-0").lease_until = at(200).wall;
    assert_eq!(board.learn(), []);
    assert_eq!(board.attempt("a").lease_until, at(600).wall);
    assert_eq!(board.told(), [format!("Settle task/api/a.md: renew the lease of session s-0 until {:.0}", at(600).wall)]);
}

/// What is typed contains what was seen behind the end of the turn. For that it is waited a while, and not for ever.
#[test]
fn who_is_asked_once_more_is_told_what_is_known() {
    for (what, rest, truth, wanted) in [
        ("known since the end", 4, Some(-4), Some(true)),
        ("known from before the end", 4, Some(-5), None),
        ("not known", 12, None, None),
        ("not known for long", 13, None, Some(false)),
        ("known from before the end for long", 13, Some(-50), Some(true)),
    ] {
        let mut board = Board::new(1);
        board.put_taken("a", "s-0");
        board.rest("s-0", rest);
        board.truth =
            truth.map(|at_second| (session("s-0"), Truth { text: "the truth".to_owned(), at: at(at_second).wall })).into_iter().collect();
        let typed = board.plan().plan.actions.into_iter().find_map(|(_, action)| match action.effect {
            Some(Effect::TypePrompt { text, .. }) => Some(text.contains("What is known: the truth")),
            _ => None,
        });
        assert_eq!(typed, wanted, "{what}");
        assert!(typed.is_some() || board.deadline().is_some(), "{what}: nothing wakes us");
        let World { spec, seen, memory, now } = &board.world;
        let asked_for = wanted_truths(&TaskGrounds { spec, seen, memory, now: *now }, &board.truth);
        assert_eq!(asked_for.is_empty(), what == "known since the end", "{what}");
    }
}
