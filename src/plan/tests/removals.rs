//! What happens to a session that the spec no longer declares.

use super::{
    world::{OTHER_POOL, at, unseen},
    *,
};
use crate::{model::Activity, observed::Seen};

/// `s-9` runs, is ours, and is not declared; that was seen before.
fn removed(world: &mut World) {
    world.put_running("s-9");
    world.memory.removal_seen.insert(session("s-9"));
}

fn prune(world: &mut World) {
    removed(world);
    world.spec.prune = true;
}

#[test]
fn a_removal_is_acted_on_when_it_is_seen_twice() {
    check(&[
        (
            "once",
            |world| {
                removed(world);
                world.memory.removal_seen.clear();
            },
            &["waits session/s-9 RemovalSeenOnce"],
        ),
        ("twice", removed, &["Release session/s-9: release"]),
        (
            "once, prune",
            |world| {
                prune(world);
                world.memory.removal_seen.clear();
            },
            &["waits session/s-9 RemovalSeenOnce"],
        ),
        (
            "in an open swap",
            |world| {
                removed(world);
                world.open_swap(&["s-0", "s-1", "s-9"]);
            },
            &["waits session/s-9 SwapOpen"],
        ),
    ]);
}

#[test]
fn a_prune_stops_an_idle_agent_and_closes_what_has_ended() {
    check(&[
        ("idle", prune, &["Stop session/s-9: stop"]),
        (
            "working",
            |world| {
                prune(world);
                world.agent("s-9").activity = Activity::Working;
            },
            &["waits session/s-9 WaitsForIdle"],
        ),
        (
            "nobody knows what it does",
            |world| {
                prune(world);
                world.agent("s-9").activity = Activity::Unknown;
            },
            &["waits session/s-9 WaitsForIdle"],
        ),
        (
            "ended",
            |world| {
                prune(world);
                world.end_agent("s-9");
            },
            &["Stop session/s-9: close"],
        ),
        (
            "unknown",
            |world| {
                prune(world);
                world.seen.agents.insert(session("s-9"), unseen());
            },
            &["waits session/s-9 AgentUnknown"],
        ),
        (
            "idle, as was seen too long ago",
            |world| {
                prune(world);
                let agent = world.agent("s-9").clone();
                world.seen.agents.insert(session("s-9"), Seen::known(agent, at(-181)));
            },
            &["waits session/s-9 AgentUnknown"],
        ),
    ]);
}

#[test]
fn nothing_that_is_not_ours_is_removed() {
    check(&[
        (
            "no mark",
            |world| {
                prune(world);
                world.pane("s-9").mark = None;
            },
            &[],
        ),
        (
            "of another pool",
            |world| {
                prune(world);
                world.pane("s-9").mark.as_mut().expect("marked").pool = OTHER_POOL;
            },
            &[],
        ),
        (
            "a mark that does not name its bearer",
            |world| {
                prune(world);
                world.pane("s-9").mark.as_mut().expect("marked").session = session("s-8");
            },
            &[],
        ),
        (
            "tmux was seen too long ago",
            |world| {
                prune(world);
                world.seen.tmux = Seen::known(world.tmux().clone(), at(-181));
            },
            &["warns server ServerStale"],
        ),
    ]);
}

#[test]
fn more_than_max_prune_are_not_pruned_at_all_also_not_one_pass_after_the_other() {
    let mut world = World::converged(1);
    world.spec.prune = true;
    world.spec.max_prune = 2;
    for name in ["s-7", "s-8", "s-9"] {
        world.put_running(name);
        world.memory.removal_seen.insert(session(name));
    }
    let refused = ["warns session/s-7 PruneRefused", "warns session/s-8 PruneRefused", "warns session/s-9 PruneRefused"];
    assert_eq!(world.told(), refused);
    world.agent("s-7").activity = Activity::Working;
    assert_eq!(world.told(), refused, "one that is busy now is idle in a minute");
    world.end_agent("s-8");
    assert_eq!(world.told(), refused);
    world.spec.max_prune = 3;
    assert_eq!(world.told(), ["Stop session/s-8: close", "Stop session/s-9: stop", "waits session/s-7 WaitsForIdle"]);
    world.spec.prune = false;
    world.spec.max_prune = 0;
    assert_eq!(world.told().iter().filter(|line| line.starts_with("Release")).count(), 3, "a release stops nothing");
}

#[test]
fn an_operators_word_lets_just_those_be_pruned_that_were_shown() {
    let mut world = World::converged(1);
    world.spec.prune = true;
    for name in ["s-7", "s-8", "s-9"] {
        world.put_running(name);
        world.memory.removal_seen.insert(session(name));
    }
    world.memory.prune_confirmed = ["s-7", "s-8", "s-9"].map(session).into();
    let stops = ["Stop session/s-7: stop", "Stop session/s-8: stop", "Stop session/s-9: stop"];
    assert_eq!(world.told(), stops);
    assert_eq!(world.lint(&world.plan().plan), [""; 0]);
    // Others that left the spec since were not shown.
    for name in ["s-5", "s-6"] {
        world.put_running(name);
        world.memory.removal_seen.insert(session(name));
    }
    let refused = ["warns session/s-5 PruneRefused", "warns session/s-6 PruneRefused"];
    assert_eq!(world.told(), [stops.as_slice(), refused.as_slice()].concat());
    assert_eq!(world.lint(&world.plan().plan), [""; 0]);
    // The word ends with the sessions that it was about.
    for name in ["s-7", "s-8", "s-9"] {
        world.close(name);
    }
    for change in absorb_removals(&world.spec, &world.seen, &world.memory).changes {
        world.apply(&change);
    }
    for change in absorb_removals(&world.spec, &world.seen, &world.memory).changes {
        world.apply(&change);
    }
    assert!(world.memory.prune_confirmed.is_empty());
}

#[test]
fn an_undeclared_agent_that_outlives_its_pane_is_pruned_as_well() {
    check(&[
        (
            "idle",
            |world| {
                prune(world);
                world.tmux().panes.remove("s-9");
            },
            &["Stop session/s-9: stop process 1002"],
        ),
        (
            "working",
            |world| {
                prune(world);
                world.tmux().panes.remove("s-9");
                world.agent("s-9").activity = Activity::Working;
            },
            &["waits session/s-9 WaitsForIdle"],
        ),
        (
            "another process of its number",
            |world| {
                prune(world);
                world.tmux().panes.remove("s-9");
                world.agent("s-9").process.as_mut().expect("it runs").started += 1;
            },
            &[],
        ),
        (
            "prune is off",
            |world| {
                removed(world);
                world.tmux().panes.remove("s-9");
            },
            &[],
        ),
    ]);
}
