//! What is old is planned to go, once.

use super::{world::at, *};
use crate::observed::{CheckpointId, CheckpointsView, Seen};

fn put_checkpoints(world: &mut World, name: &str, seconds: &[i64]) {
    let id = |second: &i64| CheckpointId::new(at(*second).wall, "0123456789ab");
    let view = CheckpointsView { taken: seconds.iter().map(id).collect(), newest: None };
    world.seen.checkpoints.insert(session(name), Seen::known(view, at(0)));
}

fn removed(world: &World) -> Vec<usize> {
    let count = |effect: &Effect| if let Effect::RemoveCheckpoints { checkpoints, .. } = effect { Some(checkpoints.len()) } else { None };
    let planned = world.plan();
    assert_eq!(world.lint(&planned.plan), [""; 0]);
    assert!(planned.plan.actions.iter().all(|(phase, _)| *phase == Phase::Tidy), "{planned:?}");
    planned.plan.actions.iter().filter_map(|(_, action)| count(action.effect.as_ref()?)).collect()
}

#[test]
fn checkpoints_over_the_number_or_the_age_go_and_the_newest_stays() {
    let mut world = World::converged(2);
    world.spec.checkpoints.keep = 2;
    put_checkpoints(&mut world, "s-0", &[-40, -30, -20, -10]);
    put_checkpoints(&mut world, "s-1", &[-8 * 86_400]);
    put_checkpoints(&mut world, "gone", &[-8 * 86_400, -10]);
    assert_eq!(removed(&world), [1, 2]);
    put_checkpoints(&mut world, "s-0", &[-20, -10]);
    put_checkpoints(&mut world, "gone", &[-10]);
    assert_eq!(removed(&world), [0; 0]);
}

#[test]
fn what_cannot_be_looked_at_is_left() {
    let mut world = World::converged(1);
    world.seen.checkpoints.insert(session("s-0"), super::world::unseen());
    assert_eq!(removed(&world), [0; 0]);
}

/// `s-1` is not declared any more, its terminal is gone, and its agent lives on.
fn orphaned() -> World {
    let mut world = World::converged(2);
    world.undeclare("s-1");
    world.tmux().panes.remove("s-1");
    world
}

#[test]
fn an_agent_of_ours_without_session_and_terminal_is_stopped() {
    let world = orphaned();
    let planned = world.plan();
    assert_eq!(world.lint(&planned.plan), [""; 0]);
    let process = world.memory.sessions[&session("s-1")].process;
    let [(Phase::Tidy, action)] = &planned.plan.actions[..] else { panic!("{planned:?}") };
    assert!(matches!(&action.effect, Some(Effect::StopAgent { process: stopped, .. }) if Some(*stopped) == process));
}

#[test]
fn an_agent_is_left_that_may_not_be_ours_or_may_be_worked_with() {
    let cases: [(&str, fn(&mut World)); 4] = [
        ("it was seen missing only once", |world| world.memory.removal_seen.clear()),
        ("another process has its number", |world| {
            let process = world.agent("s-1").process.as_mut().expect("it lives");
            process.started += 1;
        }),
        ("its agent is not known", |world| drop(world.seen.agents.insert(session("s-1"), super::world::unseen()))),
        ("tmux is not known", |world| world.seen.tmux = super::world::unseen()),
    ];
    for (name, change) in cases {
        let mut world = orphaned();
        change(&mut world);
        let stops = world.plan().plan.actions.into_iter().filter(|(_, action)| matches!(action.effect, Some(Effect::StopAgent { .. })));
        assert_eq!(stops.count(), 0, "{name}");
    }
}
