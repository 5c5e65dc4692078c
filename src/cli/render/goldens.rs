//! What people read, word for word.

use std::collections::{BTreeMap, BTreeSet};

use super::{plan::Beside, *};
use crate::{
    cli::commands::explain::Explanation,
    model::{Activity, Event, EventReason, ObjectRef, Severity, StartDigest, WindowKind},
    observed::{LinkView, LoginView},
    plan::{
        Attempts, Cordon, Latch, Suspension, filter,
        tasks::{Gate, TaskGrounds, task_waits},
        tests::{
            tasks::{task, with_tasks},
            world::{World, account, at, link, object, session},
        },
    },
    status::{Conditions, Inputs, SpecState, Status, TaskDetail, TaskState, conditions, record_of, task_rows},
    store::StoredEvent,
    swap::{Place, price},
};

/// Text that tries to move the cursor, to change colours, to turn the reading direction and to begin a line of its own.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;title\u{7} \u{202e}gnp.exe\nSynced=True\r\u{9b}31m";

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn planned(world: &World, beside: &Beside) -> String {
    plain(&plan::plan(&filter(world.plan(), &world.memory, world.now), beside))
}

/// The status that a world has.
pub fn status_of(world: &World, spec_state: &SpecState) -> Status {
    let planned = filter(world.plan(), &world.memory, world.now);
    let standing = BTreeMap::from([
        (account("primary"), (false, "active; fiveHour is at 92%, its threshold is 85%".to_owned())),
        (account("backup"), (true, "it has room".to_owned())),
    ]);
    let quota = BTreeMap::from([(account("primary"), (true, String::new())), (account("backup"), (true, String::new()))]);
    let inputs = Inputs {
        spec: &world.spec,
        seen: &world.seen,
        memory: &world.memory,
        planned: &planned,
        findings: &[],
        standing: &standing,
        quota: &quota,
        spec_state,
        now: world.now,
    };
    crate::status::status(&inputs, &conditions(&inputs, &Conditions::new()))
}

fn shown(world: &World, wide: bool) -> String {
    plain(&status::status(&status_of(world, &SpecState::default()), world.now.wall, wide))
}

/// A converged world whose windows have been read.
pub fn with_usage(sessions: usize) -> World {
    let mut world = World::converged(sessions);
    world.put_usage("primary", WindowKind::FiveHour, 92);
    world.put_usage("primary", WindowKind::Weekly, 41);
    world.put_usage("backup", WindowKind::FiveHour, 12);
    world.put_usage("backup", WindowKind::Weekly, 95);
    world.put_usage("backup", WindowKind::Model("Fable".to_owned()), 3);
    world
}

#[test]
fn plans() {
    insta::assert_snapshot!("plan-nothing", planned(&World::converged(2), &Beside::default()));
    insta::assert_snapshot!("plan-from-nothing", planned(&World::bare(2), &Beside::default()));
    let mut world = World::converged(6);
    world.close("s-0");
    world.pane("s-1").mark = None;
    world.pane("s-2").mark.as_mut().expect("marked").digest = StartDigest("0123456789ab".to_owned());
    world.pane("s-3").mark.as_mut().expect("marked").digest = StartDigest("0123456789ab".to_owned());
    world.agent("s-3").activity = Activity::Working;
    world.tmux().panes.remove("s-4");
    world.end_agent("s-5");
    world.memory.attempts.insert(object("s-5"), Attempts::default().after_failure(&object("s-5"), "no such file", at(0)));
    world.put_link("backup", "tasks", LinkView::Link { target: "/elsewhere".into(), target_ok: true });
    world.put_link("backup", "projects", LinkView::Directory { entries: 12 });
    world.put_running("s-9");
    world.memory.removal_seen.insert(session("s-9"));
    world.home("backup").login = LoginView::Missing;
    insta::assert_snapshot!("plan-drift-waiting-and-warnings", planned(&world, &Beside::default()));
    world.memory.suspended =
        Some(Suspension { reason: "maintenance".to_owned(), actor: "ops".to_owned(), since: at(-60).wall, until: Some(at(3_600).wall) });
    insta::assert_snapshot!("plan-suspended", planned(&world, &Beside::default()));
}

#[test]
fn a_plan_with_a_swap_shows_its_price_and_how_the_spec_changed() {
    let mut world = World::converged(3);
    world.agent("s-1").activity = Activity::Working;
    world.agent("s-2").context_tokens = None;
    let price = price(world.spec.sessions.keys(), &world.seen, &BTreeSet::new());
    let diff = diff::unified("spec:\n  prune: false\n", "spec:\n  prune: true\n", "generation 3", "/etc/pool.yaml");
    let mut planned = world.plan();
    let swap = crate::plan::Action {
        object: ObjectRef::Pool,
        verb: crate::plan::Verb::Swap,
        what: "swap to backup".to_owned(),
        why: "primary is left for backup: fiveHour is at 92%, its threshold is 85%".to_owned(),
        disruption: crate::plan::Disruption::Idle,
        effect: None,
        relies_on: Some(account("backup")),
    };
    planned.plan.actions.push((crate::plan::Phase::Swap, swap));
    let beside = Beside { spec_diff: diff, price: vec![format!("a swap moves {price}")], hold: None };
    insta::assert_snapshot!("plan-swap", plain(&plan::plan(&planned, &beside)));
}

#[test]
fn statuses() {
    let mut world = with_usage(3);
    world.agent("s-1").activity = Activity::Working;
    world.pane("s-1").attached = 1;
    world.agent("s-2").activity = Activity::NeedsInput;
    world.agent("s-2").register.as_mut().expect("registered").waiting_for = Some("permission prompt".to_owned());
    world.memory.cordoned.insert(
        ObjectRef::Account(account("backup")),
        Cordon { reason: "login ends".to_owned(), actor: "ops".to_owned(), since: at(0).wall },
    );
    insta::assert_snapshot!("status-table", shown(&world, false));
    insta::assert_snapshot!("status-wide", shown(&world, true));
    insta::assert_snapshot!("status-old", plain(&status::status(&status_of(&world, &SpecState::default()), at(900).wall, false)));
    insta::assert_snapshot!("status-from-nothing", shown(&World::bare(2), false));
}

#[test]
fn a_status_in_trouble() {
    let mut swapping = with_usage(3);
    swapping.open_swap(&["s-0", "s-1", "s-2"]);
    let swap = swapping.memory.swap.as_mut().expect("open");
    swap.moves.get_mut(&session("s-0")).expect("there").place = Place::Proven(account("backup"));
    swap.moves.get_mut(&session("s-1")).expect("there").place = Place::Lost;
    insta::assert_snapshot!("status-swap", shown(&swapping, false));
    swapping.memory.swap.as_mut().expect("open").turned_back = Some("2 of 3 sessions could not be proven".to_owned());
    insta::assert_snapshot!("status-swap-going-back", shown(&swapping, false));
    let mut latched = with_usage(1);
    let causes = vec!["cannot flip /people/.claude: it is a directory".to_owned(), "cannot flip it back: no space left".to_owned()];
    let latch = Latch { reason: "PartialSwap".to_owned(), causes, evidence: "seen".to_owned(), since: at(-120).wall };
    latched.memory.latches.insert(ObjectRef::Pool, latch);
    insta::assert_snapshot!("status-latched", shown(&latched, false));
    let mut exhausted = with_usage(1);
    exhausted.memory.exhausted_since = Some(at(-600).wall);
    insta::assert_snapshot!("status-exhausted", shown(&exhausted, false));
    let rejected =
        SpecState { rejected: Some("error[unknown-field]: no field `polcy`\n --> pool.yaml:21:3\n   |\n21 |   polcy: {}\n".to_owned()) };
    let world = with_usage(1);
    insta::assert_snapshot!("status-spec-rejected", plain(&status::status(&status_of(&world, &rejected), world.now.wall, false)));
}

fn stored(sequence: u64, object: ObjectRef, reason: EventReason, severity: Severity, message: &str, count: u64) -> StoredEvent {
    let event = Event { at: at(-7_200).wall, object, reason, severity, message: message.to_owned() };
    StoredEvent { sequence, event, count, last_at: at(-200).wall }
}

fn some_events() -> Vec<StoredEvent> {
    vec![
        stored(1, ObjectRef::Pool, EventReason::SpecAccepted, Severity::Normal, "digest 4711", 1),
        stored(2, object("s-0"), EventReason::SessionExited, Severity::Warning, "its agent ended (exit code 3)", 4),
        stored(3, ObjectRef::Pool, EventReason::SwapLatched, Severity::Critical, "swap 4 could neither be finished nor undone", 1),
    ]
}

#[test]
fn lists_of_events() {
    insta::assert_snapshot!("events-none", plain(&events::events(&[], at(0).wall)));
    insta::assert_snapshot!("events", plain(&events::events(&some_events(), at(0).wall)));
}

#[test]
fn an_explanation() {
    let mut world = World::converged(2);
    world.agent("s-0").activity = Activity::NeedsInput;
    let status = status_of(&world, &SpecState::default());
    let explanation = Explanation {
        object: object("s-0"),
        evidence: vec!["wanted: in /work, settings 0123456789ab".to_owned(), "agent: process 1000, needs input".to_owned()],
        conditions: status.sessions[0].conditions.clone(),
        planned: vec!["stop, then start again with its conversation (it was started with other settings)".to_owned()],
        waiting: vec!["WaitsForIdle: it is to be restarted as soon as it is idle".to_owned()],
        events: some_events(),
    };
    insta::assert_snapshot!("explain", plain(&explain::explain(&explanation, at(0).wall)));
    let bare = Explanation { conditions: Vec::new(), planned: Vec::new(), waiting: Vec::new(), events: Vec::new(), ..explanation };
    insta::assert_snapshot!("explain-bare", plain(&explain::explain(&bare, at(0).wall)));
}

/// The tasks of a world, as `task ls --all` has them.
fn tasks(world: &World) -> Vec<TaskDetail> {
    let planned = filter(world.plan(), &world.memory, world.now);
    let grounds = TaskGrounds { spec: &world.spec, seen: &world.seen, memory: &world.memory, now: world.now };
    let waits = task_waits(&grounds, &Gate::OPEN, &planned);
    let rows = task_rows(&world.spec, &world.seen, &world.memory, &planned.report, &waits, true);
    let detail = |mut row: crate::status::TaskRow| {
        let record = record_of(&world.memory, &row.task, row.state).cloned().unwrap_or_default();
        let reason = (row.state == TaskState::Failed).then(|| {
            row.why = Some("it was not done in 2 attempts".to_owned());
            "it was not done in 2 attempts\nattempt 1 by session s-1, 2027-01-15T07:00:00Z: it was left undone".to_owned()
        });
        let directory = match row.state {
            TaskState::Done | TaskState::Failed => row.state.as_str(),
            _ => "inbox",
        };
        TaskDetail { path: format!("/src/api/.agent-queue/{directory}/{}", row.task.name.as_str()).into(), row, record, reason }
    };
    rows.into_iter().map(detail).collect()
}

#[test]
fn lists_of_tasks() {
    let world = with_tasks();
    let rows: Vec<_> = tasks(&world).into_iter().map(|detail| detail.row).collect();
    let now = world.now.wall;
    insta::assert_snapshot!("tasks-none", plain(&super::task::list(&[], now, false)));
    insta::assert_snapshot!("tasks", plain(&super::task::list(&rows, now, false)));
    insta::assert_snapshot!("tasks-wide", plain(&super::task::list(&rows, now, true)));
}

#[test]
fn single_tasks() {
    let world = with_tasks();
    for detail in tasks(&world) {
        let name = format!("task-{}", detail.row.state.as_str());
        if detail.row.task != task("changes.md") {
            insta::assert_snapshot!(name, plain(&super::task::detail(&detail, world.now.wall)));
        }
    }
}

#[test]
fn a_status_with_tasks() {
    insta::assert_snapshot!("status-tasks", shown(&with_tasks(), false));
}

#[test]
fn an_account_is_explained_with_the_date_of_its_login() {
    let mut world = World::converged(1);
    for (name, days) in [("primary", 30), ("backup", 2)] {
        world.home(name).login = LoginView::Valid { expires_at: Some(at(days * 86_400).wall) };
    }
    let status = status_of(&world, &SpecState::default());
    let explained = status.accounts.iter().map(|row| {
        let explanation = Explanation {
            object: ObjectRef::Account(row.name.clone()),
            evidence: Vec::new(),
            conditions: row.conditions.clone(),
            planned: Vec::new(),
            waiting: Vec::new(),
            events: Vec::new(),
        };
        plain(&explain::explain(&explanation, at(0).wall))
    });
    insta::assert_snapshot!("explain-logins", explained.collect::<Vec<_>>().join("\n"));
}

/// Whatever stands in a file, a title or an error: no line of ours is forged, and the terminal is not touched.
#[test]
fn hostile_text() {
    let mut world = with_usage(1);
    let name = link("ta\u{202e}sks");
    world.spec.shared.links.push(name.clone());
    world.put_link("primary", "tasks", LinkView::Link { target: HOSTILE.into(), target_ok: true });
    world.home("backup").unsafe_mode = Some(HOSTILE.to_owned());
    world.put_usage("primary", WindowKind::Model(HOSTILE.to_owned()), 1);
    world.agent("s-0").activity = Activity::NeedsInput;
    world.agent("s-0").register.as_mut().expect("registered").waiting_for = Some(HOSTILE.to_owned());
    let of_link = ObjectRef::Link(account("primary"), name);
    let latch = Latch { reason: "Test".to_owned(), causes: vec![HOSTILE.to_owned()], evidence: String::new(), since: at(0).wall };
    world.memory.latches.insert(of_link.clone(), latch);
    let mut status = status_of(&world, &SpecState { rejected: Some(HOSTILE.to_owned()) });
    status.accounts[0].standing = HOSTILE.to_owned();
    let explanation = Explanation {
        object: of_link.clone(),
        evidence: vec![HOSTILE.to_owned()],
        conditions: status.conditions.clone(),
        planned: vec![HOSTILE.to_owned()],
        waiting: vec![HOSTILE.to_owned()],
        events: vec![stored(1, of_link.clone(), EventReason::ActionFailed, Severity::Warning, HOSTILE, 1)],
    };
    let beside = Beside {
        spec_diff: diff::unified("a\n", &format!("{HOSTILE}\n"), HOSTILE, HOSTILE),
        hold: Some(HOSTILE.to_owned()),
        price: vec![HOSTILE.to_owned()],
    };
    let now = world.now.wall;
    let texts = [
        ("plan", plan::plan(&world.plan(), &beside)),
        ("status", status::status(&status, now, true)),
        ("explain", explain::explain(&explanation, now)),
        ("events", events::events(&explanation.events, now)),
    ];
    for (name, text) in texts {
        let text = plain(&text);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{name}: {text:?}");
        assert!(!text.contains('\u{202e}'), "{name}: {text:?}");
        let forged = text.lines().filter(|line| line.starts_with("Synced=True")).count();
        assert_eq!(forged, 0, "{name}: {text}");
        insta::assert_snapshot!(format!("hostile-{name}"), text);
    }
}
