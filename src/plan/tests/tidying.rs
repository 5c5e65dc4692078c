//! What is old is planned to go, once.

use super::{world::at, *};
use crate::{
    model::{ProjectName, TaskName},
    observed::{CheckpointId, CheckpointsView, Seen},
    plan::QueueChange,
};

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
    let told = ["remove 1 checkpoint of gone, the oldest of 2027-01-07", "remove 2 checkpoints of s-0, the oldest of 2027-01-15"];
    assert_eq!(world.told(), told.map(|what| format!("Tidy state-dir: {what}")));
    put_checkpoints(&mut world, "s-0", &[-20, -10]);
    put_checkpoints(&mut world, "gone", &[-10]);
    assert_eq!(removed(&world), [0; 0]);
}

#[test]
fn what_was_done_long_ago_is_archived_by_month() {
    let mut world = World::converged(1);
    let project = ProjectName::new("api").expect("a name");
    world.put_project(project.clone());
    let done = |days: i64| (TaskName::new(format!("t{days}.md")).expect("a name"), at(-86_400 * days).wall);
    let queue = world.seen.queues.get_mut(&project).and_then(Seen::value_mut).expect("known");
    queue.done = [done(1), done(8), done(9)].into();
    let planned = world.plan();
    assert_eq!(world.lint(&planned.plan), [""; 0]);
    let tasks = |action: &Action| {
        if let Some(Effect::Queue { change: QueueChange::Archive { tasks, .. }, .. }) = &action.effect { tasks.len() } else { 0 }
    };
    assert_eq!(planned.plan.actions.iter().map(|(_, action)| tasks(action)).sum::<usize>(), 2, "{planned:?}");
    assert_eq!(super::world::tell(&planned), ["Tidy project/api: archive 2 tasks done in 2027-01: t8.md, t9.md"]);
    world.seen.queues.insert(project, super::world::unseen());
    assert!(world.plan().plan.is_empty(), "nothing is done about a queue that cannot be looked at");
}

#[test]
fn what_cannot_be_looked_at_is_left() {
    let mut world = World::converged(1);
    world.seen.checkpoints.insert(session("s-0"), super::world::unseen());
    assert_eq!(removed(&world), [0; 0]);
}
