//! What the facts teach the memory.

use super::{
    world::{OTHER_POOL, at, object, unseen},
    *,
};
use crate::{
    model::{Activity, EventReason, ObjectRef, Pid, ProcessId},
    observed::{ActivitySign, ActivitySource, Death, LinkView, RootView, ScreenView, Seen, Shown},
};

fn reasons(absorbed: &Absorbed) -> Vec<(String, EventReason)> {
    absorbed.events.iter().map(|event| (event.object.to_string(), event.reason)).collect()
}

/// The agent has ended, and the memory does not know it yet.
fn exited(world: &mut World, name: &str, code: i32) {
    let process = world.record(name).process;
    world.end_agent(name);
    world.agent(name).death = Some(Death { code: Some(code), signal: None });
    world.record(name).process = process;
}

#[test]
fn an_exit_is_told_once_and_counted() {
    let mut world = World::converged(2);
    exited(&mut world, "s-0", 3);
    let absorbed = world.absorb();
    assert_eq!(reasons(&absorbed), [("session/s-0".to_owned(), EventReason::SessionExited)]);
    assert_eq!(absorbed.events[0].message, "its agent ended (exit code 3)");
    world.learn();
    assert_eq!(world.memory.attempts[&object("s-0")].exits, [at(0).wall]);
    assert_eq!(world.record("s-0").process, None);
    assert!(world.absorb().is_empty(), "told once");
}

#[test]
fn the_fifth_exit_within_ten_minutes_is_the_last() {
    let mut world = World::converged(1);
    world.record("s-0").started_at = at(-10).wall;
    for round in 1..=MAX_EXITS {
        exited(&mut world, "s-0", 1);
        let absorbed = world.absorb();
        let quarantined = absorbed.events.iter().any(|event| event.reason == EventReason::SessionQuarantined);
        assert_eq!(quarantined, round == MAX_EXITS, "exit {round}");
        world.learn();
        let process = ProcessId { pid: Pid(2_000), started: round as u64 };
        world.agent("s-0").process = Some(process);
        world.learn();
    }
    assert!(world.memory.attempts[&object("s-0")].quarantined);
    world.record("s-0").started_at = at(-10_000).wall;
    assert!(world.absorb().is_empty(), "a quarantine is cleared by a person, not by time");
}

#[test]
fn an_agent_that_has_run_for_long_leaves_its_exits_behind() {
    let mut world = World::converged(1);
    world.memory.attempts.insert(object("s-0"), Attempts::default().after_exit(at(-9_000)));
    assert_eq!(world.absorb().changes, [MemoryChange::ClearAttempts(object("s-0"))]);
    world.record("s-0").started_at = at(-600).wall;
    assert!(world.absorb().is_empty(), "not yet");
}

#[test]
fn a_wait_that_a_clock_set_back_made_endless_is_bounded_once() {
    let mut world = World::converged(1);
    let ahead = Attempts { failures: 3, not_before: Some(at(500_000).wall), ..Attempts::default() };
    world.memory.attempts.insert(ObjectRef::SharedRoot, ahead);
    world.learn();
    assert_eq!(world.memory.attempts[&ObjectRef::SharedRoot].not_before, Some(at(375).wall));
    world.look_again(at(60));
    assert!(world.absorb().is_empty(), "once");
}

#[test]
fn what_is_not_known_teaches_nothing() {
    let changes: [fn(&mut World); 3] = [
        |world| world.seen.tmux = unseen(),
        |world| drop(world.seen.agents.insert(session("s-0"), unseen())),
        |world| drop(world.seen.agents.remove(&session("s-0"))),
    ];
    for change in changes {
        let mut world = World::converged(1);
        change(&mut world);
        assert!(world.absorb().is_empty());
    }
}

#[test]
fn a_conversation_that_is_changed_inside_the_agent_is_followed() {
    let mut world = World::converged(2);
    let other = world::POOL.conversation(&session("s-0"), 2);
    let register = world.agent("s-0").register.as_mut().expect("registered");
    (register.conversation, register.cwd) = (other, "/elsewhere".into());
    assert_eq!(reasons(&world.absorb()), [("session/s-0".to_owned(), EventReason::ConversationChanged)]);
    world.learn();
    assert_eq!((world.record("s-0").conversation, world.record("s-0").workdir.clone()), (other, "/elsewhere".into()));
    assert!(world.absorb().is_empty());
}

#[test]
fn the_account_of_an_agent_is_that_of_its_home() {
    let mut world = World::converged(1);
    world.agent("s-0").home = Some(home("backup"));
    world.learn();
    assert_eq!(world.record("s-0").account, account("backup"));
    world.agent("s-0").home = Some("/elsewhere".into());
    assert!(world.absorb().is_empty(), "a home of nobody names no account");
}

/// The agent asks, and its screen shows what.
fn asks(world: &mut World, shows: Shown, lines: &[&str]) {
    let agent = world.agent("s-0");
    agent.activity = Activity::NeedsInput;
    let lines = lines.iter().map(|line| (*line).to_owned()).collect();
    agent.screen = Some(ScreenView { shows, lines, seen_at: at(0).wall, at_rest: true });
}

fn permission(subject: &str) -> Shown {
    Shown::Permission {
        tool: Some("Bash command".to_owned()),
        subject: Some(subject.to_owned()),
        question: "Do you want to proceed?".to_owned(),
    }
}

#[test]
fn a_dialog_is_told_once() {
    let mut world = World::converged(2);
    world.agent("s-0").register.as_mut().expect("registered").waiting_for = Some("permission prompt".to_owned());
    asks(&mut world, permission("make"), &["1. Yes"]);
    let absorbed = world.absorb();
    assert_eq!(reasons(&absorbed), [("session/s-0".to_owned(), EventReason::InputNeeded)]);
    assert_eq!(
        absorbed.events[0].message,
        "it waits for a person: permission prompt: Do you want to proceed? (Bash command: make); answer with `claude-failover attach s-0`"
    );
    world.learn();
    let same: [(&str, Change); 5] = [
        ("nothing is new", |_| {}),
        ("other lines", |world| asks(world, permission("make"), &["2. No"])),
        ("the screen is not read yet", |world| world.agent("s-0").screen = None),
        ("another screen that is not at rest", |world| {
            asks(world, Shown::Unknown, &[]);
            world.agent("s-0").screen.as_mut().expect("read").at_rest = false;
        }),
        ("what it does is not known", |world| world.agent("s-0").activity = Activity::Unknown),
    ];
    for (name, change) in same {
        let mut world = world.clone();
        change(&mut world);
        assert!(world.absorb().is_empty(), "{name}");
        asks(&mut world, permission("make"), &["1. Yes"]);
        assert!(world.absorb().is_empty(), "{name}, and then as before");
    }
    let other: [(&str, Change); 3] = [
        ("another question", |world| asks(world, permission("make all"), &[])),
        ("the same question at another time", |world| {
            world.agent("s-0").register.as_mut().expect("registered").status_since = Some(at(-1).wall);
        }),
        ("the same question after an answer", |world| {
            world.agent("s-0").activity = Activity::Working;
            world.learn();
            world.agent("s-0").activity = Activity::NeedsInput;
        }),
    ];
    for (name, change) in other {
        let mut world = world.clone();
        change(&mut world);
        assert_eq!(reasons(&world.absorb()), [("session/s-0".to_owned(), EventReason::InputNeeded)], "{name}");
    }
}

#[test]
fn a_screen_that_is_not_known_is_told_once_whatever_it_shows() {
    let mut world = World::converged(1);
    asks(&mut world, Shown::Unknown, &["1 second ago"]);
    let absorbed = world.absorb();
    assert!(absorbed.events[0].message.contains("1 second ago"), "{}", absorbed.events[0].message);
    world.learn();
    asks(&mut world, Shown::Unknown, &["2 seconds ago"]);
    assert!(world.absorb().is_empty());
}

#[test]
fn an_agent_that_asks_nothing_is_not_told_of() {
    for (activity, shows) in
        [(Activity::LimitHit, Shown::LimitWait { until: None }), (Activity::Starting, Shown::Trust { directory: None })]
    {
        let mut world = World::converged(1);
        asks(&mut world, shows, &[]);
        world.agent("s-0").activity = activity;
        world.agent("s-0").register.as_mut().expect("registered").status_since = Some(at(-3_600).wall);
        assert!(world.absorb().is_empty(), "{activity}");
    }
}

#[test]
fn a_limit_or_a_login_is_told_of_once_when_the_pool_has_not_left_it_by_itself() {
    let menu = || Shown::LimitMenu { limit: Some("You've hit your weekly limit".to_owned()) };
    for (activity, shows, expected) in [
        (
            Activity::LimitHit,
            menu(),
            "it waits for a person: it asks what to do about a limit: You've hit your weekly limit; answer with `claude-failover attach s-0`",
        ),
        // Before its record of the limit was read.
        (
            Activity::NeedsInput,
            menu(),
            "it waits for a person: it asks what to do about a limit: You've hit your weekly limit; answer with `claude-failover attach s-0`",
        ),
        (
            Activity::LoggedOut,
            Shown::LoginExpired,
            "it waits for a login: its login has expired; run `CLAUDE_CONFIG_DIR=/homes/primary claude auth login`",
        ),
        (
            Activity::LoggedOut,
            Shown::InputBox { draft: false },
            "it waits for a login: its login is no longer accepted; run `CLAUDE_CONFIG_DIR=/homes/primary claude auth login`",
        ),
    ] {
        let mut world = World::converged(1);
        asks(&mut world, shows, &[]);
        world.agent("s-0").activity = activity;
        world.agent("s-0").home = Some("/homes/primary".into());
        let since = |world: &mut World, ago: i64| {
            world.agent("s-0").register.as_mut().expect("registered").status_since = Some(at(-ago).wall);
        };
        since(&mut world, 119);
        assert!(world.absorb().is_empty(), "{activity}: the pool may leave the account by itself");
        since(&mut world, 120);
        let absorbed = world.absorb();
        assert_eq!(reasons(&absorbed), [("session/s-0".to_owned(), EventReason::InputNeeded)], "{activity}");
        assert_eq!(absorbed.events[0].message, expected);
        world.learn();
        assert!(world.absorb().is_empty(), "{activity}: once");
    }
    // The command is for a shell.
    let mut world = World::converged(1);
    asks(&mut world, Shown::LoginExpired, &[]);
    (world.agent("s-0").activity, world.agent("s-0").home) = (Activity::LoggedOut, Some("/homes/my own".into()));
    let message = &world.absorb().events[0].message;
    assert!(message.ends_with("run `CLAUDE_CONFIG_DIR='/homes/my own' claude auth login`"), "{message}");
}

#[test]
fn a_dialog_at_the_start_is_told_of_once_whatever_it_is_known_by() {
    let mut world = World::converged(1);
    world.agent("s-0").register = None;
    asks(&mut world, Shown::Trust { directory: Some("/work".to_owned()) }, &[]);
    let sign = |source, activity| ActivitySign { source, activity, says: String::new(), at: None };
    world.agent("s-0").evidence =
        vec![sign(ActivitySource::Pane, Activity::NeedsInput), sign(ActivitySource::Register, Activity::Starting)];
    let absorbed = world.absorb();
    assert_eq!(reasons(&absorbed), [("session/s-0".to_owned(), EventReason::InputNeeded)]);
    assert!(absorbed.events[0].message.contains("it asks whether /work is trusted"), "{}", absorbed.events[0].message);
    world.learn();
    world.agent("s-0").evidence[1].activity = Activity::NeedsInput;
    assert!(world.absorb().is_empty(), "it is still the same when its start has taken long");
    asks(&mut world, Shown::Bypass, &[]);
    assert_eq!(world.absorb().events.len(), 1, "the next one is another");
}

#[test]
fn an_open_swap_has_its_sessions() {
    let mut world = World::converged(2);
    exited(&mut world, "s-0", 143);
    world.open_swap(&["s-0"]);
    assert!(world.absorb().is_empty());
}

#[test]
fn a_lost_server_is_told() {
    let mut world = World::converged(2);
    for name in ["s-0", "s-1"] {
        exited(&mut world, name, 129);
        world.tmux().panes.remove(name);
    }
    world.tmux().server = None;
    assert_eq!(
        reasons(&world.absorb()),
        [
            ("server".to_owned(), EventReason::ServerLost),
            ("session/s-0".to_owned(), EventReason::SessionExited),
            ("session/s-1".to_owned(), EventReason::SessionExited),
        ]
    );
    world.learn();
    assert!(world.absorb().is_empty(), "told once");
    assert!(world.memory.attempts.is_empty(), "the server's end is no exit of theirs");
}

/// A look that fails, or that shows a server without panes while the agents live, is no death: nothing is told, counted or begun anew.
#[test]
fn a_look_at_tmux_that_fails_or_shows_nothing_ends_nobody() {
    let looks: [fn(&mut World); 4] = [
        |world| world.seen.tmux = unseen(),
        |world| {
            world.seen.tmux = unseen();
            world.seen.agents.values_mut().for_each(|agent| *agent = unseen());
        },
        |world| world.seen.agents.values_mut().for_each(|agent| *agent = unseen()),
        |world| world.tmux().panes.clear(),
    ];
    for (number, look) in looks.into_iter().enumerate() {
        let mut world = World::converged(2);
        look(&mut world);
        let absorbed = world.absorb();
        assert_eq!(reasons(&absorbed), [], "look {number}");
        world.learn();
        assert!(world.memory.attempts.is_empty() && world.memory.sessions.values().all(|record| !record.ended && record.process.is_some()));
        let started = world
            .plan()
            .plan
            .actions
            .iter()
            .any(|(_, action)| matches!((&action.object, action.verb), (ObjectRef::Session(_), Verb::Create | Verb::Restart)));
        assert!(!started, "look {number}: an agent that may live gets no second one");
    }
}

/// The handles of the processes tell before tmux is looked at again.
#[test]
fn a_server_whose_loss_is_seen_behind_the_exits_is_told_once_and_counts_nothing() {
    let mut world = World::converged(2);
    for round in 0..6 {
        world.look_again(at(round * 60));
        for name in ["s-0", "s-1"] {
            exited(&mut world, name, 129);
        }
        assert!(!reasons(&world.absorb()).iter().any(|(_, reason)| *reason == EventReason::ServerLost));
        world.learn();
        world.look_again(at(round * 60 + 1));
        world.tmux().server = None;
        let panes = std::mem::take(&mut world.tmux().panes);
        assert_eq!(reasons(&world.absorb()), [("server".to_owned(), EventReason::ServerLost)], "round {round}");
        world.learn();
        assert!(world.memory.attempts.is_empty(), "round {round}: {:?}", world.memory.attempts);
        // Another server, and each session is started in it.
        let pid = Pid(60 + i32::try_from(round).expect("small"));
        world.tmux().server = Some(crate::observed::ServerView { pid, version: "3.5a".to_owned(), descriptor_limit: None });
        world.tmux().panes = panes;
        for name in ["s-0", "s-1"] {
            let started = at(round * 60 + 2).wall;
            let process = Some(ProcessId { pid: Pid(3_000), started: started.as_second().unsigned_abs() });
            world.agent(name).process = process;
            let record = world.record(name);
            (record.process, record.started_at, record.ended) = (process, started, false);
        }
        world.learn();
    }
}

#[test]
fn one_that_outlives_its_server_for_a_moment_ended_with_it() {
    let mut world = World::converged(1);
    world.tmux().server = Some(crate::observed::ServerView { pid: Pid(60), version: "3.5a".to_owned(), descriptor_limit: None });
    world.tmux().panes.clear();
    assert_eq!(reasons(&world.absorb()), [("server".to_owned(), EventReason::ServerLost)]);
    world.learn();
    world.look_again(at(20));
    exited(&mut world, "s-0", 129);
    assert_eq!(world.absorb().events[0].message, "its agent ended with the tmux server");
    world.learn();
    assert!(world.memory.attempts.is_empty());
    // One that is started in the new server and whose session is closed has ended by itself.
    world.record("s-0").started_at = at(30).wall;
    world.record("s-0").ended = false;
    world.look_again(at(40));
    world.learn();
    assert_eq!(world.memory.attempts[&object("s-0")].exits.len(), 1);
}

#[test]
fn an_adopted_session_is_bound_to_the_conversation_that_its_agent_has_open() {
    let mut world = World::converged(2);
    let before = world.memory.sessions.remove(&session("s-0")).expect("recorded");
    world.learn();
    assert_eq!(world.memory.sessions[&session("s-0")], SessionRecord { started_at: at(0).wall, ..before });
    for (name, change) in [
        ("without a register", (|world| world.agent("s-0").register = None) as Change),
        ("without an agent", |world| world.agent("s-0").process = None),
        ("of another pool", |world| world.pane("s-0").mark.as_mut().expect("marked").pool = OTHER_POOL),
    ] {
        let mut world = World::converged(2);
        world.memory.sessions.remove(&session("s-0"));
        change(&mut world);
        assert!(world.absorb().is_empty(), "{name}");
    }
}

#[test]
fn a_link_that_is_right_is_ours_from_then_on() {
    let mut world = World::converged(1);
    let links = std::mem::take(&mut world.memory.links);
    let before = World::clone(&world);
    world.learn();
    assert_eq!(world.memory.links, links);
    let changes: [Change; 2] =
        [|world| world.seen.shared_root = Seen::known(RootView::Marked(OTHER_POOL), at(0)), |world| world.seen.shared_root = unseen()];
    for change in changes {
        let mut world = before.clone();
        change(&mut world);
        assert!(world.absorb().is_empty(), "links into a root that is not ours teach nothing");
    }
    let mut world = before;
    world.put_link("primary", "tasks", LinkView::Link { target: "/elsewhere".into(), target_ok: true });
    world.put_link("primary", "projects", LinkView::Link { target: "/shared/projects".into(), target_ok: false });
    world.learn();
    assert_eq!(world.memory.links.len(), links.len() - 2);
}

#[test]
fn a_suspension_ends_by_itself() {
    let mut world = World::converged(1);
    let suspension =
        |until: i64| Suspension { reason: "r".to_owned(), actor: "a".to_owned(), since: at(-60).wall, until: Some(at(until).wall) };
    world.memory.suspended = Some(suspension(1));
    assert!(world.absorb().is_empty());
    world.memory.suspended = Some(suspension(0));
    assert_eq!(reasons(&world.absorb()), [("pool".to_owned(), EventReason::Resumed)]);
    world.learn();
    assert_eq!(world.memory.suspended, None);
}

#[test]
fn removals_are_noted_and_forgotten() {
    let mut world = World::converged(2);
    world.spec.sessions.remove(&session("s-1"));
    let note = |world: &World| absorb_removals(&world.spec, &world.seen, &world.memory).changes;
    assert_eq!(note(&world), [MemoryChange::SetRemovalSeen([session("s-1")].into())]);
    for change in note(&world) {
        world.apply(&change);
    }
    assert_eq!(note(&world), []);
    world.seen.tmux = unseen();
    world.spec.sessions.clear();
    assert_eq!(note(&world), [], "on a look that failed nothing is missing");
}

#[test]
fn a_removed_session_is_forgotten_once_neither_pane_nor_agent_is_left() {
    let gone = |world: &World| {
        absorb_removals(&world.spec, &world.seen, &world.memory).changes.contains(&MemoryChange::RemoveSession(session("s-1")))
    };
    let mut world = World::converged(2);
    world.undeclare("s-1");
    assert!(!gone(&world), "it runs");
    world.end_agent("s-1");
    assert!(!gone(&world), "its pane is there");
    world.tmux().panes.remove("s-1");
    assert!(gone(&world));
    world.record("s-1").process = Some(ProcessId { pid: Pid(1), started: 1 });
    world.seen.agents.insert(session("s-1"), unseen());
    assert!(!gone(&world), "its agent may live on");
}

#[test]
fn transcripts_are_asked_for_where_an_agent_is_to_be_started() {
    let wanted = |world: &World| wanted_transcripts(&world.spec, &world.seen, &world.memory).into_keys().collect::<Vec<_>>();
    let mut world = World::converged(3);
    assert_eq!(wanted(&world), []);
    world.end_agent("s-0");
    world.close("s-1");
    assert_eq!(wanted(&world), [session("s-0"), session("s-1")]);
    world.memory.sessions.remove(&session("s-0"));
    world.open_swap(&["s-1"]);
    assert_eq!(wanted(&world), []);
    world.seen.agents.insert(session("s-2"), unseen());
    assert_eq!(wanted(&world), []);
}

#[test]
fn the_memory_of_an_object_is_reset_by_success() {
    let object = ObjectRef::Server;
    let failed = Attempts::default().after_failure(&object, "no", at(0));
    assert!(failed.waits_until(at(0)).is_some() && failed.waits_until(at(2)).is_none());
    assert!(failed.after_success().is_clean());
}
