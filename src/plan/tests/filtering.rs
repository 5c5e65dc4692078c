//! What latches, a suspension and back-off take out of a plan.

use super::{
    world::{at, object, tell},
    *,
};
use crate::model::ObjectRef;

/// Two starts and a repair.
fn world() -> World {
    let mut world = World::converged(2);
    world.close("s-0");
    world.close("s-1");
    world.tmux().server = None;
    world.put_link("backup", "tasks", crate::observed::LinkView::Absent);
    world
}

fn filtered(world: &World) -> Vec<String> {
    tell(&filter(world.plan(), &world.memory, world.now)).into_iter().filter(|line| !line.starts_with("drift")).collect()
}

fn latch() -> Latch {
    Latch { reason: "PartialSwap".to_owned(), causes: vec!["a".to_owned()], evidence: String::new(), since: at(-60).wall }
}

fn suspension(until: Option<i64>) -> Suspension {
    Suspension { reason: "work".to_owned(), actor: "ops".to_owned(), since: at(-60).wall, until: until.map(|until| at(until).wall) }
}

#[test]
fn a_plan_that_nothing_forbids_stays_as_it_is() {
    let world = world();
    assert_eq!(filter(world.plan(), &world.memory, world.now), world.plan());
}

#[test]
fn a_latched_or_suspended_pool_does_nothing_and_says_so_once() {
    let mut latched = world();
    latched.memory.latches.insert(ObjectRef::Pool, latch());
    assert_eq!(filtered(&latched), ["waits pool Latched"]);
    for (until, holds) in [(None, true), (Some(1), true), (Some(0), false), (Some(-1), false)] {
        let mut suspended = world();
        suspended.memory.suspended = Some(suspension(until));
        assert_eq!(filtered(&suspended) == ["waits pool Suspended"], holds, "{until:?}");
    }
    let mut both = world();
    both.memory.latches.insert(ObjectRef::Pool, latch());
    both.memory.suspended = Some(suspension(None));
    assert_eq!(filtered(&both), ["waits pool Latched"]);
    let mut converged = World::converged(1);
    converged.memory.suspended = Some(suspension(None));
    assert_eq!(filtered(&converged), [""; 0], "nothing is held back");
}

#[test]
fn an_object_that_failed_waits_and_the_others_do_not() {
    let mut world = world();
    let failed = |name: &str| (object(name), Attempts::default().after_failure(&object(name), "no such file", at(0)));
    let (key, attempts) = failed("s-0");
    world.memory.attempts.insert(key, attempts);
    assert_eq!(
        filtered(&world),
        [
            "Create link/backup/tasks: -> /shared/tasks",
            "Create server: start",
            "Create session/s-1: resume on primary",
            "waits session/s-0 BackingOff",
        ]
    );
    let (key, attempts) = failed("s-1");
    world.memory.attempts.insert(key, attempts);
    assert_eq!(
        filtered(&world),
        ["Create link/backup/tasks: -> /shared/tasks", "waits session/s-0 BackingOff", "waits session/s-1 BackingOff"],
        "a server without a session to start is not needed"
    );
    world.now = at(400);
    let planned = World { now: at(0), ..world.clone() }.plan();
    assert!(filter(planned, &world.memory, at(400)).report.waiting.is_empty(), "the wait is over");
}

#[test]
fn why_an_object_waits_is_said() {
    let mut world = world();
    let mut ended = Attempts::default();
    for _ in 0..3 {
        ended = ended.after_exit(at(0));
    }
    world.memory.attempts.insert(object("s-0"), ended);
    world.memory.attempts.insert(object("s-1"), Attempts::default().after_failure(&object("s-1"), "no such file", at(0)));
    let messages: Vec<_> = filter(world.plan(), &world.memory, world.now).report.waiting.into_iter().map(|entry| entry.message).collect();
    assert!(messages[0].ends_with("its agent ended repeatedly"), "{messages:?}");
    assert!(messages[1].ends_with("the last try failed: no such file"), "{messages:?}");
}

#[test]
fn nothing_is_built_on_what_is_held_back() {
    let failed = |object: &ObjectRef| Attempts::default().after_failure(object, "no space left", at(0));
    let link = ObjectRef::Link(account("primary"), link("tasks"));
    let mut world = World::bare(1);
    world.memory.attempts.insert(link.clone(), failed(&link));
    let left = filtered(&world);
    let waits: Vec<_> = left.iter().filter(|line| line.starts_with("waits")).map(String::as_str).collect();
    assert_eq!(
        waits,
        [
            "waits link/primary/tasks BackingOff",
            "waits account/primary EarlierFailed",
            "waits active-link EarlierFailed",
            "waits session/s-0 EarlierFailed",
        ]
    );
    assert!(left.contains(&"Create link/backup/tasks: -> /shared/tasks".to_owned()), "another account goes on: {left:?}");
    assert!(left.contains(&"Create link/primary/projects: -> /shared/projects".to_owned()), "and so does its neighbour: {left:?}");
    assert!(!left.iter().any(|line| line.starts_with("Create server")), "nothing is left to start: {left:?}");
    let mut world = World::bare(1);
    world.memory.attempts.insert(ObjectRef::SharedRoot, failed(&ObjectRef::SharedRoot));
    let left = filtered(&world);
    assert!(left.iter().all(|line| line.starts_with("waits")), "everything stands on the shared root: {left:?}");
}
