//! What an older task leaves in the way, what keeps git out, and what is read of tasks that are over.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use claude_failover::{
    host::queue::{DONE, EndedTask, FAILED, read_ended},
    observed::TaskHeader,
    plan::{Outcome, QueueChange},
};

use crate::world::{World, name, refused, run};

#[test]
fn an_older_task_of_the_name_steps_aside_when_a_new_one_is_given_out() {
    let world = World::new();
    for (path, text) in [
        ("done/a.md", "done before\n"),
        ("done/a~2.md", "done before that\n"),
        ("failed/a.md", "failed before\n"),
        ("failed/a.md.reason", "because\n"),
        ("done/b.md", "another one\n"),
    ] {
        world.put(path, text);
    }
    world.put("inbox/a.md", "do it\n");
    assert_eq!(run(&world.claim("a.md", "c1")), Outcome::Changed);
    let aside = ["done/a~2.md", "done/a~3.md", "done/b.md", "failed/a~2.md", "failed/a~2.md.reason"];
    let files: Vec<_> = world.files().into_iter().filter(|file| !file.starts_with("inbox/")).collect();
    assert_eq!(files, aside);
    // What an agent does with `mv`.
    fs::rename(world.at("inbox/a.md"), world.at("done/a.md")).expect("moved");
    assert_eq!(run(&world.release("a.md", Some("c1"))), Outcome::Changed);
    assert_eq!(world.files(), [&["done/a.md"][..], &aside[..]].concat());
    assert_eq!(world.read("done/a~3.md"), "done before\n");
    assert_eq!((world.read("failed/a~2.md"), world.read("failed/a~2.md.reason")), ("failed before\n".to_owned(), "because\n".to_owned()));
}

#[test]
fn what_a_kill_left_of_the_step_is_taken_to_its_end() {
    let world = World::new();
    // Killed between the reason and its task.
    world.put("failed/a.md", "failed before\n");
    world.put("failed/a~2.md.reason", "because\n");
    world.put("inbox/a.md", "do it\n");
    assert_eq!(run(&world.claim("a.md", "c1")), Outcome::Changed);
    assert_eq!(world.files(), ["failed/a~2.md", "failed/a~2.md.reason", "inbox/a.md", "inbox/a.md.dispatched"]);
}

#[test]
fn a_claim_that_is_refused_moves_nothing() {
    let world = World::new();
    world.put("done/a.md", "done before\n");
    world.put("inbox/a.md", "do it\n");
    let claim = world.claim("a.md", "c1");
    world.put("inbox/a.md", "do something else\n");
    assert!(refused(&claim).contains("was changed"));
    assert_eq!(run(&world.claim("a.md", "c2")), Outcome::Changed);
    let before = world.files();
    assert!(refused(&world.claim("a.md", "c3")).contains("belongs to claim c2"));
    assert_eq!(world.files(), before);
}

#[test]
fn git_is_kept_out_of_a_queue_that_we_make() {
    let world = World::new();
    let ignore = world.at(".gitignore");
    assert_eq!(fs::read_to_string(&ignore).expect("a file"), "*\n");
    assert_eq!(fs::metadata(&ignore).expect("a file").permissions().mode() & 0o777, 0o644);
    // Somebody does not want it, in a queue that is whole.
    fs::remove_file(&ignore).expect("removed");
    fs::remove_dir(world.at("done")).expect("removed");
    assert_eq!(run(&QueueChange::Create.at(&world.project)), Outcome::Changed);
    assert!(!ignore.exists());
    // Or has another one.
    let other = World::bare();
    fs::create_dir(other.at("")).expect("made");
    fs::write(other.at(".gitignore"), "!done\n").expect("written");
    assert_eq!(run(&QueueChange::Create.at(&other.project)), Outcome::Changed);
    assert_eq!(fs::read_to_string(other.at(".gitignore")).expect("a file"), "!done\n");
}

#[test]
fn what_stands_in_and_beside_tasks_that_are_over_is_read() {
    let world = World::new();
    world.put("failed/a.md", "---\npriority: 3\nattempts: 2\n---\nDo it.\n");
    world.put("failed/a.md.reason", "it was not done\nattempt 1: no\n");
    world.put("failed/b.md", "---\npriority: high\n---\nDo it.\n");
    symlink(world.outside.join("precious.md"), world.at("failed/b.md.reason")).expect("a symlink");
    world.put("failed/gone.md.reason", "of another one\n");
    let names = ["a.md", "b.md", "gone.md"].map(name);
    let read = read_ended(&world.project, FAILED, &names).expect("read");
    let header = TaskHeader { priority: Some(3), attempts: Some(2), title: "Do it.".to_owned(), ..TaskHeader::default() };
    let whole = EndedTask { header: Some(header), reason: Some("it was not done\nattempt 1: no".to_owned()) };
    assert_eq!(read, [whole, EndedTask::default(), EndedTask::default()]);
    fs::remove_dir_all(world.at("done")).expect("removed");
    symlink(&world.outside, world.at("done")).expect("a symlink");
    assert!(read_ended(&world.project, DONE, &[name("precious.md")]).is_err(), "no symlink is followed");
}
