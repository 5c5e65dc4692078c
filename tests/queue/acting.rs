//! Effects on a queue.

use std::{fs, os::unix::fs::symlink};

use claude_failover::{
    host::queue::{self, QueueError},
    observed::{Marker, MarkerView},
    plan::{Outcome, QueueChange},
};
use jiff::ToSpan as _;

use crate::world::{World, marker, name, refused, run};

#[test]
fn a_queue_is_made_once() {
    let world = World::bare();
    let create = QueueChange::Create.at(&world.project);
    assert!(!world.look().exists);
    assert_eq!(run(&create), Outcome::Changed);
    assert!(world.look().exists);
    assert_eq!(run(&create), Outcome::Unchanged);
    fs::remove_dir(world.at("done")).expect("removed");
    assert!(!world.look().exists);
    assert_eq!(run(&create), Outcome::Changed);
    assert!(refused(&QueueChange::Create.at(&world.project.join("absent"))).contains("does not exist"));
}

#[test]
fn a_claim_stands_until_it_is_released() {
    let world = World::new();
    world.put("inbox/a.md", "do it\n");
    assert_eq!(run(&world.claim("a.md", "c1")), Outcome::Changed);
    assert_eq!(world.look().markers.get(&name("a.md")), Some(&MarkerView::Marker(marker("c1"))));
    assert_eq!(run(&world.claim("a.md", "c1")), Outcome::Unchanged);
    assert!(refused(&world.claim("a.md", "c2")).contains("belongs to claim c1, not to c2"));
    assert!(refused(&world.release("a.md", Some("c2"))).contains("c1"));
    assert!(refused(&world.release("a.md", None)).contains("claim c1 is under way"));
    assert_eq!(world.files(), ["inbox/a.md", "inbox/a.md.dispatched"], "nothing is left beside them");
    assert_eq!(run(&world.release("a.md", Some("c1"))), Outcome::Changed);
    assert_eq!(run(&world.release("a.md", Some("c1"))), Outcome::Unchanged);
    assert_eq!(world.files(), ["inbox/a.md"]);
}

#[test]
fn another_file_of_the_same_name_is_not_claimed() {
    let world = World::new();
    world.put("inbox/a.md", "do it\n");
    let claim = world.claim("a.md", "c1");
    world.put("inbox/a.md", "do something else\n");
    assert!(refused(&claim).contains("was changed since it was read"));
    fs::remove_file(world.at("inbox/a.md")).expect("removed");
    assert!(refused(&claim).contains("moved or removed"));
    symlink(world.outside.join("precious.md"), world.at("inbox/a.md")).expect("a symlink");
    assert!(refused(&claim).contains("a symlink"));
    assert_eq!(world.files(), ["inbox/a.md"]);
}

#[test]
fn a_lease_only_grows() {
    let world = World::new();
    world.put_claimed("a.md", "c1");
    let later = |claim: &str, minutes: i64| {
        let marker = marker(claim);
        let marker = Marker { lease_until: marker.lease_until + minutes.minutes(), ..marker };
        QueueChange::Renew { task: name("a.md"), marker }.at(&world.project)
    };
    assert_eq!(run(&later("c1", 5)), Outcome::Changed);
    assert_eq!(run(&later("c1", 5)), Outcome::Unchanged);
    assert_eq!(run(&later("c1", 1)), Outcome::Unchanged);
    assert!(refused(&later("c2", 9)).contains("not to c2"));
    let Some(MarkerView::Marker(found)) = world.look().markers.remove(&name("a.md")) else { panic!("no marker") };
    assert_eq!(found.lease_until, marker("c1").lease_until + 5.minutes());
    assert_eq!(world.files(), ["inbox/a.md", "inbox/a.md.dispatched"]);
    run(&world.release("a.md", Some("c1")));
    assert!(refused(&later("c1", 9)).contains("the claim on the task is over"));
    assert_eq!(world.files(), ["inbox/a.md"]);
}

#[test]
fn a_task_is_finished_once() {
    let world = World::new();
    world.put_claimed("a.md", "c1");
    world.put("done/a.md", "an older one\n");
    assert!(refused(&world.finish("a.md", "c2")).contains("not to c2"));
    assert_eq!(run(&world.finish("a.md", "c1")), Outcome::Changed);
    assert_eq!(world.files(), ["done/a.md", "done/a~2.md"]);
    assert_eq!((world.read("done/a.md"), world.read("done/a~2.md")), ("an older one\n".to_owned(), "do it\n".to_owned()));
    assert_eq!(run(&world.finish("a.md", "c1")), Outcome::Unchanged);
    world.put("inbox/a.md", "a third one\n");
    assert!(refused(&world.finish("a.md", "c1")).contains("the claim on the task is over"));
    assert!(refused(&world.finish("b.md", "c1")).contains("moved or removed"));
}

#[test]
fn a_task_that_its_agent_moved_only_loses_its_marker() {
    let world = World::new();
    world.put_claimed("a.md", "c1");
    fs::rename(world.at("inbox/a.md"), world.at("done/a.md")).expect("moved");
    assert_eq!(run(&world.finish("a.md", "c1")), Outcome::Changed);
    assert_eq!(world.files(), ["done/a.md"]);
}

#[test]
fn a_failed_task_has_its_reason_beside_it() {
    let world = World::new();
    for round in ["c1", "c2"] {
        world.put_claimed("a.md", round);
        assert_eq!(run(&world.fail("a.md", Some(round))), Outcome::Changed);
        assert_eq!(run(&world.fail("a.md", Some(round))), Outcome::Unchanged);
    }
    assert_eq!(world.files(), ["failed/a.md", "failed/a.md.reason", "failed/a~2.md", "failed/a~2.md.reason"]);
    assert_eq!(world.read("failed/a~2.md.reason"), "it did not work\n");
    world.put("inbox/b.md", "no claim\n");
    assert_eq!(run(&world.fail("b.md", None)), Outcome::Changed);
    world.put_claimed("c.md", "c3");
    assert!(refused(&world.fail("c.md", None)).contains("claim c3 is under way"));
    assert!(refused(&world.fail("d.md", None)).contains("moved or removed"));
}

#[test]
fn a_failed_task_goes_back_without_its_reason() {
    let world = World::new();
    world.put_claimed("a.md", "c1");
    run(&world.fail("a.md", Some("c1")));
    world.put("inbox/a.md", "a new one\n");
    assert!(refused(&world.retry("a.md")).contains("is not overwritten"));
    assert_eq!(world.read("inbox/a.md"), "a new one\n");
    fs::remove_file(world.at("inbox/a.md")).expect("removed");
    assert_eq!(run(&world.retry("a.md")), Outcome::Changed);
    assert_eq!(run(&world.retry("a.md")), Outcome::Unchanged);
    assert_eq!(world.files(), ["inbox/a.md"]);
    assert!(refused(&world.retry("b.md")).contains("moved or removed"));
}

#[test]
fn a_task_moves_to_another_project() {
    let (world, other) = (World::new(), World::new());
    let mv = |task: &str| QueueChange::Move { to: other.project.clone(), task: name(task) }.at(&world.project);
    world.put("inbox/a.md", "do it\n");
    assert_eq!(run(&mv("a.md")), Outcome::Changed);
    assert_eq!(run(&mv("a.md")), Outcome::Unchanged);
    assert_eq!((world.files(), other.files()), (Vec::new(), vec!["inbox/a.md".to_owned()]));
    world.put("inbox/a.md", "another\n");
    assert!(refused(&mv("a.md")).contains("is not overwritten"));
    world.put_claimed("b.md", "c1");
    assert!(refused(&mv("b.md")).contains("claim c1 is under way"));
    let onto_itself = QueueChange::Move { to: world.project.clone(), task: name("a.md") }.at(&world.project);
    assert!(refused(&onto_itself).contains("the project that it is in"));
    assert_eq!(world.read("inbox/a.md"), "another\n");
}

#[test]
fn a_new_task_is_added_whole_and_once() {
    let world = World::bare();
    let add = |task: &str, text: &str| queue::add(&world.project, task, text);
    assert_eq!(add("fix login", "Fix it\n").expect("added"), name("fix login.md"));
    assert_eq!(add("fix login.md", "Fix it\n").expect("added"), name("fix login.md"));
    assert_eq!(world.files(), ["inbox/fix login.md"]);
    assert!(matches!(add("fix login.md", "Fix that\n"), Err(QueueError::Taken(_))));
    assert!(matches!(add("../a", "x"), Err(QueueError::Name(_))));
    assert!(matches!(add("b.md", " \n"), Err(QueueError::Empty(_))));
    assert!(matches!(add("b.md", "---\npriority: high\n---\nx"), Err(QueueError::BadHeader(_))));
    assert!(matches!(add("b.md", &"x".repeat(300_000)), Err(QueueError::TooLong { .. })));
    assert_eq!(world.files(), ["inbox/fix login.md"], "nothing is left of what was refused");
    assert!(matches!(queue::add(&world.project.join("absent"), "b", "x"), Err(QueueError::NoProject(_))));
}
