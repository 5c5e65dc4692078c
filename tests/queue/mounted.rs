//! Queues whose directories are mount points, and disks that are full. Each test runs in a mount namespace of its own, so that nothing is ever
//! mounted where others could see it.

use std::{fs, path::Path, process::Command};

use claude_failover::plan::{Outcome, QueueChange};

use crate::{
    again::{APART, in_own_namespace},
    world::{World, name, refused, run},
};

/// Mounts an empty file system, and only in a namespace of our own.
fn mount(at: &Path, size: &str) {
    assert!(std::env::var_os(APART).is_some(), "nothing is mounted where others can see it");
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(at).status().expect("mount");
    assert!(status.success(), "mounting at {} failed", at.display());
}

#[test]
fn a_queue_that_is_a_mount_point_works() {
    in_own_namespace("a_mounted_queue");
}

#[test]
fn directories_on_other_file_systems_work() {
    in_own_namespace("mounted_directories");
}

#[test]
fn archives_and_stale_markers_on_other_file_systems_work() {
    in_own_namespace("mounted_leftovers");
}

#[test]
fn a_full_disk_loses_nothing() {
    in_own_namespace("a_full_disk");
}

/// What runs in the namespace.
mod inside {
    use super::*;

    #[test]
    #[ignore = "it is run by other tests, in a mount namespace of its own"]
    fn a_mounted_queue() {
        let world = World::bare();
        fs::create_dir(world.project.join(".agent-queue")).expect("a directory");
        mount(&world.project.join(".agent-queue"), "1m");
        assert_eq!(run(&QueueChange::Create.at(&world.project)), Outcome::Changed);
        world.put_claimed("a.md", "c1");
        assert_eq!(run(&world.finish("a.md", "c1")), Outcome::Changed);
        assert_eq!(world.files(), ["done/a.md"]);
        assert!(world.look().done.contains_key(&name("a.md")));
    }

    #[test]
    #[ignore = "it is run by other tests, in a mount namespace of its own"]
    fn mounted_directories() {
        let world = World::new();
        mount(&world.at("done"), "1m");
        mount(&world.at("failed"), "1m");
        world.put_claimed("a.md", "c1");
        world.put("done/a.md", "an older one\n");
        assert_eq!(run(&world.finish("a.md", "c1")), Outcome::Changed);
        assert_eq!(run(&world.finish("a.md", "c1")), Outcome::Unchanged);
        world.put_claimed("b.md", "c2");
        assert_eq!(run(&world.fail("b.md", Some("c2"))), Outcome::Changed);
        assert_eq!(world.files(), ["done/a.md", "done/a~2.md", "failed/b.md", "failed/b.md.reason"]);
        assert_eq!((world.read("done/a~2.md"), world.read("failed/b.md")), ("do it\n".to_owned(), "do it\n".to_owned()));
        assert_eq!(run(&world.retry("b.md")), Outcome::Changed);
        assert_eq!(world.files(), ["done/a.md", "done/a~2.md", "inbox/b.md"]);
        // A copy that was made before a kill is the task itself, not another one.
        assert_eq!(run(&world.claim("b.md", "c3")), Outcome::Changed);
        world.put("done/b.md", "do it\n");
        assert_eq!(run(&world.finish("b.md", "c3")), Outcome::Changed);
        assert_eq!(world.files(), ["done/a.md", "done/a~2.md", "done/b.md"]);
    }

    #[test]
    #[ignore = "it is run by other tests, in a mount namespace of its own"]
    fn mounted_leftovers() {
        let world = World::new();
        fs::create_dir(world.at("archive")).expect("a directory");
        for directory in ["inbox", "done", "archive"] {
            mount(&world.at(directory), "1m");
        }
        for task in ["a.md", "b.md"] {
            world.put(&format!("done/{task}"), "did it\n");
            let month = claude_failover::model::Month::try_from("2026-11".to_owned()).expect("a month");
            let archive = QueueChange::Archive { month, tasks: vec![name(task)] }.at(&world.project);
            assert_eq!(run(&archive), Outcome::Changed);
            assert_eq!(run(&archive), Outcome::Unchanged);
        }
        assert_eq!(world.files(), ["archive/2026-11.tar.gz"], "the second went into the archive of the first");
        let listed = Command::new("tar").arg("-tzf").arg(world.at("archive/2026-11.tar.gz")).output().expect("tar");
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "a.md\nb.md\n");
        // Markers of a claim that nobody knows, and of one that cannot be read.
        world.put_claimed("c.md", "c1");
        world.put("inbox/d.md", "do it\n");
        world.put("inbox/d.md.dispatched", "{");
        assert!(refused(&world.release("c.md", None)).contains("claim c1 is under way"));
        assert_eq!(run(&world.release("c.md", Some("c1"))), Outcome::Changed);
        assert_eq!(run(&world.release("d.md", None)), Outcome::Changed);
        assert_eq!(world.files(), ["archive/2026-11.tar.gz", "inbox/c.md", "inbox/d.md"]);
        // An older one steps aside where it is.
        world.put("done/c.md", "an older one\n");
        assert_eq!(run(&world.claim("c.md", "c2")), Outcome::Changed);
        assert_eq!(world.read("done/c~2.md"), "an older one\n");
    }

    #[test]
    #[ignore = "it is run by other tests, in a mount namespace of its own"]
    fn a_full_disk() {
        let world = World::bare();
        fs::create_dir(world.project.join(".agent-queue")).expect("a directory");
        mount(&world.project.join(".agent-queue"), "128k");
        assert_eq!(run(&QueueChange::Create.at(&world.project)), Outcome::Changed);
        world.put_claimed("a.md", "c1");
        world.put("inbox/b.md", "do that\n");
        let done = world.put("done/c.md", vec![b'c'; 8192]);
        let _ = fs::write(world.at("ballast"), vec![0; 1 << 20]);
        let before = world.files();
        assert!(refused(&world.claim("b.md", "c2")).contains("No space left"));
        assert!(refused(&world.fail("b.md", None)).contains("No space left"));
        let month = claude_failover::model::Month::try_from("2026-11".to_owned()).expect("a month");
        let archive = QueueChange::Archive { month, tasks: vec![name("c.md")] }.at(&world.project);
        assert!(refused(&archive).contains("No space left"));
        let error = claude_failover::host::queue::add(&world.project, "d", "do\n").expect_err("there is no room");
        assert!(claude_failover::model::error_line(&error).contains("No space left"), "{error}");
        assert_eq!(world.files(), before, "nothing half-written is left");
        assert_eq!(fs::metadata(&done).expect("the task").len(), 8192);
        // What needs no room goes on.
        assert_eq!(run(&world.finish("a.md", "c1")), Outcome::Changed);
        fs::remove_file(world.at("ballast")).expect("removed");
        assert_eq!(run(&world.claim("b.md", "c2")), Outcome::Changed);
        assert_eq!(run(&archive), Outcome::Changed);
    }
}
