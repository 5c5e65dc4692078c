//! Which session gets which task.

use super::*;
use crate::{
    observed::{ActivitySign, ActivitySource},
    plan::{Attempts, Cordon, QueueChange, Suspension},
    spec::Session,
};

/// What is changed, and what is planned then for one task and one session.
type Case = (&'static str, fn(&mut Board), &'static [&'static str]);

const CLAIM: &str = "Dispatch task/api/a.md: claim it for session s-0";

#[test]
fn a_task_goes_to_a_session_that_is_known_to_be_free() {
    let cases: &[Case] = &[
        ("idle", |_| {}, &[CLAIM]),
        ("working", |board| board.world.agent("s-0").activity = Activity::Working, &["waits project/api NoIdleSession"]),
        ("not known", |board| board.world.agent("s-0").activity = Activity::Unknown, &["waits project/api NoIdleSession"]),
        ("waits for a person", |board| board.world.agent("s-0").activity = Activity::NeedsInput, &["waits project/api NoIdleSession"]),
        ("limited", |board| board.world.agent("s-0").activity = Activity::LimitHit, &["waits project/api NoIdleSession"]),
        ("logged out", |board| board.world.agent("s-0").activity = Activity::LoggedOut, &["waits project/api NoIdleSession"]),
        ("starting", |board| board.world.agent("s-0").activity = Activity::Starting, &["waits project/api NoIdleSession"]),
        (
            "idle by its screen alone",
            |board| {
                let agent = board.world.agent("s-0");
                (agent.activity, agent.register) = (Activity::Unknown, None);
                let sign = |source, activity| ActivitySign { source, activity, says: String::new(), at: None };
                agent.evidence = vec![sign(ActivitySource::Pane, Activity::Idle), sign(ActivitySource::Register, Activity::Unknown)];
            },
            &["waits project/api NoIdleSession"],
        ),
        ("a person is there", |board| board.world.pane("s-0").attached = 1, &["waits project/api SessionAttached"]),
        ("a draft stands in its box", |board| board.refuse_typing(1), &["waits project/api NoIdleSession"]),
        ("takes no tasks", |board| board.world.declared("s-0").dispatch = false, &["warns project/api NoSession"]),
        (
            "cordoned",
            |board| {
                let cordon = Cordon { reason: "r".to_owned(), actor: "a".to_owned(), since: at(0).wall };
                board.world.memory.cordoned.insert(ObjectRef::Session(session("s-0")), cordon);
            },
            &["waits project/api NoIdleSession"],
        ),
        (
            "quarantined",
            |board| {
                let attempts = Attempts { quarantined: true, ..Attempts::default() };
                board.world.memory.attempts.insert(ObjectRef::Session(session("s-0")), attempts);
            },
            &["waits project/api NoIdleSession"],
        ),
        (
            "another conversation",
            |board| board.world.record("s-0").conversation = World::conversation("s-9"),
            &["waits project/api NoIdleSession"],
        ),
        (
            "to be restarted on the right account",
            |board| board.world.agent("s-0").home = Some("/accounts/backup".into()),
            &["Restart session/s-0: stop, then start again with its conversation", "drift session/s-0", "waits project/api NoIdleSession"],
        ),
        (
            "last looked at too long ago",
            |board| {
                let agent = board.world.agent("s-0").clone();
                board.world.seen.agents.insert(session("s-0"), Seen::known(agent, at(-200)));
            },
            &["waits session/s-0 AgentUnknown", "waits project/api NoIdleSession"],
        ),
        (
            "cannot be read",
            |board| board.queue().inbox.get_mut(&name("a")).unwrap().header = Err("line 2".to_owned()),
            &["Settle task/api/a.md: refuse it and put it into failed/"],
        ),
        ("behind another", |board| board.put("a", 9).after.push(name("b")), &["waits project/api AfterOthers"]),
        (
            "behind one that is done",
            |board| {
                board.put("a", 9).after.push(name("b"));
                board.queue().done.insert(name("b"), at(-9).wall);
            },
            &[CLAIM],
        ),
        (
            "behind one that was done and is put in again",
            |board| {
                board.put("a", 9).after.push(name("b"));
                board.queue().done.insert(name("b"), at(-9).wall);
                board.queue().restless.insert(name("b"));
            },
            &["waits project/api AfterOthers"],
        ),
        ("for nobody", |board| board.put("a", 9).session = Some(session("s-7")), &["waits task/api/a.md NoSuchSession"]),
        (
            "paused",
            |board| {
                let record = TaskRecord { not_before: Some(at(5).wall), ..TaskRecord::default() };
                board.world.memory.tasks.insert(task("a"), record);
            },
            &["waits project/api TaskPause"],
        ),
        (
            "to be marked again, and failed a moment ago",
            |board| {
                board.put_taken("a", "s-0");
                board.queue().markers.clear();
                let attempts = Attempts { failures: 1, not_before: Some(at(5).wall), ..Attempts::default() };
                board.world.memory.attempts.insert(ObjectRef::Task(task("a")), attempts);
            },
            &["waits task/api/a.md BackingOff"],
        ),
        (
            "failed a moment ago",
            |board| {
                let attempts = Attempts { failures: 1, not_before: Some(at(5).wall), ..Attempts::default() };
                board.world.memory.attempts.insert(ObjectRef::Task(task("a")), attempts);
            },
            &["waits project/api NoIdleSession"],
        ),
        ("none may be under way", |board| board.world.spec.projects[0].max_in_flight = Some(0), &["waits project/api MaxInFlight"]),
        ("the project is gone", |board| board.queue().project_exists = false, &["warns project/api ProjectMissing"]),
        ("no queue", |board| board.queue().exists = false, &["Create project/api: make its queue"]),
        (
            "the queue cannot be looked at",
            |board| drop(board.world.seen.queues.insert(project_name(), crate::plan::tests::world::unseen())),
            &["waits project/api QueueUnknown"],
        ),
        (
            "held",
            |board| {
                board.gate.hold = Some(Hold { reason: "Exhausted".to_owned(), message: "no account has room".to_owned(), until: None });
            },
            &["waits project/api Exhausted"],
        ),
        ("let out slowly", |board| board.gate.room = 0, &["waits project/api ReleasedSlowly"]),
        (
            "let out slowly, and nobody serves it",
            |board| {
                board.gate.room = 0;
                board.world.declared("s-0").dispatch = false;
                board.world.spec.projects[0].max_in_flight = Some(0);
            },
            &["warns project/api NoSession"],
        ),
        (
            "let out slowly, and none may be under way",
            |board| {
                board.gate.room = 0;
                board.world.spec.projects[0].max_in_flight = Some(0);
            },
            &["waits project/api MaxInFlight"],
        ),
        (
            "marked by somebody",
            |board| {
                let (session, claim) = (session("s-0"), ClaimId("0123456789ab".to_owned()));
                let marker = Marker { session, attempt: 1, claim, claimed_at: at(-5).wall, lease_until: at(5).wall };
                board.queue().markers.insert(name("a"), MarkerView::Marker(marker));
            },
            &["waits task/api/a.md ForeignMarker"],
        ),
    ];
    for (what, change, wanted) in cases {
        let mut board = Board::new(1);
        board.put("a", 300);
        change(&mut board);
        assert_eq!(board.told(), *wanted, "{what}");
    }
}

#[test]
fn mistakes_that_cannot_be_put_aside_hide_no_others() {
    let mut board = Board::new(1);
    for number in 0..100 {
        let text = format!("{number:02}");
        board.put(&text, 10);
        board.queue().inbox.get_mut(&name(&text)).expect("just put").header = Err("line 2".to_owned());
        if number < 50 {
            let attempts = Attempts { failures: 1, not_before: Some(at(5).wall), ..Attempts::default() };
            board.world.memory.attempts.insert(ObjectRef::Task(task(&text)), attempts);
        }
    }
    let refused: Vec<_> = board.plan().plan.actions.iter().map(|(_, action)| action.object.to_string()).collect();
    let wanted: Vec<_> = (50..82).map(|number| format!("task/api/{number}.md")).collect();
    assert_eq!(refused, wanted, "so many of the others as one pass puts aside");
    assert_eq!(board.told().iter().filter(|line| line.ends_with(" BackingOff")).count(), 32);
}

fn claims(board: &Board) -> Vec<(String, String)> {
    let actions = board.plan().plan.actions;
    let claim = |effect: Option<Effect>| match effect {
        Some(Effect::Queue { change: QueueChange::Claim { task, marker, .. }, .. }) => Some((task.to_string(), marker.session.to_string())),
        _ => None,
    };
    actions.into_iter().filter_map(|(_, action)| claim(action.effect)).collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(task, session)| (format!("{task}.md"), (*session).to_owned())).collect()
}

#[test]
fn the_more_urgent_and_then_the_older_goes_first() {
    let mut board = Board::new(3);
    board.put("young", 10);
    board.put("old", 20);
    board.put("same-b", 15);
    board.put("same-a", 15);
    board.put("urgent", 1).priority = Some(5);
    assert_eq!(claims(&board), pairs(&[("urgent", "s-0"), ("old", "s-1"), ("same-a", "s-2")]));
}

#[test]
fn a_pinned_task_waits_for_its_session_and_holds_up_nobody() {
    let mut board = Board::new(2);
    board.put("first", 30).session = Some(session("s-1"));
    board.put("second", 20).session = Some(session("s-1"));
    board.put("third", 10);
    assert_eq!(claims(&board), pairs(&[("first", "s-1"), ("third", "s-0")]));
}

#[test]
fn a_project_is_served_by_its_own_sessions_first() {
    let mut board = Board::new(2);
    board.put("a", 30);
    let other = Session { workdir: "/src/api".into(), ..board.world.spec.sessions[&session("s-1")].clone() };
    board.world.spec.sessions.insert(session("s-1"), other);
    // The change of the start directory is to be no reason for a restart here.
    let digest = board.world.spec.start_digest(&board.world.spec.sessions[&session("s-1")].clone());
    board.world.pane("s-1").mark.as_mut().unwrap().digest = digest;
    assert_eq!(claims(&board), pairs(&[("a", "s-1")]));
    board.world.spec.projects[0].sessions = [session("s-0")].into();
    assert_eq!(claims(&board), pairs(&[("a", "s-0")]));
}

#[test]
fn another_session_is_preferred_the_second_time() {
    let mut board = Board::new(2);
    board.put_taken("a", "s-0");
    board.rest("s-0", 30);
    board.attempt("a").follow_ups = 1;
    assert_eq!(board.learn(), [EventReason::TaskReleased]);
    board.queue().markers.clear();
    assert_eq!(claims(&board), [], "it pauses");
    board.record("a").not_before = None;
    assert_eq!(claims(&board), pairs(&[("a", "s-1")]));
    board.world.pane("s-1").attached = 1;
    assert_eq!(claims(&board), pairs(&[("a", "s-0")]), "better the same one than none");
}

#[test]
fn a_bound_of_the_project_counts_what_is_under_way() {
    let mut board = Board::new(4);
    board.put_taken("a", "s-0");
    for text in ["b", "c", "d"] {
        board.put(text, 10);
    }
    board.world.spec.projects[0].max_in_flight = Some(2);
    assert_eq!(claims(&board), pairs(&[("b", "s-1")]));
}

#[test]
fn nothing_is_begun_while_the_pool_is_suspended_or_swaps() {
    let mut board = Board::new(1);
    board.put("a", 10);
    board.world.open_swap(&["s-0"]);
    let grounds = GateGrounds {
        spec: &board.world.spec,
        memory: &board.world.memory,
        choice: &crate::plan::target::Choice::Stay,
        reaches: None,
        was_tight: false,
        now: board.world.now,
    };
    board.gate = gate(&grounds);
    assert_eq!(board.told(), ["waits project/api SwapOpen"]);
    board.world.memory.swap = None;
    board.world.memory.suspended = Some(Suspension { reason: "r".to_owned(), actor: "a".to_owned(), since: at(0).wall, until: None });
    let grounds = GateGrounds { memory: &board.world.memory, ..grounds_of(&board) };
    board.gate = gate(&grounds);
    assert_eq!(board.told(), ["waits project/api Suspended"]);
}

fn grounds_of(board: &Board) -> GateGrounds<'_> {
    let World { spec, memory, now, .. } = &board.world;
    GateGrounds { spec, memory, choice: &crate::plan::target::Choice::Stay, reaches: None, was_tight: false, now: *now }
}

/// What a task waits for, and its words, after one change of a board with two sessions and this task, which is older than any other.
#[test]
fn each_task_says_what_it_waits_for() {
    type Change = fn(&mut Board);
    let busy = |board: &mut Board| {
        for name in ["s-0", "s-1"] {
            board.world.agent(name).activity = Activity::Working;
        }
    };
    let cases: &[(&str, Change, &str)] = &[
        ("free", |_| {}, "it is given to session s-0"),
        ("busy", busy, "behind 1 other, until a session that serves it is idle (2 working)"),
        (
            "all refuse to be typed into",
            |board| {
                board.world.declared("s-1").dispatch = false;
                board.refuse_typing(4);
            },
            "behind 1 other, until a session that serves it is idle (1 not to be typed into); the next one is tried again at 2027-01-15T08:00:20Z",
        ),
        (
            "its session refuses to be typed into",
            |board| {
                board.put("a", 300).session = Some(session("s-0"));
                board.refuse_typing(4);
            },
            "for session s-0, which is not to be typed into: a draft stands in its box; it is tried again at 2027-01-15T08:00:20Z",
        ),
        (
            "its session works",
            |board| {
                board.put("a", 300).session = Some(session("s-0"));
                board.world.agent("s-0").activity = Activity::Working;
            },
            "for session s-0, which is working",
        ),
        (
            "its session is given another task",
            |board| {
                board.put("a", 300).session = Some(session("s-0"));
                board.put("urgent", 500).session = Some(session("s-0"));
                board.put("urgent", 500).priority = Some(9);
            },
            "for session s-0, which is given a task",
        ),
        (
            "its session is not declared",
            |board| board.put("a", 300).session = Some(session("s-7")),
            "for session s-7, which the spec does not declare; declare it with `dispatch: true`, or change the task",
        ),
        ("after one that is nowhere", |board| board.put("a", 300).after = vec![name("urgent"), name("x")], NOWHERE),
        (
            "after one that failed",
            |board| {
                board.put("a", 300).after.push(name("x"));
                board.queue().failed.insert(name("x"), at(-9).wall);
            },
            "after x.md, which failed",
        ),
        ("after one that waits", |board| board.put("a", 300).after.push(name("urgent")), "after urgent.md, which waits itself"),
        (
            "after one that is under way",
            |board| {
                board.put_taken("b", "s-1");
                board.put("a", 300).after.push(name("b"));
            },
            "after b.md, which is under way",
        ),
        (
            "paused",
            |board| {
                let record = TaskRecord { not_before: Some(at(5).wall), ..TaskRecord::default() };
                board.world.memory.tasks.insert(task("a"), record);
            },
            "its last attempt ended; it is offered again at 2027-01-15T08:00:05Z",
        ),
        (
            "failed a moment ago",
            |board| {
                let attempts =
                    Attempts { failures: 1, not_before: Some(at(5).wall), last_error: Some("disk full".to_owned()), ..Attempts::default() };
                board.world.memory.attempts.insert(ObjectRef::Task(task("a")), attempts);
            },
            "tried again at 2027-01-15T08:00:05Z; the last try failed: disk full",
        ),
        (
            "none may be under way",
            |board| board.world.spec.projects[0].max_in_flight = Some(0),
            "as many tasks of the project are under way as maxInFlight allows (0)",
        ),
        (
            "nobody serves it",
            |board| board.world.spec.sessions.values_mut().for_each(|session| session.dispatch = false),
            "no session serves the project; declare one with `dispatch: true`",
        ),
        (
            "nobody serves it, and let out slowly",
            |board| {
                board.gate.room = 0;
                board.world.spec.sessions.values_mut().for_each(|session| session.dispatch = false);
            },
            "no session serves the project; declare one with `dispatch: true`",
        ),
        (
            "held",
            |board| {
                let until = Some(at(60).wall);
                board.gate.hold = Some(Hold { reason: "Exhausted".to_owned(), message: "no account has room".to_owned(), until });
            },
            "until 2027-01-15T08:01:00Z: no account has room",
        ),
        ("let out slowly", |board| board.gate = Gate { hold: None, room: 1, more_at: Some(at(10).wall) }, SLOWLY),
    ];
    for (what, change, words) in cases {
        let mut board = Board::new(2);
        board.put("a", 300);
        board.put("urgent", 400);
        board.put("urgent", 400).priority = Some(1);
        if !matches!(
            *what,
            "busy" | "all refuse to be typed into" | "let out slowly" | "after one that waits" | "its session is given another task"
        ) {
            board.queue().inbox.remove(&name("urgent"));
        }
        change(&mut board);
        let World { spec, seen, memory, now } = &board.world;
        let planned = board.plan();
        let waits = task_waits(&TaskGrounds { spec, seen, memory, now: *now }, &board.gate, &planned);
        assert_eq!(waits.get(&task("a")).map(ToString::to_string).as_deref(), Some(*words), "{what}");
        let warned: Vec<_> = planned.report.warnings.iter().filter(|entry| entry.reason == "NoSuchSession").collect();
        assert!(warned.is_empty(), "{what}: a mistake in a task is nothing wrong with the pool: {warned:?}");
    }
}

const NOWHERE: &str = "after urgent.md, which is nowhere: not in the inbox, not in done/ and not in failed/";
const SLOWLY: &str = "room came back a short while ago, and tasks are let out slowly; more at 2027-01-15T08:00:10Z";
