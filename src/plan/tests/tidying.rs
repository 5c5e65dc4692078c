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
