//! The independent check: each rule is broken once, by a plan that the planner would not make.

use std::{collections::BTreeSet, time::Duration};

use super::{
    world::{OTHER_POOL, POOL, at, object, unseen},
    *,
};
use crate::{
    model::{Activity, Pid, ProcessId, StartDigest, TmuxSessionId},
    observed::{CheckpointId, CheckpointsView, Mark, Seen},
};

/// A rule, and what breaks it.
type Breach = (&'static str, fn(&mut World) -> Vec<Effect>);

fn mark(name: &str) -> Mark {
    Mark { pool: POOL, session: session(name), digest: StartDigest("0".to_owned()) }
}

fn start(world: &World, name: &str) -> Launch {
    launch(&world.spec, &world.spec.accounts[0], &world.spec.sessions[&session(name)], World::conversation(name), LaunchMode::Resume)
}

/// The session is gone; this brings it back.
fn create(world: &mut World, name: &str) -> Effect {
    world.close(name);
    Effect::CreateSession { launch: start(world, name), mark: mark(name) }
}

fn respawn(world: &mut World, name: &str) -> Effect {
    world.end_agent(name);
    let pane = world.pane(name).clone();
    let launch = start(world, name);
    Effect::RespawnAgent { session_id: pane.session_id, pane: pane.pane, expect_pid: pane.pid, launch, mark: mark(name) }
}

fn stop(world: &mut World, name: &str) -> Effect {
    let process = world.agent(name).process.expect("it lives");
    Effect::StopAgent { session: session(name), process, grace: Duration::ZERO }
}

fn close(world: &mut World, name: &str) -> Effect {
    Effect::CloseSession { session_id: world.pane(name).session_id.clone(), mark: mark(name) }
}

/// `s-1` is not declared any more, and may be pruned.
fn pruned(world: &mut World) {
    world.undeclare("s-1");
    world.spec.prune = true;
}

/// Checkpoints of `s-0` are there, and one is removed.
fn removal(world: &mut World, taken: &[i64], removed: i64) -> Effect {
    let id = |second: &i64| CheckpointId::new(at(*second).wall, "0123456789ab");
    let view = CheckpointsView { taken: taken.iter().map(id).collect(), newest: None };
    world.seen.checkpoints.insert(session("s-0"), Seen::known(view, at(0)));
    Effect::RemoveCheckpoints { session: session("s-0"), checkpoints: vec![id(&removed)] }
}

fn changed(mut effect: Effect, change: impl FnOnce(&mut Launch)) -> Vec<Effect> {
    if let Effect::CreateSession { launch, .. } | Effect::RespawnAgent { launch, .. } = &mut effect {
        change(launch);
    }
    vec![effect]
}

const BREACHES: [Breach; 40] = [
    ("a checkpoint is removed that was not seen", |world| vec![removal(world, &[1, 2], 3)]),
    ("the newest checkpoint of a session is removed", |world| vec![removal(world, &[1, 2], 2)]),
    ("a session is started twice in one plan", |world| vec![create(world, "s-0"); 2]),
    ("a conversation is opened twice in one plan", |world| {
        let mut effects = vec![create(world, "s-0")];
        effects.extend(changed(create(world, "s-1"), |launch| launch.conversation = World::conversation("s-0")));
        effects
    }),
    ("a conversation is opened that another session has open", |world| {
        changed(create(world, "s-0"), |launch| launch.conversation = World::conversation("s-1"))
    }),
    ("a mark must name its bearer", |world| match create(world, "s-0") {
        Effect::CreateSession { launch, .. } => vec![Effect::CreateSession { launch, mark: mark("s-1") }],
        other => vec![other],
    }),
    ("a mark must name its bearer", |world| match create(world, "s-0") {
        Effect::CreateSession { launch, mark } => vec![Effect::CreateSession { launch, mark: Mark { pool: OTHER_POOL, ..mark } }],
        other => vec![other],
    }),
    ("an agent is started while none is known to have ended", |world| {
        let effect = respawn(world, "s-0");
        world.agent("s-0").process = Some(ProcessId { pid: Pid(1), started: 1 });
        vec![effect]
    }),
    ("an agent is started while none is known to have ended", |world| {
        let effect = respawn(world, "s-0");
        world.seen.agents.insert(session("s-0"), unseen());
        vec![effect]
    }),
    ("an agent is started while none is known to have ended", |world| {
        let effect = respawn(world, "s-0");
        let agent = world.agent("s-0").clone();
        world.seen.agents.insert(session("s-0"), Seen::known(agent, at(-181)));
        vec![effect]
    }),
    ("an agent is started while none is known to have ended", |world| {
        let effect = create(world, "s-0");
        world.record("s-0").process = Some(ProcessId { pid: Pid(1), started: 1 });
        vec![effect]
    }),
    ("an agent is started while none is known to have ended", |world| {
        let effect = create(world, "s-0");
        world.seen.tmux = unseen();
        vec![effect]
    }),
    ("a start must need every shared link of its account", |world| changed(create(world, "s-0"), |launch| drop(launch.needs.pop()))),
    ("a start must need every shared link of its account", |world| changed(create(world, "s-0"), |launch| launch.home = home("backup"))),
    ("a session is started under an account that is not the active one", |world| {
        let (spec, effect) = (world.spec.clone(), create(world, "s-0"));
        changed(effect, |launch| {
            (launch.account, launch.home) = (account("backup"), home("backup"));
            launch.needs = link_needs(&spec, &spec.accounts[1]);
        })
    }),
    ("something is begun while a swap is open", |world| {
        world.open_swap(&["s-1"]);
        vec![create(world, "s-0")]
    }),
    ("a pane without our mark is touched", |world| {
        let effect = respawn(world, "s-0");
        world.pane("s-0").mark = None;
        vec![effect]
    }),
    ("a pane without our mark is touched", |world| {
        let effect = respawn(world, "s-0");
        world.pane("s-0").session_id = TmuxSessionId("$99".to_owned());
        vec![effect]
    }),
    ("a session is created where one of its name exists", |world| {
        world.end_agent("s-0");
        vec![Effect::CreateSession { launch: start(world, "s-0"), mark: mark("s-0") }]
    }),
    ("a session of an open swap belongs to the swap", |world| {
        world.open_swap(&["s-0"]);
        vec![stop(world, "s-0")]
    }),
    ("an agent that is not ours is stopped", |world| {
        let effect = stop(world, "s-0");
        world.pane("s-0").mark = None;
        vec![effect]
    }),
    ("a process is stopped that was not seen in its session", |world| {
        let effect = stop(world, "s-0");
        world.agent("s-0").process = Some(ProcessId { pid: Pid(1), started: 1 });
        vec![effect]
    }),
    ("a working agent is stopped", |world| {
        world.agent("s-0").activity = Activity::Working;
        vec![stop(world, "s-0")]
    }),
    ("a working agent is stopped", |world| {
        let effect = stop(world, "s-0");
        let agent = world.agent("s-0").clone();
        world.seen.agents.insert(session("s-0"), Seen::known(agent, at(-181)));
        vec![effect]
    }),
    ("an undeclared session is stopped that was not seen twice, or while prune is off", |world| {
        pruned(world);
        world.spec.prune = false;
        vec![stop(world, "s-1")]
    }),
    ("an undeclared session is stopped that was not seen twice, or while prune is off", |world| {
        pruned(world);
        world.memory.removal_seen.clear();
        vec![stop(world, "s-1")]
    }),
    ("a declared session is removed", |world| {
        vec![Effect::ReleaseSession { session_id: world.pane("s-0").session_id.clone(), mark: mark("s-0") }]
    }),
    ("a removal must be seen twice", |world| {
        world.spec.sessions.remove(&session("s-1"));
        vec![Effect::ReleaseSession { session_id: world.pane("s-1").session_id.clone(), mark: mark("s-1") }]
    }),
    ("a session is closed although prune is off", |world| {
        world.undeclare("s-1");
        world.end_agent("s-1");
        vec![close(world, "s-1")]
    }),
    ("a session is closed while its agent is not known to have ended", |world| {
        pruned(world);
        vec![close(world, "s-1")]
    }),
    ("more sessions are pruned in one pass than maxPrune allows", |world| {
        pruned(world);
        world.spec.max_prune = 0;
        vec![stop(world, "s-1")]
    }),
    ("a session is adopted without being asked for", |world| {
        let pane = world.pane("s-0").clone();
        world.pane("s-0").mark = None;
        vec![Effect::AdoptSession { session_id: pane.session_id, pane: pane.pane, mark: mark("s-0") }]
    }),
    ("a session is adopted that bears a mark, or was not seen", |world| {
        world.declared("s-0").adopt = true;
        let pane = world.pane("s-0").clone();
        vec![Effect::AdoptSession { session_id: pane.session_id, pane: pane.pane, mark: mark("s-0") }]
    }),
    ("a link is made that the spec does not declare", |_| {
        vec![Effect::CreateLink { path: home("primary").join("todos"), target: "/shared/todos".into() }]
    }),
    ("the active link is changed while a swap is open", |world| {
        world.open_swap(&["s-0"]);
        vec![Effect::CreateLink { path: world::ACTIVE_LINK.into(), target: home("primary") }]
    }),
    ("a quarantine lies outside the shared root", |_| {
        vec![Effect::MergeDirectory { path: home("backup").join("tasks"), target: "/shared/tasks".into(), quarantine: "/tmp".into() }]
    }),
    ("a home is changed while an agent may run in it", |_| {
        vec![Effect::PrepareHome { account: account("primary"), home: home("primary"), trust: Vec::new(), accept_bypass: false }]
    }),
    ("a target lies outside the shared root", |_| {
        vec![Effect::CreateTarget { root: "/shared".into(), target: "/shared/a/b".into(), kind: TargetKind::Directory }]
    }),
    ("a foreign root is marked", |_| vec![Effect::InitSharedRoot { root: "/".into(), pool: POOL }]),
    ("an account is declared active without all its links", |_| {
        vec![Effect::RecordActive { account: account("backup"), needs: Vec::new() }]
    }),
];

fn plan_of(effects: Vec<Effect>) -> Plan {
    let disruption = |effect: &Effect| if let Effect::StopAgent { .. } = effect { Disruption::Idle } else { Disruption::None };
    let action = |effect: Effect| Action {
        object: object("s-0"),
        verb: Verb::Repair,
        what: String::new(),
        why: String::new(),
        disruption: disruption(&effect),
        effect: Some(effect),
        relies_on: None,
    };
    Plan { actions: effects.into_iter().map(|effect| (Phase::Start, action(effect))).collect(), ..Plan::default() }
}

#[test]
fn each_rule_is_noticed_when_it_is_broken() {
    for (number, (rule, breach)) in BREACHES.iter().enumerate() {
        let mut world = World::converged(2);
        let plan = plan_of(breach(&mut world));
        assert!(world.lint(&plan).contains(rule), "breach {number}, {rule}: {:?}", world.lint(&plan));
    }
}

/// The rules as they stand in the source, so that a new one cannot be without its breach.
#[test]
fn each_rule_has_its_breach() {
    let source = include_str!("../lint.rs");
    let mut rules: BTreeSet<&str> = BTreeSet::new();
    for line in source.lines().map(str::trim).filter(|line| line.contains("check(") || line.contains("rule: \"")) {
        rules.extend(line.rsplit('"').nth(1));
    }
    let broken: BTreeSet<&str> = BREACHES.iter().map(|(rule, _)| *rule).collect();
    let elsewhere: BTreeSet<&str> =
        ["a stop must say that it disturbs", "a foreign home is written", "the active account is changed while a swap is open"].into();
    assert!(rules.len() > 25, "the source is read wrong: {rules:?}");
    assert_eq!(rules.difference(&broken).copied().collect::<BTreeSet<_>>(), elsewhere);
}

#[test]
fn a_stop_says_that_it_disturbs() {
    let mut world = World::converged(2);
    let mut plan = plan_of(vec![stop(&mut world, "s-0")]);
    assert_eq!(world.lint(&plan), [""; 0]);
    plan.actions[0].1.disruption = Disruption::None;
    assert_eq!(world.lint(&plan), ["a stop must say that it disturbs"]);
    world.agent("s-0").activity = Activity::Working;
    plan.actions[0].1.disruption = Disruption::Working;
    assert_eq!(world.lint(&plan), ["a working agent is stopped"], "saying so is not enough while it has a pane");
    world.tmux().panes.remove("s-0");
    assert_eq!(world.lint(&plan), [""; 0], "without a pane nobody works with it");
}

#[test]
fn homes_and_the_active_account_are_those_of_the_spec() {
    let mut world = World::converged(2);
    let prepare = |home| plan_of(vec![Effect::PrepareHome { account: account("backup"), home, trust: Vec::new(), accept_bypass: false }]);
    assert_eq!(world.lint(&prepare(home("backup"))), [""; 0]);
    assert_eq!(world.lint(&prepare("/home/somebody".into())), ["a foreign home is written"]);
    let record =
        plan_of(vec![Effect::RecordActive { account: account("backup"), needs: link_needs(&world.spec, &world.spec.accounts[1]) }]);
    assert_eq!(world.lint(&record), [""; 0]);
    world.open_swap(&["s-0"]);
    assert_eq!(world.lint(&record), ["the active account is changed while a swap is open"]);
}
